"""Many members trained as one step: configs that share shapes and code and differ in numbers.

Parameters and buffers of all members are stacked along a leading member axis K, and a family's losses, written for one
member, run for all of them through `torch.func` (functional_call, vmap). Whatever is a number in serial training is a
vector (K,) here. Members keep their own step, schedule, stream and numbers; those of equal seed share one stream,
because they would draw the same. They come and go one by one between steps, and none can see another: a member's result
does not depend on its neighbours, not even when their weights are NaN.

Array-wise fusion of models was shown by HFTA (Wang et al., MLSys 2021, arXiv 2102.02344), with operators written by hand.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from maestune.data import Batch
from maestune.families.base import Family, Loss, Noise, Player
from maestune.training.compiled import Inputs, Programs, Stacked, compiled_step, under
from maestune.training.evaluation import Evaluation, evaluate_checkpoint, sample_inputs
from maestune.training.loop import averaging, data_of, member_state, progress_of
from maestune.training.member import Member, Task, begin
from maestune.training.optimisers import Slots, clipped_rows, optimiser_of, row_norms
from maestune.training.replay import Replay
from maestune.training.stateless_model import StatelessModel
from maestune.training.stream import source_of
from maestune.types import Report

# Values of samples made in one call: where the samples of all members are more, it takes several calls, so that memory
# stays bounded.
SAMPLE_VALUES = 2**22


@dataclass(frozen=True)
class _Drawn:
    """What a step is made of: the batch, and the noise of the players that move. `axis`: 0 where members differ in it."""

    batch: Batch
    noise: Mapping[str, Noise]
    axis: int | None


class Group:
    """Tasks of one structure, at most `capacity` of them at a time; the others wait for a place.

    Their configs differ in what the family calls fusible and in nothing else. With `programs`, where compiled steps are
    kept between groups of one structure, the step is compiled for the number of members that it begins with: whoever
    ends leaves a row that is computed on and not looked at, until half of the rows are such; then the rest goes on
    eagerly.

    A group of one is computed by other kernels than one of many, and the last row of an odd number of rows by other
    instructions: both round differently. With `even`, a row that nobody looks at makes their number even, so that a
    member's result does not depend on how many there are; without it only a single one gets a row beside it.

    Raises CheckpointError where a run's state does not fit, and whatever `torch.func` or the compiler raises for
    networks that cannot be fused.
    """

    def __init__(
        self,
        family: Family,
        tasks: Iterable[Task],
        capacity: int,
        *,
        programs: Programs | None = None,
        even: bool = True,
    ) -> None:
        self._family = family
        self._waiting = deque(tasks)
        self._capacity = capacity
        first = self._waiting[0]
        data, self._device = data_of(first.run), first.run.device
        self._spec = data.spec
        self._source = source_of(data, first.config, self._device)
        self._players = family.players(first.config, self._spec)
        self._optimiser = optimiser_of(first.config)
        self._stateless = StatelessModel(family.build(first.config, self._spec, first.run.generator("weights")))
        self._own = {
            p.name: [n for n in self._stateless.parameters if n.startswith(f"{p.name}.")] for p in self._players
        }
        self._members: list[Member] = []
        self._tensors: Stacked = {}
        self._slots: dict[str, dict[str, list[Tensor]]] = {p.name: {} for p in self._players}
        self._rows: dict[str, list[tuple[list[Tensor], Slots]]] = {}  # of each player, each member's part of both
        # Of each player losses (K,), and gradients (K, …) or their norms (K,), until they are told.
        self._last: dict[str, tuple[Tensor, Sequence[Tensor] | Tensor]] = {}
        self._graded: dict[tuple[str, Loss], Replay] = {}  # for those who are members at present
        self._hyper: Stacked = {}
        self._numbers: Stacked = {}  # the optimiser's
        self._dropped: set[Hashable] = set()
        self._programs = programs
        self._even = even

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """The members being trained at present."""
        return tuple(m.task.key for m in self._members if m.task.key not in self._dropped)

    def drop(self, key: Hashable) -> None:
        """Go on without a member from the next step, or do not begin it."""
        self._dropped.add(key)

    def reports(self) -> Iterator[dict[Hashable, Report]]:
        """Train all tasks; yields the reports of those members that owe one after the same step, by key.

        They are those of `loop.train`; a member's last is that of its last step, or the first with a signal that is not
        finite.
        """
        self.begin()
        while self.keys:
            drawn = self.step()
            due = [k for k, m in enumerate(self._members) if m.task.run.due(m.step) and m.task.key not in self._dropped]
            if due:
                reports = self._report(due, drawn)
                yield reports
                self._dropped |= {key for key, report in reports.items() if not _finite(report)}
                self._dropped |= {m.task.key for m in self._members if m.step >= m.task.run.until_steps}
            self._compact()
            self._admit()

    def begin(self) -> None:
        """Let in those who wait, as far as there is room."""
        self._admit()

    @torch.no_grad()
    def step(self) -> _Drawn:
        """One step of every member; returns what it was made of."""
        rows: list[Mapping[str, float]] = []
        for member in self._members:
            member.step += 1
            progress = progress_of(member.step, member.task.run)
            member.lr = member.base_lr if member.schedule is None else member.base_lr * member.schedule(progress)
            rows.append(self._family.hyper(member.task.config, progress))
        self._hyper = self._vectors(rows)
        drawn = self._draw()
        moving = [player for player in self._players if player.name in drawn.noise]
        if self._programs is not None:
            self._run(self._programs, moving, drawn)
        else:
            for player in moving:
                self._move(player, drawn)
        return drawn

    # A step ------------------------------------------------------------------------------------------------------

    def _vector(self, numbers: Iterable[float]) -> Tensor:
        return torch.tensor(list(numbers), device=self._device)

    def _vectors(self, rows: Iterable[Mapping[str, float]]) -> Stacked:
        """Numbers of each member by name, as a vector (K,) each; one tensor is made and taken apart."""
        rows = list(rows)
        names = list(rows[0]) if rows else []
        columns = torch.tensor([[row[name] for row in rows] for name in names], device=self._device)
        return dict(zip(names, columns, strict=True))

    def _draw(self) -> _Drawn:
        drawn = {id(m.stream): m.stream.next(m.step) for m in {id(m.stream): m for m in self._members}.values()}
        if len(drawn) == 1:
            ((batch, noise),) = drawn.values()
            return _Drawn(batch, noise, None)
        each = [drawn[id(m.stream)] for m in self._members]
        noise = {
            player: {name: torch.stack([n[player][name] for _, n in each]) for name in tensors}
            for player, tensors in each[0][1].items()
        }
        batch = {name: torch.stack([b[name] for b, _ in each]) for name in each[0][0]}
        return _Drawn(batch, noise, 0)

    def _move(self, player: Player, drawn: _Drawn) -> None:
        """One update of a player in every member."""
        if player.refresh is not None:
            for name, fresh in vmap(player.refresh)(under(self._tensors, player.name)).items():
                self._tensors[f"{player.name}.{name}"].copy_(fresh)
        names = self._own[player.name]
        loss = player.loss_at(self._members[0].step)  # all are in turn
        if (player.name, loss) not in self._graded:
            graded = partial(self._stateless.graded, loss, self._tensors, names, drawn.axis)
            self._graded[player.name, loss] = Replay(graded)
        losses, *gradients = self._graded[player.name, loss](drawn.batch, self._hyper, drawn.noise[player.name])
        used = gradients
        if any(member.numbers["clip"] > 0 for member in self._members):
            used = clipped_rows(gradients, row_norms(gradients), self._numbers["clip"])
        rows = zip(*(gradient.unbind(0) for gradient in used), strict=True)
        for member, (parameters, slots), row in zip(self._members, self._rows[player.name], rows, strict=True):
            numbers = {**member.numbers, "lr": member.lr * member.rates[player.name]}
            member.moves[player.name] += 1
            self._optimiser.move(parameters, list(row), slots, member.moves[player.name], numbers)
        self._last[player.name] = losses, gradients
        if player.constrain is not None:
            for name in names:
                self._tensors[name].copy_(vmap(player.constrain)(self._tensors[name], self._hyper))
        if player.average:
            weights = self._vector(averaging(m.decay, m.moves[player.name]) for m in self._members)
            for name in names:
                parameter = self._tensors[name]
                mean = self._tensors[f"{player.average}.{name.removeprefix(f'{player.name}.')}"]
                mean.lerp_(parameter, weights.view(-1, *(1,) * (parameter.ndim - 1)))

    def _run(self, programs: Programs, moving: Sequence[Player], drawn: _Drawn) -> None:
        """The same for all players that move, compiled."""
        for member in self._members:
            for player in moving:
                member.moves[player.name] += 1
        losses = {player.name: player.loss_at(self._members[0].step) for player in moving}
        rare = tuple(player.name for player in moving if losses[player.name] is not player.loss)
        kind = (*(player.name for player in moving), rare, drawn.axis, len(self._members))
        if kind not in programs:
            # A model of its own: the compiler relies on the tensors it finds there, and the body's are others at each use.
            first = self._members[0].task
            model = self._family.build(first.config, self._spec, first.run.generator("weights"))
            programs[kind] = compiled_step(model, moving, losses, self._own, self._optimiser, drawn.axis)

        numbers = self._vectors(
            {f"{p.name}.{name}": number for p in moving for name, number in self._update(m, p.name).items()}
            for m in self._members
        )
        outputs = programs[kind](
            Inputs(
                tensors=self._tensors,
                slots={p.name: self._slots[p.name] for p in moving},
                hyper=self._hyper,
                numbers=self._numbers,
                update={p.name: under(numbers, p.name) for p in moving},
                batch=drawn.batch,
                noise=drawn.noise,
            )
        )
        self._tensors |= outputs.tensors
        self._slots |= outputs.slots
        for player in moving:
            self._last[player.name] = outputs.losses[player.name], outputs.norms[player.name]

    def _update(self, member: Member, player: str) -> dict[str, float]:
        """What a compiled update needs besides the optimiser's numbers."""
        moves = member.moves[player]
        numbers = {**member.numbers, "lr": member.lr * member.rates[player]}
        corrections = self._optimiser.corrections(numbers, moves)
        return {"lr": numbers["lr"], "averaging": averaging(member.decay, moves), **corrections}

    # Reports -----------------------------------------------------------------------------------------------------

    def _report(self, due: Sequence[int], drawn: _Drawn) -> dict[Hashable, Report]:
        self._tell()
        with torch.no_grad():
            watched = self._stateless.for_all(
                self._family.signals, self._tensors, drawn.axis, drawn.batch, self._hyper, drawn.noise
            )
        columns = {name: values.tolist() for name, values in watched.items()}
        samples = self._samples(due)
        reports: dict[Hashable, Report] = {}
        for k in due:
            member = self._members[k]
            signals = {"lr": member.lr}
            for player in self._players:
                signals |= member.told[player.name]
            signals |= {name: column[k] for name, column in columns.items()}
            evaluation, state = self._evaluate_checkpoint(k), partial(self._state, member)
            reports[member.task.key] = Report(
                member.step,
                signals,
                samples.get(k),
                evaluation.scores,
                evaluation.choice,
                evaluation.choice_samples,
                evaluation.exhibits,
                state,
            )
        return reports

    def _tell(self) -> None:
        """Turn the last losses and gradients into each member's signals."""
        for player, (losses, gradients) in self._last.items():
            norms = gradients if isinstance(gradients, Tensor) else row_norms(gradients)
            values = zip(losses.tolist(), norms.tolist(), strict=True)
            for member, (loss, norm) in zip(self._members, values, strict=True):
                member.told[player] = {f"loss_{player}": loss, f"grad_norm_{player}": norm}
        self._last.clear()

    def _samples(self, due: Sequence[int]) -> dict[int, Tensor]:
        """Samples of the members that owe some, by row; those with the same latents and prompts in one call."""
        found: dict[int, Tensor] = {}
        owing = [(self._members[k].task.run, self._members[k].step, k) for k in due]
        owed = [((n, run.sample_seed, run.split), k) for run, step, k in owing if (n := run.n_samples(step))]
        for (n, *_), same in itertools.groupby(sorted(owed), key=lambda pair: pair[0]):
            rows = [k for _, k in same]
            member = self._members[rows[0]].task
            noise = sample_inputs(self._family, member.config, member.run, n)
            values = math.prod(self._spec.shape) if self._spec.shape else self._spec.tokens
            together = max(1, SAMPLE_VALUES // (n * values))
            for start in range(0, len(rows), together):
                chosen = rows[start : start + together]
                made = self._generate(*self._rows_of(chosen), noise)
                found.update(zip(chosen, made.unbind(0), strict=True))
        return found

    @torch.no_grad()
    def _generate(self, tensors: Stacked, hyper: Stacked, noise: Noise) -> Tensor:
        def one(tensors: Stacked, hyper: Stacked) -> Tensor:
            return self._family.generate(self._stateless.with_(tensors), hyper, noise)

        return vmap(one)(tensors, hyper)

    def _rows_of(self, rows: Sequence[int] | int) -> tuple[Stacked, Stacked]:
        """Tensors and numbers of some members, or of one (without the axis)."""
        tensors = {name: tensor[rows] for name, tensor in self._tensors.items()}
        return tensors, {name: vector[rows] for name, vector in self._hyper.items()}

    def _evaluate_checkpoint(self, k: int) -> Evaluation:
        """As `evaluate_checkpoint`, of one member: held-out scores are computed one by one, as in serial training."""
        tensors, _ = self._rows_of(k)
        member = self._members[k]
        run, config = member.task.run, member.task.config
        hyper = self._family.hyper(config, progress_of(member.step, run))
        return evaluate_checkpoint(self._family, self._stateless.with_(tensors), config, hyper, run, member.step)

    def _state(self, member: Member) -> dict[str, Any]:
        k = self._members.index(member)
        players = {
            player.name: {
                "slots": {slot: [t[k] for t in tensors] for slot, tensors in self._slots[player.name].items()},
                "moves": member.moves[player.name],
                "signals": member.told[player.name],
            }
            for player in self._players
        }
        tensors = {name: self._tensors[own][k] for name, own in self._stateless.saved.items()}
        return member_state(member.step, tensors, players, member.stream)

    # Members -----------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Fill free places with those who wait, where their steps fit those of the others."""
        if self._programs is not None and self._members:
            return  # for so many members it was compiled
        fresh: list[tuple[Member, Stacked, dict[str, Slots]]] = []
        for task in list(self._waiting):
            if task.key in self._dropped or not task.run.steps():
                self._waiting.remove(task)
            elif len(self.keys) + len(fresh) < self._capacity and self._in_turn(task, [m for m, _, _ in fresh]):
                self._waiting.remove(task)
                fresh.append(self._member(task, [m for m, _, _ in fresh]))
        if not fresh:
            return
        self._tell()
        if (len(self._members) + len(fresh)) % 2 and (self._even or len(self._members) + len(fresh) == 1):
            task = replace(fresh[0][0].task, key=object())
            self._dropped.add(task.key)
            fresh.append(self._member(task, [fresh[0][0]]))
        keep = list(range(len(self._members)))
        for name in fresh[0][1]:
            rows = torch.stack([tensors[name] for _, tensors, _ in fresh])
            self._tensors[name] = torch.cat((self._tensors[name], rows)) if keep else rows
        for player, slots in self._slots.items():
            for slot in self._optimiser.slots:
                rows = [torch.stack(same) for same in zip(*(made[player][slot] for _, _, made in fresh), strict=True)]
                slots[slot] = [torch.cat(p) for p in zip(slots[slot], rows, strict=True)] if keep else rows
        self._members += [member for member, _, _ in fresh]
        self._view()

    def _in_turn(self, task: Task, fresh: Sequence[Member]) -> bool:
        """Whether a task's players would move in the same steps as those of the members."""
        others = self._members[:1] or fresh[:1]
        return all(
            (m.step - task.run.start_steps) % period == 0 for m in others for p in self._players for period in p.periods
        )

    def _member(self, task: Task, fresh: Sequence[Member]) -> tuple[Member, Stacked, dict[str, Slots]]:
        model, member, slots = begin(
            self._family, task, self._spec, self._source, self._optimiser, (*self._members, *fresh)
        )
        return member, self._stateless.tensors_of(model), slots

    def _compact(self) -> None:
        """Go on without the rows of those who have ended, where that pays."""
        rows = [k for k, m in enumerate(self._members) if m.task.key not in self._dropped]
        if len(rows) % 2 and (self._even or len(rows) == 1):
            rows = sorted([*rows, next(k for k in range(len(self._members)) if k not in rows)])
        if len(rows) >= len(self._members) * (1.0 if self._programs is None else 0.5):
            return
        self._programs = None if rows else self._programs
        self._members = [self._members[k] for k in rows]
        self._tensors = {name: tensor[rows] for name, tensor in self._tensors.items()}
        for slots in self._slots.values():
            for name, tensors in slots.items():
                slots[name] = [tensor[rows] for tensor in tensors]
        self._view()

    def _view(self) -> None:
        """Each member's rows, as the optimiser moves them: they share the memory of the stacked tensors."""
        self._graded.clear()
        self._numbers = self._vectors({n: m.numbers[n] for n in self._optimiser.numbers} for m in self._members)
        for player, names in self._own.items():
            parameters = _by_member([self._tensors[name] for name in names])
            slots = {slot: _by_member(tensors) for slot, tensors in self._slots[player].items()}
            self._rows[player] = [
                (parameters[k], {slot: rows[k] for slot, rows in slots.items()}) for k in range(len(self._members))
            ]


def _by_member(stacked: Sequence[Tensor]) -> list[list[Tensor]]:
    return [list(row) for row in zip(*(tensor.unbind(0) for tensor in stacked), strict=True)]


def _finite(report: Report) -> bool:
    return all(map(math.isfinite, report.signals.values()))
