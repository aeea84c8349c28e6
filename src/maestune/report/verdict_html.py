"""The card at the head of the report: the verdict, its interval, the bounds, what changed, what it cost."""

from __future__ import annotations

import math

from markupsafe import Markup

from maestune.campaign.record import Record, Verdict
from maestune.report import formats, labels
from maestune.report.bounds import kept_text
from maestune.report.comparing import best_name
from maestune.report.environment_views import environment_view
from maestune.report.verdict_views import VerdictView, bounds_view

CHANGES_SHOWN = 8


def verdict_card(record: Record, view: VerdictView) -> Markup:
    """The card of the verdict."""
    word = view.decision or ("ended" if record.done else "under way")
    chips = Markup("").join(Markup("<li>{}</li>").format(change.text) for change in view.changes[:CHANGES_SHOWN])
    name = best_name(record)
    changes = (
        Markup('<p>What changed most, {} against recipe:</p><ul class="changes">{}</ul>').format(name, chips)
        if chips
        else ""
    )
    bar = Markup("").join(_interval_bar(v, name) for v in record.verdicts)
    facts = Markup("").join(
        (Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, text) for name, text in environment_view(record).cost)
    )
    return Markup(
        '<section class="card verdict {}" id="verdict" aria-labelledby="verdict-title"><div class="word">'
        '{}</div><h2 id="verdict-title">{}</h2><p>{}</p><p>{}</p>{}{}{}<dl class="facts">{}</dl></section>'
    ).format(view.decision, word, view.headline, view.finding, view.use, bar, _bounds(record), changes, facts)


def _bounds(record: Record) -> Markup:
    """The bounds, and whether recipe and best keep them; nothing where there are none."""
    rows = Markup("").join(
        Markup('<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>').format(
            labels.sentence_case(row.text),
            kept_text(row.constraint, row.recipe),
            kept_text(row.constraint, row.best),
        )
        for row in bounds_view(record)
    )
    best = labels.sentence_case(best_name(record))
    head = Markup('<tr><th scope="col">Bound</th><th scope="col">Recipe</th><th scope="col">{}</th></tr>').format(best)
    if not rows:
        return rows
    return Markup('<div class="scroll"><table class="bounds"><thead>{}</thead><tbody>{}</tbody></table></div>').format(
        head, rows
    )


def _interval_bar(verdict: Verdict, best: str) -> Markup:
    """The difference with its interval on a line whose dashed mark is "no difference"."""
    relative = all(map(math.isfinite, (verdict.relative, verdict.relative_low, verdict.relative_high)))
    low, mean, high = (
        (verdict.relative_low, verdict.relative, verdict.relative_high)
        if relative
        else (verdict.low, verdict.difference, verdict.high)
    )
    if not all(map(math.isfinite, (low, mean, high))):
        return Markup("")
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
    return Markup(
        '<figure class="interval"><figcaption>{}, {} against recipe</figcaption><svg role="img" '
        'aria-label="{}"><line class="axis" x1="0" x2="100%" y1="34" y2="34"/><line class="zero" x1="{}" '
        'x2="{}" y1="24" y2="50"/><line class="bar" x1="{}" x2="{}" y1="34" y2="34"/><circle class="dot" '
        'cx="{}" cy="34" r="8"/><text class="mean" x="{}" y="18" text-anchor="middle">{}</text><text x="{}" '
        'y="63" text-anchor="middle">no difference</text></svg></figure>'
    ).format(labels.sentence_case(name), best, title, x(0), x(0), x(low), x(high), x(mean), x(mean), text(mean), x(0))
