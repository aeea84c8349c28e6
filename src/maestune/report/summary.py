"""The campaign as plain data: what `--json` prints and what `summary.json` holds, of the same views as the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from maestune.campaign.record import Record, Verdict
from maestune.report.bounds import BoundRow
from maestune.report.comparing import best_trial, finalist, recipe_trial, scores_of
from maestune.report.copied_views import CopiedImagesView, CopiedTextsView, copied_views
from maestune.report.front_views import front
from maestune.report.training_views import classes_view
from maestune.report.trial_views import state_counts
from maestune.report.verdict_views import bounds_view
from maestune.types import Score, Trial, Value


def summary(record: Record) -> dict[str, Any]:
    """The campaign as plain data, ready for JSON: what `--json` prints. NaN and infinities become null."""
    recipe, best = recipe_trial(record), best_trial(record)
    verdicts = [_verdict_data(v) for v in record.verdicts]
    return {
        "campaign": str(record.folder),
        "seconds": _finite(record.seconds),
        "trials": len(record.trials),
        "configurations": len(record.search_trials),
        "states": state_counts(record),
        "done": record.done,
        "full_trainings": _finite(record.full_trainings),
        "best": None if best is None else {"trial": best.number, **_config_data(record, best)},
        "recipe": None if recipe is None else {"trial": recipe.number, **_config_data(record, recipe)},
        "recommended": _recommended_data(record),
        "verdict": verdicts[0] if verdicts else None,
        "verdicts": verdicts,
        "constraints": [_bound_data(row) for row in bounds_view(record)],
        "floor": _scores_data(record.floor),
        "search_floor": _scores_data(record.search_floor),
        "terms": {stage: vars(terms) for stage, terms in record.terms.items()},
        "classes": _classes_data(record),
        "copied": {who: _copied_data(view) for who, view in copied_views(record).items()},
        "front": [{"trial": t.number, **_config_data(record, t)} for t in front(record)],
        "manners": [vars(mode) for mode in record.training_modes],
        "notes": list(record.notes),
    }


def _config_data(record: Record, trial: Trial) -> dict[str, Any]:
    held_out = finalist(record, trial) is not None
    return {
        "config": {name: plain(value) for name, value in trial.config.items()},
        "scores": _scores_data(scores_of(record, trial)),
        "scored_on": "report" if held_out else "search",
    }


def _recommended_data(record: Record) -> dict[str, Any] | None:
    """The configuration to use, which of the two it is, and why."""
    found = record.recommended
    if found is None:
        return None
    config = {name: plain(value) for name, value in record.trial(found.trial).config.items()}
    return {"role": found.role, "trial": found.trial, "reason": found.reason, "config": config}


def _bound_data(row: BoundRow) -> dict[str, Any]:
    """A bound, and for recipe and best the value there and whether it keeps the bound."""
    met = {
        who: None if score is None else {"value": _finite(score.value), "met": row.constraint.met(score.value)}
        for who, score in (("recipe", row.recipe), ("best", row.best))
    }
    return {"score": row.constraint.name, "sign": row.constraint.sign, "bound": row.constraint.bound, **met}


def _classes_data(record: Record) -> dict[str, dict[str, float]]:
    """Shares of real images and samples in each class: class → {real, recipe, best}."""
    view = classes_view(record)
    if view is None:
        return {}
    return {name: {row: shares[i] for row, shares in view.shares.items()} for i, name in enumerate(view.names)}


def _copied_data(view: CopiedTextsView | CopiedImagesView) -> dict[str, Any]:
    """How many samples copy, and what: passages with their lengths, or the distances of the nearest images."""
    told: dict[str, Any] = {
        "samples": view.samples,
        "copying": view.copying,
        "share": view.share,
        "held_out": view.usual,
    }
    if isinstance(view, CopiedTextsView):
        passages = [{"length": one.length, "passage": one.marked} for one in view.passages]
        return {**told, "shortest": view.shortest, "longest": passages}
    return {**told, "nearest": [{"distance": one.distance, "copy": one.counts} for one in view.nearest]}


def _scores_data(scores: Mapping[str, Score]) -> dict[str, dict[str, float | None]]:
    return {
        name: {"value": _finite(score.value), "low": _finite(score.low), "high": _finite(score.high)}
        for name, score in scores.items()
    }


def _verdict_data(verdict: Verdict) -> dict[str, Any]:
    numbers = ("difference", "low", "high", "relative", "relative_low", "relative_high")
    return {
        "objective": verdict.objective.name,
        "recipe": _finite(verdict.recipe.value),
        "best": _finite(verdict.best.value),
        **{name: _finite(getattr(verdict, name)) for name in numbers},
        "decision": verdict.decision,
        "seeds": verdict.seeds,
        "keep_recipe": verdict.keep_recipe,
        "by_seed": [{"recipe": _finite(recipe), "best": _finite(best)} for recipe, best in verdict.pairs],
    }


def plain(value: Value) -> Value | None:
    """A parameter's value for JSON: a number that is not finite becomes None."""
    return _finite(value) if isinstance(value, float) else value


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
