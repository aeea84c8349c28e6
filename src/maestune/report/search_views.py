"""What the search saw, as frozen values: history, importance, slices, front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from maestune.campaign.record import Record
from maestune.report import formats, labels
from maestune.report.views import best_trial, changes_between, front, recipe_trial, terms_text
from maestune.space import Choice, Float, Int, Param
from maestune.types import Objective, Score, Trial, TrialState, Value

ENOUGH_TRIALS = 12  # for importance: fewer say nothing about twenty parameters
SLICES = 6
TICKS = 5
FOLDS = 5
TREES = 60
SHUFFLES = 4


@dataclass(frozen=True)
class Point:
    """A search trial in the history: its place, and its newest score, after `step` steps."""

    number: int
    x: float
    step: int
    state: TrialState
    score: Score
    reason: str


@dataclass(frozen=True)
class HistoryView:
    """The objective over the trials: `over` says whether x is the "trial" number or the campaign "seconds".

    `best_so_far`: (x, value) of the best among the trials of the longest training, at each of them. `failed`:
    (number, x) of the trials that ended without a usable model.
    """

    objective: Objective
    over: str
    rungs: tuple[int, ...]
    points: tuple[Point, ...]
    best_so_far: tuple[tuple[float, float], ...]
    failed: tuple[tuple[int, float], ...]
    best: int | None
    recipe: int | None
    recipe_value: float | None
    floor: float | None
    terms: str = ""  # on what terms these scores were measured, in words


def history_view(record: Record, over: Literal["trial", "seconds"] = "trial") -> HistoryView:
    """The objective over the search trials, in the order of x, with recipe and floor on the same terms."""
    objective = record.objectives[0]
    points: list[Point] = []
    failed: list[tuple[int, float]] = []
    for trial in record.search_trials:
        x = trial.clock_seconds if over == "seconds" else float(trial.number)
        score = trial.score(objective.name)
        if trial.state.failed or (score is not None and not math.isfinite(score.value)):
            failed.append((trial.number, x))
        elif score is not None:
            points.append(Point(trial.number, x, trial.step, trial.state, score, trial.decision or trial.reason))
    points.sort(key=lambda p: p.x)
    recipe = recipe_trial(record)
    recipe_score = None if recipe is None else recipe.score(objective.name)
    floor = record.search_floor.get(objective.name)  # on the terms of the points
    return HistoryView(
        objective,
        over,
        record.rungs,
        tuple(points),
        _best_so_far(points, objective),
        tuple(failed),
        record.best,
        None if recipe is None else recipe.number,
        None if recipe_score is None or not math.isfinite(recipe_score.value) else recipe_score.value,
        None if floor is None else floor.value,
        terms_text(record, "search"),
    )


def _best_so_far(points: Sequence[Point], objective: Objective) -> tuple[tuple[float, float], ...]:
    # Scores after different steps are not compared: the line is that of the longest trainings.
    longest = [p for p in points if p.step == max(p.step for p in points)]
    line: list[tuple[float, float]] = []
    best = math.inf
    for point in longest:
        best = min(best, objective.loss(point.score.value))
        line.append((point.x, objective.loss(best)))  # the turn is its own inverse
    return tuple(line)


@dataclass(frozen=True)
class FinalColumn:
    """A finalist on one objective: its mean with interval, and the value of every seed (seed, value)."""

    title: str
    role: str
    mean: Score
    seeds: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class FinalsView:
    """The finalists side by side on the first objective, paired by seed."""

    objective: Objective
    columns: tuple[FinalColumn, ...]
    floor: float | None
    terms: str = ""


def finals_view(record: Record) -> FinalsView | None:
    """The finalists on the first objective; None before the finals."""
    objective = record.objectives[0]
    columns: list[FinalColumn] = []
    for final in record.finalists:
        if objective.name not in final.scores:
            continue
        runs = [record.trial(number) for number in final.runs]
        seeds = [(run.seed, s.value) for run in runs if (s := run.score(objective.name)) is not None]
        title = "recipe" if final.role == "recipe" else f"trial {final.trial}"
        seeds = [(seed, value) for seed, value in seeds if math.isfinite(value)]
        columns.append(FinalColumn(title, final.role, final.scores[objective.name], tuple(seeds)))
    floor = record.floor.get(objective.name)
    level = None if floor is None else floor.value
    return FinalsView(objective, tuple(columns), level, terms_text(record, "finals")) if columns else None


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
    """How much each parameter mattered for the first objective, judged by the search trials.

    A forest of extremely randomised trees (Geurts et al. 2006) predicts the rank of the objective from the position in
    the unit cube and the rung; importance is the loss of R² on held-out trials when a parameter's column is shuffled
    (Breiman 2001). Ranks, because failed trials have no value but are surely the worst. Deterministic.
    """
    params = record.space.varying
    trials, features, targets = _observations(record, params)
    n_trials = len(set(trials))
    if n_trials < ENOUGH_TRIALS:
        why = f"Importance needs {ENOUGH_TRIALS} trials with a result; there are {n_trials} so far."
        return ImportanceView((), math.nan, n_trials, why)
    if not params or np.ptp(targets) == 0:
        return ImportanceView((), math.nan, n_trials, "All trials have the same result, so no parameter stands out.")
    explained, drops = _shuffled_losses(np.array(trials), features, targets, len(params))
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


@dataclass(frozen=True)
class SlicePoint:
    """A trial in a slice: its position in [0, 1], its value, its objective (None when it failed) and steps."""

    number: int
    position: float
    setting: Value
    objective: float | None
    step: int
    mark: str  # "best", "recipe" or ""


@dataclass(frozen=True)
class SliceView:
    """One parameter against the objective. `ticks`: (position, label) along the parameter's own scale."""

    name: str
    unit: str
    scale: str
    objective: Objective
    ticks: tuple[tuple[float, str], ...]
    points: tuple[SlicePoint, ...]


def slice_views(record: Record, importance: ImportanceView) -> tuple[SliceView, ...]:
    """Slices of the most important parameters; without importance, of those that changed most, then in order."""
    recipe, best = recipe_trial(record), best_trial(record)
    if not any(trial.score(record.objectives[0].name) for trial in record.search_trials):
        return ()
    names = [row.name for row in importance.rows]
    if not names and recipe is not None and best is not None:
        names = [c.name for c in changes_between(record.space.varying, recipe.config, best.config, {})]
    names = list(dict.fromkeys([*names, *(p.name for p in record.space.varying)]))
    return tuple(_slice(record, record.space[name]) for name in names[:SLICES])


def _slice(record: Record, param: Param) -> SliceView:
    objective = record.objectives[0]
    recipe = recipe_trial(record)
    points: list[SlicePoint] = []
    for trial in record.search_trials:
        score = trial.score(objective.name)
        if param.name not in trial.config or (score is None and not trial.state.failed):
            continue
        setting = trial.config[param.name]
        value = None if score is None or trial.state.failed or not math.isfinite(score.value) else score.value
        mark = "recipe" if recipe is not None and trial.number == recipe.number else ""
        mark = "best" if trial.number == record.best else mark
        points.append(SlicePoint(trial.number, param.to_unit(setting), setting, value, trial.step, mark))
    scale = "" if isinstance(param, Choice) else param.scale
    return SliceView(param.name, param.unit, scale, objective, _ticks(param), tuple(points))


def _ticks(param: Param) -> tuple[tuple[float, str], ...]:
    if isinstance(param, Choice):
        return tuple((param.to_unit(v), formats.setting(v)) for v in param.values)
    off = [(param.to_unit(param.off), "off")] if isinstance(param, Float) and param.off is not None else []
    values = [v for v in _round_values(param) if param.low <= v <= param.high]
    values = values[:: math.ceil(len(values) / TICKS)]  # labels side by side in a small panel
    return (*off, *((param.to_unit(v), _tick_text(v)) for v in values))


def _tick_text(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e−") if 0 < value < 1e-3 else formats.setting(value)


def _round_values(param: Float | Int) -> list[float]:
    """Round numbers on the parameter's scale: powers of ten, or 1-2-5 where these are few, or equal steps."""
    if param.scale == "logit":
        near_one = [1 - 10.0**-k for k in range(1, 7)]
        return [float(f"{v:.6g}") for v in (*(1 - x for x in reversed(near_one)), 0.5, *near_one)]
    if param.scale == "log":
        powers = range(math.floor(math.log10(param.low)), math.ceil(math.log10(param.high)) + 1)
        decades = [10.0**k for k in powers]
        few = sum(param.low <= v <= param.high for v in decades) < 3
        return [float(f"{d * m:.6g}") for d in decades for m in ((1, 2, 5) if few else (1,))]
    rough = (param.high - param.low) / 4
    scale = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = min((m * scale for m in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
    step = max(step, 1.0) if isinstance(param, Int) else step
    first = math.ceil(param.low / step)
    return [float(f"{k * step:.6g}") for k in range(first, first + 12)]


@dataclass(frozen=True)
class ParetoView:
    """Trials in the plane of the first two objectives; those of the front in order of the first one."""

    objectives: tuple[Objective, ...]
    points: tuple[tuple[Trial, tuple[Score, ...]], ...]
    front: tuple[int, ...]
    recipe: int | None


def pareto_view(record: Record) -> ParetoView | None:
    """The front of two or more objectives; None with one objective or nothing scored."""
    if len(record.objectives) < 2:
        return None
    points: list[tuple[Trial, tuple[Score, ...]]] = []
    for trial in record.search_trials:
        scores = [s for o in record.objectives if (s := trial.score(o.name)) is not None and math.isfinite(s.value)]
        if len(scores) == len(record.objectives) and not trial.state.failed:
            points.append((trial, tuple(scores)))
    if not points:
        return None
    first = record.objectives[0]
    ordered = sorted(front(record), key=lambda t: first.loss(s.value if (s := t.score(first.name)) else math.inf))
    recipe = recipe_trial(record)
    return ParetoView(
        record.objectives, tuple(points), tuple(t.number for t in ordered), None if recipe is None else recipe.number
    )


def axis_title(objective: Objective) -> str:
    """An objective as the title of an axis."""
    return f"{labels.sentence_case(labels.metric_name(objective.name))} ({labels.direction(objective)})"
