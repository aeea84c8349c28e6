"""The losses of the two players, per sample, and the penalties on the discriminator's gradient.

Written once for serial training and for many members at once: pure in (model, batch, hyper, noise), gradients with
respect to inputs by `torch.func.grad`. Symbols: D(x) the discriminator's score before any sigmoid, r = D(real),
f = D(fake), s the share of one-sided label smoothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.families.base import Hyper, Noise

# Added under the root of a gradient's norm: the derivative of the root at 0 is infinite.
NORM_FLOOR = 1e-12

Smoothing = float | Tensor


@dataclass(frozen=True)
class Game:
    """Per-sample losses (B,) of both players from scores (B,), and where they come from."""

    discriminator: Callable[[Tensor, Tensor, Smoothing], Tensor]  # (r, f, s)
    generator: Callable[[Tensor], Tensor]  # (f)
    citation: str


def _non_saturating_d(r: Tensor, f: Tensor, s: Smoothing) -> Tensor:
    # Cross-entropy against the target 1 - s for real and 0 for fake.
    return F.softplus(r) - (1.0 - s) * r + F.softplus(f)


def _hinge_d(r: Tensor, f: Tensor, s: Smoothing) -> Tensor:
    return F.relu(1.0 - r) + F.relu(1.0 + f)


def _least_squares_d(r: Tensor, f: Tensor, s: Smoothing) -> Tensor:
    return 0.5 * ((r - (1.0 - s)) ** 2 + f**2)


def _wasserstein_d(r: Tensor, f: Tensor, s: Smoothing) -> Tensor:
    return f - r


GAMES: Mapping[str, Game] = {
    "ns": Game(_non_saturating_d, lambda f: F.softplus(-f), "Goodfellow et al. 2014, arXiv 1406.2661"),
    "hinge": Game(_hinge_d, lambda f: -f, "Lim & Ye 2017, arXiv 1705.02894"),
    "ls": Game(_least_squares_d, lambda f: 0.5 * (f - 1.0) ** 2, "Mao et al. 2017, arXiv 1611.04076"),
    "wgan": Game(_wasserstein_d, lambda f: -f, "Arjovsky et al. 2017, arXiv 1701.07875"),
}


def r1_penalty(squared_norm: Tensor, gamma: float | Tensor) -> Tensor:
    """γ/2 ‖∇D(x)‖² on real images (Mescheder et al. 2018, arXiv 1801.04406), per sample (B,)."""
    return 0.5 * gamma * squared_norm


def gradient_penalty(squared_norm: Tensor, weight: float | Tensor) -> Tensor:
    """λ (‖∇D(x̂)‖ - 1)² between real and fake (Gulrajani et al. 2017, arXiv 1704.00028), per sample (B,)."""
    return weight * (torch.sqrt(squared_norm + NORM_FLOOR) - 1.0) ** 2


def scores_and_gradient(critic: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B,) and ‖∇D‖² (B,) at x (B, C, H, W), both differentiable in the critic's weights."""

    def total(x: Tensor) -> tuple[Tensor, Tensor]:
        scores = critic(x)
        return scores.sum(), scores

    gradient, scores = torch.func.grad(total, has_aux=True)(x)
    return scores, gradient.flatten(1).square().sum(1)


@dataclass(frozen=True)
class GanLosses:
    """The two losses of one structure of GAN; numbers come in by `hyper`, all randomness by `noise`.

    `separate`: real and fake pass the discriminator one after the other, each normalised by itself (batch norm);
    otherwise both pass at once. `masks`: number of dropouts in the discriminator.
    """

    game: Game
    penalty: str  # "none" | "r1" | "gp"
    separate: bool
    masks: int
    instance_noise: bool

    def discriminator(self, model: nn.Module, batch: Tensor, hyper: Hyper, noise: Noise) -> Tensor:
        """Loss of the discriminator on real images (B, C, H, W) against as many fakes, per sample (B,)."""
        net: Any = model
        with torch.no_grad():
            fake = net.generator(noise["latent"])
        real = batch
        if self.instance_noise:
            real = real + hyper["instance_noise"] * noise["real_noise"]
            fake = fake + hyper["instance_noise"] * noise["fake_noise"]
        on_real, on_fake = self._masks(noise, "real"), self._masks(noise, "fake")
        rate = hyper.get("dropout_d", 0.0)

        def critic(x: Tensor, masks: tuple[Tensor, ...] = on_real) -> Tensor:
            return net.discriminator(x, masks, rate).squeeze(1)

        extra: Tensor | None = None
        if self.penalty == "r1":
            r, squared_norm = scores_and_gradient(critic, real)
            f = critic(fake, on_fake)
            extra = r1_penalty(squared_norm, hyper["r1_gamma"])
        elif self.separate:
            r, f = critic(real), critic(fake, on_fake)
        else:
            both = tuple(torch.cat(pair) for pair in zip(on_real, on_fake, strict=True))
            r, f = critic(torch.cat((real, fake)), both).chunk(2)
        if self.penalty == "gp":
            mix = noise["mix"].reshape(-1, *(1,) * (real.ndim - 1))
            _, squared_norm = scores_and_gradient(critic, torch.lerp(fake, real, mix))
            extra = gradient_penalty(squared_norm, hyper["gp_lambda"])
        loss = self.game.discriminator(r, f, hyper.get("label_smoothing", 0.0))
        return loss if extra is None else loss + extra

    def generator(self, model: nn.Module, batch: Tensor, hyper: Hyper, noise: Noise) -> Tensor:
        """Loss of the generator on fresh latents, per sample (B,); the real images are not looked at."""
        net: Any = model
        fake = net.generator(noise["latent"])
        if self.instance_noise:
            fake = fake + hyper["instance_noise"] * noise["fake_noise"]
        f = net.discriminator(fake, self._masks(noise, "fake"), hyper.get("dropout_d", 0.0)).squeeze(1)
        return self.game.generator(f)

    def _masks(self, noise: Noise, side: str) -> tuple[Tensor, ...]:
        return tuple(noise[f"{side}_mask_{i}"] for i in range(self.masks))
