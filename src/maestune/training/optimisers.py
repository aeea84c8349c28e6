"""Optimisers of one member, as PyTorch computes them, and of many members at once, with every number a vector.

A member's parameters and what the optimiser remembers of each (its *slots*) are lists of tensors, updated in place;
how many updates there were (`moves`) is told by the caller. The two forms compute the same: `move` by PyTorch's own kernels, one call a member, the fastest in eager mode on a CPU;
`fused_move` by elementwise arithmetic over a leading member axis K, for `torch.compile` and for GPUs, where one call a
member would cost more than its arithmetic.
"""

# torch publishes its kernels without types.
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from maestune.errors import SettingsError, did_you_mean
from maestune.types import Config

EPS = 1e-8
RMSPROP_ALPHA = 0.99

Slots = dict[str, list[Tensor]]
"""What an optimiser remembers: for each name one tensor a parameter."""
Numbers = Mapping[str, Any]
"""`lr` and the optimiser's own: floats for one member; for many tensors (K, 1, …), and `moves` among them."""


@dataclass(frozen=True)
class Optimiser:
    """One rule of updating. `numbers`: what it reads of a config; `slots`: what it remembers of each parameter."""

    name: str
    numbers: tuple[str, ...]
    slots: tuple[str, ...]
    _move: Callable[[list[Tensor], list[Tensor], Slots, int, Numbers], None]
    _fused: Callable[[Tensor, Tensor, tuple[Tensor, ...], Numbers], tuple[Tensor, ...]]

    def start(self, parameters: Sequence[Tensor]) -> Slots:
        """Slots before the first update: zeros in the shape of the parameters."""
        return {name: [torch.zeros_like(p, requires_grad=False) for p in parameters] for name in self.slots}

    @torch.no_grad()
    def move(
        self, parameters: list[Tensor], gradients: list[Tensor], slots: Slots, moves: int, numbers: Numbers
    ) -> None:
        """Update one member in place; `moves`: how many updates this one makes."""
        # The kernels go through the memory of parameters and gradients side by side.
        self._move(parameters, [g.contiguous() for g in gradients], slots, moves, numbers)

    def fused_move(
        self, parameter: Tensor, gradient: Tensor, slots: tuple[Tensor, ...], numbers: Numbers
    ) -> tuple[Tensor, ...]:
        """The new parameter (K, …) and its new slots, after update number `moves` (counted from 1). Pure."""
        return self._fused(parameter, gradient, slots, numbers)


def _adam_move(parameters: list[Tensor], gradients: list[Tensor], slots: Slots, moves: int, numbers: Numbers) -> None:
    # What torch.optim.Adam(fused=True) calls; the layers above cost more than the arithmetic of a small network.
    counts = _counts(parameters, moves)
    kernel = torch._fused_adamw_ if numbers["weight_decay"] > 0 else torch._fused_adam_
    kernel(
        parameters,
        gradients,
        slots["mean"],
        slots["square"],
        [],
        counts,
        lr=numbers["lr"],
        beta1=numbers["beta1"],
        beta2=numbers["beta2"],
        weight_decay=numbers["weight_decay"],
        eps=EPS,
        amsgrad=False,
        maximize=False,
    )


def _adam_fused(p: Tensor, g: Tensor, slots: tuple[Tensor, ...], n: Numbers) -> tuple[Tensor, ...]:
    mean, square = slots
    p = p * (1.0 - n["lr"] * n["weight_decay"])
    mean = mean + (g - mean) * (1.0 - n["beta1"])
    square = n["beta2"] * square + (1.0 - n["beta2"]) * g * g
    root = torch.sqrt(square) / torch.sqrt(1.0 - n["beta2"] ** n["moves"]) + EPS
    return p - n["lr"] / (1.0 - n["beta1"] ** n["moves"]) * mean / root, mean, square


def _rmsprop_move(
    parameters: list[Tensor], gradients: list[Tensor], slots: Slots, moves: int, numbers: Numbers
) -> None:
    rmsprop(
        parameters,
        gradients,
        slots["square"],
        [],
        [],
        _counts(parameters, moves - 1),  # it counts for itself
        foreach=True,
        lr=numbers["lr"],
        alpha=RMSPROP_ALPHA,
        eps=EPS,
        weight_decay=numbers["weight_decay"],
        momentum=0.0,
        centered=False,
    )


def _rmsprop_fused(p: Tensor, g: Tensor, slots: tuple[Tensor, ...], n: Numbers) -> tuple[Tensor, ...]:
    g = g + n["weight_decay"] * p
    square = RMSPROP_ALPHA * slots[0] + (1.0 - RMSPROP_ALPHA) * g * g
    return p - n["lr"] * g / (torch.sqrt(square) + EPS), square


def _sgd_move(parameters: list[Tensor], gradients: list[Tensor], slots: Slots, moves: int, numbers: Numbers) -> None:
    buffers: list[Tensor | None] = list(slots["momentum"]) if numbers["momentum"] else [None] * len(parameters)
    sgd(
        parameters,
        gradients,
        buffers,
        fused=True,
        weight_decay=numbers["weight_decay"],
        momentum=numbers["momentum"],
        lr=numbers["lr"],
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )


def _sgd_fused(p: Tensor, g: Tensor, slots: tuple[Tensor, ...], n: Numbers) -> tuple[Tensor, ...]:
    momentum = n["momentum"] * slots[0] + g + n["weight_decay"] * p
    # Without momentum nothing is remembered, as in PyTorch.
    return p - n["lr"] * momentum, torch.where(n["momentum"] > 0, momentum, slots[0])


def _counts(parameters: Sequence[Tensor], moves: int) -> list[Tensor]:
    """One tensor a parameter, as PyTorch's kernels want to be told how many updates there were."""
    counts = torch.full((len(parameters),), float(moves), dtype=torch.float32, device=parameters[0].device)
    return list(counts.unbind())


OPTIMISERS: Mapping[str, Optimiser] = {
    "adam": Optimiser("adam", ("beta1", "beta2", "weight_decay"), ("mean", "square"), _adam_move, _adam_fused),
    "rmsprop": Optimiser("rmsprop", ("weight_decay",), ("square",), _rmsprop_move, _rmsprop_fused),
    "sgd": Optimiser("sgd", ("momentum", "weight_decay"), ("momentum",), _sgd_move, _sgd_fused),
}
_OPTIONAL = {"momentum": 0.0, "weight_decay": 0.0}


def optimiser_of(config: Config) -> Optimiser:
    """The optimiser that a config asks for by `optimizer`: adam (Kingma & Ba 2015), rmsprop or sgd.

    Weight decay is decoupled for Adam (Loshchilov & Hutter 2019, arXiv 1711.05101) and an L2 penalty for the other
    two, as in PyTorch.
    """
    kind = config.text("optimizer")
    if kind not in OPTIMISERS:
        raise SettingsError(f"optimizer: {kind!r} is not known. {did_you_mean(kind, OPTIMISERS)}")
    return OPTIMISERS[kind]


def numbers_of(config: Config, optimiser: Optimiser) -> dict[str, float]:
    """The optimiser's numbers in a config; no decay and no momentum where it has none."""
    return {name: config.number(name, _OPTIONAL.get(name)) for name in optimiser.numbers}
