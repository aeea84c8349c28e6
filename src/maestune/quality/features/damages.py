"""Real images made worse in known ways, and by how much: what a feature extractor are tested with."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from maestune.data import ImageData, Images, to_float

MOST_IMAGES = 500  # more would change the numbers little and cost time
LEAST_IMAGES = 32  # fewer of a class or a side would tell more of themselves than of what is missing
NOISE = (0.25, 0.6)  # standard deviations in [-1, 1]: grain, and hard to recognise
UNSEEN = 0.02  # noise of two or three of 256 grey levels
FOR_VARIETY = 2000  # images from which the direction of greatest variety is taken

REAL, NEAR_COPIES, AS_MANY = "real", "near-copies", "real, as many"
BLUR, GRAIN = ("blur 1", "blur 2"), ("noise 1", "noise 2")
LESS = ("drop 1", "drop 2", "drop 3")
GROWING = ((REAL, *BLUR), (REAL, *GRAIN), (NEAR_COPIES, *GRAIN), (AS_MANY, *LESS))
"""Chains of damages, each worse than the one before it."""


def damaged(data: ImageData, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Training images made worse, with the name of what was done; float in [-1, 1].

    - "real": at most 500, untouched; "near-copies": the same with noise that nobody sees.
    - "blur 1" < "blur 2", "noise 1" < "noise 2": damages of growing strength.
    - "real, as many" < "drop 1" < "drop 2" < "drop 3": a quarter of the variety is missing, half, and nearly all, each with
      as many images, since a distance at fewer comes out larger. Classes are missing where there are labels (at last all
      but one), else a side of the direction in which the images differ most (at last three quarters).
    """
    order = torch.randperm(len(data.train), generator=generator)
    clean = to_float(data.train.take(order[:MOST_IMAGES]).images)
    yield REAL, clean
    yield NEAR_COPIES, _noisy(clean, UNSEEN, generator)
    for name, width in zip(BLUR, blur_widths_pixels(data.shape), strict=True):
        yield name, blurred(clean, width)
    for name, deviation in zip(GRAIN, NOISE, strict=True):
        yield name, _noisy(clean, deviation, generator)
    kept = _with_less_variety(data.train, order)
    if kept:
        n = min(MOST_IMAGES, *(len(rows) for rows in kept.values()))
        for name, rows in {AS_MANY: order, **kept}.items():
            yield name, to_float(data.train.take(rows[:n]).images)


def blur_widths_pixels(shape: tuple[int, int, int]) -> tuple[float, float]:
    """Standard deviations of a weak and a strong Gaussian blur, growing with the image."""
    weak = 0.25 + min(shape[1:]) / 32
    return weak, 2.0 * weak


def blurred(images: Tensor, width_pixels: float) -> Tensor:
    """Images (N, C, H, W) under a Gaussian blur of a standard deviation in pixels; borders repeated, range kept."""
    channels, height, width = images.shape[1:]
    reach = max(1, min(math.ceil(3.0 * width_pixels), height, width))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width_pixels) ** 2)
    weights = weights / weights.sum()
    padded = functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(padded, weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return functional.conv2d(rows, weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _noisy(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    noise = torch.empty_like(images).normal_(0.0, deviation, generator=generator)
    return (images + noise).clamp(-1.0, 1.0)


def _with_less_variety(train: Images, order: Tensor) -> dict[str, Tensor]:
    """Positions of what is left when variety is missing, by name, from most to least; what is too little is left out."""
    present = torch.unique(train.labels) if train.labels is not None else torch.empty(0)
    k = len(present)
    if train.labels is not None and k >= 2:
        left = {name: n for name, n in zip(LESS, (k - k // 4, k - k // 2, 1), strict=True) if n < k}
        if k == 2:
            del left[LESS[-1]]  # half of two classes is all but one
        kept = {name: order[torch.isin(train.labels[order], present[:n])] for name, n in left.items()}
    else:
        looked_at = order[:FOR_VARIETY]
        rank = _along_greatest_variety(train.take(looked_at)).argsort().argsort() / len(looked_at)
        kept = {name: looked_at[rank < share] for name, share in zip(LESS, (0.75, 0.5, 0.25), strict=True)}
    return {name: rows for name, rows in kept.items() if len(rows) >= LEAST_IMAGES}


def _along_greatest_variety(images: Images) -> Tensor:
    """Where each of the images lies on the first principal component of the pixels of the first 500 (N,)."""
    pixels = to_float(images.images).flatten(1).double()
    some = pixels[:MOST_IMAGES] - pixels[:MOST_IMAGES].mean(dim=0)
    direction = some.T @ torch.linalg.eigh(some @ some.T).eigenvectors[:, -1]
    sign = torch.sign(direction[direction.abs().argmax()])  # of two opposite directions always the same
    return pixels @ (direction * sign)
