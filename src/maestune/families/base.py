"""What a family is: it builds networks, names its players and their per-sample losses, and generates samples.

A player's loss is a pure function `(model, batch, hyper, noise) → per-sample losses (B,)`: no randomness of its own
(all of it comes in as `noise`, drawn by the training loop from the trial's generator), no state written, numbers that
may differ between configs of equal shapes only through `hyper`. The same code therefore serves serial training and
training of many members at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from maestune.data import Batch, DataSpec, Modality
from maestune.space import Fusible, Space
from maestune.types import Config

Hyper = Mapping[str, float | Tensor]
Noise = Mapping[str, Tensor]
Tensors = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Batch, Hyper, Noise], Tensor]


@dataclass(frozen=True)
class NoiseSpec:
    """One random tensor that a loss needs in a step: its distribution and shape."""

    kind: Literal["normal", "uniform"]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Player:
    """One of those who play the game: a submodule of the model with its own loss and optimiser.

    `name` is the submodule's attribute on the model; it is updated every `every`-th step; `rate` multiplies the
    config's learning rate (two time scales). `noise` is what its loss needs. `refresh` tells, from the submodule's
    named tensors, the new values of those buffers that are brought up to date before its update (power iterations of
    spectral norm); it is never part of the loss. `constrain` tells what becomes of each parameter after its update
    (weight clipping). Both are pure. `average` names the submodule that holds the moving average of its parameters
    ("" for none); the decay is the config's `ema`. `lazy`: (n, the loss in its place in every n-th step), for penalties that
    are too dear for every step.
    """

    name: str
    loss: Loss
    noise: Mapping[str, NoiseSpec]
    every: int = 1
    rate: float = 1.0
    refresh: Callable[[Tensors], Tensors] | None = None
    constrain: Callable[[Tensor, Hyper], Tensor] | None = None
    average: str = ""
    lazy: tuple[int, Loss] | None = None

    def loss_at(self, step: int) -> Loss:
        """The loss of a step, counted from 1."""
        return self.lazy[1] if self.lazy is not None and step % self.lazy[0] == 0 else self.loss

    @property
    def periods(self) -> tuple[int, ...]:
        """After how many steps it does the same again."""
        return (self.every,) if self.lazy is None else (self.every, self.lazy[0])


class Family(Protocol):
    """A kind of generative model. What is implemented here holds for families that inherit from it and say nothing else."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def recipe(self) -> str:
        """The published setting at the centre of its space, by its name in the catalogue; "" for none."""
        return ""

    @property
    def fusible(self) -> Fusible:
        """Which parameters may differ between members that are trained as one."""
        ...

    @property
    def sampling_parameters(self) -> frozenset[str]:
        """Parameters that matter only when samples are drawn: other values of them need no other training."""
        return frozenset()

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the scores that are improved where nobody says otherwise."""
        return ("fd",)

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the scores that `measure` tells; described in `maestune.quality.measures`."""
        return ()

    @property
    def modality(self) -> Modality:
        """What it learns from."""
        return "image"

    def check(self, spec: DataSpec) -> None:
        """Raise SettingsError, saying what is needed, for data that it cannot learn from."""

    def conditional(self, config: Config, spec: DataSpec) -> bool:
        """Whether models of this config generate what a label or caption asks for."""
        return False

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        """The default space for data of a kind; its centre is the published recipe.

        `network` chooses among the family's kinds of networks, where it has several; None: by the shape.
        """
        ...

    def full_steps(self, spec: DataSpec, n_train: int) -> int:
        """Default length of a full training, in steps; `n_train`: how many images or tokens there are to learn from."""
        ...

    @property
    def shortest(self) -> float:
        """Share of that length below which trainings tell little about full ones; short budgets train so long."""
        return 1 / 3

    def build(self, config: Config, spec: DataSpec, generator: torch.Generator) -> nn.Module:
        """The model with freshly initialised weights, drawn from the generator alone."""
        ...

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        """The players, in the order in which they move within a step."""
        ...

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        """The numbers that losses and generation use, at a progress in [0, 1] of the full training (schedules included).

        Always of the same names for configs of one structure.
        """
        ...

    def latents(self, config: Config, spec: DataSpec, n: int) -> Mapping[str, NoiseSpec]:
        """What n samples need to be drawn from."""
        ...

    def generate(self, model: nn.Module, hyper: Hyper, noise: Noise) -> Tensor:
        """n samples: images (n, C, H, W) in [-1, 1], or tokens (n, T) int64. Pure: the model is not changed.

        `noise`: the `latents`, and what the samples are asked for: `label` (n,), `caption` (n, L) or, of a text, `prompt`
        (n, P) tokens to go on from, where the data have such.
        """
        ...

    def signals(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Mapping[str, Noise]) -> Tensors:
        """Numbers (0-dimensional) worth watching beside losses and gradient norms (critic scores, accuracy).

        `noise`: each player's of this step, of those that moved. Called only at reports, without gradients; pure.
        """
        return {}

    def measure(self, model: nn.Module, hyper: Hyper, batch: Batch, generator: torch.Generator) -> Mapping[str, float]:
        """The scores named by `measures`, on held-out data; random numbers, if any, from the generator alone.

        Called at rungs, for one member at a time, without gradients.
        """
        return {}

    def failure(self, spec: DataSpec) -> Mapping[str, float]:
        """What the scores of `measure` are for a training that made nothing usable: as bad as guessing, but finite."""
        return {}

    def exhibits(
        self, model: nn.Module, hyper: Hyper, batch: Batch, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Pictures beside the samples, at the end of a full training: name → images (N, C, H, W), drawn in rows of 8."""
        return {}


def drawer(draws: Mapping[str, NoiseSpec]) -> Callable[[torch.Generator], dict[str, Tensor]]:
    """A function that draws them all from a generator, with one call for all normals and one for all uniforms."""
    plans: list[tuple[Callable[..., Tensor], list[str], list[tuple[int, ...]], list[int]]] = []
    for kind, sampler in (("normal", torch.randn), ("uniform", torch.rand)):
        names = [name for name, draw in draws.items() if draw.kind == kind]
        if names:
            shapes = [draws[name].shape for name in names]
            plans.append((sampler, names, shapes, [math.prod(shape) for shape in shapes]))

    def draw(generator: torch.Generator) -> dict[str, Tensor]:
        noise: dict[str, Tensor] = {}
        for sampler, names, shapes, sizes in plans:
            flat = sampler(sum(sizes), generator=generator, device=generator.device)
            noise.update({n: part.view(s) for n, part, s in zip(names, flat.split(sizes), shapes, strict=True)})
        return noise

    return draw
