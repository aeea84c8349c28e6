"""The games: both players' losses as functions of the discriminator's scores.

Symbols: D(x) the discriminator's score before any sigmoid, r = D(real), f = D(fake), s and t the shares of label smoothing
for real and fake, m the margin of the hinge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from maestune.families.base import Hyper

Number = float | Tensor


@dataclass(frozen=True)
class AdversarialLoss:
    """Per-sample losses (B,) of both players from scores (B,), and where they come from.

    `relative`: the generator's loss looks at the scores of real images too; otherwise it is given none.
    """

    discriminator: Callable[[Tensor, Tensor, Hyper], Tensor]  # (r, f, hyper)
    generator: Callable[[Tensor, Tensor | None], Tensor]  # (f, r)
    citation: str
    relative: bool = False


def _non_saturating_d(r: Tensor, f: Tensor, hyper: Hyper) -> Tensor:
    # Cross-entropy against the target 1 - s for real and t for fake.
    return F.softplus(r) - (1.0 - _smoothing(hyper)) * r + F.softplus(f) - _smoothing(hyper, "_fake") * f


def _non_saturating_g(f: Tensor, r: Tensor | None) -> Tensor:
    return F.softplus(-f)


def _hinge_d(r: Tensor, f: Tensor, hyper: Hyper) -> Tensor:
    margin: Number = hyper.get("margin", 1.0)
    return F.relu(margin - r) + F.relu(margin + f)


def _least_squares_d(r: Tensor, f: Tensor, hyper: Hyper) -> Tensor:
    return 0.5 * ((r - (1.0 - _smoothing(hyper))) ** 2 + (f - _smoothing(hyper, "_fake")) ** 2)


def _least_squares_g(f: Tensor, r: Tensor | None) -> Tensor:
    return 0.5 * (f - 1.0) ** 2


def _wasserstein_d(r: Tensor, f: Tensor, hyper: Hyper) -> Tensor:
    return f - r


def _scored_g(f: Tensor, r: Tensor | None) -> Tensor:
    return -f


def _pairs_d(r: Tensor, f: Tensor, hyper: Hyper) -> Tensor:
    return F.softplus(f - r)


def _pairs_g(f: Tensor, r: Tensor | None) -> Tensor:
    assert r is not None
    return F.softplus(r - f)


def _averages_d(r: Tensor, f: Tensor, hyper: Hyper) -> Tensor:
    return F.softplus(f.mean() - r) + F.softplus(f - r.mean())


def _averages_g(f: Tensor, r: Tensor | None) -> Tensor:
    assert r is not None
    return F.softplus(r.mean() - f) + F.softplus(r - f.mean())


def _smoothing(hyper: Hyper, of: str = "") -> Number:
    return hyper.get(f"label_smoothing{of}", 0.0)


_RELATIVISTIC = "Jolicoeur-Martineau 2018, arXiv 1807.00734"
GAMES: Mapping[str, AdversarialLoss] = {
    "ns": AdversarialLoss(_non_saturating_d, _non_saturating_g, "Goodfellow et al. 2014, arXiv 1406.2661"),
    "hinge": AdversarialLoss(_hinge_d, _scored_g, "Lim & Ye 2017, arXiv 1705.02894"),
    "ls": AdversarialLoss(_least_squares_d, _least_squares_g, "Mao et al. 2017, arXiv 1611.04076"),
    "wgan": AdversarialLoss(_wasserstein_d, _scored_g, "Arjovsky et al. 2017, arXiv 1701.07875"),
    # Each real image against the fake beside it: the loss of R3GAN.
    "relativistic": AdversarialLoss(
        _pairs_d, _pairs_g, f"{_RELATIVISTIC}; Huang et al. 2024, arXiv 2501.05441", relative=True
    ),
    # Each image against the mean of the others.
    "relativistic_average": AdversarialLoss(_averages_d, _averages_g, _RELATIVISTIC, relative=True),
}
