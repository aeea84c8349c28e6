"""How the search went, trial by trial, and the finalists side by side, as frozen values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from maestune.campaign.record import Record
from maestune.report.comparing import best_name, best_trial, recipe_trial, terms_text, trained
from maestune.types import Objective, Score, TrialState


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
    best_name: str
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
    best = trained(record, best_trial(record))
    return HistoryView(
        objective,
        over,
        record.rungs,
        tuple(points),
        _best_so_far(points, objective),
        tuple(failed),
        None if best is None else best.number,
        best_name(record),
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
