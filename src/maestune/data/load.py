"""One function for every source of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maestune.data.collection import Collection
from maestune.data.fit import check_side
from maestune.data.folder import SUFFIXES, read_folder
from maestune.data.idx import is_idx, read_idx
from maestune.data.image_data import ImageData
from maestune.data.split import split
from maestune.errors import DataError, did_you_mean


def _read_digits(size: int | None) -> Collection:
    from maestune.data.digits import read_digits  # scikit-learn takes a second to import

    return read_digits(size)


BUILT_IN: dict[str, Callable[[int | None], Collection]] = {"digits": _read_digits}


def load_images(
    source: str | Path, *, size: int | None = None, progress: Callable[[str], None] | None = None
) -> ImageData:
    """Images to learn from, in their three parts.

    `source`: the name of a built-in set ("digits"); a folder of image files, whose sub-folders are classes; a folder of
    IDX files (MNIST's format) or one of them. `size`: side of the square images in pixels; without it the most frequent
    size, rounded down to one that networks like (8 … 64). `progress` is called with sentences on the way. What was
    decided on the way stands in the result's `note`, what could not be read in `skipped`.

    Raises DataError, naming the path, what was expected and the repair: no such path, no images, damaged files, or
    fewer than 60 different images.
    """
    if size is not None:
        check_side(size)
    if isinstance(source, str) and source in BUILT_IN:
        return split(BUILT_IN[source](size))
    path = Path(source).expanduser()
    try:
        return split(_read_path(path, size, progress))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}). Check its permissions.") from error


def _read_path(path: Path, size: int | None, progress: Callable[[str], None] | None) -> Collection:
    if path.is_dir():
        if any(is_idx(entry) for entry in path.iterdir()):
            return read_idx(path, size)
        return read_folder(path, size, progress)
    expected = "a folder of images, or IDX files named like train-images-idx3-ubyte.gz"
    if not path.exists():
        raise DataError(
            f"{path}: no such file or folder; expected a built-in set, {expected}. {did_you_mean(str(path), BUILT_IN)}"
        )
    if is_idx(path):
        return read_idx(path, size)
    if path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path}: a single image; expected {expected}. Give the folder: {path.parent}.")
    raise DataError(f"{path}: not a set of images; expected {expected}. Unpack an archive first and give its folder.")
