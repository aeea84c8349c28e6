"""What a family is: it builds networks, names its players and their per-sample losses, and generates samples.

A player's loss is a pure function `(model, batch, hyper, noise) → per-sample losses (B,)`: no randomness of its own
(all of it comes in as `noise`, drawn by the training loop from the trial's generator), no state written, numbers that
may differ between configs of equal shapes only through `hyper`. The same code therefore serves serial training and
training of many members at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from maestune.space import Fusible, Space
from maestune.types import Config

Shape = tuple[int, int, int]  # (C, H, W) of one image
Hyper = Mapping[str, float | Tensor]
Noise = Mapping[str, Tensor]
Tensors = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Tensor, Hyper, Noise], Tensor]


@dataclass(frozen=True)
class Draw:
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
    ("" for none); the decay is the config's `ema`.
    """

    name: str
    loss: Loss
    noise: Mapping[str, Draw]
    every: int = 1
    rate: float = 1.0
    refresh: Callable[[Tensors], Tensors] | None = None
    constrain: Callable[[Tensor, Hyper], Tensor] | None = None
    average: str = ""


class Family(Protocol):
    """A kind of generative model of images (C, H, W) in [-1, 1]."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def fusible(self) -> Fusible:
        """Which parameters may differ between members that are trained as one."""
        ...

    def space(self, shape: Shape, network: str | None = None) -> Space:
        """The default space for images of a shape; its centre is the published recipe.

        `network` chooses among the family's kinds of networks, where it has several; None: by the shape.
        """
        ...

    def full_steps(self, shape: Shape, n_train: int) -> int:
        """Default length of a full training, in steps."""
        ...

    def build(self, config: Config, shape: Shape, generator: torch.Generator) -> nn.Module:
        """The model with freshly initialised weights, drawn from the generator alone."""
        ...

    def players(self, config: Config, shape: Shape) -> tuple[Player, ...]:
        """The players, in the order in which they move within a step."""
        ...

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        """The numbers that losses use, at a progress in [0, 1] of the full training (scheduled values included)."""
        ...

    def latents(self, config: Config, shape: Shape, n: int) -> Mapping[str, Draw]:
        """What n samples need to be drawn from."""
        ...

    def generate(self, model: nn.Module, noise: Noise) -> Tensor:
        """Samples (n, C, H, W) in [-1, 1] from `latents`; pure: the model is not changed."""
        ...

    def signals(self, model: nn.Module, batch: Tensor, hyper: Hyper, noise: Mapping[str, Noise]) -> Tensors:
        """Numbers (0-dimensional) worth watching beside losses and gradient norms (critic scores, accuracy).

        `noise`: each player's of this step, of those that moved. Called only at reports, without gradients; pure.
        """
        ...


def drawer(draws: Mapping[str, Draw]) -> Callable[[torch.Generator], dict[str, Tensor]]:
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


@dataclass(frozen=True)
class Recipe:
    """A published setting: its name, values, and citation."""

    name: str
    config: Config
    citation: str
    note: str = ""
    bibtex: str = field(default="", repr=False)
