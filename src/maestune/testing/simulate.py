"""A campaign without training: known learning curves, a simulated clock, several workers. For testing strategies."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from maestune.search.strategy import Strategy
from maestune.space import Space
from maestune.types import Config, Decision, History, Objective, Proposal, Rung, Score, Trial, TrialState

Curve = Callable[[Config, int, int], Mapping[str, float] | None]
"""(config, trial's seed, step) → scores there; None: the training has diverged by then."""

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
    workers: int = 1,
    seed: int = 0,
) -> History:
    """The history after `budget_full` full trainings' worth of steps, or when the strategy has nothing more to try.

    A step takes a second of simulated time, the same for all. Workers are asynchronous: each asks as soon as it is free.
    No segment is started that would exceed the budget; those that were, are finished. The same arguments give the same
    history.
    """
    history = History((), objectives, rungs)
    clock, asked, left = 0, 0, round(budget_full * rungs[-1])
    events: list[tuple[int, int]] = []  # (second, trial number): a rung is reached
    while True:
        while len(events) < workers:
            rng = np.random.default_rng((seed, asked))
            asked += 1
            proposal = next(iter(strategy.ask(space, history, 1, rng)), None)
            if proposal is None:
                break
            history, trial = _started(history, proposal, seed)
            cost = trial.until_steps - trial.step
            if cost > left:
                return _without_unfinished(history, trial, proposal, strategy, curve, events)
            left -= cost
            heapq.heappush(events, (clock + _next_rung(history, trial) - trial.step, trial.number))
        if not events:
            return history
        clock, number = heapq.heappop(events)
        history, trial = _reached(history, history.trials[number], strategy, curve)
        if trial.state is TrialState.RUNNING:
            heapq.heappush(events, (clock + _next_rung(history, trial) - trial.step, number))


def _started(history: History, proposal: Proposal, seed: int) -> tuple[History, Trial]:
    if proposal.parent is not None:
        parent = history.trials[proposal.parent]
        trial = parent.with_(state=TrialState.RUNNING, until_steps=proposal.until_steps, reason=proposal.reason)
        return _with(history, trial), trial
    number = len(history.trials)
    trial = Trial(
        number, proposal.config, seed + number, "search", TrialState.RUNNING, proposal.until_steps, proposal.reason
    )
    return replace(history, trials=(*history.trials, trial)), trial


def _reached(history: History, trial: Trial, strategy: Strategy, curve: Curve) -> tuple[History, Trial]:
    """The trial's next rung is reached, or it has diverged; at the end of its segment it is judged."""
    step = _next_rung(history, trial)
    scores = curve(trial.config, trial.seed, step)
    if scores is None:
        trial = trial.with_(state=TrialState.DIVERGED, decision="diverged")
        return _with(history, trial), trial
    rung = Rung(step, {name: Score(value) for name, value in scores.items()}, float(step))
    trial = trial.with_(rungs=(*trial.rungs, rung), seconds=float(step))
    history = _with(history, trial)
    if step < trial.until_steps:
        return history, trial
    judgement = strategy.judge(history, trial)
    trial = trial.with_(state=_STATES[judgement.decision], decision=judgement.reason)
    history = _with(history, trial)
    for number, reason in strategy.prune(history).items():
        history = _with(history, history.trials[number].with_(state=TrialState.STOPPED, decision=reason))
    return history, history.trials[trial.number]


def _without_unfinished(
    history: History,
    unaffordable: Trial,
    proposal: Proposal,
    strategy: Strategy,
    curve: Curve,
    events: list[tuple[int, int]],
) -> History:
    """The history when the money is spent: the segment that cannot be paid is undone, the running ones end."""
    if proposal.parent is None:
        history = replace(history, trials=history.trials[:-1])
    else:
        history = _with(history, unaffordable.with_(state=TrialState.PAUSED, until_steps=unaffordable.step))
    for _, number in sorted(events):
        trial = history.trials[number]
        while trial.state is TrialState.RUNNING:
            history, trial = _reached(history, trial, strategy, curve)
    return history


def _next_rung(history: History, trial: Trial) -> int:
    return next(step for step in history.rungs if step > trial.step)


def _with(history: History, trial: Trial) -> History:
    trials = list(history.trials)
    trials[trial.number] = trial
    return replace(history, trials=tuple(trials))
