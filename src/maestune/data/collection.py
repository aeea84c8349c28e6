"""What was read from a source, before it is divided into parts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (N, C, H, W), 0…255
Labels = NDArray[np.int64]  # (N,), 0…n_classes - 1
Keys = NDArray[np.uint64]  # (N,), hashes of content

AT_A_TIME = 1024  # images that are read from a file in one go


@dataclass(frozen=True)
class Part:
    """Pixels (N, C, H, W) with labels (N,) and captions (N), where there are any.

    Where the pixels lie in a file (see `kept`), they are in the order of their `keys` there, and the first of them is the
    `first` image in `file`.
    """

    pixels: Pixels
    labels: Labels | None = None
    captions: tuple[str, ...] | None = None
    keys: Keys | None = None
    file: Path | None = None
    first: int = 0

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def content_keys(self) -> Keys:
        """A 64-bit hash (blake2b) of the pixels of every image, (N,); those that are known are not computed again."""
        return content_keys(self) if self.keys is None else self.keys


@dataclass(frozen=True)
class Collection:
    """Images of one size as a source holds them. `held_out` is the source's own test part, where it has one."""

    name: str
    images: Part
    held_out: Part | None = None
    class_names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    note: str = ""


def content_keys(part: Part) -> Keys:
    """A 64-bit hash (blake2b) of the pixels of every image, (N,)."""
    digests: list[bytes] = []
    for start in range(0, len(part), AT_A_TIME):
        some = np.ascontiguousarray(part.pixels[start : start + AT_A_TIME])
        digests += [hashlib.blake2b(image.data, digest_size=8).digest() for image in some]
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
