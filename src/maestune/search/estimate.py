"""One number an objective for every trial, however far it was trained: what model-based samplers learn from.

Most trials are paused long before their full training. Samplers that leave those out (Optuna's Gaussian process does)
learn from a handful; samplers that pool raw values take "trained for less" for "bad". Here every trial gets the loss
that it would probably have after the full training: its loss at the highest rung it reached, plus the typical change
from there to the top.

The typical change is measured rung by rung on the trials that went on: the median of the changes, which a few odd curves
cannot move; where none went on yet it is taken to be zero. Where all losses are positive (Fréchet distances, losses)
changes are ratios and the estimates logarithms, otherwise both are on the linear scale. Only the order and rough distances
of estimates matter. Those who went on are the better ones, so the change is that of promising trials: the estimate is
best where it matters.

A trial that diverged or crashed gets a value worse than every other by a tenth of their range, so that its
neighbourhood is known to be bad without hiding the differences among the rest. A trial that has reached no rung yet is
pending and has no estimate.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from maestune.search.rungs import rung_losses
from maestune.types import History

_FAILURE_MARGIN = 0.1  # by how much of the range of estimates a failed trial is worse than the worst


def estimate_losses(history: History) -> Mapping[int, tuple[float, ...]]:
    """Trial number → estimated loss at the full training, one an objective (logarithms where all are positive).

    Trials without any result are left out unless they failed.
    """
    numbers: list[int] = []
    curves: list[NDArray[np.float64]] = []  # (rungs, objectives) each, NaN where not reached
    position = {step: index for index, step in enumerate(history.rungs)}
    for trial in history.trials:
        if not trial.rungs and not trial.state.failed:
            continue
        curve = np.full((len(history.rungs), len(history.objectives)), np.nan)
        if not trial.state.failed:
            for rung in trial.rungs:
                if rung.step in position:
                    curve[position[rung.step]] = rung_losses(rung, history.objectives)
        numbers.append(trial.number)
        curves.append(curve)
    if not numbers:
        return {}
    stacked = np.stack(curves)  # (trials, rungs, objectives)
    columns = [_estimate(stacked[:, :, j]) for j in range(stacked.shape[2])]
    return {number: tuple(float(c[i]) for c in columns) for i, number in enumerate(numbers)}


def _estimate(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimates (n,) from the losses (n, rungs) of one objective; NaN: not reached; infinite: failed there."""
    finite = np.isfinite(losses)
    if not finite.any():
        return np.zeros(len(losses))
    if (losses[finite] > 0).all():
        losses = np.log(losses, where=finite, out=losses.copy())
    estimates = np.full(len(losses), np.nan)
    remaining = 0.0  # typical change from this rung to the top
    for rung in reversed(range(losses.shape[1])):
        if rung + 1 < losses.shape[1]:
            both = finite[:, rung] & finite[:, rung + 1]
            remaining += float(np.median(losses[both, rung + 1] - losses[both, rung])) if both.any() else 0.0
        new = finite[:, rung] & np.isnan(estimates)
        estimates[new] = losses[new, rung] + remaining
    # A score that is not finite at the newest rung means that the model broke down there, whatever it was before.
    estimates[np.isinf(losses).any(axis=1)] = np.nan
    known = estimates[~np.isnan(estimates)]
    if not known.size:
        return np.zeros(len(losses))
    spread = float(np.ptp(known))
    estimates[np.isnan(estimates)] = known.max() + (_FAILURE_MARGIN * spread if spread > 0 else 1.0)
    return estimates
