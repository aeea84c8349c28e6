"""How trials stand among each other at a rung: who keeps the bounds first; several objectives are ranked by fronts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.types import Constraint, History, Objective, Rung, Score, Trial


@dataclass(frozen=True)
class Standing:
    """A trial's place at a rung: `rank` 1 is the best of `of`; `front` 1 is the non-dominated one.

    `violation`: 0 where all bounds were kept there, see `violation`.
    """

    trial: Trial
    rank: int
    of: int
    front: int
    violation: float = 0.0


def rung_losses(rung: Rung, objectives: tuple[Objective, ...]) -> tuple[float, ...]:
    """A loss an objective (smaller is better); infinite where a score is missing or not finite."""
    losses: list[float] = []
    for objective in objectives:
        score = rung.scores.get(objective.name)
        loss = math.inf if score is None else objective.loss(score.value)
        losses.append(loss if math.isfinite(loss) else math.inf)
    return tuple(losses)


def violation(scores: Mapping[str, Score], constraints: Sequence[Constraint]) -> float:
    """By how much the bounds are broken in all: shares of the bounds, added up; infinite where a score is missing."""
    found = [(c, scores.get(c.name)) for c in constraints]
    return sum((math.inf if score is None else c.violation(score.value) for c, score in found), 0.0)


def standings(history: History, step: int) -> list[Standing]:
    """All trials that were to reach a step, best first; those that keep the bounds before those that do not.

    Trials that diverged or crashed on the way count, as the worst: the more configs fail, the more of those that do
    not are among the best. Trials still on their way do not count.
    """
    trials: list[Trial] = []
    losses: list[tuple[float, ...]] = []
    violations: list[float] = []
    for trial in history.trials:
        rung = next((r for r in trial.rungs if r.step == step), None)
        if rung is not None:
            trials.append(trial)
            losses.append(rung_losses(rung, history.objectives))
            violations.append(violation(rung.scores, history.constraints))
        elif trial.state.failed and trial.step < step <= trial.until_steps:
            trials.append(trial)
            losses.append((math.inf,) * len(history.objectives))
            violations.append(math.inf if history.constraints else 0.0)
    if not trials:
        return []
    order, fronts = ranking(np.asarray(losses), np.asarray(violations))
    n = len(trials)
    return [Standing(trials[i], rank, n, int(fronts[i]), violations[i]) for rank, i in enumerate(order, start=1)]


def ranking(
    losses: NDArray[np.float64], violations: NDArray[np.float64] | None = None
) -> tuple[list[int], NDArray[np.int64]]:
    """Order of rows (n, m), best first, and each row's front (1 = non-dominated).

    Rows that keep the bounds come before all others, those before each other by their `violations` (n,), and only what is
    equal there is compared by its losses (the rules of Deb 2000, doi 10.1016/S0045-7825(99)00389-8): a search that starts
    outside the bounds first finds its way in.

    One objective: by value, ties in the order of the rows. Several: by front, within a front by an epsilon-net, which
    takes the point nearest to the ideal and then always the one farthest from those taken, so that a cut anywhere
    leaves a spread of compromises (Schmucker et al. 2021, arXiv 2106.12639).
    """
    if violations is None or not violations.any():
        return _unbounded(losses)
    order: list[int] = []
    fronts = np.zeros(len(losses), dtype=np.int64)
    for level in np.unique(violations):
        rows = np.flatnonzero(violations == level)
        inner, own = _unbounded(losses[rows])
        order += [int(rows[i]) for i in inner]
        fronts[rows] = own + int(fronts.max())
    return order, fronts


def _unbounded(losses: NDArray[np.float64]) -> tuple[list[int], NDArray[np.int64]]:
    """The ranking by losses alone."""
    if losses.shape[1] == 1:
        order = np.argsort(losses[:, 0], kind="stable")
        fronts = np.empty(len(losses), dtype=np.int64)
        _, fronts[:] = np.unique(losses[:, 0], return_inverse=True)
        return [int(i) for i in order], fronts + 1
    fronts = _fronts(losses)
    unit = _scaled(losses)
    order_: list[int] = []
    for front in range(1, int(fronts.max()) + 1):
        rows = np.flatnonzero(fronts == front)
        order_.extend(int(rows[i]) for i in _epsilon_net(unit[rows]))
    return order_, fronts


def _fronts(losses: NDArray[np.float64]) -> NDArray[np.int64]:
    no_worse = (losses[:, None, :] <= losses[None, :, :]).all(axis=2)  # (n, n): row i is nowhere worse than row j
    better = (losses[:, None, :] < losses[None, :, :]).any(axis=2)
    dominates: NDArray[np.bool_] = np.logical_and(no_worse, better)
    fronts = np.zeros(len(losses), dtype=np.int64)
    front = 0
    while (left := fronts == 0).any():
        front += 1
        dominated = dominates[left].any(axis=0)
        fronts[left & ~dominated] = front
    return fronts


def _scaled(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every objective scaled to [0, 1] over its finite values; infinite ones become 2."""
    scaled = np.full(losses.shape, 2.0)
    for column in range(losses.shape[1]):
        finite = np.isfinite(losses[:, column])
        values = losses[finite, column]
        if values.size:
            scaled[finite, column] = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    return scaled


def _epsilon_net(points: NDArray[np.float64]) -> list[int]:
    taken = [int(np.argmin((points**2).sum(axis=1)))]
    distance = ((points - points[taken[0]]) ** 2).sum(axis=1)
    while len(taken) < len(points):
        distance[taken] = -1.0
        taken.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((points - points[taken[-1]]) ** 2).sum(axis=1))
    return taken
