"""The card at the head of the report: the verdict, its interval, the bounds, what changed, what it cost."""

from __future__ import annotations

import math

from maestune.campaign.record import Record, Verdict
from maestune.report import formats, labels
from maestune.report.bounds import kept_text
from maestune.report.environment_views import environment_view
from maestune.report.formats import escape
from maestune.report.verdict_views import VerdictView, bounds_view

CHANGES_SHOWN = 8


def verdict_card(record: Record, view: VerdictView) -> str:
    """The card of the verdict."""
    word = view.decision or ("ended" if record.done else "under way")
    chips = "".join(f"<li>{escape(change.text)}</li>" for change in view.changes[:CHANGES_SHOWN])
    changes = f'<p>What changed most, best against recipe:</p><ul class="changes">{chips}</ul>' if chips else ""
    bar = "".join(_interval_bar(v) for v in record.verdicts)
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in environment_view(record).cost
    )
    return (
        f'<section class="card verdict {view.decision}" id="verdict" aria-labelledby="verdict-title">'
        f'<div class="word">{word}</div><h2 id="verdict-title">{escape(view.headline)}</h2>'
        f"<p>{escape(view.finding)}</p>{bar}{_bounds(record)}{changes}"
        f'<dl class="facts">{facts}</dl></section>'
    )


def _bounds(record: Record) -> str:
    """The bounds, and whether recipe and best keep them; nothing where there are none."""
    rows = "".join(
        f'<tr><th scope="row">{escape(labels.sentence_case(row.text))}</th>'
        f"<td>{escape(kept_text(row.constraint, row.recipe))}</td><td>{escape(kept_text(row.constraint, row.best))}</td></tr>"
        for row in bounds_view(record)
    )
    head = '<tr><th scope="col">Bound</th><th scope="col">Recipe</th><th scope="col">Best</th></tr>'
    return (
        f'<div class="scroll"><table class="bounds"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
        if rows
        else ""
    )


def _interval_bar(verdict: Verdict) -> str:
    """The difference with its interval on a line whose dashed mark is "no difference"."""
    relative = all(map(math.isfinite, (verdict.relative, verdict.relative_low, verdict.relative_high)))
    low, mean, high = (
        (verdict.relative_low, verdict.relative, verdict.relative_high)
        if relative
        else (verdict.low, verdict.difference, verdict.high)
    )
    if not all(map(math.isfinite, (low, mean, high))):
        return ""
    edge_low, edge_high = min(low, 0.0), max(high, 0.0)
    margin = 0.12 * ((edge_high - edge_low) or 1.0)
    span = edge_high - edge_low + 2 * margin

    def x(value: float) -> float:
        return round(20 + 600 * (value - edge_low + margin) / span, 1)

    def text(value: float) -> str:
        return f"{formats.percent(value)} %" if relative else formats.signed(value)

    name = labels.metric_name(verdict.objective.name)
    title = f"Difference in {name}: {text(mean)}, 95 % interval {text(low)} to {text(high)}"
    return (
        f'<figure class="interval"><figcaption>{escape(labels.sentence_case(name))}, best against recipe</figcaption>'
        f'<svg viewBox="0 0 640 66" role="img" aria-label="{escape(title)}">'
        f'<line class="axis" x1="20" x2="620" y1="34" y2="34"/>'
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="18" y2="50"/>'
        f'<line class="bar" x1="{x(low)}" x2="{x(high)}" y1="34" y2="34"/><circle class="dot" cx="{x(mean)}" cy="34" r="8"/>'
        f'<text class="mean" x="{x(mean)}" y="18" text-anchor="middle">{escape(text(mean))}</text>'
        f'<text x="{x(0)}" y="63" text-anchor="middle">no difference</text></svg></figure>'
    )
