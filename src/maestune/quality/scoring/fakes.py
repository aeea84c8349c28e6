"""Samples of images as somebody else left them: in a folder, an .npz file or any other set, brought to the form of the real ones.

They are brought to the size of the real images by the same antialiased decoding, and to their channels. Files that cannot be
read are named and left out.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and numpy publish partly unknown types; our own signatures stay strict.

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maestune.data import to_uint8
from maestune.data.collection import Collection, Part, Pixels, content_keys
from maestune.data.decode import Read
from maestune.data.decoding import Decoders, reading_note
from maestune.data.folder import SUFFIXES
from maestune.data.hub import is_hub, read_hub
from maestune.data.idx import is_idx, read_idx
from maestune.data.kept import fits, scratch
from maestune.data.load import BUILT_IN
from maestune.data.machine import cache_folder
from maestune.data.npz import read_npz
from maestune.errors import DataError, did_you_mean
from maestune.quality.scoring.measuring import FEWEST, Tell, listed

MOST_SCORED = 50_000  # images, unless another number is asked for: as many as published distances rest on
AT_A_TIME = 1024
LUMA = np.array([299, 587, 114])  # thousandths of red, green and blue in grey (ITU-R BT.601), as in decoding

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Fakes:
    """Samples (N, C, H, W) uint8 with the name of each, of `found` in all; `labels`: what the source itself says of each.

    `keys` (N,): hashes of their pixels.
    """

    images: Tensor
    names: tuple[str, ...]
    found: int
    keys: Keys
    labels: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fingerprint(self) -> str:
        """Changes with the content of any of them, not with their names or order."""
        shape = str(tuple(self.images.shape)).encode()
        return hashlib.blake2b(shape + np.sort(self.keys).astype(">u8").tobytes(), digest_size=8).hexdigest()


def read_fakes(
    source: str | Path | Tensor, shape: tuple[int, int, int], samples: int | None, seed: int, tell: Tell
) -> Fakes:
    """Samples in the form (C, H, W) of the real images: all, 50,000 at most, or as many as are asked for, drawn by the seed.

    `source`: a folder of images, whatever the names of its sub-folders; any other set that `load_images` reads; images (N, C,
    H, W), uint8 or float in [-1, 1]. Raises DataError for what is not there, cannot be read, or is fewer than 12.
    """
    rng = np.random.default_rng(seed)
    if isinstance(source, Tensor):
        found = _of_tensor(source, shape, samples, rng)
    elif _is_plain_folder(source):
        found = _of_folder(Path(source).expanduser(), shape, samples, rng, tell)
    else:
        found = _of_collection(source, shape, samples, rng, tell)
    check_enough(len(found), "images", found.skipped)
    return found


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


def _of_folder(
    root: Path, shape: tuple[int, int, int], samples: int | None, rng: np.random.Generator, tell: Tell
) -> Fakes:
    names = sorted(_find(root))
    if not names:
        raise DataError(
            f"{root}: no images found; expected files ending in {' '.join(SUFFIXES)}, in it or in its sub-folders. Give the "
            "folder that the samples are in."
        )
    tell(f"Reading samples from {root} ({len(names):,} files)")
    order, limit, note = _order(len(names), samples, rng)
    room = _room(min(limit, len(names)), 3, shape[1])
    reads: list[Read] = []
    taken: list[int] = []
    skipped: list[str] = []
    begun = 0
    while len(taken) < limit and begun < len(order):  # whoever cannot be read is replaced by others, if there are any
        batch = np.sort(order[begun : begun + limit - len(taken)])
        begun += len(batch)
        paths = [str(root.joinpath(*names[i])) for i in batch]
        with Decoders(lambda positions, paths=paths: [paths[i] for i in positions], len(batch)) as decoders:
            some = decoders.decode(room[len(taken) : len(taken) + len(batch)], tell)
        together = list(zip(batch.tolist(), some, strict=True))
        taken += [i for i, read in together if not read.reason]
        skipped += [f"{_printable(names[i])}: {read.reason}" for i, read in together if read.reason]
        reads += some
    if not taken:
        raise DataError(
            f"{root}: none of the {len(reads):,} image files could be read ({listed(skipped)}). Copy or convert them again."
        )
    pixels, coloured = _in_channels(room[: len(taken)], shape[0])
    notes = (note, reading_note(reads, shape[1]), _colour_note(coloured))
    return Fakes(
        images=torch.from_numpy(pixels),
        names=tuple(_printable(names[i]) for i in taken),
        found=len(names),
        keys=content_keys(Part(pixels)),
        skipped=tuple(skipped),
        notes=tuple(filter(None, notes)),
    )


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
    pixels, coloured = _in_channels(pixels[rows], shape[0])
    return Fakes(
        images=torch.from_numpy(np.ascontiguousarray(pixels)),
        names=tuple(map(str, rows.tolist())),
        found=len(order),
        keys=content_keys(Part(pixels)),
        labels=labels,
        skipped=collection.skipped,
        notes=tuple(filter(None, (note, collection.note, _colour_note(coloured)))),
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
    return Fakes(whole, tuple(map(str, rows.tolist())), len(images), keys, notes=tuple(filter(None, (note,))))


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


def _find(root: Path) -> Iterator[tuple[str, ...]]:
    # Links to files are followed, links to folders are not: one of them may lead back to a folder above.
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        above = Path(folder).relative_to(root).parts
        yield from ((*above, name) for name in files if not name.startswith(".") and name.lower().endswith(SUFFIXES))


def _room(n: int, channels: int, side: int) -> Pixels:
    """Room for pixels (n, channels, side, side): in memory, or on disk where they do not fit."""
    if fits(n, side, None):
        return np.empty((n, channels, side, side), np.uint8)
    folder = cache_folder() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return scratch(folder / "samples", n, side)[:, :channels]


def _in_channels(pixels: Pixels, channels: int) -> tuple[Pixels, int]:
    """Pixels (N, 1 or 3, H, W) with so many channels, and how many images lost their colours by that."""
    n, own, _, side = pixels.shape
    if own == channels:
        return pixels, 0
    if channels == 3:
        return np.ascontiguousarray(np.repeat(pixels, 3, axis=1)), 0
    grey = _room(n, 1, side)
    coloured = 0
    for start in range(0, n, AT_A_TIME):
        some = pixels[start : start + AT_A_TIME]
        odd = (some != some[:, :1]).any(axis=(1, 2, 3))
        grey[start : start + len(some)] = some[:, :1]
        mixed = np.einsum("nchw,c->nhw", some[odd].astype(np.int64), LUMA)
        grey[start + np.flatnonzero(odd), 0] = ((mixed + 500) // 1000).astype(np.uint8)
        coloured += int(odd.sum())
    return grey, coloured


def _colour_note(coloured: int) -> str:
    if not coloured:
        return ""
    return f"{coloured:,} samples have colours and the real images have none: they were made grey, and their colours are not judged."


def _printable(parts: tuple[str, ...]) -> str:
    # Names that are not UTF-8 must not break a report later on.
    return os.fsencode("/".join(parts)).decode("utf-8", "replace")
