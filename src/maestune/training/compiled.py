"""The step of a group as one pure function, for `torch.compile`: losses, gradients and optimiser in one piece.

Nothing here differs from what `fused` does eagerly but the form: no tensor is written in place, and the optimiser is
arithmetic with vectors, so that the compiler can fuse what it likes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from maestune.data import Batch
from maestune.families.base import Loss, Noise, Player
from maestune.families.fusing import FunctionModule
from maestune.training.optimisers import Optimiser, clipped_rows, row_norms

Stacked = dict[str, Tensor]
"""By name, each (K, …)."""


@dataclass(frozen=True)
class Inputs:
    """All that a step is made of. `numbers`: the optimiser's (K,). `update`: what each player's update needs besides (rate,
    corrections, and how much its moving average takes; each (K,))."""

    tensors: Stacked
    slots: Mapping[str, Mapping[str, Sequence[Tensor]]]
    hyper: Stacked
    numbers: Stacked
    update: Mapping[str, Stacked]
    batch: Batch
    noise: Mapping[str, Noise]


@dataclass(frozen=True)
class Outputs:
    """What changed, and of each player its losses (K,) and the norms of its gradients (K,)."""

    tensors: Stacked
    slots: dict[str, dict[str, list[Tensor]]]
    losses: Stacked
    norms: Stacked


Programs = dict[tuple[object, ...], Callable[[Inputs], Outputs]]
"""Compiled steps, by who moves in them, what is shared, and for how many members; of one structure."""


def compiled_step(
    model: nn.Module,
    players: Sequence[Player],
    losses: Mapping[str, Loss],
    own: Mapping[str, Sequence[str]],
    optimiser: Optimiser,
    axis: int | None,
) -> Callable[[Inputs], Outputs]:
    """`step_of`, compiled for the shapes of its first inputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the compiler's own, of what it imports
        import torch._inductor.config as inductor

    inductor.compile_threads = 1  # workers may not have children of their own
    step: Any = step_of(model, players, losses, own, optimiser, axis)
    # With a code object of its own: the compiler keeps only so many programs of one, and refuses more.
    step = FunctionType(step.__code__.replace(), step.__globals__, step.__name__, None, step.__closure__)
    # Losses leave the model as it is (the families' contract) and shapes stay, so that nothing which a step relies on changes
    # between two of its calls, and nothing is looked up again: that would take a tenth of the step of small networks.
    skip = getattr(torch.compiler, "skip_all_guards_unsafe", None)  # older PyTorch looks everything up
    options: Any = None if skip is None else {"guard_filter_fn": skip}
    program = torch.compile(step, dynamic=False, fullgraph=True, options=options)

    def run(inputs: Inputs) -> Outputs:
        with torch.no_grad():
            return program(inputs)

    return run


def step_of(
    model: nn.Module,
    players: Sequence[Player],
    losses: Mapping[str, Loss],
    own: Mapping[str, Sequence[str]],
    optimiser: Optimiser,
    axis: int | None,
) -> Callable[[Inputs], Outputs]:
    """The function of one step in which these players move.

    `losses`: of each player that of such a step. `own`: names of its parameters. `axis`: 0 where members differ in batch and noise, None where they share.
    """

    # Made here, not in the step: the compiler follows calls of modules, not their construction.
    losses_of = {player.name: FunctionModule(model, losses[player.name]) for player in players}

    def step(inputs: Inputs) -> Outputs:
        tensors, slots = dict(inputs.tensors), {}
        values: Stacked = {}
        norms: Stacked = {}
        for player in players:
            if player.refresh is not None:
                fresh = vmap(player.refresh)(under(tensors, player.name))
                tensors |= {f"{player.name}.{name}": t for name, t in fresh.items()}

            def loss(parameters: Stacked, others: Stacked, hyper: Stacked, batch: Batch, noise: Noise) -> Tensor:
                bound = {f"model.{name}": t for name, t in {**others, **parameters}.items()}
                return functional_call(losses_of[player.name], bound, (batch, hyper, noise)).mean()  # noqa: B023

            parameters = {name: tensors[name] for name in own[player.name]}
            others = {name: t for name, t in tensors.items() if name not in parameters}
            every = vmap(grad_and_value(loss), in_dims=(0, 0, 0, axis, axis))
            gradients, values[player.name] = every(
                parameters, others, inputs.hyper, inputs.batch, inputs.noise[player.name]
            )
            norms[player.name] = row_norms(list(gradients.values()))
            clipped = clipped_rows(list(gradients.values()), norms[player.name], inputs.numbers["clip"])

            vectors = {**inputs.numbers, **inputs.update[player.name]}
            slots[player.name] = {slot: [] for slot in optimiser.slots}
            for i, (name, parameter) in enumerate(parameters.items()):
                numbers = {key: _over(vector, parameter) for key, vector in vectors.items()}
                before = tuple(inputs.slots[player.name][slot][i] for slot in optimiser.slots)
                tensors[name], *after = optimiser.fused_move(parameter, clipped[i], before, numbers)
                for slot, value in zip(optimiser.slots, after, strict=True):
                    slots[player.name][slot].append(value)
                if player.constrain is not None:
                    tensors[name] = vmap(player.constrain)(tensors[name], inputs.hyper)
                if player.average:
                    mean = f"{player.average}.{name.removeprefix(f'{player.name}.')}"
                    share = _over(vectors["averaging"], parameter)
                    tensors[mean] = torch.lerp(tensors[mean], tensors[name], share)
        changed = {name: t for name, t in tensors.items() if t is not inputs.tensors[name]}
        return Outputs(changed, slots, values, norms)

    return step


def under(tensors: Mapping[str, Tensor], player: str) -> Stacked:
    """Those of a player, by their names without its own."""
    return {n.removeprefix(f"{player}."): t for n, t in tensors.items() if n.startswith(f"{player}.")}


def _over(vector: Tensor, parameter: Tensor) -> Tensor:
    """A number a member (K,), in a shape that multiplies (K, …)."""
    return vector.view(-1, *(1,) * (parameter.ndim - 1))
