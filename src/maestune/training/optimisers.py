"""Optimisers of one member, as PyTorch computes them, and of many members at once, with every number a vector.

A member's parameters and what the optimiser remembers of each (its *slots*) are lists of tensors, updated in place;
how many updates there were (`moves`) is told by the caller. The two forms compute the same: `move` by PyTorch's own
kernels, one call a member, the fastest in eager mode on a CPU; `fused_move` by elementwise arithmetic over a leading
member axis K, for `torch.compile` and for GPUs, where one call a member would cost more than its arithmetic.

Weight decay and L1 shrink what multiplies (matrices, kernels, embeddings: tensors of two dimensions or more), never
biases and the gains of norms, which have one: there is nothing to gain from their being small. nanoGPT and most recipes
for transformers do so.

L1 is decoupled, as AdamW's weight decay is: after the update every weight is moved towards 0 by lr · l1, and stays there
once it has come to it (soft threshold, the proximal step of l1 · |w|; for plain SGD this is ISTA, Beck & Teboulle 2009,
doi 10.1137/080716542; that AdamW's decay is such a step: Zhuang et al. 2022, arXiv 2202.00089). A subgradient in the
gradient would be rescaled by Adam, and would make no weight exactly 0.

Gradients are clipped by their norm over all of a player's parameters (Pascanu et al. 2013, arXiv 1211.5063), before the
optimiser sees them: `clipped` for one member, `clipped_rows` for many.
"""

# torch publishes its kernels without types.
# pyright: reportPrivateImportUsage=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from maestune.errors import SettingsError, did_you_mean
from maestune.types import Config

EPS = 1e-8
RMSPROP_ALPHA = 0.99
CLIP_EPS = 1e-6  # as in torch.nn.utils.clip_grad_norm_
SHRUNK_DIMENSIONS = 2  # of the parameters that weight decay and L1 are for, at least

Slots = dict[str, list[Tensor]]
"""What an optimiser remembers: for each name one tensor a parameter."""
Numbers = Mapping[str, Any]
"""`lr` and the optimiser's own: floats for one member, tensors (K, 1, …) for many."""


@dataclass(frozen=True)
class Optimiser:
    """One rule of updating. `own`: what it alone reads of a config; `slots`: what it remembers of each parameter."""

    name: str
    own: tuple[str, ...]
    slots: tuple[str, ...]
    _move: Callable[[list[Tensor], list[Tensor], Slots, int, Numbers], None]
    _fused: Callable[[Tensor, Tensor, tuple[Tensor, ...], Numbers], tuple[Tensor, ...]]
    _corrections: Callable[[Numbers, Any], dict[str, Any]] = lambda numbers, moves: {}

    @property
    def numbers(self) -> tuple[str, ...]:
        """What is read of a config: its own, and what every optimiser reads."""
        return (*self.own, *_SHARED)

    def start(self, parameters: Sequence[Tensor]) -> Slots:
        """Slots before the first update: zeros in the shape of the parameters."""
        return {name: [torch.zeros_like(p, requires_grad=False) for p in parameters] for name in self.slots}

    @torch.no_grad()
    def move(
        self, parameters: list[Tensor], gradients: list[Tensor], slots: Slots, moves: int, numbers: Numbers
    ) -> None:
        """Update one member in place; `moves`: how many updates this one makes.

        Gradients lie as the parameters do (contiguous): the kernels go through the memory of both side by side.
        """
        if numbers["weight_decay"] > 0:
            for shrinks in (True, False):
                rows = [i for i, p in enumerate(parameters) if (p.ndim >= SHRUNK_DIMENSIONS) == shrinks]
                if rows:
                    own = {name: _chosen(tensors, rows) for name, tensors in slots.items()}
                    decay = numbers["weight_decay"] if shrinks else 0.0
                    decayed = {**numbers, "weight_decay": decay}
                    self._move(_chosen(parameters, rows), _chosen(gradients, rows), own, moves, decayed)
        else:
            self._move(parameters, gradients, slots, moves, numbers)
        if numbers["l1"] > 0:
            shrunk = [p for p in parameters if p.ndim >= SHRUNK_DIMENSIONS]
            step = numbers["lr"] * numbers["l1"]
            if shrunk:  # the soft threshold: w − clamp(w, −step, step)
                torch._foreach_sub_(shrunk, torch._foreach_clamp_max(torch._foreach_clamp_min(shrunk, -step), step))

    def corrections(self, numbers: Numbers, moves: Any) -> dict[str, Any]:
        """What `fused_move` needs besides the numbers for update number `moves` (counted from 1).

        Told apart since a compiler would compute them anew for every few weights: powers cost more than all the rest.
        """
        return self._corrections(numbers, moves)

    def fused_move(
        self, parameter: Tensor, gradient: Tensor, slots: tuple[Tensor, ...], numbers: Numbers
    ) -> tuple[Tensor, ...]:
        """The new parameter (K, …) and its new slots; `numbers` with the `corrections` of this update. Pure."""
        if parameter.ndim - 1 < SHRUNK_DIMENSIONS:  # the first axis is that of the members
            return self._fused(parameter, gradient, slots, {**numbers, "weight_decay": 0.0})
        moved, *after = self._fused(parameter, gradient, slots, numbers)
        step = numbers["lr"] * numbers["l1"]
        return moved - torch.clamp(moved, -step, step), *after


def _adam_move(parameters: list[Tensor], gradients: list[Tensor], slots: Slots, moves: int, numbers: Numbers) -> None:
    # What torch.optim.Adam(fused=True) calls; the layers above cost more than the arithmetic of a small network.
    count = torch.full((), float(moves), dtype=torch.float32, device=parameters[0].device)
    counts = [count] * len(parameters)  # it is only read
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
    return p - n["rate"] * mean / (torch.sqrt(square) / n["root"] + EPS), mean, square


def _adam_corrections(n: Numbers, moves: Any) -> dict[str, Any]:
    # Means that began at 0 are too small at first.
    return {"rate": n["lr"] / (1.0 - n["beta1"] ** moves), "root": (1.0 - n["beta2"] ** moves) ** 0.5}


def _rmsprop_move(
    parameters: list[Tensor], gradients: list[Tensor], slots: Slots, moves: int, numbers: Numbers
) -> None:
    momentum = numbers["momentum"]
    rmsprop(
        parameters,
        gradients,
        slots["square"],
        [],
        slots["momentum"] if momentum else [],
        _counts(parameters, moves - 1),  # it counts for itself
        foreach=True,
        lr=numbers["lr"],
        alpha=RMSPROP_ALPHA,
        eps=EPS,
        weight_decay=numbers["weight_decay"],
        momentum=momentum,
        centered=False,
    )


def _rmsprop_fused(p: Tensor, g: Tensor, slots: tuple[Tensor, ...], n: Numbers) -> tuple[Tensor, ...]:
    g = g + n["weight_decay"] * p
    square = RMSPROP_ALPHA * slots[0] + (1.0 - RMSPROP_ALPHA) * g * g
    momentum = n["momentum"] * slots[1] + g / (torch.sqrt(square) + EPS)
    return p - n["lr"] * momentum, square, _remembered(momentum, slots[1], n)


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
    return p - n["lr"] * momentum, _remembered(momentum, slots[0], n)


def _remembered(momentum: Tensor, before: Tensor, n: Numbers) -> Tensor:
    # Without momentum nothing is remembered, as in PyTorch.
    return torch.where(n["momentum"] > 0, momentum, before)


def _chosen(tensors: list[Tensor], rows: list[int]) -> list[Tensor]:
    return [tensors[i] for i in rows]


def _counts(parameters: Sequence[Tensor], moves: int) -> list[Tensor]:
    """One tensor a parameter, as PyTorch's kernels want to be told how many updates there were."""
    counts = torch.full((len(parameters),), float(moves), dtype=torch.float32, device=parameters[0].device)
    return list(counts.unbind())


_SHARED = ("weight_decay", "l1", "clip")
_OPTIONAL = {"momentum": 0.0, **dict.fromkeys(_SHARED, 0.0)}
OPTIMISERS: Mapping[str, Optimiser] = {
    "adam": Optimiser("adam", ("beta1", "beta2"), ("mean", "square"), _adam_move, _adam_fused, _adam_corrections),
    "rmsprop": Optimiser("rmsprop", ("momentum",), ("square", "momentum"), _rmsprop_move, _rmsprop_fused),
    "sgd": Optimiser("sgd", ("momentum",), ("momentum",), _sgd_move, _sgd_fused),
}


def optimiser_of(config: Config) -> Optimiser:
    """The optimiser that a config asks for by `optimizer`: adam (Kingma & Ba 2015, arXiv 1412.6980), rmsprop or sgd.

    Weight decay is decoupled for Adam (Loshchilov & Hutter 2019, arXiv 1711.05101) and an L2 penalty for the other
    two, as in PyTorch.
    """
    kind = config.text("optimizer")
    if kind not in OPTIMISERS:
        raise SettingsError(f"optimizer: {kind!r} is not known. {did_you_mean(kind, OPTIMISERS)}")
    return OPTIMISERS[kind]


def numbers_of(config: Config, optimiser: Optimiser) -> dict[str, float]:
    """The optimiser's numbers in a config; no decay, L1, clipping and momentum where it has none."""
    return {name: config.number(name, _OPTIONAL.get(name)) for name in optimiser.numbers}


def clipped(gradients: Sequence[Tensor], clip: float) -> list[Tensor]:
    """One member's gradients, shortened as a whole to the norm `clip` where they are longer; as they are with `clip` 0."""
    if clip <= 0:
        return list(gradients)
    factor = (clip / (nn.utils.get_total_norm(gradients) + CLIP_EPS)).clamp(max=1.0)
    return list(torch._foreach_mul(list(gradients), factor))


def row_norms(gradients: Sequence[Tensor]) -> Tensor:
    """L2 norm (K,) of each member's gradients (K, …)."""
    norms = torch.stack([torch.linalg.vector_norm(g.reshape(g.shape[0], -1), dim=1) for g in gradients])
    return torch.linalg.vector_norm(norms, dim=0)


def clipped_rows(gradients: Sequence[Tensor], norms: Tensor, clip: Tensor) -> list[Tensor]:
    """Many members' gradients (K, …), each clipped by its own number: `norms` (K,) and `clip` (K,), 0 for not. Pure."""
    # Where it is 0 the factor is 1 exactly, also for a member whose norm is not finite.
    factors = torch.where(clip > 0, (clip / (norms + CLIP_EPS)).clamp(max=1.0), 1.0)
    return [g * factors.view(-1, *(1,) * (g.ndim - 1)) for g in gradients]
