"""The card at the head of the report: the verdict, its interval, the bounds, what changed, what it cost."""

from __future__ import annotations

import math

from maestune.campaign.record import Record, Verdict
from maestune.report import formats, labels
from maestune.report.bounds import kept_text
from maestune.report.comparing import best_name
from maestune.report.environment_views import environment_view
from maestune.report.formats import escape
from maestune.report.verdict_views import VerdictView, bounds_view

CHANGES_SHOWN = 8


def verdict_card(record: Record, view: VerdictView) -> str:
    """The card of the verdict."""
    word = view.decision or ("ended" if record.done else "under way")
    chips = "".join(f"<li>{escape(change.text)}</li>" for change in view.changes[:CHANGES_SHOWN])
    name = best_name(record)
    changes = f'<p>What changed most, {name} against recipe:</p><ul class="changes">{chips}</ul>' if chips else ""
    bar = "".join(_interval_bar(v, name) for v in record.verdicts)
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in environment_view(record).cost
    )
    return (
        f'<section class="card verdict {view.decision}" id="verdict" aria-labelledby="verdict-title">'
        f'<div class="word">{word}</div><h2 id="verdict-title">{escape(view.headline)}</h2>'
        f"<p>{escape(view.finding)}</p><p>{escape(view.use)}</p>{bar}{_bounds(record)}{changes}"
        f'<dl class="facts">{facts}</dl></section>'
    )


def _bounds(record: Record) -> str:
    """The bounds, and whether recipe and best keep them; nothing where there are none."""
    rows = "".join(
        f'<tr><th scope="row">{escape(labels.sentence_case(row.text))}</th>'
        f"<td>{escape(kept_text(row.constraint, row.recipe))}</td><td>{escape(kept_text(row.constraint, row.best))}</td></tr>"
        for row in bounds_view(record)
    )
    best = labels.sentence_case(best_name(record))
    head = f'<tr><th scope="col">Bound</th><th scope="col">Recipe</th><th scope="col">{best}</th></tr>'
    return (
        f'<div class="scroll"><table class="bounds"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
        if rows
        else ""
    )


def _interval_bar(verdict: Verdict, best: str) -> str:
    """The difference with its interval on a line whose dashed mark is "no difference"."""
    relative = all(map(math.isfinite, (verdict.relative, verdict.relative_low, verdict.relative_high)))
    low, mean, high = (
        (verdict.relative_low, verdict.relative, verdict.relative_high)
        if relative
        else (verdict.low, verdict.difference, verdict.high)
    )
    if not all(map(math.isfinite, (low, mean, high))):
        return ""
    # Shares stand at their factors, on a logarithmic scale: +100 % is as far from no difference as -50 %.
    factors = relative and low > -1
    edge_low, edge_high = (math.log1p(v) if factors else v for v in (min(low, 0.0), max(high, 0.0)))
    margin = 0.12 * ((edge_high - edge_low) or 1.0)
    span = edge_high - edge_low + 2 * margin

    def x(value: float) -> str:
        # Of the width, so that a narrow page makes the line shorter and no letter smaller.
        at = math.log1p(value) if factors else value
        return f"{100 * (at - edge_low + margin) / span:.1f}%"

    def text(value: float) -> str:
        return f"{formats.percent(value)} %" if relative else formats.signed(value)

    name = labels.metric_name(verdict.objective.name)
    title = f"Difference in {name}: {text(mean)}, 95 % interval {text(low)} to {text(high)}"
    return (
        f'<figure class="interval"><figcaption>{escape(labels.sentence_case(name))}, {best} against recipe</figcaption>'
        f'<svg role="img" aria-label="{escape(title)}">'
        f'<line class="axis" x1="0" x2="100%" y1="34" y2="34"/>'
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="24" y2="50"/>'
        f'<line class="bar" x1="{x(low)}" x2="{x(high)}" y1="34" y2="34"/><circle class="dot" cx="{x(mean)}" cy="34" r="8"/>'
        f'<text class="mean" x="{x(mean)}" y="18" text-anchor="middle">{escape(text(mean))}</text>'
        f'<text x="{x(0)}" y="63" text-anchor="middle">no difference</text></svg></figure>'
    )
