"""Augmentation inside the losses, differentiable, with all that is random handed in (DiffAugment: Zhao et al. 2020, arXiv
2006.10738).

What the discriminator sees, real and made, is augmented alike, and gradients flow through to the generator, so that it does
not learn to make augmented images. Every operation is arithmetic on whole batches: a shift is a product with matrices of
zeros and ones, a hole a product with a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Zhao et al. 2020: the largest shift and the side of the hole, relative to the side of the image.
SHIFT = 0.125
HOLE = 0.5
AUGMENTATIONS = ("none", "translation", "translation+cutout", "colour+translation+cutout")
UNIFORMS = {"colour": 3, "translation": 2, "cutout": 2}  # that each takes


def uniforms(policy: str) -> int:
    """How many uniforms one image takes.

    >>> uniforms("none"), uniforms("colour+translation+cutout")
    (0, 7)
    """
    return sum(UNIFORMS[name] for name in policy.split("+") if policy != "none")


def augmented(images: Tensor, policy: str, drawn: Tensor) -> Tensor:
    """Images (B, C, H, W) in [-1, 1] augmented by a policy of AUGMENTATIONS, from uniforms (B, `uniforms(policy)`)."""
    if policy == "none":
        return images
    names = policy.split("+")
    for name, part in zip(names, drawn.split([UNIFORMS[name] for name in names], 1), strict=True):
        images = {"colour": coloured, "translation": shifted, "cutout": holed}[name](images, part)
    return images


def coloured(images: Tensor, drawn: Tensor) -> Tensor:
    """Brightness moved by up to 0.5, saturation by 0 … 2, contrast by 0.5 … 1.5; uniforms (B, 3)."""
    brightness, saturation, contrast = drawn[:, :, None, None, None].unbind(1)
    images = images + (brightness - 0.5)
    if images.shape[1] > 1:  # grey images have no saturation
        grey = images.mean(1, keepdim=True)
        images = grey + 2.0 * saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (0.5 + contrast) * (images - mean)


def shifted(images: Tensor, drawn: Tensor) -> Tensor:
    """Each image shifted by whole pixels, up to an eighth of its side each way; 0 moves in. Uniforms (B, 2)."""
    height, width = images.shape[2:]
    rows, columns = _shifts(height, drawn[:, 0], images), _shifts(width, drawn[:, 1], images)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def holed(images: Tensor, drawn: Tensor) -> Tensor:
    """A square of half the side set to 0, its centre anywhere in the image; uniforms (B, 2)."""
    height, width = images.shape[2:]
    rows, columns = _inside(height, drawn[:, 0]), _inside(width, drawn[:, 1])
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


def _shifts(side: int, drawn: Tensor, like: Tensor) -> Tensor:
    """Matrices (B, side, side) that shift a column of pixels, each image's by its own number of them."""
    most = int(side * SHIFT + 0.5)
    # A uniform may be rounded up to 1.
    shift = (drawn * (2 * most + 1)).floor().clamp_max(2 * most) - most
    places = torch.arange(side, device=drawn.device)
    return (places[None, :, None] + shift[:, None, None] == places[None, None, :]).to(like.dtype)


def _inside(side: int, drawn: Tensor) -> Tensor:
    """Which places (B, side) along one side are in the hole."""
    hole = int(side * HOLE + 0.5)
    # As the authors' code has it: a hole of even length has one more place to be.
    places = side + 1 - hole % 2
    start = (drawn * places).floor().clamp_max(places - 1) - hole // 2
    offset = torch.arange(side, device=drawn.device) - start[:, None]
    return (offset >= 0) & (offset < hole)
