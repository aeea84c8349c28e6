"""One common size: which one, and how an image is brought to it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from maestune.data.collection import Pixels
from maestune.data.decode import fit
from maestune.errors import DataError

# Sides that halve down to 4…7 pixels, as convolutional generators need it. No larger than 64 unless asked for: beyond
# that a search over many trainings takes days without an accelerator.
SIDES = (8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
LARGEST_SIDE = 1024

Sizes = Mapping[tuple[int, int], int]  # (width, height) → number of images


def check_side(side: int) -> int:
    """The side that was asked for; raises DataError when no image can have it."""
    if isinstance(side, bool) or not isinstance(side, int) or not SIDES[0] <= side <= LARGEST_SIDE:
        raise DataError(
            f"Image size {side!r}: expected a whole number of pixels from {SIDES[0]} to {LARGEST_SIDE}, such as 32."
        )
    return side


def choose_side(sizes: Sizes) -> int:
    """The common side of a set of images: the shorter side of the most frequent size, rounded down to one of SIDES."""
    # The larger wins a tie, so that the choice depends on the counts alone and not on the order of the files.
    width, height = max(sizes, key=lambda size: (sizes[size], size))
    return max((side for side in SIDES if side <= min(width, height)), default=SIDES[0])


def fit_note(sizes: Sizes, side: int) -> str:
    """A sentence saying how images of these sizes were brought to a common side; empty where nothing was done."""
    if set(sizes) == {(side, side)}:
        return ""
    width, height = max(sizes, key=lambda size: (sizes[size], size))
    found = f"{width}×{height}" if len(sizes) == 1 else f"{len(sizes)} different sizes (mostly {width}×{height})"
    return f"Images of {found} were brought to {side}×{side}: shorter side scaled, centre kept."


def fit_pixels(pixels: Pixels, side: int) -> Pixels:
    """(N, C, H, W) → (N, C, side, side), image by image as `fit`; the same array where nothing is to do."""
    n, c, height, width = pixels.shape
    if (width, height) == (side, side):
        return pixels
    fitted = np.empty((n, c, side, side), np.uint8)
    for source, target in zip(pixels.reshape(n * c, height, width), fitted.reshape(n * c, side, side), strict=True):
        target[:] = np.asarray(fit(Image.fromarray(source), side))
    return fitted
