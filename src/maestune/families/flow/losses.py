"""The loss of flow matching, and at which times it is taken.

Time runs from 0 (noise) to 1 (images).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from maestune.data import Batch
from maestune.families.base import Hyper, Noise
from maestune.families.flow.networks import VelocityNetwork
from maestune.families.flow.text import Condition

# Times closer to the ends than this are not sampled: the quantile of the normal law is infinite there.
EDGE = 1e-6


def spread_times(uniforms: Tensor) -> Tensor:
    """Uniform times (B,) of which each B-th part of [0, 1] has one, as in Kingma et al. 2021 (arXiv 2107.00630).

    The mean loss of a batch varies less than with independent times; images come in random order, so that no image has
    a part of its own.
    """
    n = uniforms.shape[0]
    return (torch.arange(n, device=uniforms.device, dtype=uniforms.dtype) + uniforms) / n


def logit_normal(times: Tensor, mean: float | Tensor) -> Tensor:
    """Uniform times → times whose logit is N(mean, 1): more in the middle (Esser et al. 2024, arXiv 2403.03206)."""
    return torch.sigmoid(mean + torch.special.ndtri(times.clamp(EDGE, 1.0 - EDGE)))


def between(noise: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) · noise + t · x, of images (B, C, H, W) at times (B,)."""
    return torch.lerp(noise, x, t[:, None, None, None])


def velocity_error(
    network: VelocityNetwork,
    x: Tensor,
    noise: Tensor,
    t: Tensor,
    condition: Condition | None,
    masks: Sequence[Tensor] = (),
    rate: float | Tensor = 0.0,
) -> Tensor:
    """Mean squared error over pixels (B,) of the velocity told at x_t against x - noise."""
    told = network(between(noise, x, t), t, condition, masks, rate)
    return (told - (x - noise)).square().flatten(1).mean(1)


@dataclass(frozen=True)
class FlowLoss:
    """The loss of one structure of model; numbers come in by `hyper`, all randomness by `noise`.

    `asked_by`: name of the condition in the batch, "" for none. `time_sampling`: "uniform" or "logit_normal". `masks`: number
    of dropouts in the network.
    """

    asked_by: str
    time_sampling: str
    masks: int

    def __call__(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
        """Per sample (B,); conditions are replaced by "nothing asked" in a share `condition_dropout` of the samples."""
        net: Any = model
        network: VelocityNetwork = net.network
        t = spread_times(noise["time"])
        if self.time_sampling == "logit_normal":
            t = logit_normal(t, hyper["time_mean"])
        condition = None
        if network.conditioner is not None:
            condition = network.conditioner(batch[self.asked_by], noise["drop"] < hyper["condition_dropout"])
        masks = [noise[f"mask_{i}"] for i in range(self.masks)]
        return velocity_error(network, batch["image"], noise["noise"], t, condition, masks, hyper.get("dropout", 0.0))
