"""What happened inside trainings, as frozen values: learning curves from the events, shares of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from maestune.campaign.events import NAME as EVENTS_NAME
from maestune.campaign.events import parse_events
from maestune.campaign.record import Record
from maestune.errors import FileRefusedError
from maestune.folder_files import MIB, read_bytes
from maestune.report.comparing import best_name, best_trial, finalist, recipe_trial, trained
from maestune.types import Score, Trial, TrialState

EVENTS_LIMIT = 64 * MIB
DAMAGED_SHOWN = 3  # lines of a file that are named
LARGEST_EXACT = 2**53  # whole numbers up to here are exact as floats
POINTS_A_CURVE = 400  # more cannot be seen, and would only make the page heavy


def read_events(folder: Path, number: int) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """The events of a trial of a campaign folder, oldest first, and sentences about what of them cannot be read.

    No events where the trial has no file. A last line that a killed process left torn is no news and left out.
    """
    name = f"trials/{number:04d}/{EVENTS_NAME}"
    try:
        found = parse_events(read_bytes(folder, name, EVENTS_LIMIT) or b"")
    except FileRefusedError as refused:
        return (), (f"events left out: {refused}",)
    damaged = [f"{name} line {line} is damaged and left out" for line in found.damaged[:DAMAGED_SHOWN]]
    if len(found.damaged) > DAMAGED_SHOWN:
        damaged.append(f"{name}: {len(found.damaged) - DAMAGED_SHOWN:,} more lines are damaged and left out")
    return found.entries, tuple(damaged)


@dataclass(frozen=True)
class Curve:
    """One training: signal → ((step, value), …), metric → ((step, score), …), and the notes of its events."""

    number: int
    title: str
    signals: Mapping[str, tuple[tuple[int, float], ...]]
    scores: Mapping[str, tuple[tuple[int, Score], ...]]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()  # of its events file


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
    events, problems = read_events(record.folder, number)
    for event in events:
        step = event.get("step")
        if event.get("kind") == "note" and isinstance(event.get("text"), str):
            notes.append(event["text"])
        if event.get("kind") != "signals" or not _is_step(step):
            continue
        for name, value in _items(event.get("signals")):
            if isinstance(value, float) or _is_step(abs(value) if isinstance(value, int) else value):
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
        problems,
    )


def _is_step(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_EXACT


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
