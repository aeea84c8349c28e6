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
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.search.rungs import rung_losses
from maestune.types import History, Trial

_FAILURE_MARGIN = 0.1  # by how much of the range of estimates a failed trial is worse than the worst
_MEASURED = 3  # changes that must have been seen before their differences are taken for a doubt

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Estimates:
    """Trials with results or failed, their estimated losses at the full training, and the doubts left.

    `losses` and `doubts` (n, objectives); a doubt is the standard deviation of the change still to come, 0 at the top.
    """

    trials: tuple[Trial, ...]
    losses: Array
    doubts: Array


def estimate_losses(history: History) -> Estimates:
    """Estimates of all trials but the pending ones, in their order."""
    trials = tuple(t for t in history.trials if t.rungs or t.state.failed)
    curves = np.full((len(trials), len(history.rungs), len(history.objectives)), np.nan)  # NaN where not reached
    position = {step: index for index, step in enumerate(history.rungs)}
    for row, trial in enumerate(trials):
        if trial.state.failed:
            continue
        for rung in trial.rungs:
            if rung.step in position:
                curves[row, position[rung.step]] = rung_losses(rung, history.objectives)
    losses, doubts = np.empty((2, len(trials), len(history.objectives)))
    for column in range(len(history.objectives)):
        losses[:, column], doubts[:, column] = _estimate(curves[:, :, column])
    return Estimates(trials, losses, doubts)


def _estimate(losses: Array) -> tuple[Array, Array]:
    """Estimates and doubts (n,) from the losses (n, rungs) of one objective; NaN: not reached; infinite: failed there."""
    n, rungs = len(losses), losses.shape[1]
    estimates: Array = np.full(n, np.nan)
    doubts: Array = np.zeros(n)
    finite = np.isfinite(losses)
    if finite.any() and (losses[finite] > 0).all():
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
