"""A folder of image files: found in a fixed order, decoded by several threads, brought to one size and one mode.

What is decided here, so that every set has one reading: class folders are the labels; a picture stands upright as its
EXIF orientation says; of an animation the first frame is taken; transparent pixels show white paper; 16-bit values are
scaled to 8 bits from their full range; the set is grey only if every image is.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from maestune.data.collection import Collection, Part, Pixels
from maestune.data.fit import choose_side, fit, fit_note
from maestune.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
PARTS_OF_A_SET = {"train", "training", "test", "testing", "val", "valid", "validation"}
BATCH = 32
PROGRESS_EVERY = 2_000

Names = tuple[str, ...]  # parts of a path below the folder


@dataclass(frozen=True)
class _Read:
    # What came of one file: the reason why it cannot be used (then nothing else counts), its (width, height), its kind.
    reason: str = ""
    size: tuple[int, int] = (0, 0)
    grey: bool = False
    transparent: bool = False


def read_folder(root: Path, size: int | None = None, progress: Callable[[str], None] | None = None) -> Collection:
    """Every image below a folder, in the sorted order of their paths.

    Sub-folders of the folder are classes (files deeper down belong to the class above them) unless images also lie
    directly in it: then nothing is labelled, and the note says so. Files that cannot be read are named in `skipped`.
    Raises DataError when there is no image, or when more than half of them cannot be read.
    """
    skipped: list[str] = []
    names = list(_find(root, (), set(), skipped))
    if not names:
        raise DataError(_nothing_found(root))
    labels, class_note = _labels(root, names)
    pixels, looked, reads = _read_all(root, names, size, progress or (lambda _: None))
    good = np.array([not read.reason for read in reads])
    if all(read.grey for read in reads if not read.reason):
        pixels = pixels[:, :1]
    class_names, codes = (), None
    if labels is not None:
        classes, codes = np.unique(np.array(labels)[good], return_inverse=True)
        class_names, codes = tuple(str(c) for c in classes), codes.astype(np.int64)
    sizes = Counter(look.size for look, read in zip(looked, reads, strict=True) if not read.reason)
    n_transparent = sum(read.transparent for read in reads)
    transparent_note = f"Transparent parts of {n_transparent:,} images show white." if n_transparent else ""
    skipped += [f"{_printable(n)}: {read.reason}" for n, read in zip(names, reads, strict=True) if read.reason]
    return Collection(
        name=_printable((root.resolve().name,)) or str(root),
        images=Part(pixels if good.all() else pixels[good], codes),
        class_names=class_names,
        skipped=tuple(skipped),
        note=" ".join(filter(None, (class_note, fit_note(sizes, pixels.shape[-1]), transparent_note))),
    )


def _read_all(
    root: Path, names: Sequence[Names], size: int | None, tell: Callable[[str], None]
) -> tuple[Pixels, list[_Read], list[_Read]]:
    # Twice over the files: their headers, which settle the common size, then their pixels.
    paths = [root.joinpath(*parts) for parts in names]
    tell(f"Reading {len(paths):,} images from {root}")
    with _strict_pillow(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        looked = list(_in_batches(pool, lambda i: _look(paths[i]), len(paths)))
        _check_readable(root, names, looked)
        side = choose_side(Counter(look.size for look in looked if not look.reason)) if size is None else size
        pixels = np.empty((len(paths), 3, side, side), np.uint8)
        reads: list[_Read] = []

        def read(i: int) -> _Read:
            return looked[i] if looked[i].reason else _decode(paths[i], pixels[i])

        for one in _in_batches(pool, read, len(paths)):
            reads.append(one)
            if len(reads) % PROGRESS_EVERY == 0:
                tell(f"{len(reads):,} of {len(paths):,} images read")
    _check_readable(root, names, reads)
    return pixels, looked, reads


def _find(folder: Path, parts: Names, seen: set[tuple[int, int]], skipped: list[str]) -> Iterator[Names]:
    # Links are followed, each folder is entered once: a link that leads back to a folder above ends there.
    try:
        status = folder.stat()
        entries = sorted(os.listdir(folder))
    except OSError as error:
        skipped.append(f"{_printable(parts) or folder}: folder cannot be read ({error.strerror})")
        return
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return
    seen.add(identity)
    for entry in entries:
        path = folder / entry
        if entry.startswith("."):
            continue
        if entry.lower().endswith(SUFFIXES) and path.is_file():
            yield (*parts, entry)
        elif path.is_dir():
            yield from _find(path, (*parts, entry), seen, skipped)


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


def _check_readable(root: Path, names: Sequence[Names], reads: Sequence[_Read]) -> None:
    bad = [f"{_printable(n)}: {read.reason}" for n, read in zip(names, reads, strict=True) if read.reason]
    if 2 * len(bad) > len(reads):
        raise DataError(
            f"{root}: {len(bad):,} of {len(reads):,} image files cannot be read ({'; '.join(bad[:3])}"
            f"{'; …' if len(bad) > 3 else ''}); expected at least half of them to be whole. Copy or convert them again."
        )


def _look(path: Path) -> _Read:
    # The size alone, from the file's header.
    try:
        with Image.open(path, formats=FORMATS) as image:
            return _Read(size=image.size)
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file; each is named to the user
        return _Read(reason=_reason(error))


def _decode(path: Path, target: Pixels) -> _Read:
    # The picture into target (3, side, side).
    side = target.shape[-1]
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.draft(None, (2 * side, 2 * side))  # large JPEGs: decode no finer than antialiasing needs
            ImageOps.exif_transpose(image, in_place=True)
            flat, transparent = _flat(image)
        array = np.asarray(fit(flat, side))
    except MemoryError:
        raise
    except Exception as error:  # as in _look
        return _Read(reason=_reason(error))
    if array.ndim == 2:
        target[:] = array
        return _Read(grey=True, transparent=transparent)
    target[:] = array.transpose(2, 0, 1)
    grey = bool((target[0] == target[1]).all() and (target[0] == target[2]).all())
    return _Read(grey=grey, transparent=transparent)


def _flat(image: Image.Image) -> tuple[Image.Image, bool]:
    # The image in mode L or RGB, and whether anything of it was transparent.
    if image.mode.startswith("I"):
        deep = np.clip(np.asarray(image), 0, 65535).astype(np.int64)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8)), False
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no known range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if layer.getchannel("A").getextrema() != (255, 255):
            return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"), True
        return layer.convert("RGB"), False
    return image.convert("L" if image.mode in ("1", "L") else "RGB"), False


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or damaged at its beginning"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _printable(parts: Names) -> str:
    # Names that are not UTF-8 must not break a report or a log later on.
    return os.fsencode("/".join(parts)).decode("utf-8", "replace")


def _in_batches(pool: ThreadPoolExecutor, read: Callable[[int], _Read], n: int) -> Iterator[_Read]:
    # read(0) … read(n - 1) in order; many to a task, since handing over a task costs as much as a small image.
    batches = [range(start, min(start + BATCH, n)) for start in range(0, n, BATCH)]
    for reads in pool.map(lambda batch: [read(i) for i in batch], batches):
        yield from reads


@contextmanager
def _strict_pillow() -> Iterator[None]:
    # Around all threads, since warning filters belong to the process: oversized images (decompression bombs) are
    # refused instead of warned about; remarks on odd metadata are of no use to anyone.
    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
