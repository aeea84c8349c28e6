"""The scores of a page as a table with small bars, and the classes of samples beside those of real images."""

from __future__ import annotations

import math

from markupsafe import Markup

from maestune.quality.scoring.result import ClassShares, Measured
from maestune.report import formats
from maestune.report.labels import AXES, sentence_case
from maestune.report.score_views import ScoreView, better
from maestune.types import Score

MOST_CLASSES = 40  # shown; the page says how many there are


def measures_table(view: ScoreView) -> tuple[str, Markup]:
    """Lead and body: every measure by axis, with its interval and floor."""
    if not view.axes:
        return "", Markup("<p>Nothing was measured.</p>")
    heads = ("Measure", "Value", "Floor", "Interval and floor", "Better", "What it says")
    kinds = ("", "n", "n", "", "", "")
    head = Markup("").join(
        (
            Markup('<th scope="col" class="{}">{}</th>').format(kind, text)
            for text, kind in zip(heads, kinds, strict=True)
        )
    )
    bodies = Markup("").join(
        (
            Markup(
                '<tbody><tr class="axis"><th colspan="6" scope="rowgroup">{}<span class="soft">{}</span></th></tr>'
                "{}</tbody>"
            ).format(sentence_case(axis), AXES[axis], Markup("").join(map(_row, measured)))
            for axis, measured in view.axes
        )
    )
    lead = (
        "With 95 % intervals over the choice of samples. The floor is what real data scores in place of the samples: as "
        "good as it gets. In the bars a dot is the value, the thick line its interval, dashed the floor, grey its interval."
    )
    table = Markup('<div class="scroll"><table class="measures"><thead><tr>{}</tr></thead>{}</table></div>').format(
        head, bodies
    )
    return lead, table


def _row(each: Measured) -> Markup:
    unit = Markup('<div class="soft">{}</div>').format(each.metric.unit) if each.metric.unit else ""
    name = Markup('{}<div class="soft"><code>{}</code></div>').format(
        sentence_case(each.metric.label), each.metric.name
    )
    return Markup(
        '<tr><th scope="row">{}</th>{}{}<td class="bar">{}</td><td class="way">{}</td><td>{}</td></tr>'
    ).format(
        name,
        _score_cell(each.score, "Value", unit),
        _score_cell(each.floor, "Floor"),
        _bar(each),
        better(each),
        each.metric.meaning,
    )


def _score_cell(score: Score | None, of: str, unit: str = "") -> Markup:
    """A cell; `of` says what it is where a narrow page has no room for columns with headings."""
    value, _, interval = formats.score(score).partition(" ")
    return Markup('<td class="n" data-of="{}">{}<div class="soft">{}</div>{}</td>').format(
        of, value, interval.strip("()"), unit
    )


def _bar(each: Measured) -> Markup:
    """Value and interval on a line, with the floor; the line reaches a little beyond them."""
    known = [v for s in (each.score, each.floor) if s is not None for v in (s.low, s.value, s.high) if math.isfinite(v)]
    if not known:
        return Markup("")
    low, high = min(known), max(known)
    margin = 0.12 * ((high - low) or abs(high) or 1.0)
    low, span = low - margin, (high - low) + 2 * margin

    def x(value: float) -> float:
        return round(200 * (value - low) / span, 1)

    def ends(score: Score) -> tuple[float, float]:
        return (
            (x(score.low), x(score.high)) if math.isfinite(score.high - score.low) else (x(score.value), x(score.value))
        )

    parts = [Markup('<line class="line" x1="0" x2="200" y1="12" y2="12"/>')]
    if each.floor is not None and math.isfinite(each.floor.value):
        begin, end = ends(each.floor)
        at = x(each.floor.value)
        parts.append(
            Markup('<rect class="real" x="{}" y="5" width="{:.1f}" height="14"/>').format(begin, max(end - begin, 0))
        )
        parts.append(Markup('<line class="floor" x1="{}" x2="{}" y1="1" y2="23"/>').format(at, at))
    if math.isfinite(each.score.value):
        begin, end = ends(each.score)
        parts.append(Markup('<line class="span" x1="{}" x2="{}" y1="12" y2="12"/>').format(begin, end))
        parts.append(Markup('<circle class="dot" cx="{}" cy="12" r="5"/>').format(x(each.score.value)))
    title = f"{each.metric.label}: {formats.score(each.score)}, floor {formats.score(each.floor)}"
    return Markup('<svg viewBox="0 0 200 24" role="img" aria-label="{}">{}</svg>').format(title, Markup("").join(parts))


def classes_bars(shares: ClassShares) -> tuple[str, Markup]:
    """Lead and body: the share of each class in real images and samples; of many classes those that differ most."""
    order = range(len(shares.fake))
    if len(shares.fake) > MOST_CLASSES:  # those that differ most
        order = sorted(order, key=lambda i: -abs(shares.fake[i] - shares.real[i]))[:MOST_CLASSES]
    most = max([shares.real[i] for i in order] + [shares.fake[i] for i in order]) or 1.0
    rows = Markup("").join(
        Markup(
            '<div>{}</div><svg viewBox="0 0 400 24" preserveAspectRatio="none" aria-hidden="true"><rect '
            'class="of-real" x="0" y="2" width="{:.1f}" height="9"/><rect class="of-fake" x="0" y="13" '
            'width="{:.1f}" height="9"/></svg><div>{} % → {} %</div>'
        ).format(
            formats.shortened(shares.names[i], 40),
            400 * shares.real[i] / most,
            400 * shares.fake[i] / most,
            formats.number(100 * shares.real[i], 2),
            formats.number(100 * shares.fake[i], 2),
        )
        for i in order
    )
    which = f" The {MOST_CLASSES} of {len(shares.fake):,} that differ most." if len(shares.fake) > MOST_CLASSES else ""
    lead = Markup(
        '<span class="key">real images</span>, <span class="key made">samples</span>: how often each class '
        "is seen, by the evaluator's classifier, whose errors fall on both alike. A class without a second bar "
        "is missing.{}"
    ).format(which)
    return lead, Markup('<div class="card"><div class="bars">{}</div></div>').format(rows)
