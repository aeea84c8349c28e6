"""Images as arrays in an .npz file, as numpy, Keras (mnist.npz) and MedMNIST write them; nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maestune.data.collection import Collection, Labels, Part, Pixels
from maestune.data.fit import choose_side, fit_note, fit_pixels
from maestune.errors import DataError

# Names of images, labels and captions that belong together: those to learn from and those held out.
NAMES = ("images", "labels", "captions")
LEARN = (
    NAMES,
    ("x_train", "y_train", "captions_train"),
    ("X_train", "y_train", "captions_train"),
    ("train_images", "train_labels", "train_captions"),
    ("x", "y", "captions"),
    ("X", "y", "captions"),
    ("data", "labels", "captions"),
    ("arr_0", "arr_1", "captions"),
)
TEST = (
    ("x_test", "y_test", "captions_test"),
    ("X_test", "y_test", "captions_test"),
    ("test_images", "test_labels", "test_captions"),
)
EXPECTED = (
    "images (N, H, W), (N, H, W, C) or (N, C, H, W) named images, x or arr_0, or x_train and x_test; "
    "labels named labels, y or y_train and y_test"
)

Arrays = Mapping[str, NDArray[Any]]


def read_npz(path: Path, size: int | None = None) -> Collection:
    """Images of an .npz file, grey or colour, with labels (N,) and captions (N,) of text where there are any.

    Values are 0…255 (whole numbers), 0…1 or -1…1 (floats), or true and false. Where there are arrays to learn from and
    arrays to test with, the latter are held out for the verdict. Raises DataError, naming the arrays that were found, for a
    damaged file, for arrays of objects, and for shapes and values that are not those of images.
    """
    arrays = _load(path)
    learn = next((names for names in LEARN if names[0] in arrays), None)
    test = next((names for names in TEST if names[0] in arrays), None)
    if learn is None:
        learn, test = test, None
    if learn is None:
        raise DataError(f"{path}: found {_found(arrays)}; expected {EXPECTED}. Save the arrays under these names.")
    both = [names for names in (learn, test) if names is not None]
    pixels = _pixels(path, {names[0]: arrays[names[0]] for names in both})
    if len({part.shape[1:] for part in pixels}) > 1:
        raise DataError(
            f"{path}: found {_found({names[0]: arrays[names[0]] for names in both})}; expected images of one size. "
            "Save those to learn from alone."
        )
    labels, class_names, labels_note = _labels(path, arrays, both)
    captions = [_captions(path, arrays, names) for names in both]
    captions_note = ""
    if any(part is None for part in captions) and not all(part is None for part in captions):
        captions = [None for _ in both]
        captions_note = "Captions were found for one of the two arrays of images only, and are not used."
    height, width = pixels[0].shape[2:]
    sizes = {(width, height): len(pixels[0])}
    side = choose_side(sizes) if size is None else size
    parts = [
        Part(fit_pixels(some, side), codes, texts) for some, codes, texts in zip(pixels, labels, captions, strict=True)
    ]
    return Collection(
        name=path.resolve().stem,
        images=parts[0],
        held_out=parts[1] if len(parts) > 1 else None,
        class_names=class_names,
        note=" ".join(filter(None, (labels_note, captions_note, fit_note(sizes, side)))),
    )


def _load(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:  # opened here, since numpy leaves the file of a damaged archive open
        try:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: a single array under the name of an .npz file. Save it with numpy.savez.")
            return {name: _array(path, archive, name) for name in archive.files}
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise DataError(f"{path}: not a whole .npz file ({error}). Copy or save it again.") from error


def _array(path: Path, archive: Any, name: str) -> NDArray[Any]:
    try:
        array = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(
            f"{path}: the array {name!r} holds Python objects, which are not read, since they could run any code. "
            "Save numbers, or text as numpy.array(texts, dtype=str)."
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: what it names {name!r} is no array. Save it with numpy.savez.")
    return array


def _pixels(path: Path, arrays: Arrays) -> list[Pixels]:
    # (N, C, H, W) of each array; what the values mean is decided for all of them together.
    kinds = {array.dtype.kind for array in arrays.values()}
    if not all(array.size for array in arrays.values()):
        raise DataError(f"{path}: found {_found(arrays)}; expected images, these arrays are empty.")
    low = min(float(array.min()) for array in arrays.values())
    high = max(float(array.max()) for array in arrays.values())
    scale, offset = 1.0, 0.0
    if kinds == {"b"}:
        scale = 255.0
    elif kinds <= {"u", "i"} and low >= 0 and high <= 255:
        pass
    elif kinds == {"f"} and low >= -1.0 and high <= 1.0:  # false of NaN
        scale, offset = (255.0, 0.0) if low >= 0.0 else (127.5, 127.5)
    else:
        raise DataError(
            f"{path}: found {_found(arrays)} with values from {low:g} to {high:g}; expected whole numbers 0…255, or "
            "floats in 0…1 or -1…1. Scale them to one of these ranges."
        )
    return [_channels_first(path, name, _bytes(array, scale, offset)) for name, array in arrays.items()]


def _bytes(array: NDArray[Any], scale: float, offset: float) -> NDArray[np.uint8]:
    if array.dtype.kind in "ui":
        return array.astype(np.uint8, copy=False)
    whole = np.empty(array.shape, np.uint8)
    for image, target in zip(array, whole, strict=True):  # one by one: the floats of a set fill much memory
        target[...] = np.rint(image.astype(np.float64) * scale + offset)
    return whole


def _channels_first(path: Path, name: str, array: NDArray[np.uint8]) -> Pixels:
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[-1] in (1, 3):
        return np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    raise DataError(
        f"{path}: found {_found({name: array})}; expected (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 (grey) or 3 (colour) "
        "channels C. Change its shape."
    )


def _labels(
    path: Path, arrays: Arrays, both: Sequence[tuple[str, str, str]]
) -> tuple[list[Labels | None], tuple[str, ...], str]:
    # Codes of each part, the classes' names, and a sentence where labels are not used.
    present = [name for _, name, _ in both if name in arrays]
    if len(present) < len(both):
        note = "Labels were found for one of the two arrays of images only, and are not used." if present else ""
        return [None for _ in both], (), note
    found = [_one_each(path, arrays, images, labels) for images, labels, _ in both]
    for name, array in zip(present, found, strict=True):
        whole = array.dtype.kind == "f" and bool((array == np.rint(array)).all())
        if array.dtype.kind not in "uiUSb" and not whole:
            raise DataError(
                f"{path}: found {_found({name: arrays[name]})}; expected labels as whole numbers or text, one for each image. "
                "Save them so, or leave them out."
            )
    together = np.concatenate([part.astype(np.int64) if part.dtype.kind == "f" else part for part in found])
    classes, codes = np.unique(together, return_inverse=True)
    cuts = np.cumsum([len(part) for part in found])[:-1]
    texts = (c.decode("utf-8", "replace") if isinstance(c, bytes) else str(c) for c in classes)
    return [part.astype(np.int64) for part in np.split(codes, cuts)], tuple(texts), ""


def _captions(path: Path, arrays: Arrays, names: tuple[str, str, str]) -> tuple[str, ...] | None:
    images, _, captions = names
    if captions not in arrays:
        return None
    texts = _one_each(path, arrays, images, captions)
    if texts.dtype.kind != "U":
        raise DataError(
            f"{path}: found {_found({captions: arrays[captions]})}; expected captions as text, one for each image. "
            "Save them with numpy.array(captions, dtype=str)."
        )
    return tuple(map(str, texts))


def _one_each(path: Path, arrays: Arrays, images: str, name: str) -> NDArray[Any]:
    # (N,), of which (N, 1) is another spelling.
    array = arrays[name]
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.shape != (len(arrays[images]),):
        raise DataError(
            f"{path}: found {_found({images: arrays[images], name: array})}; expected one of {name} for each image, as (N,). "
            "Save them so, or leave them out."
        )
    return flat


def _found(arrays: Arrays) -> str:
    if not arrays:
        return "no arrays"
    return ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in arrays.items())
