"""What a VAE says of images that it has not learnt from: bounds on their likelihood, and what its latents carry.

Bounds are told as costs, in nats per image, mean over images; divided by C·H·W·ln 2 they are bits per dimension. The
logistic is a distribution of 256 levels; a Gaussian is a density, which bounds the mass of a level's bin when it is
averaged over the bin (dequantisation, Theis et al. 2016, arXiv 1511.01844). Both are costs of the same images. The
Bernoulli cross-entropy is no distribution of grey levels: its costs can be compared among Bernoullis alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from maestune.families.vae.losses import LEVEL, latent_kl, sampled
from maestune.families.vae.networks import VaeModel

MEASURES = ("elbo_nats", "elbo_bpd", "iwae_nats", "kl_nats", "active_units")

IWAE_SAMPLES = 64
# The gap between the bounds varies from image to image by a thirtieth to a seventh of what the bounds do, so that far fewer
# images tell it, and 64 draws for each are dear.
IWAE_IMAGES = 128
ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, section 5.2
PIXELS_AT_ONCE = 2**20  # of images that pass the decoder together: memory does not grow with their number


@torch.no_grad()
def held_out_scores(model: VaeModel, images: Tensor, generator: torch.Generator) -> dict[str, float]:
    """The `MEASURES` of images (N, C, H, W) in [-1, 1]; everything random comes from the generator.

    `elbo_nats`: the negative evidence lower bound (β = 1, no free bits), one draw an image; `elbo_bpd`: the same in bits per
    value of a pixel, of 256 levels: exact for the logistic likelihood, of uniformly dequantised values for the Gaussian, and
    for Bernoulli, which has no levels, no likelihood of grey images at all. `iwae_nats`: the tighter bound
    of Burda et al. 2016 (arXiv 1509.00519) with 64 draws: the former less the gap between the two, which is measured on
    the first 128 images. `kl_nats`: what the latents know of an image. `active_units`: how many of them have means whose
    variance over images is above 0.01.
    """
    network, likelihood = model.sampler, model.likelihood
    bin_nats = images[0].numel() * math.log(LEVEL) if likelihood.of == "density" else 0.0
    costs: list[Tensor] = []
    kls: list[Tensor] = []
    means: list[Tensor] = []
    for x in images.split(_rows(images)):
        x = _dequantised(x, model, generator)
        mean, log_variance = network.encode(x)
        logits = network.decode(sampled(mean, log_variance, _normal(mean, generator)))
        costs.append(likelihood.cost(x, logits, network.log_scale) - bin_nats)
        kls.append(latent_kl(mean, log_variance).sum(1))
        means.append(mean)
    # Sums over thousands of images in double precision, so that bounds that differ little are told apart.
    kl = _mean(torch.cat(kls))
    elbo = _mean(torch.cat(costs)) + kl
    active = torch.cat(means).var(0, correction=0) > ACTIVE_VARIANCE
    return {
        "elbo_nats": elbo,
        "elbo_bpd": elbo / (images[0].numel() * math.log(2.0)),
        "iwae_nats": elbo - importance_gap(model, images[:IWAE_IMAGES], IWAE_SAMPLES, generator),
        "kl_nats": kl,
        "active_units": float(active.sum()),
    }


@torch.no_grad()
def importance_gap(model: VaeModel, images: Tensor, samples: int, generator: torch.Generator) -> float:
    """By how many nats an image the bound with so many draws is above the one with one draw, on average; at least 0.

    log 1/K Σ w_k - 1/K Σ log w_k with w_k = p(x, z_k) / q(z_k|x), from the same K draws.
    """
    x = _dequantised(images, model, generator)
    log_weights = torch.cat(list(_log_weights(model, x, samples, generator))).reshape(len(x), samples).double()
    return _mean(torch.logsumexp(log_weights, 1) - math.log(samples) - log_weights.mean(1))


def _log_weights(model: VaeModel, x: Tensor, samples: int, generator: torch.Generator) -> Iterator[Tensor]:
    """log p(x|z) + log p(z) - log q(z|x) of every draw, image by image, (N·K,) in pieces."""
    network = model.sampler
    for some in x.split(max(1, _rows(x) // samples)):
        mean, log_variance = (t.repeat_interleave(samples, 0) for t in network.encode(some))
        noise = _normal(mean, generator)
        z = sampled(mean, log_variance, noise)
        prior_over_posterior = 0.5 * (noise * noise + log_variance - z * z).sum(1)
        rows = _rows(x)
        repeated = some.repeat_interleave(samples, 0).split(rows)
        cost = [
            model.likelihood.cost(a, network.decode(b), network.log_scale)
            for a, b in zip(repeated, z.split(rows), strict=True)
        ]
        yield prior_over_posterior - torch.cat(cost)


def _dequantised(x: Tensor, model: VaeModel, generator: torch.Generator) -> Tensor:
    """Pixels anywhere in the bins of their levels, for a density; as they are otherwise."""
    if model.likelihood.of != "density":
        return x
    uniform = torch.rand(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)
    return x + LEVEL * (uniform - 0.5)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype).to(like.device)


def _rows(images: Tensor) -> int:
    """How many of these images pass at once."""
    return max(1, PIXELS_AT_ONCE // images[0].numel())


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
