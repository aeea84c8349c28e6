"""The front of several objectives: the trials that no other beats in all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from maestune.campaign.record import Record
from maestune.report.comparing import recipe_trial, within
from maestune.types import Objective, Score, Trial


def front(record: Record) -> tuple[Trial, ...]:
    """Search trials that no other beats in every objective, of those within the bounds; empty with a single objective.

    Only trials of the highest rung that any scored trial reached are compared: scores after different steps are not
    alternatives.
    """
    if len(record.objectives) < 2:
        return ()
    scored = [t for t in record.search_trials if not t.state.failed and losses(record, t) is not None]
    highest = max((t.step for t in scored), default=0)
    compared = [(t, losses(record, t) or ()) for t in scored if t.step == highest]
    compared = [pair for pair in compared if within(record, pair[0])] or compared
    return tuple(t for t, own in compared if not any(_dominates(other, own) for _, other in compared))


def losses(record: Record, trial: Trial) -> tuple[float, ...] | None:
    """A trial's newest objectives, turned so that smaller is better; None when any is missing or not finite."""
    found = [(objective, trial.score(objective.name)) for objective in record.objectives]
    values = tuple(o.loss(s.value) for o, s in found if s is not None and math.isfinite(s.value))
    return values if len(values) == len(record.objectives) else None


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


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
