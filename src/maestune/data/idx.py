"""IDX files, the format of MNIST and its kin (LeCun, Cortes & Burges 1998), plain or gzipped, read strictly."""

from __future__ import annotations

import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maestune.data.collection import Collection, Part, Pixels
from maestune.data.fit import choose_side, fit_note, fit_pixels
from maestune.errors import DataError

IMAGE_FILE = re.compile(r"images.*idx[34].*ubyte(\.gz)?$", re.IGNORECASE)
TEST_FILE = re.compile(r"(^|[^a-z])(t10k|test)", re.IGNORECASE)
UINT8 = 0x08
GZIP_MAGIC = b"\x1f\x8b"
AGAIN = "Copy or download the file again."


def is_idx(path: Path) -> bool:
    """Whether a file is named as IDX images are (`…images…idx3…ubyte`, `.gz` or not)."""
    return IMAGE_FILE.search(path.name) is not None


def read_idx(path: Path, size: int | None = None) -> Collection:
    """Images and labels of an IDX file, or of a folder of them.

    In a folder, the file named `t10k-…` or `test-…` is the held-out part and the other one the images to learn from;
    a file alone is taken alone. The labels are looked for beside the images (`…labels…idx1…`). Raises DataError when a
    file is damaged, or when the folder leaves open what to take.
    """
    learn_file, test_file = _files(path) if path.is_dir() else (path, None)
    learn, learn_labels = _read_pair(learn_file)
    if test_file is None:
        test, test_labels = None, None
    else:
        test, test_labels = _read_pair(test_file)
        if test.shape[1:] != learn.shape[1:]:
            raise DataError(
                f"{test_file}: its images are {_shape_text(test)}, those of {learn_file.name} are {_shape_text(learn)}; "
                f"expected the same. Give {learn_file} alone."
            )
    notes = []
    labels = [found for found in (learn_labels, test_labels) if found is not None]
    n_files = 1 if test_file is None else 2
    if 0 < len(labels) < n_files:
        notes.append("Labels were found for one of the two image files only, and are not used.")
    if len(labels) == n_files:
        # Numbered without gaps, whatever numbers the file uses (EMNIST letters count from 1).
        classes, codes = np.unique(np.concatenate(labels), return_inverse=True)
        learn_labels, test_labels = codes[: len(learn)].astype(np.int64), codes[len(learn) :].astype(np.int64)
        class_names = tuple(str(c) for c in classes)
    else:
        learn_labels, test_labels, class_names = None, None, ()
    sizes = {(learn.shape[3], learn.shape[2]): len(learn)}
    side = choose_side(sizes) if size is None else size
    notes.append(fit_note(sizes, side))
    return Collection(
        name=path.resolve().name,
        images=Part(fit_pixels(learn, side), learn_labels),
        held_out=None if test is None else Part(fit_pixels(test, side), test_labels),
        class_names=class_names,
        note=" ".join(filter(None, notes)),
    )


def parse_idx(path: Path, n_dimensions: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array of bytes in an IDX file, with one of the given numbers of dimensions; raises DataError otherwise."""
    data, ends_early = _contents(path)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(f"{path}: expected an IDX file, which begins with two zero bytes; found {data[:4].hex(' ')!r}.")
    kind, n_dims = data[2], data[3]
    if kind != UINT8:
        raise DataError(f"{path}: holds numbers of type 0x{kind:02x}; expected 0x08 (unsigned bytes).")
    if n_dims not in n_dimensions:
        raise DataError(f"{path}: has {n_dims} dimensions; expected {' or '.join(map(str, n_dimensions))}.")
    header_bytes = 4 + 4 * n_dims
    if len(data) < header_bytes:
        raise DataError(f"{path}: its header takes {header_bytes} bytes, found {len(data)}: cut short. {AGAIN}")
    dims = struct.unpack(f">{n_dims}I", data[4:header_bytes])
    expected_bytes = header_bytes + math.prod(dims)
    if len(data) != expected_bytes or ends_early:
        state = "its compressed data ends early" if ends_early else "it is damaged"
        raise DataError(
            f"{path}: {'×'.join(map(str, dims))} bytes and the header make {expected_bytes:,} bytes, "
            f"found {len(data):,}: {state}. {AGAIN}"
        )
    if math.prod(dims) == 0:
        raise DataError(f"{path}: its header says {'×'.join(map(str, dims))}; there is nothing in it. {AGAIN}")
    return np.frombuffer(data, np.uint8, offset=header_bytes).reshape(dims)


def _contents(path: Path) -> tuple[bytes, bool]:
    # The bytes of a file, unpacked, and whether the compressed stream stops before its end.
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). Check that it exists and its permissions."
        ) from error
    if not raw.startswith(GZIP_MAGIC):
        return raw, False
    unpacked: list[bytes] = []
    while raw:  # a gzip file may hold several streams one after the other
        stream = zlib.decompressobj(wbits=31)
        try:
            unpacked.append(stream.decompress(raw))
        except zlib.error as error:
            raise DataError(f"{path}: its compressed data is damaged ({error}). {AGAIN}") from error
        if not stream.eof:
            return b"".join(unpacked), True
        raw = stream.unused_data
    return b"".join(unpacked), False


def _read_pair(path: Path) -> tuple[Pixels, NDArray[np.uint8] | None]:
    # Pixels (N, C, H, W) of an image file and the labels (N,) lying beside it.
    array = parse_idx(path, (3, 4))
    pixels = array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)  # the file has (N, H, W[, C])
    if pixels.shape[1] not in (1, 3):
        raise DataError(f"{path}: its images have {pixels.shape[1]} channels; expected 1 (grey) or 3 (colour).")
    labels_file = _labels_file(path)
    if labels_file is None:
        return pixels, None
    labels = parse_idx(labels_file, (1,))
    if len(labels) != len(pixels):
        raise DataError(
            f"{labels_file}: {len(labels):,} labels for the {len(pixels):,} images of {path.name}; expected one each. "
            "Put the right file there, or remove it to go without labels."
        )
    return pixels, labels


def _labels_file(images_file: Path) -> Path | None:
    name = re.sub(r"\.gz$", "", images_file.name, flags=re.IGNORECASE)
    name = re.sub(r"idx[34]", "idx1", name.replace("images", "labels").replace("Images", "Labels"))
    candidates = (images_file.with_name(name), images_file.with_name(name + ".gz"))
    return next((c for c in candidates if c.is_file() and c != images_file), None)


def _files(folder: Path) -> tuple[Path, Path | None]:
    # The file to learn from and the held-out one. "a" sorts before "a.gz": the plain file is taken where both are.
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_idx(path) and path.is_file():
            found.setdefault(path.name.lower().removesuffix(".gz"), path)
    test = [p for p in found.values() if TEST_FILE.search(p.name)]
    learn = [p for p in found.values() if p not in test]
    for several in (learn, test):
        if len(several) > 1:
            raise DataError(
                f"{folder}: several IDX files could be meant: {', '.join(p.name for p in several)}. "
                f"Give one of them, such as {several[0]}."
            )
    if not learn:
        return test[0], None
    return learn[0], test[0] if test else None


def _shape_text(pixels: Pixels) -> str:
    _, c, height, width = pixels.shape
    return f"{width}×{height} {'grey' if c == 1 else 'colour'}"
