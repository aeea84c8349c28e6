"""One function for every source of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from maestune.data.captions import digit_captions, template_captions
from maestune.data.collection import Collection, Part
from maestune.data.fit import check_side
from maestune.data.folder import SUFFIXES, read_folder
from maestune.data.hub import PREFIX, is_hub, read_hub
from maestune.data.idx import is_idx, read_idx
from maestune.data.image_data import ImageData
from maestune.data.npz import read_npz
from maestune.data.split import split
from maestune.errors import DataError, did_you_mean


def _read_digits(size: int | None) -> Collection:
    from maestune.data.digits import read_digits  # scikit-learn takes a second to import

    return read_digits(size)


def _read_digits_captions(size: int | None) -> Collection:
    small = _read_digits(None)  # what captions say is seen at the digits' own size
    assert small.images.labels is not None
    captions = digit_captions(small.images.pixels, small.images.labels)
    digits = _read_digits(size)
    return replace(digits, name="digits-captions", images=replace(digits.images, captions=captions))


BUILT_IN: dict[str, Callable[[int | None], Collection]] = {
    "digits": _read_digits,
    "digits-captions": _read_digits_captions,
}


def load_images(
    source: str | Path,
    *,
    size: int | None = None,
    captions: Sequence[str] = (),
    limit_bytes: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> ImageData:
    """Images to learn from, in their three parts.

    `source`: the name of a built-in set ("digits", or "digits-captions" where each has a caption); a folder of image files,
    whose sub-folders are classes, with captions where there are any; a folder of IDX files (MNIST's format) or one of
    them; arrays in an .npz file; a set of Hugging Face, as its name ("hf:NAME", see `read_hub`) or its parquet or arrow
    files.

    `size`: side of the square images in pixels; without it the most frequent size, rounded down to one that networks like
    (8 … 64). `captions`: templates that make a caption of the name of an image's class ("a photo of a {}"). `limit_bytes`:
    folders and sets of Hugging Face that take more than this are kept in a file and read from there batch by batch
    (default: a quarter of the memory that is free). `progress` is called with sentences on the way. What was decided on
    the way stands in the result's `note`, what could not be read in `skipped`.

    Raises DataError, naming the path, what was expected and the repair: no such path, no images, damaged files, fewer than
    60 different images, or templates for images that have no classes or captions of their own. StoreError: the cache
    folder is needed and cannot be used.
    """
    if size is not None:
        check_side(size)
    try:
        collection = _read(source, size, limit_bytes, progress)
        return split(with_template(collection, captions) if captions else collection)
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error}). Check its permissions.") from error


def resolved_source(source: str) -> str:
    """A source that means the same from every folder: paths are made absolute, names are left alone.

    >>> resolved_source("digits"), resolved_source("hf:mnist")
    ('digits', 'hf:mnist')
    """
    if source in BUILT_IN:
        return source
    place, question, options = (
        source.removeprefix(PREFIX).partition("?") if source.startswith(PREFIX) else (source, "", "")
    )
    path = Path(place).expanduser()
    if source.startswith(PREFIX):
        return f"{PREFIX}{path.resolve()}{question}{options}" if is_hub(path) else source
    return str(path.resolve()) if path.exists() else source


def with_template(collection: Collection, templates: Sequence[str]) -> Collection:
    """A collection whose captions are the names of classes put into templates (see `template_captions`)."""

    def captioned(part: Part) -> Part:
        if part.captions is not None:
            raise DataError(
                f"{collection.name}: its images have captions of their own, so templates such as {templates[0]!r} are not "
                "needed. Leave --captions out."
            )
        if part.labels is None:
            raise DataError(
                f"{collection.name}: its images have no classes whose names could be put into {templates[0]!r}. "
                "Put them into class folders, or write captions (captions.csv, or a text file beside each image)."
            )
        return replace(part, captions=template_captions(part.pixels, part.labels, collection.class_names, templates))

    held_out = collection.held_out
    return replace(
        collection,
        images=captioned(collection.images),
        held_out=None if held_out is None else captioned(held_out),
    )


def _read(
    source: str | Path, size: int | None, limit_bytes: float | None, progress: Callable[[str], None] | None
) -> Collection:
    if isinstance(source, str) and source in BUILT_IN:
        return BUILT_IN[source](size)
    if is_hub(source):
        return read_hub(str(source), size, progress, limit_bytes)
    path = Path(source).expanduser()
    if path.is_dir():
        if any(is_idx(entry) for entry in path.iterdir()):
            return read_idx(path, size)
        return read_folder(path, size, progress, limit_bytes)
    expected = "a folder of images, IDX files named like train-images-idx3-ubyte.gz, or arrays in an .npz file"
    if not path.exists():
        raise DataError(
            f"{path}: no such file or folder; expected a built-in set, {expected}, or hf:NAME. "
            f"{did_you_mean(str(path), BUILT_IN)}"
        )
    if is_idx(path):
        return read_idx(path, size)
    if path.suffix.lower() == ".npz":
        return read_npz(path, size)
    if path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{path}: a single image; expected {expected}. Give the folder: {path.parent}.")
    raise DataError(f"{path}: not a set of images; expected {expected}. Unpack an archive first and give its folder.")
