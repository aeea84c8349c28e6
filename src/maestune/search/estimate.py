"""One number an objective for every trial, however far it was trained: what model-based samplers learn from.

Most trials are paused long before their full training. Samplers that leave those out (Optuna's Gaussian process does)
learn from a handful; samplers that pool raw values take "trained for less" for "bad". Here every trial gets the loss
that it would probably have after the full training: its loss at the highest rung it reached, plus the typical change
from there to the top.

The typical change is measured rung by rung on the trials that went on: the median of the changes, which a few odd curves
cannot move; where none went on yet it is taken to be zero. How much the changes differ is the doubt that is left. Where
all losses are positive (Fréchet distances, losses) changes are ratios and the estimates logarithms, otherwise both are
on the linear scale. Those who went on are the better ones, so the change is that of promising trials: the estimate is
best where it matters.

A trial that diverged or crashed gets a value worse than every other by a tenth of their range, so that its
neighbourhood is known to be bad without hiding the differences among the rest. A trial that has reached no rung yet is
pending and has no estimate.

Where there are bounds to keep, a trial's margin beyond each is carried to the top in the same way. Those that are expected to
break one are given losses beyond the worst of those that keep them, in the order of their violations (as in `ranking`;
Deb 2000): a model of such losses leads into the bounds first, and to the best within them then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.search.rungs import rung_losses
from maestune.types import Constraint, History, Objective, Rung, Score, Trial

_FAILURE_MARGIN = 0.1  # by how much of the range of estimates a failed trial is worse than the worst
_INTERVAL = 1.96  # half the width of a 95 % interval, in standard deviations
_MEASURED = 3  # changes that must have been seen before their differences are taken for a doubt

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Estimates:
    """Trials with results or failed, their estimated losses at the full training, and the doubts left.

    `losses` and `doubts` (n, objectives); a doubt is the standard deviation of the change still to come (0 at the top) and of
    the score itself, where its interval is known.
    """

    trials: tuple[Trial, ...]
    losses: Array
    doubts: Array


def estimate_losses(history: History) -> Estimates:
    """Estimates of all trials but the pending ones, in their order."""
    trials = tuple(t for t in history.trials if t.rungs or t.state.failed)
    curves = _curves(trials, history, lambda rung: rung_losses(rung, history.objectives), len(history.objectives))
    losses, doubts = np.empty((2, len(trials), len(history.objectives)))
    for column, objective in enumerate(history.objectives):
        losses[:, column], doubts[:, column] = _estimate(curves[:, :, column])
        noise = _sampling_noise(trials, objective, _ratios(curves[:, :, column]))
        doubts[:, column] = np.hypot(doubts[:, column], noise)
    if history.constraints:
        violations = _violations(trials, history)
        for column in range(len(history.objectives)):
            losses[:, column] = _beyond(losses[:, column], violations)
    return Estimates(trials, losses, doubts)


def _curves(
    trials: Sequence[Trial], history: History, told: Callable[[Rung], Sequence[float]], columns: int
) -> NDArray[np.float64]:
    """What is told of each rung (n, rungs, columns); NaN where it was not reached, and for failed trials."""
    curves = np.full((len(trials), len(history.rungs), columns), np.nan)
    position = {step: index for index, step in enumerate(history.rungs)}
    for row, trial in enumerate(trials):
        if trial.state.failed:
            continue
        for rung in trial.rungs:
            if rung.step in position:
                curves[row, position[rung.step]] = told(rung)
    return curves


def _violations(trials: Sequence[Trial], history: History) -> Array:
    """By how much each trial (n,) will probably break the bounds after a full training; 0 where it will keep them.

    Infinite for failed trials, and where a score is missing.
    """
    bounds = history.constraints
    margins = _curves(trials, history, lambda rung: [_margin(rung, c) for c in bounds], len(bounds))
    total = np.zeros(len(trials))
    for column in range(len(bounds)):
        curves = margins[:, :, column]
        expected, _ = _estimate(curves, by_ratio=False)
        # At the top the margin is known and 0 is within; on the way there it is only expected.
        expected = np.where(np.isinf(curves).any(axis=1) | np.isnan(curves).all(axis=1), np.inf, expected)
        total += np.maximum(expected, 0.0)
    return total


def _margin(rung: Rung, constraint: Constraint) -> float:
    """How far a score is beyond a bound, negative within; infinite where there is none."""
    score = rung.scores.get(constraint.name)
    if score is None or not math.isfinite(score.value):
        return math.inf
    return constraint.violation(score.value) or min(constraint.margin(score.value), 0.0)


def _beyond(losses: Array, violations: Array) -> Array:
    """The losses (n,), those of rows that break the bounds moved beyond all others, in the order of the violations (n,)."""
    broken = violations > 0
    if not broken.any():
        return losses
    within = losses[~broken]
    worst, spread = (float(within.max()), float(np.ptp(within))) if within.size else (0.0, 0.0)
    finite = np.isfinite(violations)
    most = float(violations[finite].max(initial=0.0)) or 1.0
    # From a tenth of the range beyond the worst to a whole one; failures a tenth beyond that.
    share = np.where(finite, violations / most, 1.0 + _FAILURE_MARGIN)
    return np.where(broken, worst + (spread or 1.0) * (_FAILURE_MARGIN + share), losses)


def _ratios(losses: Array) -> bool:
    """Whether losses are compared by their ratios: all that are finite are positive, and there are some."""
    finite = np.isfinite(losses)
    return bool(finite.any() and (losses[finite] > 0).all())


def _sampling_noise(trials: Sequence[Trial], objective: Objective, by_ratio: bool) -> Array:
    """Standard deviation of each trial's score (n,) over the choice of samples, as its interval tells it.

    Intervals are known at full trainings only; scores on the way rest on as many samples, and are taken to be as noisy as
    those usually are. What intervals cannot tell, the noise of training itself, is left to the model to find.
    """
    scores = [t.score(objective.name) or Score(math.nan) for t in trials]
    units = [abs(score.value) if by_ratio else 1.0 for score in scores]
    noise = np.array(
        [(s.high - s.low) / (2 * _INTERVAL * u) if u else np.nan for s, u in zip(scores, units, strict=True)]
    )
    known = np.isfinite(noise)
    return np.where(known, noise, np.median(noise[known]) if known.any() else 0.0)


def _estimate(losses: Array, by_ratio: bool = True) -> tuple[Array, Array]:
    """Estimates and doubts (n,) from the losses (n, rungs) of one objective; NaN: not reached; infinite: failed there.

    `by_ratio`: logarithms, where all are positive.
    """
    n, rungs = len(losses), losses.shape[1]
    estimates: Array = np.full(n, np.nan)
    doubts: Array = np.zeros(n)
    finite = np.isfinite(losses)
    if by_ratio and _ratios(losses):
        losses = np.log(losses, where=finite, out=losses.copy())
    change, variance = 0.0, 0.0  # typical change from this rung to the top, and how much it varies
    for rung in reversed(range(rungs)):
        if rung + 1 < rungs:
            both = finite[:, rung] & finite[:, rung + 1]
            changes = losses[both, rung + 1] - losses[both, rung]
            change += float(np.median(changes)) if changes.size else 0.0
            variance += _robust_variance(changes)
        new = finite[:, rung] & np.isnan(estimates)
        estimates[new] = losses[new, rung] + change
        doubts[new] = variance**0.5
    # A score that is not finite at some rung means that the model broke down there, whatever it was before.
    broken = np.isinf(losses).any(axis=1) | np.isnan(estimates)
    estimates[broken], doubts[broken] = np.nan, 0.0
    known = estimates[~broken]
    if not known.size:
        return np.zeros(n), doubts
    spread = float(np.ptp(known))
    estimates[broken] = known.max() + (_FAILURE_MARGIN * spread if spread > 0 else 1.0)
    return estimates, doubts


def _robust_variance(changes: Array) -> float:
    """Variance from the median absolute deviation (1.4826 times it is the standard deviation of a normal)."""
    if changes.size < _MEASURED:
        return 0.0
    return float(1.4826 * np.median(np.abs(changes - np.median(changes)))) ** 2
