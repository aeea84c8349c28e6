"""What a VAE minimises, per image and in nats: how badly pixels are explained, and what the latents cost.

Symbols: x (B, C, H, W) pixels in [-1, 1]; l the decoder's output in the same shape, logits of the pixels' means
tanh(l/2); q(z|x) = N(μ, σ²) over latents (B, Z); p(z) = N(0, 1); β the weight of KL(q‖p).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.data import Batch
from maestune.errors import SettingsError, did_you_mean
from maestune.families.base import Hyper, Noise

LEVELS = 256
LEVEL = 2.0 / (LEVELS - 1)
"""Distance of neighbours among the levels of a pixel in [-1, 1]; each stands for a bin of this width around it."""

ANNEALING = ("constant", "linear", "cyclical")


@dataclass(frozen=True)
class Likelihood:
    """A distribution of pixels around their means.

    `cost(x, l, log_scale)`: -log p(x|z) per image (B,), in nats. `scaled`: whether it has a scale, learned and shared by
    all pixels; otherwise `log_scale` is not looked at. `of`: whether it is a distribution of 256 levels, a density of
    real numbers, or neither (a cross-entropy with grey values).
    """

    cost: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    scaled: bool
    of: Literal["levels", "density", "neither"]
    citation: str


def pixel_means(logits: Tensor) -> Tensor:
    """The means of the pixels, in [-1, 1]: twice the sigmoid of the logits, less 1."""
    return torch.tanh(0.5 * logits)


def bernoulli_cost(x: Tensor, logits: Tensor, log_scale: Tensor | None = None) -> Tensor:
    """Cross-entropy with pixels in [0, 1] as probabilities of white, (B,) nats.

    The likelihood of black and white images; of grey ones the usual stand-in, no likelihood of their values.
    """
    return (F.softplus(logits) - 0.5 * (x + 1.0) * logits).flatten(1).sum(1)


def gaussian_cost(x: Tensor, logits: Tensor, log_scale: Tensor | None) -> Tensor:
    """-log of the density N(x; tanh(l/2), s²), (B,) nats, with s learned and shared (Rybkin et al. 2021)."""
    assert log_scale is not None
    z = (x - pixel_means(logits)) * torch.exp(-log_scale)
    return (0.5 * z * z + log_scale + 0.5 * math.log(2.0 * math.pi)).flatten(1).sum(1)


def logistic_cost(x: Tensor, logits: Tensor, log_scale: Tensor | None) -> Tensor:
    """-log of the logistic's mass in each pixel's bin, (B,) nats; the bins of the two end levels go on without end.

    Exact at any distance: σ(a) - σ(b) = σ(a) σ(-b) (1 - e^(b-a)), where a - b is the same in all bins. Salimans et al.
    2017 (arXiv 1701.05517) have the same masses, Kingma et al. 2016 one scale that does not depend on z, as here.
    """
    assert log_scale is not None
    inverse = torch.exp(-log_scale)
    distance = x - pixel_means(logits)
    below = F.softplus(-inverse * (distance + 0.5 * LEVEL))  # -log σ(a), a the upper edge
    above = F.softplus(inverse * (distance - 0.5 * LEVEL))  # -log σ(-b), b the lower edge
    width = -torch.log(-torch.expm1(-inverse * LEVEL))
    darkest, brightest = x < -1.0 + 0.5 * LEVEL, x > 1.0 - 0.5 * LEVEL
    cost = torch.where(darkest, below, torch.where(brightest, above, below + above + width))
    return cost.flatten(1).sum(1)


LIKELIHOODS: Mapping[str, Likelihood] = {
    "bernoulli": Likelihood(bernoulli_cost, False, "neither", "Kingma & Welling 2014, arXiv 1312.6114"),
    "gaussian": Likelihood(gaussian_cost, True, "density", "Rybkin et al. 2021, arXiv 2006.13202"),
    "logistic": Likelihood(logistic_cost, True, "levels", "Salimans et al. 2017, arXiv 1701.05517"),
}


def likelihood_named(name: str) -> Likelihood:
    """The likelihood of this name; SettingsError where there is none."""
    if name not in LIKELIHOODS:
        raise SettingsError(f"likelihood: {name!r} is not known. {did_you_mean(name, LIKELIHOODS)}")
    return LIKELIHOODS[name]


def latent_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of every latent of every image, (B, Z) nats (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean * mean + torch.exp(log_variance) - 1.0 - log_variance)


def free_bits_shortfall(kl: Tensor, free: float | Tensor) -> Tensor:
    """What latents cost beside their KL (B, Z) because each costs at least `free` nats on the batch's average, ().

    Kingma et al. 2016 (arXiv 1606.04934, eq. 15) have Σ_j max(λ, mean_i KL_ij). That is the mean over the batch of what
    an image's own KL and this shortfall, Σ_j max(0, λ - mean_i KL_ij), add up to: latents below the floor have no
    gradient of their KL, and with λ = 0 the loss of an image is its own.
    """
    return F.relu(free - kl.mean(0)).sum()


def sampled(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = μ + σ ε, (B, Z)."""
    return mean + torch.exp(0.5 * log_variance) * noise


def vae_loss(model: nn.Module, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
    """Reconstruction + β KL with free bits, per image (B,), in nats; one draw of z for each image.

    Reads `beta_now` and `free_bits` (nats per latent) of `hyper`, and `posterior` (B, Z) of the noise.
    """
    net: Any = model
    network, x = net.network, batch["image"]
    mean, log_variance = network.encode(x)
    kl = latent_kl(mean, log_variance)
    logits = network.decode(sampled(mean, log_variance, noise["posterior"]))
    reconstruction = net.likelihood.cost(x, logits, network.log_scale)
    return reconstruction + hyper["beta_now"] * (kl.sum(1) + free_bits_shortfall(kl, hyper["free_bits"]))


def annealing(kind: str, progress: float, warmup: float, cycles: int = 1) -> float:
    """The share of β that holds at a progress in [0, 1] of the full training.

    "constant": all of it. "linear": it rises from 0 over the first `warmup` of the training, then stays (Bowman et al.
    2016, arXiv 1511.06349). "cyclical": the same again in each of `cycles` equal parts, of which it rises in the first
    `warmup` (Fu et al. 2019, arXiv 1903.10145). Raises SettingsError for another kind.

    >>> [annealing("linear", p, 0.5) for p in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    >>> [annealing("cyclical", p, 0.5, 2) for p in (0.0, 0.125, 0.25, 0.5, 0.625, 1.0)]
    [0.0, 0.5, 1.0, 0.0, 0.5, 1.0]
    """
    if kind not in ANNEALING:
        raise SettingsError(f"kl_schedule: {kind!r} is not known. {did_you_mean(kind, ANNEALING)}")
    if kind == "constant" or warmup <= 0 or progress >= 1:
        return 1.0
    position = progress * cycles % 1.0 if kind == "cyclical" else progress
    return min(1.0, position / warmup)
