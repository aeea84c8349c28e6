"""A folder of samples: which files are in it, which of them are scored, and their pixels a few at a time."""

# pyright: reportUnknownMemberType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maestune.data.collection import Part, Pixels, content_keys
from maestune.data.decode import Read, decode, strict_pillow
from maestune.data.decoding import Decoders
from maestune.data.folder import SUFFIXES
from maestune.errors import DataError
from maestune.quality.scoring.measuring import Tell, listed
from maestune.quality.scoring.pixels import in_channels

Name = tuple[str, ...]  # parts of a path below the folder


@dataclass(frozen=True)
class Folder:
    """Files of images that were found and not read yet: all `files`, sorted, and in which order they are taken, up to a limit.

    `note`: a sentence where not all are. `labels`: a folder says nothing of its images but their names.
    """

    root: Path
    files: tuple[Name, ...]
    order: NDArray[np.intp]
    limit: int
    note: str = ""
    labels: None = None

    def __len__(self) -> int:
        return min(self.limit, len(self.files))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of those that are taken if all can be read."""
        return tuple(self.name(i) for i in np.sort(self.order[: self.limit]).tolist())

    def path(self, i: int) -> str:
        """Where the file of a position is."""
        return str(self.root.joinpath(*self.files[i]))

    def name(self, i: int) -> str:
        """Its path below the folder, for people: names that are not UTF-8 must not break a report later on."""
        return os.fsencode("/".join(self.files[i])).decode("utf-8", "replace")


@dataclass(frozen=True)
class Reading:
    """What came of reading a folder: positions of the files whose pixels were given, in that order, and why others were not.

    `keys` (n,): hashes of their pixels. `coloured`: how many lost their colours.
    """

    taken: tuple[int, ...]
    reads: tuple[Read, ...]
    skipped: tuple[str, ...]
    keys: NDArray[np.uint64]
    coloured: int


def find_images(root: Path) -> tuple[Name, ...]:
    """Every image file below a folder, sorted; DataError where there is none."""
    names = tuple(sorted(_find(root)))
    if not names:
        raise DataError(
            f"{root}: no images found; expected files ending in {' '.join(SUFFIXES)}, in it or in its sub-folders. Give the "
            "folder that the samples are in."
        )
    return names


def read_parts(folder: Folder, shape: tuple[int, int, int], size: int, tell: Tell) -> Generator[Tensor, None, Reading]:
    """Images (n, C, H, W) of the files in the order in which they are taken, `size` at a time; returns what came of reading them.

    Whoever cannot be read is replaced by others, if there are any. Raises DataError where none could be read.
    """
    reads: list[Read] = []
    taken: list[int] = []
    skipped: list[str] = []
    keys: list[NDArray[np.uint64]] = []
    coloured = 0
    for pixels in _in_parts(_decoded(folder, shape[1], tell, reads, taken, skipped), size):
        part, lost = in_channels(pixels, shape[0])
        coloured += lost
        keys.append(content_keys(Part(part)))
        yield torch.from_numpy(np.ascontiguousarray(part))
    if not taken:
        raise DataError(
            f"{folder.root}: none of the {len(reads):,} image files could be read ({listed(skipped)}). Copy or convert them again."
        )
    return Reading(tuple(taken), tuple(reads), tuple(skipped), np.concatenate(keys), coloured)


def read_again(paths: Sequence[str], side: int) -> Pixels:
    """Pixels (n, 3, side, side) of files that were read before; DataError where one cannot be read any more."""
    pixels = np.empty((len(paths), 3, side, side), np.uint8)
    with strict_pillow():
        for path, target in zip(paths, pixels, strict=True):
            if reason := decode(path, target).reason:
                raise DataError(
                    f"{path}: it was read a moment ago and cannot be read now ({reason}). Leave the samples alone while they are scored."
                )
    return pixels


def _decoded(
    folder: Folder, side: int, tell: Tell, reads: list[Read], taken: list[int], skipped: list[str]
) -> Iterator[Pixels]:
    """Pixels (n, 3, side, side), a few at a time; the lists grow by what came of their files."""
    begun = 0
    while len(taken) < folder.limit and begun < len(folder.order):
        batch = np.sort(folder.order[begun : begun + folder.limit - len(taken)]).tolist()
        begun += len(batch)
        paths = [folder.path(i) for i in batch]
        position = iter(batch)
        with Decoders(lambda positions, paths=paths: [paths[i] for i in positions], len(batch)) as decoders:
            for some, pixels in decoders.decoded(side, tell):
                reads += some
                for read, i in zip(some, position, strict=False):  # the shorter one first: of the other none is lost
                    if read.reason:
                        skipped.append(f"{folder.name(i)}: {read.reason}")
                    else:
                        taken.append(i)
                yield pixels


def _in_parts(pieces: Iterable[Pixels], size: int) -> Iterator[Pixels]:
    """The same images, `size` at a time; fewer at the end."""
    waiting: list[Pixels] = []
    for pixels in pieces:
        waiting.append(pixels)
        while sum(map(len, waiting)) >= size:
            together = np.concatenate(waiting)
            yield together[:size]
            waiting = [together[size:]]
    if sum(map(len, waiting)):
        yield np.concatenate(waiting)


def _find(root: Path) -> Iterator[Name]:
    # Links to files are followed, links to folders are not: one of them may lead back to a folder above.
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        above = Path(folder).relative_to(root).parts
        yield from ((*above, name) for name in files if not name.startswith(".") and name.lower().endswith(SUFFIXES))
