"""Which parameters mattered for the first objective, as the search trials tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maestune.campaign.record import Record
from maestune.space import Param

ENOUGH_TRIALS = 12  # for importance: fewer say nothing about twenty parameters
LEAST_EXPLAINED = 0.05  # of the variation, for an order of parameters to mean anything
FOLDS = 5
TREES = 60
SHUFFLES = 4


@dataclass(frozen=True)
class Importance:
    """A parameter's importance: the loss of held-out R² when its values are shuffled, with its standard error."""

    name: str
    value: float
    error: float


@dataclass(frozen=True)
class ImportanceView:
    """Which parameters mattered, the most important first; `why_not` says why there is no answer, else empty."""

    rows: tuple[Importance, ...]
    explained: float  # share of held-out variation that the forest predicts (R²)
    trials: int
    why_not: str = ""

    @property
    def weights(self) -> dict[str, float]:
        """Parameter → importance."""
        return {row.name: row.value for row in self.rows}


def importance_view(record: Record) -> ImportanceView:
    """How much each parameter mattered for the first objective, in the search trials.

    A forest of extremely randomised trees (Geurts et al. 2006) predicts the rank of the objective from the position in
    the unit cube and the rung; importance is the loss of R² on held-out trials when a parameter's column is shuffled
    (Breiman 2001). Ranks, because failed trials have no value but are surely the worst. Deterministic.
    """
    params = record.space.varying
    trials, features, targets = _observations(record, params)
    n_trials = len(set(trials))
    if n_trials < ENOUGH_TRIALS:
        so_far = "" if record.done else " so far"
        why = f"It takes {ENOUGH_TRIALS} trials with a result to tell which parameters mattered; there are {n_trials}{so_far}."
        return ImportanceView((), math.nan, n_trials, why)
    if not params or np.ptp(targets) == 0:
        return ImportanceView((), math.nan, n_trials, "All trials have the same result, so no parameter stands out.")
    explained, drops = _shuffled_losses(np.array(trials), features, targets, len(params))
    if explained < LEAST_EXPLAINED:
        why = (
            f"Which parameters mattered cannot be told from these {n_trials} trials: a forest fitted to them does not predict "
            "those that it has not seen."
        )
        return ImportanceView((), explained, n_trials, why)
    mean, error = drops.mean(axis=0), drops.std(axis=0, ddof=1) / math.sqrt(len(drops))
    rows = [Importance(p.name, float(m), float(e)) for p, m, e in zip(params, mean, error, strict=True)]
    return ImportanceView(tuple(sorted(rows, key=lambda r: -r.value)), explained, n_trials)


def _observations(record: Record, params: Sequence[Param]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Trial numbers (N,), features (N, P + 1), ranks of the objective in [0, 1] (N,): one row a trial and rung."""
    objective = record.objectives[0]
    trials: list[int] = []
    features: list[list[float]] = []
    values: list[float] = []
    for trial in record.search_trials:
        position = record.space.encode({k: v for k, v in trial.config.items() if _known(record, k)})
        # Inactive parameters get a place of their own, outside the cube.
        cube = [position.get(p.name, -0.5) for p in params]
        scored = [(r.step, r.scores[objective.name].value) for r in trial.rungs if objective.name in r.scores]
        rows = [(step, objective.loss(v)) for step, v in scored if math.isfinite(v)]
        if trial.state.failed:
            rows.append((trial.until_steps, math.inf))
        for step, value in rows:
            trials.append(trial.number)
            features.append([*cube, step / record.rungs[-1]])
            values.append(value)
    # Equal values share a rank: all failed trials are equally bad.
    _, inverse, counts = np.unique(np.array(values), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks = middle[inverse] / max(len(values) - 1, 1) if values else np.zeros(0)
    return trials, np.array(features).reshape(len(values), len(params) + 1), ranks


def _known(record: Record, name: str) -> bool:
    return any(param.name == name for param in record.space)


def _shuffled_losses(
    trials: np.ndarray, features: np.ndarray, targets: np.ndarray, n_params: int
) -> tuple[float, np.ndarray]:
    """Held-out R² and its loss per fold and shuffled parameter (FOLDS, n_params)."""
    from sklearn.ensemble import ExtraTreesRegressor

    rng = np.random.default_rng(0)
    folds = np.array_split(rng.permutation(np.unique(trials)), FOLDS)
    total = float(((targets - targets.mean()) ** 2).mean())
    residual = 0.0
    drops = np.zeros((FOLDS, n_params))
    for k, held_trials in enumerate(folds):
        held = np.isin(trials, held_trials)  # all rungs of a trial together
        forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=k, n_jobs=1)
        forest.fit(features[~held], targets[~held])
        x, y = features[held], targets[held]
        # Plain copy first, then SHUFFLES copies a parameter: one call predicts them all.
        copies = np.repeat(x[None], 1 + n_params * SHUFFLES, axis=0)  # (1 + P·S, N, P + 1)
        for p in range(n_params):
            for s in range(SHUFFLES):
                copies[1 + p * SHUFFLES + s, :, p] = x[rng.permutation(len(x)), p]
        predicted = forest.predict(copies.reshape(-1, x.shape[1])).reshape(len(copies), len(x))
        error = ((predicted - y) ** 2).mean(axis=1)  # (1 + P·S,)
        residual += float(((predicted[0] - y) ** 2).sum())
        drops[k] = (error[1:].reshape(n_params, SHUFFLES).mean(axis=1) - error[0]) / total
    return 1 - residual / (len(targets) * total), drops
