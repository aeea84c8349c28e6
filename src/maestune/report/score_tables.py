"""The scores of a page as a table with small bars, and the classes of samples beside those of real images."""

from __future__ import annotations

import math

from maestune.quality.scoring.result import ClassShares, Measured
from maestune.report import formats
from maestune.report.formats import escape
from maestune.report.labels import AXES, sentence_case
from maestune.report.score_views import ScoreView, better
from maestune.types import Score

MOST_CLASSES = 40  # shown; the page says how many there are


def measures_table(view: ScoreView) -> tuple[str, str]:
    """Lead and body: every measure by axis, with its interval and floor."""
    if not view.axes:
        return "", "<p>Nothing was measured.</p>"
    heads = ("Measure", "Value", "Floor", "Interval and floor", "Better", "What it says")
    kinds = ("", "n", "n", "", "", "")
    head = "".join(f'<th scope="col" class="{kind}">{text}</th>' for text, kind in zip(heads, kinds, strict=True))
    bodies = "".join(
        f'<tbody><tr class="axis"><th colspan="6" scope="rowgroup">{sentence_case(axis)}<span class="soft">{AXES[axis]}</span></th></tr>'
        f"{''.join(map(_row, measured))}</tbody>"
        for axis, measured in view.axes
    )
    lead = (
        "With 95 % intervals over the choice of samples. The floor is what real data scores in place of the samples: as "
        "good as it gets. In the bars a dot is the value, the thick line its interval, dashed the floor, grey its interval."
    )
    table = f'<div class="scroll"><table class="measures"><thead><tr>{head}</tr></thead>{bodies}</table></div>'
    return lead, table


def _row(each: Measured) -> str:
    unit = f'<div class="soft">{escape(each.metric.unit)}</div>' if each.metric.unit else ""
    name = f'{escape(sentence_case(each.metric.label))}<div class="soft"><code>{escape(each.metric.name)}</code></div>'
    return (
        f'<tr><th scope="row">{name}</th>{_score_cell(each.score, "Value", unit)}{_score_cell(each.floor, "Floor")}'
        f'<td class="bar">{_bar(each)}</td><td class="way">{better(each)}</td><td>{escape(each.metric.meaning)}</td></tr>'
    )


def _score_cell(score: Score | None, of: str, unit: str = "") -> str:
    """A cell; `of` says what it is where a narrow page has no room for columns with headings."""
    value, _, interval = formats.score(score).partition(" ")
    return f'<td class="n" data-of="{of}">{value}<div class="soft">{interval.strip("()")}</div>{unit}</td>'


def _bar(each: Measured) -> str:
    """Value and interval on a line, with the floor; the line reaches a little beyond them."""
    known = [v for s in (each.score, each.floor) if s is not None for v in (s.low, s.value, s.high) if math.isfinite(v)]
    if not known:
        return ""
    low, high = min(known), max(known)
    margin = 0.12 * ((high - low) or abs(high) or 1.0)
    low, span = low - margin, (high - low) + 2 * margin

    def x(value: float) -> float:
        return round(200 * (value - low) / span, 1)

    def ends(score: Score) -> tuple[float, float]:
        return (
            (x(score.low), x(score.high)) if math.isfinite(score.high - score.low) else (x(score.value), x(score.value))
        )

    parts = ['<line class="line" x1="0" x2="200" y1="12" y2="12"/>']
    if each.floor is not None and math.isfinite(each.floor.value):
        begin, end = ends(each.floor)
        at = x(each.floor.value)
        parts.append(f'<rect class="real" x="{begin}" y="5" width="{max(end - begin, 0):.1f}" height="14"/>')
        parts.append(f'<line class="floor" x1="{at}" x2="{at}" y1="1" y2="23"/>')
    if math.isfinite(each.score.value):
        begin, end = ends(each.score)
        parts.append(f'<line class="span" x1="{begin}" x2="{end}" y1="12" y2="12"/>')
        parts.append(f'<circle class="dot" cx="{x(each.score.value)}" cy="12" r="5"/>')
    title = f"{each.metric.label}: {formats.score(each.score)}, floor {formats.score(each.floor)}"
    return f'<svg viewBox="0 0 200 24" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def classes_bars(shares: ClassShares) -> tuple[str, str]:
    """Lead and body: the share of each class in real images and samples; of many classes those that differ most."""
    order = range(len(shares.fake))
    if len(shares.fake) > MOST_CLASSES:  # those that differ most
        order = sorted(order, key=lambda i: -abs(shares.fake[i] - shares.real[i]))[:MOST_CLASSES]
    most = max([shares.real[i] for i in order] + [shares.fake[i] for i in order]) or 1.0
    rows = "".join(
        f"<div>{escape(formats.shortened(shares.names[i], 40))}</div>"
        f'<svg viewBox="0 0 400 24" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="of-real" x="0" y="2" width="{400 * shares.real[i] / most:.1f}" height="9"/>'
        f'<rect class="of-fake" x="0" y="13" width="{400 * shares.fake[i] / most:.1f}" height="9"/></svg>'
        f"<div>{formats.number(100 * shares.real[i], 2)} % → {formats.number(100 * shares.fake[i], 2)} %</div>"
        for i in order
    )
    which = f" The {MOST_CLASSES} of {len(shares.fake):,} that differ most." if len(shares.fake) > MOST_CLASSES else ""
    lead = (
        '<span class="key">real images</span>, <span class="key made">samples</span>: how often each class is seen, by the '
        f"judge's classifier, whose errors fall on both alike. A class without a second bar is missing.{which}"
    )
    return lead, f'<div class="card"><div class="bars">{rows}</div></div>'
