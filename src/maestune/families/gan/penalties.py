"""Penalties on the gradient of the discriminator with respect to what it sees, per sample.

Written once for serial training and for many members at once: gradients by `torch.func.grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from maestune.families.base import Noise

# Added under the root of a gradient's norm: the derivative of the root at 0 is infinite.
NORM_FLOOR = 1e-12
# DRAGAN looks around real images, up to this far of the batch's standard deviation (the authors' code).
REACH = 0.5

# At whose images a zero-centred penalty is taken: R1, R2 and both.
ZERO_CENTRED: Mapping[str, tuple[str, ...]] = {"r1": ("real",), "r2": ("fake",), "r1r2": ("real", "fake")}
ONE_CENTRED = ("gp", "dragan")


def zero_centred(squared_norm: Tensor, gamma: float | Tensor) -> Tensor:
    """γ/2 ‖∇D(x)‖², per sample (B,): R1 at real images, R2 at fakes (Mescheder et al. 2018, arXiv 1801.04406)."""
    return 0.5 * gamma * squared_norm


def one_centred(squared_norm: Tensor, weight: float | Tensor) -> Tensor:
    """λ (‖∇D(x̂)‖ - 1)², per sample (B,), at the points of WGAN-GP or DRAGAN."""
    return weight * (torch.sqrt(squared_norm + NORM_FLOOR) - 1.0) ** 2


def points(penalty: str, real: Tensor, fake: Tensor, noise: Noise) -> Tensor:
    """Where a one-centred penalty is taken, (B, C, H, W).

    "gp": between each real image and a fake (Gulrajani et al. 2017, arXiv 1704.00028), `noise["mix"]` uniforms (B,).
    "dragan": around the real images (Kodali et al. 2017, arXiv 1705.07215), x + std · U/2 with the standard deviation
    of all values of the batch, `noise["around"]` uniforms like the images.
    """
    if penalty == "gp":
        return torch.lerp(fake, real, noise["mix"].reshape(-1, *(1,) * (real.ndim - 1)))
    return real + REACH * real.std(correction=0) * noise["around"]


def scores_and_gradient(critic: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B,) and ‖∇D‖² (B,) at x (B, C, H, W), both differentiable in the critic's weights."""

    def total(x: Tensor) -> tuple[Tensor, Tensor]:
        scores = critic(x)
        return scores.sum(), scores

    gradient, scores = torch.func.grad(total, has_aux=True)(x)
    return scores, gradient.flatten(1).square().sum(1)
