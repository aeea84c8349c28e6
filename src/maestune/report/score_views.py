"""What a score says in words, and its values by what they look at, as frozen values."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from maestune.quality.scoring.measuring import COMPARE, REPORT, SCREEN
from maestune.quality.scoring.result import Measured, ScoreResult
from maestune.report import formats
from maestune.report.labels import AXES, sentence_case
from maestune.types import Score

Scale = Literal["difference", "factor"]

LEADS: Mapping[str, tuple[tuple[str, Scale], ...]] = {
    "realism": (
        ("fd", "factor"),
        ("oracle_gap", "difference"),
        ("text_fd", "factor"),
        ("cluster_js", "difference"),
        ("fd_second", "factor"),
        ("precision", "difference"),
        ("c2st", "difference"),
        ("mauve", "difference"),
        ("char_js", "difference"),
    ),
    "diversity": (
        ("coverage", "difference"),
        ("rep_gap", "difference"),
        ("clipped_coverage", "difference"),
        ("recall", "difference"),
        ("modes_js", "difference"),
    ),
    "coherence": (("spatial_fd", "factor"), ("long_coherence", "difference"), ("prompt_coherence", "difference")),
    "adherence": (("adherence", "difference"), ("r_precision", "difference"), ("vqa_score", "difference")),
    "novelty": (("novelty", "difference"), ("text_novelty", "difference")),
}
"""The measures that words rest on, and how the gap to the floor is told: the first of an axis leads, the others are witnesses.

Of texts the oracle's cost leads: a few dozen texts show it, where distances between texts are then nearly all floor.
"""

WORDS = ("as good as real", "close to real", "apart from real", "far from real")
BEHIND = ("", "", "but apart from it in", "but far from it in")
CLOSE, APART = {"difference": 0.1, "factor": 2.0}, {"difference": 0.3, "factor": 10.0}


@dataclass(frozen=True)
class Standing:
    """Where a measure stands beside its floor: `level` 0 (no worse) … 3 (far), and the gap, larger is worse."""

    measured: Measured
    level: int
    gap: float


@dataclass(frozen=True)
class ScoreView:
    """A score in words, and its measures by axis. `level`: of the weakest axis, 0 (as good as real) … 3 (far), None where nothing tells."""

    headline: str
    sentences: tuple[str, ...]
    level: int | None
    axes: tuple[tuple[str, tuple[Measured, ...]], ...]


def score_view(result: ScoreResult) -> ScoreView:
    """The view of a result."""
    axes = {axis: tuple(m for m in result.measured if m.metric.axis == axis) for axis in AXES}
    standings = [s for axis, measured in axes.items() if (s := _standing(axis, measured)) is not None]
    shown = tuple((axis, measured) for axis, measured in axes.items() if measured)
    if not standings:
        return ScoreView("Scored", _plain(result), None, shown)
    first = standings[0]
    weakest = max(standings, key=lambda s: (s.level, s.gap))
    headline = sentence_case(WORDS[first.level])
    if not first.level and (result.modality == "text" or result.fake.used < REPORT):
        headline += f", as far as {counted(result)} tell"
    if weakest is not first and weakest.level:
        behind = weakest.level > max(first.level, 1)
        headline += f", {BEHIND[weakest.level] if behind else 'weakest in'} {weakest.measured.metric.axis}"
    return ScoreView(headline, (_how_good(result, first), _where_weak(result, first, weakest)), weakest.level, shown)


def command(result: ScoreResult) -> str:
    """The command that scores the same again."""
    parts = ["maestune", "score", "--real", result.real.source, "--fake", result.fake.source]
    for name, value in result.options.items():
        values = value.split("\n") if name == "captions" else [value]
        for one in values:
            parts += [f"--{name}", one]
    return shlex.join([*parts, "--seed", str(result.seed)])


def better(measured: Measured) -> str:
    """Which way is good."""
    if not measured.metric.goal:
        return "as real"
    return "higher" if measured.metric.higher_is_better else "lower"


def counted(result: ScoreResult) -> str:
    """How many samples there are.

    >>> from types import SimpleNamespace as some
    >>> counted(some(modality="image", fake=some(used=1000)))
    '1,000 images'
    """
    return formats.count(result.fake.used, result.modality)


def _standing(axis: str, measured: Sequence[Measured]) -> Standing | None:
    """Where the first of the axis' leading measures stands; where it is no worse than its floor, the worst of the others."""
    by_name = {m.metric.name: m for m in measured if m.floor is not None and math.isfinite(m.score.value)}
    standings = [_beside(by_name[name], scale) for name, scale in LEADS.get(axis, ()) if name in by_name]
    if not standings or standings[0].level:
        return standings[0] if standings else None
    worst = max(standings, key=lambda s: (s.level, s.gap))
    return replace(worst, level=1) if worst.level else standings[0]  # a witness says that there is a gap, not how wide


def _beside(found: Measured, scale: Scale) -> Standing:
    assert found.floor is not None  # only such are asked for
    value, real, floor = found.score.value, found.floor.value, found.floor
    worse, good = (real, value) if found.metric.higher_is_better else (value, real)
    if scale == "factor":
        amount = worse / good if good > 0 else math.inf if worse > 0 else 1.0
        gap = 1.0 - 1.0 / max(amount, 1.0)
    else:
        amount = gap = worse - good
    if amount <= (1.0 if scale == "factor" else 0.0) or _overlap(found.score, floor):
        return Standing(found, 0, min(max(gap, 0.0), 0.01))
    level = 1 if amount < CLOSE[scale] else 2 if amount < APART[scale] else 3
    return Standing(found, level, gap)


def _overlap(one: Score, other: Score) -> bool:
    return one.low <= other.high and other.low <= one.high


def _against(standing: Standing) -> str:
    """A measure with its value and its floor, in words."""
    metric, floor = standing.measured.metric, standing.measured.floor
    assert floor is not None  # a standing is beside one
    return f"{metric.label} {formats.number(standing.measured.score.value)}, where real data reaches {formats.number(floor.value)}"


def _how_good(result: ScoreResult, first: Standing) -> str:
    held = formats.count(result.reference, f"held-out {'real image' if result.modality == 'image' else 'real text'}")
    return f"These {counted(result)} are {WORDS[first.level]}, held against {held}: {_against(first)}."


def _where_weak(result: ScoreResult, first: Standing, weakest: Standing) -> str:
    if not weakest.level:
        weak = "No axis falls behind what real data reaches"
    elif weakest is first:
        weak = f"Nothing is weaker than its {first.measured.metric.axis}"
    else:
        weak = f"Weakest is {weakest.measured.metric.axis}: {_against(weakest)}"
    return f"{weak}; {_how_sure(result, first)}."


def _how_sure(result: ScoreResult, first: Standing) -> str:
    score, metric = first.measured.score, first.measured.metric
    sure = f"{counted(result)} leave the {metric.label} uncertain by {_reach(score)}"
    if result.modality == "text":
        return sure
    n = result.fake.used
    if n < SCREEN:
        return f"{sure}, and are too few to compare models by ({SCREEN:,} would show what is no good)"
    if n < COMPARE:
        return f"{sure}, enough to see what is no good ({COMPARE:,} would do to compare close models)"
    return sure if n >= REPORT else f"{sure}, enough to compare models ({REPORT:,} would do to publish)"


def _reach(score: Score) -> str:
    half = (score.high - score.low) / 2.0
    if not math.isfinite(half):
        return "an unknown amount"
    if score.value > 0:
        return f"±{formats.number(100.0 * half / score.value, 2)} %"
    return f"±{formats.number(half, 2)}"


def _plain(result: ScoreResult) -> tuple[str, ...]:
    told = ", ".join(f"{m.metric.label} {formats.score(m.score)}" for m in result.measured)
    return (f"{sentence_case(counted(result))} were scored: {told}." if told else "Nothing could be measured.",)
