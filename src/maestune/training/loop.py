"""The training loop: one member of any family, as a generator of reports.

In each step every player whose turn it is draws its noise, computes its per-sample losses, and moves. Everything
random comes from generators of the run, one a purpose, so that configs of a stage see the same data order, and a
training that was paused continues bit by bit as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from maestune.data import ImageData, to_float
from maestune.errors import CheckpointError, SettingsError
from maestune.families.base import Draw, Family, Hyper, Noise, Player
from maestune.training.optimisers import make_optimiser
from maestune.training.run import Run, Training
from maestune.training.schedules import schedule_of
from maestune.types import Config, Report

# What torch.optim.swa_utils averages with: one call for all tensors.
_foreach_lerp_: Callable[[list[nn.Parameter], list[nn.Parameter], float], None] = getattr(torch, "_foreach_lerp_")  # noqa: B009

# Images are turned to float once when that takes no more than this; a larger set costs more to turn, at the start of
# each segment of each trial, than its batches do one by one.
FLOAT_ONCE_BYTES = 64 * 2**20


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
    data = _data(run)
    model = family.build(config, data.shape, run.generator("weights"))
    noise_generator = run.generator("noise")
    batches = _Batches(data.train.images.to(run.device), int(config.number("batch_size")), run.generator("order"))
    seats = [_Seat(player, model, config) for player in family.players(config, data.shape)]
    if run.state is not None or run.start_steps:
        _restore(run, model, seats, batches, noise_generator)

    base_lr, schedule = config.number("lr"), schedule_of(config)
    lr = base_lr
    for step in run.steps():
        # The middle of the step: with warm-up or decay neither the first step nor the last has a rate of 0.
        progress = (step - 0.5) / run.full_steps
        hyper = family.hyper(config, progress)
        if schedule is not None:
            lr = base_lr * schedule(progress)
        batch = batches.next()
        noise: dict[str, Noise] = {}
        for seat in seats:
            if step % seat.player.every == 0:
                noise[seat.player.name] = seat.draw(noise_generator)
                seat.move(model, batch, hyper, noise[seat.player.name], lr if schedule is not None else None)
        if not run.due(step):
            continue
        signals = {"lr": lr}
        for seat in seats:
            signals |= seat.signals()
        signals |= family.signals(model, batch, hyper, noise)
        n = run.n_samples(step)
        samples = family.generate(model, n, run.sample_generator()) if n else None
        yield Report(step, signals, samples, state=partial(_state, step, model, seats, batches, noise_generator))
        if not all(map(math.isfinite, signals.values())):
            return


class _Batches:
    """An endless row of batches: the images shuffled, over and over, each seen once before any is seen again."""

    def __init__(self, images: Tensor, size: int, generator: torch.Generator) -> None:
        small = images.numel() * 4 <= FLOAT_ONCE_BYTES
        self.images = to_float(images) if small else images
        self.size = size
        self.generator = generator
        self.order = torch.empty(0, dtype=torch.int64, device=images.device)
        self.position = 0

    def next(self) -> Tensor:
        """The next batch (B, C, H, W), float in [-1, 1]."""
        end = self.position + self.size
        while end > len(self.order):
            shuffled = torch.randperm(len(self.images), generator=self.generator, device=self.images.device)
            self.order = torch.cat((self.order[self.position :], shuffled))
            self.position, end = 0, end - self.position
        batch = self.images.index_select(0, self.order[self.position : end])
        self.position = end
        return batch if batch.dtype == torch.float32 else to_float(batch)

    def state(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state(), "ahead": self.order[self.position :].clone()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["generator"])
        self.order, self.position = state["ahead"].to(self.images.device), 0


class _Seat:
    """A player at the table: its parameters, optimiser, average and last signals."""

    def __init__(self, player: Player, model: nn.Module, config: Config) -> None:
        self.player = player
        self.module = model.get_submodule(player.name)
        self.parameters = list(self.module.parameters())
        self.optimiser = make_optimiser(self.parameters, config, config.number("lr") * player.rate)
        self.draw = _drawer(player.noise)
        self.decay = config.number("ema", 0.0)
        self.average = list(model.get_submodule(player.average).parameters()) if player.average else []
        self.moves = 0
        self.loss: Tensor | None = None
        self.remembered: dict[str, float] = {}

    def move(self, model: nn.Module, batch: Tensor, hyper: Hyper, noise: Noise, lr: float | None) -> None:
        """One update of the player's parameters; `lr` None keeps the rate."""
        player = self.player
        if player.refresh is not None:
            player.refresh(self.module)
        loss = player.loss(model, batch, hyper, noise).mean()
        # Only this player's gradients are computed; the others' parameters are passed through.
        for parameter, gradient in zip(self.parameters, torch.autograd.grad(loss, self.parameters), strict=True):
            parameter.grad = gradient
        if lr is not None:
            for group in self.optimiser.param_groups:
                group["lr"] = lr * player.rate
        self.optimiser.step()
        if player.constrain is not None:
            player.constrain(self.module)
        self.moves += 1
        self.loss = loss.detach()
        if self.average:
            # Short at first, so that the average is not held back by the initial weights
            # (tf.train.ExponentialMovingAverage with num_updates).
            decay = min(self.decay, (1.0 + self.moves) / (10.0 + self.moves))
            with torch.no_grad():
                _foreach_lerp_(self.average, self.parameters, 1.0 - decay)

    def signals(self) -> dict[str, float]:
        """Loss and gradient norm of the last move; empty before the first."""
        if self.loss is not None:
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            self.remembered = {
                f"loss_{self.player.name}": float(self.loss),
                f"grad_norm_{self.player.name}": float(nn.utils.get_total_norm(gradients)),
            }
            self.loss = None
        return self.remembered

    def state(self) -> dict[str, Any]:
        return {"optimiser": self.optimiser.state_dict(), "moves": self.moves, "signals": self.remembered}

    def restore(self, state: Mapping[str, Any]) -> None:
        # The optimiser goes on with the very tensors it is given.
        self.optimiser.load_state_dict(_copied(state["optimiser"]))
        self.moves = int(state["moves"])
        self.remembered = dict(state["signals"])


def _drawer(draws: Mapping[str, Draw]) -> Callable[[torch.Generator], Noise]:
    """A function that draws a player's noise, with one call for all normals and one for all uniforms."""
    plans: list[tuple[Callable[..., Tensor], list[str], list[tuple[int, ...]], list[int]]] = []
    for kind, sampler in (("normal", torch.randn), ("uniform", torch.rand)):
        names = [name for name, draw in draws.items() if draw.kind == kind]
        if names:
            shapes = [draws[name].shape for name in names]
            plans.append((sampler, names, shapes, [math.prod(shape) for shape in shapes]))

    def draw(generator: torch.Generator) -> Noise:
        noise: dict[str, Tensor] = {}
        for sampler, names, shapes, sizes in plans:
            flat = sampler(sum(sizes), generator=generator, device=generator.device)
            noise.update({n: part.view(s) for n, part, s in zip(names, flat.split(sizes), shapes, strict=True)})
        return noise

    return draw


def _data(run: Run) -> ImageData:
    if run.data is None:
        raise SettingsError("This model learns from images, and none were given; name them with --data.")
    return run.data


def _state(
    step: int, model: nn.Module, seats: Sequence[_Seat], batches: _Batches, noise: torch.Generator
) -> dict[str, Any]:
    """Everything from which the training continues exactly; copies, so that going on does not change it."""
    return _copied(
        {
            "step": step,
            "model": dict(model.state_dict()),
            "players": {seat.player.name: seat.state() for seat in seats},
            "batches": batches.state(),
            "noise": noise.get_state(),
        }
    )


def _restore(run: Run, model: nn.Module, seats: Sequence[_Seat], batches: _Batches, noise: torch.Generator) -> None:
    state = run.state or {}
    if state.get("step") != run.start_steps:
        given = f"the one given is of step {state.get('step')!r}" if state else "none was given"
        raise CheckpointError(
            f"The training goes on from step {run.start_steps}, which needs the checkpoint of that step; {given}."
        )
    try:
        model.load_state_dict(state["model"])
        for seat in seats:
            seat.restore(state["players"][seat.player.name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint of step {run.start_steps} is not of this config: {error}. Continue with the config that wrote it."
        ) from error
    batches.restore(state["batches"])
    noise.set_state(state["noise"])


Tree = TypeVar("Tree")


def _copied(tree: Tree) -> Tree:
    """Nested dicts, lists and tuples with every tensor copied."""
    node: Any = tree
    if isinstance(node, Tensor):
        return node.detach().clone()  # type: ignore[return-value]
    if isinstance(node, Mapping):
        return {key: _copied(value) for key, value in node.items()}  # type: ignore[return-value]
    if isinstance(node, list | tuple):
        return type(node)(_copied(value) for value in node)  # type: ignore[return-value]
    return tree
