"""What a family is: it builds networks, names its players and their per-sample losses, and generates samples.

A player's loss is a pure function `(model, batch, hyper, noise) → per-sample losses (B,)`: no randomness of its own
(all of it comes in as `noise`, drawn by the training loop from the trial's generator), no state written, numbers that
may differ between configs of equal shapes only through `hyper`. The same code therefore serves serial training and
training of many members at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from maestune.space import Space
from maestune.types import Config

Shape = tuple[int, int, int]  # (C, H, W) of one image
Hyper = Mapping[str, float | Tensor]
Noise = Mapping[str, Tensor]
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
    config's learning rate (two time scales). `noise` is what its loss needs; `refresh` brings buffers up to date
    before its update (power iterations of spectral norm) and is never part of the loss; `constrain` is applied to
    its parameters after its update (weight clipping). `average` names the submodule that holds the moving average of
    its parameters ("" for none); the decay is the config's `ema`.
    """

    name: str
    loss: Loss
    noise: Mapping[str, Draw]
    every: int = 1
    rate: float = 1.0
    refresh: Callable[[nn.Module], None] | None = None
    constrain: Callable[[nn.Module], None] | None = None
    average: str = ""


class Family(Protocol):
    """A kind of generative model of images (C, H, W) in [-1, 1]."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
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

    def generate(self, model: nn.Module, n: int, generator: torch.Generator) -> Tensor:
        """Samples (n, C, H, W) in [-1, 1] from latents of the generator; the model is not changed."""
        ...

    def signals(self, model: nn.Module, batch: Tensor, hyper: Hyper, noise: Mapping[str, Noise]) -> dict[str, float]:
        """Numbers worth watching beside losses and gradient norms (critic scores, accuracy); called only at reports."""
        ...


@dataclass(frozen=True)
class Recipe:
    """A published setting: its name, values, and citation."""

    name: str
    config: Config
    citation: str
    note: str = ""
    bibtex: str = field(default="", repr=False)
