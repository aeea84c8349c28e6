"""What was read from a source, before it is divided into parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (N, C, H, W), 0…255
Labels = NDArray[np.int64]  # (N,), 0…n_classes - 1


@dataclass(frozen=True)
class Part:
    """Pixels (N, C, H, W) with labels (N,) where there are any."""

    pixels: Pixels
    labels: Labels | None = None

    def __len__(self) -> int:
        return int(self.pixels.shape[0])


@dataclass(frozen=True)
class Collection:
    """Images of one size as a source holds them. `held_out` is the source's own test part, where it has one."""

    name: str
    images: Part
    held_out: Part | None = None
    class_names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    note: str = ""
