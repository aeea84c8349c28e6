"""The velocity network, v(x, t, what is asked for), and the model around it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.data import DataSpec
from maestune.families.flow.dit import DiT
from maestune.families.flow.solvers import SOLVERS, Velocity
from maestune.families.flow.text import Condition, Conditioner, LabelTable, TextEncoder, joined
from maestune.families.flow.unet import UNet
from maestune.families.layers import initialise
from maestune.types import Config

TIME_FEATURES = 64
# Times in [0, 1] are read as the steps 0…1000 of DDPM, for which the frequencies were made (Ho et al. 2020).
TIME_SCALE, LONGEST_PERIOD = 1000.0, 10_000.0


def time_features(t: Tensor) -> Tensor:
    """Cosines and sines (B, 64) of times (B,) in [0, 1], in falling frequencies (Vaswani et al. 2017, arXiv 1706.03762)."""
    half = TIME_FEATURES // 2
    exponents = torch.arange(half, device=t.device, dtype=t.dtype) / half
    angles = t[:, None] * (TIME_SCALE * torch.exp(-math.log(LONGEST_PERIOD) * exponents))
    return torch.cat((angles.cos(), angles.sin()), 1)


class VelocityNetwork(nn.Module):
    """v(x, t, condition): the direction from noise to images at x (B, C, H, W) and times t (B,)."""

    def __init__(self, backbone: DiT | UNet, conditioner: Conditioner | None, features: int) -> None:
        super().__init__()
        self.time_in, self.time_out = nn.Linear(TIME_FEATURES, features), nn.Linear(features, features)
        self.conditioner = conditioner
        self.backbone = backbone

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        asked: Condition | None = None,
        masks: Sequence[Tensor] = (),
        rate: float | Tensor = 0.0,
    ) -> Tensor:
        """The velocity (B, C, H, W). `masks`: uniforms of each dropout, none for no dropout."""
        vector = self.time_out(F.silu(self.time_in(time_features(t))))
        return self.backbone(x, vector if asked is None else vector + asked.vector, asked, masks, rate)


class FlowModel(nn.Module):
    """The velocity network, its moving average if any, and how samples are drawn from it.

    `asked_by`: what the batch calls what is asked for ("caption", "label", "" for nothing).
    """

    average: VelocityNetwork | None

    def __init__(
        self, network: VelocityNetwork, average: VelocityNetwork | None, asked_by: str, solver: str, solver_steps: int
    ) -> None:
        super().__init__()
        self.network = network
        self.average = average
        self.asked_by = asked_by
        self.solver, self.solver_steps = SOLVERS[solver], solver_steps

    @property
    def sampler(self) -> VelocityNetwork:
        """The network that samples are drawn from: the average where there is one."""
        return self.network if self.average is None else self.average


def condition_of(spec: DataSpec) -> str:
    """What samples are asked for by: "caption" where there are captions, else "label" where there are, else ""."""
    return "caption" if spec.words else "label" if spec.classes else ""


def build_model(config: Config, spec: DataSpec, generator: torch.Generator) -> FlowModel:
    """The network with fresh weights, drawn from the generator alone, on its device; its average begins equal to it."""
    with torch.device("meta"):  # layers are made without values, so that no global random state is touched
        networks = [make_network(config, spec) for _ in range(1 + (config.number("ema", 0.0) > 0))]
    for network in networks:
        network.to_empty(device=generator.device)
    fill(networks[0], generator)
    average = None
    if len(networks) == 2:
        average = networks[1].requires_grad_(False)
        average.load_state_dict(networks[0].state_dict())
    return FlowModel(
        networks[0], average, condition_of(spec), config.text("solver"), int(config.number("solver_steps"))
    )


def make_network(config: Config, spec: DataSpec) -> VelocityNetwork:
    """The velocity network of a config, its weights without values."""
    width, depth, heads = (int(config.number(name)) for name in ("width", "depth", "heads"))
    attended = config.text("caption_use", "pooled") == "attended"
    text_width = int(config.number("text_width", 0))
    words = text_width if attended else 0
    conv = config.text("network") == "unet"
    features = 2 * width if conv else width
    backbone = (
        UNet(spec.image, width, depth, heads, features, words)
        if conv
        else DiT(spec.image, int(config.number("patch")), width, depth, heads, words)
    )
    encoder = None
    if spec.words:
        text_depth = int(config.number("text_depth"))
        encoder = TextEncoder(spec.words, spec.caption_words, text_width, text_depth, features, attended)
    elif spec.classes:
        encoder = LabelTable(spec.classes, features)
    return VelocityNetwork(backbone, Conditioner(encoder, features) if encoder else None, features)


@torch.no_grad()
def fill(network: VelocityNetwork, generator: torch.Generator) -> None:
    """Fill every weight from the generator alone: uniform in ±1/√(inputs), norms neutral, what begins at zero 0."""
    initialise(network, generator)
    for layer in network.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
    for layer in network.backbone.begin_at_zero:
        for parameter in layer.parameters():
            parameter.zero_()


def guided(network: VelocityNetwork, asked: Tensor | None, n: int, guidance: float | Tensor) -> Velocity:
    """(x, t) → the velocity of n samples that are asked for something, with classifier-free guidance.

    v(∅) + g · (v(asked) - v(∅)), Ho & Salimans 2022 (arXiv 2207.12598). g = 1 is the condition alone: one pass through the
    network, where g is a plain number and not one of many members'. Otherwise both passes are made as one of twice as many
    samples. `asked`: captions (n, L), labels (n,), or None for samples of anything.
    """
    conditioner = network.conditioner

    def plain(condition: Condition | None) -> Velocity:
        return lambda x, t: network(x, x.new_full((1,), t), condition)

    if conditioner is None:
        return plain(None)
    if asked is None:
        return plain(conditioner.of_nothing(n))
    if isinstance(guidance, int | float) and guidance == 1.0:
        return plain(conditioner(asked))
    both = plain(joined(conditioner(asked), conditioner.of_nothing(n)))

    def velocity(x: Tensor, t: float) -> Tensor:
        towards, anywhere = both(torch.cat((x, x)), t).chunk(2)
        return anywhere + guidance * (towards - anywhere)

    return velocity
