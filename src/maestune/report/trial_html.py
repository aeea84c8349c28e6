"""The table of all trials, with the reason of every decision."""

from __future__ import annotations

import math

from markupsafe import Markup

from maestune.campaign.record import Record
from maestune.families.words import describe
from maestune.report import formats, labels
from maestune.report.comparing import chosen
from maestune.report.html_parts import section
from maestune.report.trial_views import TrialRow, trials_view
from maestune.types import Score

CHANGES_SHOWN = 4  # of a configuration against the recipe; the others unfold


def trials_section(record: Record) -> Markup:
    """The section with the table."""
    view = trials_view(record)
    if not view.rows:
        return section("trials", "All trials", "", Markup("<p>No trial has begun.</p>"))
    states = list(dict.fromkeys(str(row.state) for row in view.rows))
    options = Markup("").join(Markup('<option value="{}">{}</option>').format(s, s) for s in states)
    heads = [("Trial", ""), ("State", ""), ("Steps", "n")]
    heads += [(labels.sentence_case(labels.metric_name(name)), "n") for name in view.metrics]
    heads += [("Seconds", "n"), ("Why", ""), ("Against the recipe", "")]
    head = Markup("").join(
        (
            Markup('<th scope="col" class="{}"><button type="button">{}</button></th>').format(kind, title)
            for title, kind in heads
        )
    )
    marked = chosen(record)
    best = None if marked is None else marked.number
    rows = Markup("").join(_trial_row(row, best, record.model) for row in view.rows)
    tools = Markup(
        '<div class="tools"><label for="filter-words">Filter</label><input id="filter-words" type="search" '
        'placeholder="words in any column"><label for="filter-state">State</label><select id="filter-state">'
        '<option value="">all</option>{}</select><span class="soft" id="filter-shown" '
        'aria-live="polite"></span></div>'
    ).format(options)
    table = Markup(
        '<div class="scroll tall" tabindex="0" role="region" aria-label="Table of trials"><table '
        'class="trials"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(head, rows)
    return section(
        "trials",
        "All trials",
        "Every decision with its reason, and below it where the configuration came from; the tinted row is the one to use. "
        "Click a heading to sort.",
        tools + table,
    )


def _trial_row(row: TrialRow, best: int | None, model: str) -> Markup:
    scores = Markup("").join(map(_score_cell, row.scores))
    title = Markup("<br>{}").format(row.title) if row.title else ""
    return Markup(
        '<tr data-state="{}"{}><td data-v="{}">{}{}</td><td><span class="state {}">{}</span></td><td '
        'class="n" data-v="{}">{:,}</td>{}<td class="n" data-v="{}">{}</td><td class="why">{}<div '
        'class="soft">{}</div></td><td class="why">{}</td></tr>'
    ).format(
        str(row.state),
        " class=best" if row.number == best else "",
        row.number,
        row.number,
        title,
        str(row.state),
        labels.STATES[row.state],
        row.step,
        row.step,
        scores,
        row.seconds,
        formats.number(row.seconds),
        row.decision,
        row.origin,
        _changes(row, model),
    )


def _score_cell(score: Score | None) -> Markup:
    sort = score.value if score is not None and math.isfinite(score.value) else ""
    value, _, interval = formats.score(score).partition(" ")
    interval = Markup('<div class="soft">{}</div>').format(interval.strip("()")) if interval else ""
    return Markup('<td class="n" data-v="{}">{}{}</td>').format(sort, value, interval)


def _changes(row: TrialRow, model: str) -> Markup:
    """The first few changes, and all of them with the whole configuration to be unfolded."""
    values = Markup("").join(
        (
            Markup('<dt title="{}">{}</dt><dd>{}</dd>').format(describe(k, model), k, formats.setting(v))
            for k, v in row.config.items()
        )
    )
    shown, more = row.changes[:CHANGES_SHOWN], row.changes[CHANGES_SHOWN:]
    others = Markup("<p>{}</p>").format(", ".join(more)) if more else ""
    summary = f"{formats.count(len(more), 'more change')}, all values" if more else "all values"
    return Markup(
        '{}<details><summary>{}</summary>{}<dl class="pairs">{}<dt>seed</dt><dd>{}</dd></dl></details>'
    ).format(", ".join(shown), summary, others, values, row.seed)
