"""A folder of image files: found in a fixed order, decoded in parallel, brought to one size and one mode.

What is decided here, so that every set has one reading: class folders are the labels; captions are in a table or beside the
images (see `captions_of`); a picture stands upright as its EXIF orientation says; of an animation the first frame is taken;
transparent pixels show white paper; 16-bit values are scaled to 8 bits from their full range; the set is grey only if every
image is.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from maestune.data.captions import captions_of
from maestune.data.collection import Collection, Part, Pixels
from maestune.data.decode import Read
from maestune.data.decoding import Decoders, check_readable, reading_note
from maestune.data.fit import choose_side
from maestune.data.image_cache import entry, fits, keep, load_kept, scratch, writing
from maestune.errors import DataError

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
)
PARTS_OF_A_SET = {"train", "training", "test", "testing", "val", "valid", "validation"}

Names = tuple[str, ...]  # parts of a path below the folder


def read_folder(
    root: Path,
    size: int | None = None,
    progress: Callable[[str], None] | None = None,
    limit_bytes: float | None = None,
) -> Collection:
    """Every image below a folder, in the sorted order of their paths.

    Sub-folders of the folder are classes (files deeper down belong to the class above them) unless images also lie
    directly in it: then nothing is labelled, and the note says so. Files that cannot be read are named in `skipped`.

    Images that take more than `limit_bytes` decoded (default: a quarter of the memory that is free) are decoded into a file
    of the cache folder, in the order of their content; the same files with the same sizes and times are found there again.

    Raises DataError when there is no image, when more than half of them cannot be read, and for captions that do not fit;
    StoreError when the cache folder is needed and cannot be used.
    """
    tell = progress or (lambda _: None)
    files = _find_all(root)
    place = entry(("folder", size, files.captions, *zip(files.names, map(_stamp, files.paths), strict=True)))
    if found := load_kept(place):
        tell(f"{len(found.images):,} images of {root} were decoded before and are in {place}")
        return replace(found, name=files.name)
    tell(f"Reading {len(files.names):,} images from {root}")
    with Decoders(lambda positions: [files.paths[i] for i in positions], len(files.names)) as decoders:
        if size is None:
            peeked = decoders.peek()
            files.check_readable(peeked)
            size = choose_side(Counter(peek.size for peek in peeked if not peek.reason))
        if fits(len(files.names), size, limit_bytes):
            return files.collection(
                *_decoded(decoders, files, np.empty((len(files.names), 3, size, size), np.uint8), tell)
            )
        with writing(place, tell):
            if found := load_kept(place):  # another process made it in the meantime
                return replace(found, name=files.name)
            tell(f"They do not fit in memory and are decoded into {place}: remove it when they are not needed any more")
            pixels = scratch(place, len(files.names), size)
            return keep(files.collection(*_decoded(decoders, files, pixels, tell)), place)


@dataclass(frozen=True)
class _Files:
    # What is known of a folder's images before one is opened.
    root: Path
    names: Sequence[Names]
    labels: Sequence[str] | None
    captions: Sequence[str] | None
    skipped: Sequence[str]
    note: str

    @property
    def name(self) -> str:
        return _printable((self.root.resolve().name,)) or str(self.root)

    @cached_property
    def paths(self) -> Sequence[str]:
        return [str(self.root.joinpath(*parts)) for parts in self.names]

    def collection(self, pixels: Pixels, reads: Sequence[Read]) -> Collection:
        # Of pixels without gaps for the files that could be read.
        good = [i for i, read in enumerate(reads) if not read.reason]
        channels = 1 if all(reads[i].grey for i in good) else 3
        classes, codes = (), None
        if self.labels is not None:
            classes, codes = np.unique([self.labels[i] for i in good], return_inverse=True)
            codes = codes.astype(np.int64)
        captions = None if self.captions is None else tuple(self.captions[i] for i in good)
        return Collection(
            name=self.name,
            images=Part(pixels[: len(good), :channels], codes, captions),
            class_names=tuple(map(str, classes)),
            skipped=(*self.skipped, *self._unreadable(reads)),
            note=" ".join(filter(None, (self.note, reading_note(reads, pixels.shape[-1])))),
        )

    def check_readable(self, reads: Sequence[Read]) -> None:
        check_readable(self.root, self._unreadable(reads), len(reads))

    def _unreadable(self, reads: Sequence[Read]) -> list[str]:
        together = zip(self.names, reads, strict=True)
        return [f"{_printable(name)}: {read.reason}" for name, read in together if read.reason]


def _decoded(
    decoders: Decoders, files: _Files, pixels: Pixels, tell: Callable[[str], None]
) -> tuple[Pixels, list[Read]]:
    reads = decoders.decode(pixels, tell)
    files.check_readable(reads)
    return pixels, reads


def _find_all(root: Path) -> _Files:
    skipped: list[str] = []
    names = list(_find(root, (), set(), skipped))
    if not names:
        raise DataError(_nothing_found(root))
    labels, note = _labels(root, names)
    return _Files(root, names, labels, captions_of(root, names), skipped, note)


def _find(folder: Path, parts: Names, seen: set[tuple[int, int]], skipped: list[str]) -> Iterator[Names]:
    # Links are followed, each folder is entered once: a link that leads back to a folder above ends there.
    try:
        status = folder.stat()
        inside = sorted(os.listdir(folder))
    except OSError as error:
        skipped.append(f"{_printable(parts) or folder}: folder cannot be read ({error.strerror})")
        return
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return
    seen.add(identity)
    for name in inside:
        path = folder / name
        if name.startswith("."):
            continue
        if name.lower().endswith(SUFFIXES) and path.is_file():
            yield (*parts, name)
        elif path.is_dir():
            yield from _find(path, (*parts, name), seen, skipped)


def _nothing_found(root: Path) -> str:
    idx_file = next(root.rglob("*idx?-ubyte*"), None)
    repair = f"IDX files are in {idx_file.parent}: give that folder." if idx_file else "Give the folder they are in."
    return (
        f"{root}: no images found; expected files ending in {' '.join(SUFFIXES)}, in it or in its sub-folders. {repair}"
    )


def _labels(root: Path, names: Sequence[Names]) -> tuple[list[str] | None, str]:
    # The class of each file, or None, and a sentence where that is not obvious.
    depth = 0
    while all(len(parts) > depth + 1 and parts[depth] == names[0][depth] for parts in names):
        depth += 1  # a single folder around everything is a wrapping, not a class
    loose = sum(len(parts) == depth + 1 for parts in names)
    classes = sorted({parts[depth] for parts in names if len(parts) > depth + 1})
    if not classes:
        return None, ""
    if {c.lower() for c in classes} <= PARTS_OF_A_SET:
        raise DataError(
            f"{root}: its sub-folders {', '.join(classes)} are parts of a set, not classes; expected one set, which is then "
            f"divided here. Give one of them, such as {root.joinpath(*names[0][:depth], classes[-1])}."
        )
    if loose:
        return None, (
            f"{loose:,} images lie beside {len(classes)} class folders, so no image is labelled; "
            "move them into class folders to use labels."
        )
    return [_printable((parts[depth],)) for parts in names], ""


def _stamp(path: str) -> tuple[int, int]:
    # What changes when a file does: its length in bytes and its time in nanoseconds.
    try:
        status = os.stat(path)
    except OSError:  # gone since it was listed: decoding will say so
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _printable(parts: Names) -> str:
    # Names that are not UTF-8 must not break a report or a log later on.
    return os.fsencode("/".join(parts)).decode("utf-8", "replace")
