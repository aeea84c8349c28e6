"""A campaign without training: known learning curves, a simulated clock, several workers. For testing strategies."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from maestune.search.groups import first_group
from maestune.search.strategy import Strategy
from maestune.space import Fusible, Space
from maestune.types import Config, Constraint, Decision, History, Objective, Proposal, Rung, Score, Trial, TrialState

Curve = Callable[[Config, int, int], Mapping[str, float] | Mapping[str, Score] | None]
"""(config, trial's seed, step) → scores there, with intervals or without; None: the training has diverged by then."""

_STATES = {
    Decision.PAUSE: TrialState.PAUSED,
    Decision.STOP: TrialState.STOPPED,
    Decision.COMPLETE: TrialState.COMPLETE,
}


def simulate(
    strategy: Strategy,
    space: Space,
    curve: Curve,
    *,
    rungs: tuple[int, ...],
    budget_full: float,
    objectives: tuple[Objective, ...] = (Objective("fd"),),
    constraints: tuple[Constraint, ...] = (),
    workers: int = 1,
    seed: int = 0,
    fusible: Fusible = Fusible(),
    members: int = 1,
    speedup: Callable[[int], float] = lambda size: 1.0,
) -> History:
    """The history after `budget_full` full trainings' worth of steps, or when the strategy has nothing more to try.

    A step takes a second of simulated time, the same for all. Workers are asynchronous: each asks as soon as it is free.
    No segment is started that would exceed the budget; those that were, are finished. The same arguments give the same
    history.

    With `members` above 1 a worker asks for as many proposals and trains the first run of those that are `fusible` as
    one group, cut to what the budget still pays. A step of k members takes k / speedup(k) seconds of the worker: that is
    what the budget pays, in shares that are the trials' `seconds`. The worker is free when the whole group has reached
    the end of its segment; its members are then judged in the order of their numbers.
    """
    history = History((), objectives, rungs, constraints)
    clock, asked, left = 0.0, 0, float(round(budget_full * rungs[-1]))
    events: list[tuple[float, _Group]] = []  # (second, group): its next rung is reached
    while True:
        while len(events) < workers:
            rng = np.random.default_rng((seed, asked))
            asked += 1
            run = first_group(islice(strategy.ask(space, history, members, rng), members), space, history, fusible)
            if not run:
                break
            steps = run[0].until_steps - _begun(history, run[0])
            size = next((k for k in range(len(run), 0, -1) if steps * k / speedup(k) <= left), 0)
            if not size:
                return _finished(history, sorted(events), strategy, curve)
            left -= steps * size / speedup(size)
            history, numbers = _started(history, run[:size], seed)
            group = _Group(numbers, 1 / speedup(size))
            heapq.heappush(events, (clock + group.seconds_to_next_rung(history), group))
        if not events:
            return history
        clock, group = heapq.heappop(events)
        history = _reached(history, group, strategy, curve)
        if group.running(history):
            heapq.heappush(events, (clock + group.seconds_to_next_rung(history), group))


@dataclass(frozen=True, order=True)
class _Group:
    """Trials trained as one, by number; `share`: seconds of a worker that a step of one of them takes."""

    numbers: tuple[int, ...]
    share: float

    def running(self, history: History) -> list[Trial]:
        """The members still being trained: all at the same step, on their way to the same one."""
        return [history.trials[n] for n in self.numbers if history.trials[n].state is TrialState.RUNNING]

    def seconds_to_next_rung(self, history: History) -> float:
        """Seconds of the worker: members that diverged go along."""
        trial = self.running(history)[0]
        return (_next_rung(history, trial) - trial.step) * len(self.numbers) * self.share


def _begun(history: History, proposal: Proposal) -> int:
    return 0 if proposal.parent is None else history.trials[proposal.parent].step


def _started(history: History, proposals: Sequence[Proposal], seed: int) -> tuple[History, tuple[int, ...]]:
    numbers: list[int] = []
    for p in proposals:
        number = len(history.trials) if p.parent is None else p.parent
        if p.parent is None:
            trial = Trial(number, p.config, seed + number, "search", TrialState.RUNNING, p.until_steps, p.reason)
            history = replace(history, trials=(*history.trials, trial))
        else:
            promoted = history.trials[number].with_(
                state=TrialState.RUNNING, until_steps=p.until_steps, reason=p.reason
            )
            history = _with(history, promoted)
        numbers.append(number)
    return history, tuple(sorted(numbers))


def _reached(history: History, group: _Group, strategy: Strategy, curve: Curve) -> History:
    """The group's next rung is reached, or members have diverged; at the end of the segment they are judged."""
    for trial in group.running(history):
        step = _next_rung(history, trial)
        scores = curve(trial.config, trial.seed, step)
        if scores is None:
            history = _with(history, trial.with_(state=TrialState.DIVERGED, decision="diverged"))
            continue
        seconds = trial.seconds + (step - trial.step) * group.share
        told = {name: value if isinstance(value, Score) else Score(value) for name, value in scores.items()}
        rung = Rung(step, told, seconds)
        history = _with(history, trial.with_(rungs=(*trial.rungs, rung), seconds=seconds))
    for trial in group.running(history):
        if trial.step < trial.until_steps:
            continue
        judgement = strategy.judge(history, trial)
        history = _with(history, trial.with_(state=_STATES[judgement.decision], decision=judgement.reason))
        for number, reason in strategy.prune(history).items():
            history = _with(history, history.trials[number].with_(state=TrialState.STOPPED, decision=reason))
    return history


def _finished(history: History, events: Sequence[tuple[float, _Group]], strategy: Strategy, curve: Curve) -> History:
    """The history when the money is spent: nothing new is started, what runs is trained to the end of its segment."""
    for _, group in events:
        while group.running(history):
            history = _reached(history, group, strategy, curve)
    return history


def _next_rung(history: History, trial: Trial) -> int:
    return next(step for step in history.rungs if step > trial.step)


def _with(history: History, trial: Trial) -> History:
    trials = list(history.trials)
    trials[trial.number] = trial
    return replace(history, trials=tuple(trials))
