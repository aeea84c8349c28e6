"""The trials of a record as a table, and where the campaign stands."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maestune.campaign.record import Record
from maestune.report.changes import changes_between
from maestune.report.comparing import best_trial, compared, decisive, recipe_trial
from maestune.types import Config, Score, Trial, TrialState


@dataclass(frozen=True)
class TrialRow:
    """One line of the table of trials; `scores` in the order of the table's metrics, `changes` against the recipe.

    `title` says what is special about it: "recipe", "final of trial 12", or nothing.
    """

    number: int
    stage: str
    title: str
    state: TrialState
    seed: int
    step: int
    until_steps: int
    scores: tuple[Score | None, ...]
    origin: str
    decision: str
    seconds: float
    changes: tuple[str, ...]
    config: Config


@dataclass(frozen=True)
class TrialsView:
    """The table of trials; `metrics`: the scores that decide, objectives first."""

    metrics: tuple[str, ...]
    rows: tuple[TrialRow, ...]


def trials_view(record: Record, trials: Sequence[Trial] | None = None) -> TrialsView:
    """The given trials, or every one (search and finals), in order of number."""
    recipe = recipe_trial(record)
    chosen = record.trials if trials is None else trials
    return TrialsView(decisive(record), tuple(_row(record, recipe, trial) for trial in chosen))


def _row(record: Record, recipe: Trial | None, trial: Trial) -> TrialRow:
    if recipe is None or trial.role == "recipe":
        changes = ()
    else:
        changes = tuple(c.text for c in changes_between(record.space.params, recipe.config, trial.config, {}))
    return TrialRow(
        number=trial.number,
        stage=trial.stage,
        title=_title(trial),
        state=trial.state,
        seed=trial.seed,
        step=trial.step,
        until_steps=trial.until_steps,
        scores=tuple(trial.score(name) for name in decisive(record)),
        origin=trial.reason,
        decision=trial.decision,
        seconds=trial.seconds,
        changes=changes,
        config=trial.config,
    )


def _title(trial: Trial) -> str:
    if trial.stage == "finals":
        return "final of the recipe" if trial.role == "recipe" else f"final of trial {trial.source}"
    return f"drawn from trial {trial.source}" if trial.stage == "sampling" else trial.role


@dataclass(frozen=True)
class ProgressView:
    """Where the campaign stands. `curve`: the objective of every scored search trial, in order of number."""

    states: Mapping[str, int]
    objective: str
    best: Trial | None
    best_score: Score | None
    recipe_score: Score | None
    curve: tuple[float, ...]
    finals_done: int
    finals: int
    full_trainings: float


def progress_view(record: Record) -> ProgressView:
    """Where the campaign stands."""
    metric = record.objectives[0].name
    best, pair = best_trial(record), compared(record)
    finals = [t for t in record.trials if t.stage == "finals"]
    scores = (t.score(metric) for t in record.search_trials)
    return ProgressView(
        states=state_counts(record),
        objective=metric,
        best=best,
        best_score=pair.best.get(metric),
        recipe_score=pair.recipe.get(metric),
        curve=tuple(s.value for s in scores if s is not None and math.isfinite(s.value)),
        finals_done=sum(t.state.final for t in finals),
        finals=len(finals),
        full_trainings=record.full_trainings,
    )


def state_counts(record: Record) -> dict[str, int]:
    """Number of search trials in every state that occurs, in the order of the states."""
    counts = Counter(trial.state for trial in record.search_trials)
    return {str(state): counts[state] for state in TrialState if counts[state]}
