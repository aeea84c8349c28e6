"""Single parameters against the objective, each along its own scale, as frozen values."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from maestune.campaign.record import Record
from maestune.report import formats
from maestune.report.changes import changes_between
from maestune.report.comparing import best_trial, recipe_trial, trained
from maestune.report.importance_views import ImportanceView
from maestune.space import Choice, Float, Int, Param
from maestune.types import Objective, Value

SLICES = 6
TICKS = 5
LEAST_GAP = 0.13  # of the axis, between labels side by side in a small panel
TICK_LETTERS = 14
ENOUGH_TRIALS = 4  # in a panel; fewer show no shape


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
    names = dict.fromkeys([*names, *(p.name for p in record.space.varying)])
    slices = (_slice(record, record.space[name]) for name in names)
    return tuple(itertools.islice((s for s in slices if len(s.points) >= ENOUGH_TRIALS), SLICES))


def _slice(record: Record, param: Param) -> SliceView:
    objective = record.objectives[0]
    recipe, best = recipe_trial(record), trained(record, best_trial(record))
    points: list[SlicePoint] = []
    for trial in record.search_trials:
        score = trial.score(objective.name)
        if param.name not in trial.config or (score is None and not trial.state.failed):
            continue
        setting = trial.config[param.name]
        value = None if score is None or trial.state.failed or not math.isfinite(score.value) else score.value
        mark = "recipe" if recipe is not None and trial.number == recipe.number else ""
        mark = "best" if best is not None and trial.number == best.number else mark
        points.append(SlicePoint(trial.number, param.to_unit(setting), setting, value, trial.step, mark))
    scale = "" if isinstance(param, Choice) else param.scale
    return SliceView(param.name, param.unit, scale, objective, _ticks(param), tuple(points))


def _ticks(param: Param) -> tuple[tuple[float, str], ...]:
    if isinstance(param, Choice):
        return tuple((param.to_unit(v), formats.shortened(formats.setting(v), TICK_LETTERS)) for v in param.values)
    off = [(param.to_unit(param.off), "off")] if isinstance(param, Float) and param.off is not None else []
    values = [v for v in _round_values(param) if param.low <= v <= param.high]
    values = values[:: math.ceil(len(values) / TICKS)]
    ticks = list(off)
    for tick in ((param.to_unit(v), _tick_text(v)) for v in values):
        if not ticks or tick[0] - ticks[-1][0] >= LEAST_GAP:
            ticks.append(tick)
    return tuple(ticks)


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
