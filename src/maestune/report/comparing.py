"""Recipe and best of a record, and their scores on equal terms: pure functions, as are those of all views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maestune.campaign.record import Finalist, Record
from maestune.report import formats
from maestune.types import Score, Trial


def recipe_trial(record: Record) -> Trial | None:
    """The search trial that trained the starting recipe; None before there is one."""
    return next((t for t in record.search_trials if t.role == "recipe"), None)


def best_trial(record: Record) -> Trial | None:
    """The best search trial so far, the winner of the finals once they are done; None before there is one."""
    return None if record.best is None else record.trial(record.best)


def trained(record: Record, trial: Trial | None) -> Trial | None:
    """The search trial whose training a trial rests on: itself, or the one whose weights a drawing has."""
    if trial is None or trial.stage != "sampling" or trial.source is None:
        return trial
    return record.trial(trial.source)


def chosen(record: Record) -> Trial | None:
    """The trial to use; None before there is one."""
    return None if record.recommended is None else record.trial(record.recommended.trial)


def best_name(record: Record) -> str:
    """What the best is called: no more than the best candidate where the verdict does not find it better."""
    return "best candidate" if record.done and any(v.decision != "better" for v in record.verdicts[:1]) else "best"


def finalist(record: Record, trial: Trial | None) -> Finalist | None:
    """The finalist that a search trial became, or None."""
    return None if trial is None else next((f for f in record.finalists if f.trial == trial.number), None)


def decisive(record: Record) -> tuple[str, ...]:
    """The scores that decide: objectives, then those that are only bounded."""
    return tuple(dict.fromkeys([o.name for o in record.objectives] + [c.name for c in record.constraints]))


def within(record: Record, trial: Trial) -> bool:
    """Whether a trial's newest scores keep all bounds."""
    return all((s := trial.score(c.name)) is not None and c.met(s.value) for c in record.constraints)


def newest_scores(trial: Trial | None) -> Mapping[str, Score]:
    """The newest score of each metric of a trial itself; none where there is no trial."""
    return {} if trial is None else {name: score for rung in trial.rungs for name, score in rung.scores.items()}


def scores_of(record: Record, trial: Trial | None) -> Mapping[str, Score]:
    """A trial's scores: on held-out images as a finalist where it is one, else the newest of the search."""
    final = finalist(record, trial)
    return newest_scores(trial) if final is None else final.scores


@dataclass(frozen=True)
class Compared:
    """Scores of recipe and best on equal terms, with the floor on the same: `stage` "finals" or "search"."""

    recipe: Mapping[str, Score]
    best: Mapping[str, Score]
    floor: Mapping[str, Score]
    stage: str


def compared(record: Record) -> Compared:
    """Recipe and best as they may be compared: both by the finals where both were in them, else both by the search.

    Never one by the one and one by the other: the number of samples and what they are held against are not the same.
    """
    trials = (recipe_trial(record), best_trial(record))
    finals = [f for t in trials if (f := finalist(record, t)) is not None]
    if finals and len(finals) == sum(t is not None for t in trials):
        recipe, best = (scores_of(record, t) for t in trials)
        return Compared(recipe, best, record.floor, "finals")
    recipe, best = (newest_scores(t) for t in trials)
    return Compared(recipe, best, record.search_floor, "search")


def terms_text(record: Record, stage: str) -> str:
    """On what terms the scores of a stage were measured, where an evaluator scored them: a sentence after others."""
    if stage not in record.terms:
        return ""
    other = "finals" if stage == "search" else "search"
    told = f" Each score rests on {formats.count(record.terms[stage].samples, 'sample')}"
    if stage == "search" and "screen" in record.terms:
        n = formats.count(record.terms["screen"].samples, "sample")
        told = f"{told}, those after less than a full training on {n} (compare them with each other only)"
    if other not in record.terms:
        return f"{told}."
    n = formats.count(record.terms[other].samples, "sample")
    return f"{told}; those of the {other} on {n} and other real data, so the two are not to be compared."
