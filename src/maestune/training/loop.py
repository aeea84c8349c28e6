"""The training loop: one member of any family, as a generator of reports.

In each step every player whose turn it is draws its noise, computes its per-sample losses, and moves. Everything
random comes from generators of the run, one a purpose, so that configs of a stage see the same data order, and a
training that was paused continues bit by bit as if it had not been. `fused` trains many members in one step; both
read and write the same checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from maestune.data import Batch, Data
from maestune.errors import CheckpointError, SettingsError
from maestune.families.base import Family, Hyper, Loss, Noise, Player
from maestune.training.evaluation import evaluate_checkpoint, sample_inputs
from maestune.training.optimisers import clipped, numbers_of, optimiser_of
from maestune.training.replay import Replay
from maestune.training.run import Run, Training
from maestune.training.schedules import schedule_of
from maestune.training.stream import Stream, source_of
from maestune.types import Config, Report

# What torch.optim.swa_utils averages with: one call for all tensors.
_foreach_lerp_: Callable[[list[Tensor], list[Tensor], float], None] = getattr(torch, "_foreach_lerp_")  # noqa: B009


def family_training(family: Family) -> Training:
    """The training of a family's models, as the campaign wants it: (config, run) → reports."""
    return partial(train, family)


def train(family: Family, config: Config, run: Run) -> Iterator[Report]:
    """Train one config for one segment; yields a report where one is due.

    Reads from the config, beside what the family and the optimiser read: `batch_size`, `lr`, `ema`, `schedule`.
    Signals: `loss_<player>` (mean over the batch), `grad_norm_<player>` (L2), `lr` (before each player's rate), and
    the family's. A report with a signal that is not finite says that the training diverged, and is the last.
    Raises SettingsError without data, CheckpointError when the run's state does not fit.
    """
    data = data_of(run)
    model = family.build(config, data.spec, run.generator("weights"))
    players = family.players(config, data.spec)
    stream = Stream(source_of(data, config, run.device), int(config.number("batch_size")), players, run)
    seats = [_PlayerState(player, model, config) for player in players]
    if run.state is not None or run.start_steps:
        _restore(run, model, seats, stream)

    base_lr, schedule = config.number("lr"), schedule_of(config)
    lr = base_lr
    for step in run.steps():
        progress = progress_of(step, run)
        hyper = family.hyper(config, progress)
        if schedule is not None:
            lr = base_lr * schedule(progress)
        batch, noise = stream.next(step)
        for seat in seats:
            if seat.player.name in noise:
                seat.move(step, model, batch, hyper, noise[seat.player.name], lr)
        if not run.due(step):
            continue
        signals = {"lr": lr}
        for seat in seats:
            signals |= seat.signals()
        with torch.no_grad():
            watched = family.signals(model, batch, hyper, noise)
        signals |= {name: float(value) for name, value in watched.items()}
        samples = None
        if n := run.n_samples(step):
            with torch.no_grad():
                samples = family.generate(model, hyper, sample_inputs(family, config, run, n))
        evaluation = evaluate_checkpoint(family, model, config, hyper, run, step)
        state = partial(_state, step, model, seats, stream)
        yield Report(
            step,
            signals,
            samples,
            evaluation.scores,
            evaluation.choice,
            evaluation.choice_samples,
            evaluation.exhibits,
            state,
        )
        if not all(map(math.isfinite, signals.values())):
            return


def evaluate_best(family: Family, config: Config, run: Run, state: Mapping[str, Any], n: int) -> Report:
    """What the weights of a state are worth, as a report at the end of a full training tells it: n samples, and scores.

    For weights of which it was not known, when they were trained, that they would be the result.
    """
    step = int(state["step"])
    model = family.build(config, data_of(run).spec, run.generator("weights"))
    try:
        model.load_state_dict(state["model"])
    except (KeyError, RuntimeError) as error:
        raise foreign_state(run, error) from error
    hyper = family.hyper(config, progress_of(step, run))
    ending = replace(run, full_steps=step, scored_at=frozenset({step}), validation_steps=frozenset())
    with torch.no_grad():
        samples = family.generate(model, hyper, sample_inputs(family, config, run, n)) if n else None
    evaluation = evaluate_checkpoint(family, model, config, hyper, ending, step)
    return Report(step, samples=samples, scores=evaluation.scores)


def progress_of(step: int, run: Run) -> float:
    """Progress in (0, 1) of the full training at a step.

    The middle of the step: with warm-up or decay neither the first step nor the last has a rate of 0.
    """
    return (step - 0.5) / run.full_steps


def averaging(decay: float, moves: int) -> float:
    """The weight of the newest parameters in their moving average after so many moves.

    Short at first, so that the average is not held back by the initial weights (tf.train.ExponentialMovingAverage
    with num_updates).
    """
    return 1.0 - min(decay, (1.0 + moves) / (10.0 + moves))


def data_of(run: Run) -> Data:
    """The run's data; SettingsError where there is none."""
    if run.data is None:
        raise SettingsError("This model learns from data, and none were given; name them with --data.")
    return run.data


def member_state(
    step: int, tensors: Mapping[str, Tensor], players: Mapping[str, Mapping[str, Any]], stream: Stream
) -> dict[str, Any]:
    """Everything from which a member's training continues exactly; copies, so that going on does not change it.

    `tensors`: the model's parameters and buffers. `players`: of each its optimiser's `slots`, the number of its
    `moves`, and its last `signals`.
    """
    return copied({"step": step, "model": dict(tensors), "players": dict(players), "stream": stream.state()})


def checked_state(run: Run) -> Mapping[str, Any]:
    """The state that a run goes on from; CheckpointError where it is not of the step at which the run starts."""
    state = run.state or {}
    if state.get("step") != run.start_steps:
        given = f"the one given is of step {state.get('step')!r}" if state else "none was given"
        raise CheckpointError(
            f"The training goes on from step {run.start_steps}, which needs the checkpoint of that step; {given}."
        )
    return state


def foreign_state(run: Run, error: Exception) -> CheckpointError:
    """What to raise where a state does not fit the config."""
    return CheckpointError(
        f"The checkpoint of step {run.start_steps} is not of this config: {error}. Continue with the config that wrote it."
    )


class _PlayerState:
    """A player at the table: its parameters, optimiser, average and last signals."""

    def __init__(self, player: Player, model: nn.Module, config: Config) -> None:
        self.player = player
        self.module = model.get_submodule(player.name)
        self.parameters: list[Tensor] = list(self.module.parameters())
        self.optimiser = optimiser_of(config)
        self.numbers = numbers_of(config, self.optimiser)
        self.slots = self.optimiser.start(self.parameters)
        self.decay = config.number("ema", 0.0)
        self.average: list[Tensor] = list(model.get_submodule(player.average).parameters()) if player.average else []
        self.moves = 0
        self.last: tuple[Tensor, Sequence[Tensor]] | None = None  # loss and gradients, until they are told
        self.told: dict[str, float] = {}
        losses = [player.loss, *([player.lazy[1]] if player.lazy else [])]
        self.graded = {loss: Replay(partial(_graded, model, self.parameters, loss)) for loss in losses}

    def move(self, step: int, model: nn.Module, batch: Batch, hyper: Hyper, noise: Noise, lr: float) -> None:
        """One update of the player's parameters at a rate, before its own factor."""
        player = self.player
        if player.refresh is not None:
            with torch.no_grad():
                buffers = dict(self.module.named_buffers())
                for name, fresh in player.refresh({**dict(self.module.named_parameters()), **buffers}).items():
                    buffers[name].copy_(fresh)
        loss, *gradients = self.graded[player.loss_at(step)](batch, hyper, noise)
        numbers = {**self.numbers, "lr": lr * player.rate}
        self.optimiser.move(self.parameters, clipped(gradients, numbers["clip"]), self.slots, self.moves + 1, numbers)
        self.moves += 1
        self.last = loss, gradients
        with torch.no_grad():
            if player.constrain is not None:
                for parameter in self.parameters:
                    parameter.copy_(player.constrain(parameter, hyper))
            if self.average:
                _foreach_lerp_(self.average, self.parameters, averaging(self.decay, self.moves))

    def signals(self) -> dict[str, float]:
        """Loss and gradient norm of the last move; empty before the first."""
        if self.last is not None:
            loss, gradients = self.last
            self.told = {
                f"loss_{self.player.name}": float(loss),
                f"grad_norm_{self.player.name}": float(nn.utils.get_total_norm(gradients)),
            }
            self.last = None
        return self.told

    def state(self) -> dict[str, Any]:
        return {"slots": self.slots, "moves": self.moves, "signals": self.told}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.slots = restored_slots(self.slots, state["slots"])
        self.moves = int(state["moves"])
        self.told = dict(state["signals"])


def _graded(
    model: nn.Module, parameters: Sequence[Tensor], loss: Loss, batch: Batch, hyper: Hyper, noise: Noise
) -> list[Tensor]:
    """The mean loss, and its gradients for the parameters: only this player's, the others' are passed through."""
    mean = loss(model, batch, hyper, noise).mean()
    gradients = torch.autograd.grad(mean, parameters, materialize_grads=True)
    return [mean.detach(), *(gradient.contiguous() for gradient in gradients)]


def restored_slots(fresh: Mapping[str, list[Tensor]], saved: Mapping[str, list[Tensor]]) -> dict[str, list[Tensor]]:
    """Saved slots in the shapes and places of fresh ones; ValueError where they do not fit."""
    if set(fresh) != set(saved):
        raise ValueError(f"its optimiser remembers {sorted(saved)}, this one {sorted(fresh)}")
    restored: dict[str, list[Tensor]] = {}
    for name, tensors in fresh.items():
        for mine, other in zip(tensors, saved[name], strict=True):
            if mine.shape != other.shape:
                raise ValueError(f"the optimiser's {name} is {tuple(other.shape)} instead of {tuple(mine.shape)}")
        restored[name] = [other.to(mine.device, copy=True) for mine, other in zip(tensors, saved[name], strict=True)]
    return restored


def _state(step: int, model: nn.Module, seats: Sequence[_PlayerState], stream: Stream) -> dict[str, Any]:
    return member_state(step, model.state_dict(), {seat.player.name: seat.state() for seat in seats}, stream)


def _restore(run: Run, model: nn.Module, seats: Sequence[_PlayerState], stream: Stream) -> None:
    state = checked_state(run)
    try:
        model.load_state_dict(state["model"])
        for seat in seats:
            seat.restore(state["players"][seat.player.name])
        stream.restore(state["stream"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise foreign_state(run, error) from error


Tree = TypeVar("Tree")


def copied(tree: Tree) -> Tree:
    """Nested dicts, lists and tuples with every tensor copied."""
    node: Any = tree
    if isinstance(node, Tensor):
        return node.detach().clone()  # type: ignore[return-value]
    if isinstance(node, Mapping):
        return {key: copied(value) for key, value in node.items()}  # type: ignore[return-value]
    if isinstance(node, list | tuple):
        return type(node)(copied(value) for value in node)  # type: ignore[return-value]
    return tree
