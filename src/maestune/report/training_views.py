"""What happened inside trainings, as frozen values: learning curves from the events, shares of classes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maestune.campaign.record import Record
from maestune.report.comparing import best_name, best_trial, finalist, recipe_trial, trained
from maestune.types import Score, Trial, TrialState

POINTS_A_CURVE = 400  # more cannot be seen, and would only make the page heavy


def read_events(folder: Path, number: int) -> tuple[dict[str, Any], ...]:
    """The events of a trial of a campaign folder, oldest first; none where it has no file.

    A line that is not a whole JSON object (torn by a kill) is left out.
    """
    path = folder / "trials" / f"{number:04d}" / "events.jsonl"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    events: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return tuple(events)


@dataclass(frozen=True)
class Curve:
    """One training: signal → ((step, value), …), metric → ((step, score), …), and the notes of its events."""

    number: int
    title: str
    signals: Mapping[str, tuple[tuple[int, float], ...]]
    scores: Mapping[str, tuple[tuple[int, Score], ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CurvesView:
    """Learning curves of the trials worth comparing: best, recipe, and one that failed or was stopped."""

    curves: tuple[Curve, ...]

    @property
    def signals(self) -> tuple[str, ...]:
        """The names of all signals, in order of appearance."""
        return tuple(dict.fromkeys(name for curve in self.curves for name in curve.signals))


def curves_view(record: Record) -> CurvesView:
    """Learning curves of best, recipe and one failed (or else stopped) trial, where there are such."""
    chosen: dict[int, str] = {}
    recipe, best = recipe_trial(record), trained(record, best_trial(record))
    if best is not None:
        is_recipe = recipe is not None and recipe.number == best.number
        chosen[best.number] = f"{best_name(record)} (the recipe)" if is_recipe else best_name(record)
    if recipe is not None:
        chosen.setdefault(recipe.number, "recipe")
    curves = [_curve(record, number, title) for number, title in chosen.items()]
    warning = next((c for t in _instructive(record) if (c := _curve(record, t.number, str(t.state))).signals), None)
    if warning is not None and warning.number not in chosen:
        curves.append(warning)
    return CurvesView(tuple(c for c in curves if c.signals or c.scores))


def _instructive(record: Record) -> list[Trial]:
    """Trials that went wrong: diverged ones before crashed ones before stopped ones, the longest first."""
    order = (TrialState.DIVERGED, TrialState.CRASHED, TrialState.STOPPED)
    wrong = [t for t in record.search_trials if t.state in order and t.role != "recipe"]
    return sorted(wrong, key=lambda t: (order.index(t.state), -t.until_steps, t.number))[:8]


def _curve(record: Record, number: int, title: str) -> Curve:
    signals: dict[str, dict[int, float]] = {}
    notes: list[str] = []
    for event in read_events(record.folder, number):
        step = event.get("step")
        if event.get("kind") == "note" and isinstance(event.get("text"), str):
            notes.append(event["text"])
        if event.get("kind") != "signals" or not isinstance(step, int):
            continue
        for name, value in _items(event.get("signals")):
            if isinstance(value, int | float):
                # A segment that was repeated after a kill tells a step twice; the later telling holds.
                signals.setdefault(name, {})[step] = float(value)
    rungs = record.trial(number).rungs
    metrics = dict.fromkeys(name for rung in rungs for name in rung.scores)
    return Curve(
        number,
        title,
        {name: _thinned(sorted(points.items())) for name, points in signals.items()},
        {name: tuple((r.step, r.scores[name]) for r in rungs if name in r.scores) for name in metrics},
        tuple(notes),
    )


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    stride = max(1, math.ceil(len(points) / POINTS_A_CURVE))
    # The last point is always kept: it is where the training ended.
    return tuple(points[(len(points) - 1) % stride :: stride])


@dataclass(frozen=True)
class ClassesView:
    """Shares of the images in each class: `shares` by "real", "recipe" and "best", as far as they are known."""

    names: tuple[str, ...]
    shares: Mapping[str, tuple[float, ...]]
    best_name: str = "best"


def classes_view(record: Record) -> ClassesView | None:
    """Which classes the samples show; None without classes, and before a full training has been scored."""
    shares = {"real": record.real_classes}
    for who, trial in (("recipe", recipe_trial(record)), ("best", best_trial(record))):
        found = _classes_of(record, trial)
        if found:
            shares[who] = found
    known = record.real_classes and len(shares) > 1
    return ClassesView(record.class_names, shares, best_name(record)) if known else None


def _classes_of(record: Record, trial: Trial | None) -> tuple[float, ...]:
    final = finalist(record, trial)
    if final is not None:
        return final.classes
    return trial.rungs[-1].classes if trial is not None and trial.rungs else ()
