"""Pixels of samples brought to the channels of the real images, and room for them."""

from __future__ import annotations

import numpy as np

from maestune.data.collection import Pixels
from maestune.data.image_cache import fits, scratch
from maestune.data.machine import cache_folder
from maestune.quality.features.extractor import BATCH_SIZE

AT_A_TIME = 1024
LARGE = 64  # pixels a side, beyond which fewer images are looked at in one go
LUMA = np.array([299, 587, 114])  # thousandths of red, green and blue in grey (ITU-R BT.601), as in decoding


def part_size(side: int) -> int:
    """How many images are looked at in one go: what a network computes on the way takes many times their room, in every thread."""
    return max(1, min(BATCH_SIZE, BATCH_SIZE * LARGE**2 // side**2))


def room(n: int, channels: int, side: int) -> Pixels:
    """Room for pixels (n, channels, side, side): in memory, or on disk where they do not fit."""
    if fits(n, side, None):
        return np.empty((n, channels, side, side), np.uint8)
    folder = cache_folder() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return scratch(folder / "samples", n, side)[:, :channels]


def in_channels(pixels: Pixels, channels: int) -> tuple[Pixels, int]:
    """Pixels (N, 1 or 3, H, W) with so many channels, and how many images lost their colours by that."""
    n, own, _, side = pixels.shape
    if own == channels:
        return pixels, 0
    if channels == 3:
        return np.ascontiguousarray(np.repeat(pixels, 3, axis=1)), 0
    grey = room(n, 1, side)
    coloured = 0
    for start in range(0, n, AT_A_TIME):
        some = pixels[start : start + AT_A_TIME]
        odd = (some != some[:, :1]).any(axis=(1, 2, 3))
        grey[start : start + len(some)] = some[:, :1]
        mixed = np.einsum("nchw,c->nhw", some[odd].astype(np.int64), LUMA)
        grey[start + np.flatnonzero(odd), 0] = ((mixed + 500) // 1000).astype(np.uint8)
        coloured += int(odd.sum())
    return grey, coloured


def colour_note(coloured: int) -> str:
    """A sentence where samples lost their colours; empty where none did."""
    if not coloured:
        return ""
    return f"{coloured:,} samples have colours and the real images have none: they were made grey, and their colours are not scored."
