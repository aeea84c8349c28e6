"""The flow family: one player, a straight way from noise to images, and samples by solving an equation.

Flow matching (Lipman et al. 2023, arXiv 2210.02747) on straight ways (Liu et al. 2023, arXiv 2209.03003):
x_t = (1 - t) · noise + t · x, whose velocity x - noise the network learns to tell from x_t, t and what the image shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from maestune.data import Batch, DataSpec
from maestune.errors import SettingsError
from maestune.families import training_space
from maestune.families.base import Family, Hyper, Noise, NoiseSpec, Player
from maestune.families.flow.losses import FlowLoss, velocity_error
from maestune.families.flow.networks import FlowModel, build_model, condition_of, guided, make_network
from maestune.families.flow.solvers import solve
from maestune.families.flow.space import flow_space, full_steps
from maestune.space import Fusible, Space
from maestune.types import Config

CHUNK = 512  # samples made at once, so that memory stays bounded
MEASURED_TIMES = 4  # at which every held-out image is measured
GUIDANCES = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # one row of eight samples each, in the exhibit
# What changes numbers alone; of the switches, whether they are used at all changes the code.
FUSIBLE = Fusible(
    numbers=training_space.NUMBERS | {"time_mean", "condition_dropout", "guidance"},
    switches=training_space.SWITCHES | {"dropout"},
)
_HYPER = ("time_mean", "condition_dropout", "guidance", "dropout")


@dataclass(frozen=True)
class Flow(Family):
    """Images (C, H, W) in [-1, 1] from noise, as a caption or a label asks for where the data have such."""

    name: str = "flow"
    fusible: Fusible = field(default=FUSIBLE, repr=False)

    @property
    def sampling_parameters(self) -> frozenset[str]:
        """What samples are drawn with, once a model is trained."""
        return frozenset({"guidance", "solver", "solver_steps"})

    @property
    def measures(self) -> tuple[str, ...]:
        """The error of the velocity on held-out images."""
        return ("flow_loss",)

    @property
    def recipe(self) -> str:
        """The published setting at the centre of its space."""
        return "dit-small"

    def check(self, spec: DataSpec) -> None:
        """Raise SettingsError for data that are no images."""
        if len(spec.shape) != 3:
            raise SettingsError("flow learns from images, and these data are text. Use --model lm, or give images.")

    def conditional(self, config: Config, spec: DataSpec) -> bool:
        """Models of data with captions or labels always generate what these ask for."""
        return condition_of(spec) != ""

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        """The default space; its centre is the recipe. `network`: "dit" (the default up to 16 pixels) or "unet"."""
        return flow_space(spec, network)

    def full_steps(self, spec: DataSpec, n_train: int) -> int:
        """Default length of a full training, in steps."""
        return full_steps(spec, n_train)

    def build(self, config: Config, spec: DataSpec, generator: torch.Generator) -> FlowModel:
        """The velocity network with fresh weights, drawn from the generator alone, on its device."""
        return build_model(config, spec, generator)

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        """The velocity network alone."""
        size = int(config.number("batch_size"))
        draws = {"noise": NoiseSpec("normal", (size, *spec.image)), "time": NoiseSpec("uniform", (size,))}
        if condition_of(spec):
            draws["drop"] = NoiseSpec("uniform", (size,))
        masks = 0
        if config.number("dropout", 0.0) > 0:
            with torch.device("meta"):
                shapes = make_network(config, spec).backbone.dropout_shapes
            draws |= {f"mask_{i}": NoiseSpec("uniform", (size, *shape)) for i, shape in enumerate(shapes)}
            masks = len(shapes)
        loss = FlowLoss(condition_of(spec), config.text("time_sampling"), masks)
        return (Player("network", loss, draws, average="average" if config.number("ema", 0.0) > 0 else ""),)

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        """The location of logit-normal times, the shares dropped, and guidance, as they are."""
        values: Mapping[str, Any] = dict(config.items_)
        return {name: values[name] for name in _HYPER if name in values}

    def latents(self, config: Config, spec: DataSpec, n: int) -> dict[str, NoiseSpec]:
        """The noise that samples begin as."""
        return {"latent": NoiseSpec("normal", (n, *spec.image))}

    @torch.no_grad()
    def generate(self, model: nn.Module, hyper: Hyper, noise: Noise) -> Tensor:
        """Samples (n, C, H, W) in [-1, 1] of what is asked for, by guidance `hyper["guidance"]` (1 where there is none).

        Drawn from the moving average where it is kept. Without `caption` (or `label`) in `noise`: samples of anything.
        """
        assert isinstance(model, FlowModel)
        latents, asked = noise["latent"].split(CHUNK), noise.get(model.asked_by)
        parts = [None] * len(latents) if asked is None else asked.split(CHUNK)
        guidance = hyper.get("guidance", 1.0)
        found: list[Tensor] = []
        for latent, part in zip(latents, parts, strict=True):
            velocity = guided(model.sampler, part, len(latent), guidance)
            found.append(solve(model.solver, velocity, latent, model.solver_steps).clamp(-1.0, 1.0))
        return torch.cat(found)

    @torch.no_grad()
    def measure(self, model: nn.Module, hyper: Hyper, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """`flow_loss`: mean squared error of the velocity over held-out images, pixels and times in [0, 1].

        Of what samples are drawn from (the average), without anything dropped. Times lie evenly in [0, 1], each image's
        apart from each other, and noise comes from the generator, so that models measured with equal ones can be compared.
        """
        assert isinstance(model, FlowModel)
        x, net = batch["image"], model.sampler
        n = len(x)
        total = 0.0
        for j in range(MEASURED_TIMES):
            u = torch.rand(n, generator=generator, device=x.device, dtype=x.dtype)
            noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            order = (torch.arange(n, device=x.device) + j * n // MEASURED_TIMES) % n
            t = (order + u) / n
            for rows in torch.arange(n, device=x.device).split(CHUNK):
                asked = batch[model.asked_by][rows] if net.conditioner is not None else None
                condition = net.conditioner(asked) if net.conditioner is not None else None
                total += float(velocity_error(net, x[rows], noise[rows], t[rows], condition).sum())
        return {"flow_loss": total / (n * MEASURED_TIMES)}

    def failure(self, spec: DataSpec) -> dict[str, float]:
        """Of a network that always says 0: the mean square of x - noise, at most 2 for x in [-1, 1]."""
        return {"flow_loss": 2.0}

    @torch.no_grad()
    def exhibits(self, model: nn.Module, hyper: Hyper, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """`guidance`: eight conditions from equal noise, with guidance growing from 1 in the first row to 8 in the last."""
        assert isinstance(model, FlowModel)
        if not model.asked_by:
            return {}
        asked = batch[model.asked_by][:8]
        shape = (len(asked), *batch["image"].shape[1:])
        latent = torch.randn(shape, generator=generator, device=batch["image"].device, dtype=batch["image"].dtype)
        noise = {"latent": latent, model.asked_by: asked}
        return {"guidance": torch.cat([self.generate(model, {**hyper, "guidance": g}, noise) for g in GUIDANCES])}
