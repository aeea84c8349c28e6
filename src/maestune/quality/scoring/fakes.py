"""Samples of images as somebody else left them: in a folder, an .npz file or any other set, brought to the form of the real ones.

They are brought to the size of the real images by the same antialiased decoding, and to their channels. Files that cannot be
read are named and left out. Those of a folder can be gone through a few at a time, so that they are never all in memory.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and numpy publish partly unknown types; our own signatures stay strict.

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maestune.data import to_uint8
from maestune.data.collection import Collection, Part, content_keys
from maestune.data.decoding import reading_note
from maestune.data.folder import SUFFIXES
from maestune.data.hub import is_hub, read_hub
from maestune.data.idx import is_idx, read_idx
from maestune.data.load import BUILT_IN
from maestune.data.npz import read_npz
from maestune.errors import DataError, did_you_mean
from maestune.quality.scoring.folders import Folder, find_images, read_again, read_parts
from maestune.quality.scoring.measuring import FEWEST, Tell, listed
from maestune.quality.scoring.pixels import colour_note, in_channels, part_size, room

MOST_SCORED = 50_000  # images, unless another number is asked for: as many as published distances rest on

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Fakes:
    """Samples with the name of each, of `found` in all; `labels`: what the source itself says of each.

    `images` (N, C, H, W) uint8; None where they lie in files, at `paths`, and are not kept in memory. `shape`: (C, H, W).
    `keys` (N,): hashes of their pixels.
    """

    images: Tensor | None
    names: tuple[str, ...]
    found: int
    shape: tuple[int, int, int]
    keys: Keys
    labels: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fingerprint(self) -> str:
        """Changes with the content of any of them, not with their names or order."""
        shape = str((len(self), *self.shape)).encode()
        return hashlib.blake2b(shape + np.sort(self.keys).astype(">u8").tobytes(), digest_size=8).hexdigest()

    def pictures(self, rows: Sequence[int]) -> Tensor:
        """Some of the images (n, C, H, W), read again where they are not in memory; DataError where that cannot be done."""
        if self.images is not None:
            return self.images[torch.tensor(rows, dtype=torch.int64)]
        pixels = read_again([self.paths[i] for i in rows], self.shape[1])
        return torch.from_numpy(in_channels(pixels, self.shape[0])[0])


def read_fakes(
    source: str | Path | Tensor, shape: tuple[int, int, int], samples: int | None, seed: int, tell: Tell
) -> Fakes:
    """Samples in the form (C, H, W) of the real images: all, 50,000 at most, or as many as are asked for, drawn by the seed.

    `source`: a folder of images, whatever the names of its sub-folders; any other set that `load_images` reads; images (N, C,
    H, W), uint8 or float in [-1, 1]. Raises DataError for what is not there, cannot be read, or is fewer than 12.
    """
    folder = find_folder(source, samples, seed)
    if folder is not None:
        return _all_of(folder, shape, tell)
    rng = np.random.default_rng(seed)
    if isinstance(source, Tensor):
        found = _of_tensor(source, shape, samples, rng)
    else:
        found = _of_collection(source, shape, samples, rng, tell)
    check_enough(len(found), "images", found.skipped)
    return found


def find_folder(source: str | Path | Tensor, samples: int | None, seed: int) -> Folder | None:
    """The files of a folder that are to be scored; None where the source is something else. DataError where they are too few."""
    if isinstance(source, Tensor) or not _is_plain_folder(source):
        return None
    root = Path(source).expanduser()
    files = find_images(root)
    check_enough(len(files), "images", ())
    return Folder(root, files, *_order(len(files), samples, np.random.default_rng(seed)))


def go_through(folder: Folder, shape: tuple[int, int, int], tell: Tell) -> Generator[Tensor, None, Fakes]:
    """Samples in the form (C, H, W) of the real images, as many at a time as extractors look at; returns what was read.

    Raises DataError where fewer than 12 can be read.
    """
    tell(f"Reading samples from {folder.root} ({len(folder.files):,} files)")
    reading = yield from read_parts(folder, shape, part_size(shape[1]), tell)
    check_enough(len(reading.taken), "images", reading.skipped)
    notes = (folder.note, reading_note(reading.reads, shape[1]), colour_note(reading.coloured))
    return Fakes(
        images=None,
        names=tuple(map(folder.name, reading.taken)),
        found=len(folder.files),
        shape=shape,
        keys=reading.keys,
        skipped=reading.skipped,
        notes=tuple(filter(None, notes)),
        paths=tuple(map(folder.path, reading.taken)),
    )


def check_enough(n: int, what: str, skipped: tuple[str, ...]) -> None:
    """Raises DataError for fewer samples than an interval can be told from."""
    if n < FEWEST:
        unread = f" ({len(skipped)} could not be read: {listed(skipped)})" if skipped else ""
        raise DataError(
            f"There are {n} {what} to be scored{unread}; at least {FEWEST} are needed for values with intervals, and 1,000 "
            "for values that say something. Generate more."
        )


def _is_plain_folder(source: str | Path) -> bool:
    path = Path(source).expanduser()
    built_in = isinstance(source, str) and source in BUILT_IN
    return not built_in and path.is_dir() and not is_hub(source) and not any(is_idx(entry) for entry in path.iterdir())


def _all_of(folder: Folder, shape: tuple[int, int, int], tell: Tell) -> Fakes:
    """The samples of a folder with their pixels."""
    pixels = room(min(folder.limit, len(folder.files)), shape[0], shape[1])
    read: list[Fakes] = []

    def parts() -> Iterator[Tensor]:
        read.append((yield from go_through(folder, shape, tell)))

    n = 0
    for part in parts():
        pixels[n : n + len(part)] = part.numpy()
        n += len(part)
    return replace(read[0], images=torch.from_numpy(pixels[:n]))


def _of_collection(
    source: str | Path, shape: tuple[int, int, int], samples: int | None, rng: np.random.Generator, tell: Tell
) -> Fakes:
    collection = _collection(source, shape[1], tell)
    parts = [part for part in (collection.images, collection.held_out) if part is not None]
    pixels = np.concatenate([part.pixels for part in parts]) if len(parts) > 1 else parts[0].pixels
    order, limit, note = _order(len(pixels), samples, rng)
    rows = np.sort(order[:limit])
    labels = None
    if collection.class_names and all(part.labels is not None for part in parts):
        codes = np.concatenate([part.labels for part in parts if part.labels is not None])[rows]
        labels = tuple(collection.class_names[code] for code in codes)
    pixels, coloured = in_channels(pixels[rows], shape[0])
    return Fakes(
        images=torch.from_numpy(np.ascontiguousarray(pixels)),
        names=tuple(map(str, rows.tolist())),
        found=len(order),
        shape=shape,
        keys=content_keys(Part(pixels)),
        labels=labels,
        skipped=collection.skipped,
        notes=tuple(filter(None, (note, collection.note, colour_note(coloured)))),
    )


def _of_tensor(images: Tensor, shape: tuple[int, int, int], samples: int | None, rng: np.random.Generator) -> Fakes:
    if (
        images.ndim != 4
        or tuple(images.shape[1:]) != shape
        or not (images.is_floating_point() or images.dtype == torch.uint8)
    ):
        raise DataError(
            f"Samples of shape {tuple(images.shape)} and type {images.dtype} were given beside real images of shape {shape}; "
            f"expected (N, {', '.join(map(str, shape))}), uint8 or float in [-1, 1]. Write them to a folder to have them fitted."
        )
    if images.is_floating_point() and not bool(torch.isfinite(images).all()):
        raise DataError("Some samples hold values that are not finite numbers (NaN or infinity). Leave them out.")
    order, limit, note = _order(len(images), samples, rng)
    rows = np.sort(order[:limit])
    some = images.detach().cpu()[torch.from_numpy(rows)]
    whole = some if some.dtype == torch.uint8 else to_uint8(some)
    keys = content_keys(Part(whole.numpy()))
    return Fakes(whole, tuple(map(str, rows.tolist())), len(images), shape, keys, notes=tuple(filter(None, (note,))))


def _collection(source: str | Path, side: int, tell: Tell) -> Collection:
    if isinstance(source, str) and source in BUILT_IN:
        return BUILT_IN[source](side)
    if is_hub(source):
        return read_hub(str(source), side, tell)
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(
            f"{path}: no such file or folder; expected the folder of the samples, or an .npz file of them. "
            f"{did_you_mean(str(source), BUILT_IN)}"
        )
    if path.is_dir() or is_idx(path):
        return read_idx(path, side)
    if path.suffix.lower() == ".npz":
        return read_npz(path, side)
    single = path.name.lower().endswith(SUFFIXES)
    raise DataError(
        f"{path}: {'a single image' if single else 'not a set of images'}; expected a folder of images, or an .npz file. "
        + (f"Give the folder: {path.parent}." if single else "Unpack an archive first and give its folder.")
    )


def _order(found: int, samples: int | None, rng: np.random.Generator) -> tuple[NDArray[np.intp], int, str]:
    """Positions in the order in which they are taken, how many are, and a sentence where not all are."""
    limit = MOST_SCORED if samples is None else samples
    if found <= limit:
        note = f"{samples:,} samples were asked for, and there are {found:,}." if samples and samples > found else ""
        return np.arange(found), max(found, 1), note
    return rng.permutation(found), limit, f"{limit:,} of {found:,} samples are scored, drawn by the seed."
