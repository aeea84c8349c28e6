"""The table of all trials, with the reason of every decision."""

from __future__ import annotations

import math

from maestune.campaign.record import Record
from maestune.families.words import describe
from maestune.report import formats, labels
from maestune.report.comparing import chosen
from maestune.report.formats import escape
from maestune.report.html_parts import section
from maestune.report.trial_views import TrialRow, trials_view
from maestune.types import Score

CHANGES_SHOWN = 4  # of a configuration against the recipe; the others unfold


def trials_section(record: Record) -> str:
    """The section with the table."""
    view = trials_view(record)
    if not view.rows:
        return section("trials", "All trials", "", "<p>No trial has begun.</p>")
    states = list(dict.fromkeys(str(row.state) for row in view.rows))
    options = "".join(f'<option value="{escape(s)}">{escape(s)}</option>' for s in states)
    heads = [("Trial", ""), ("State", ""), ("Steps", "n")]
    heads += [(labels.sentence_case(labels.metric_name(name)), "n") for name in view.metrics]
    heads += [("Seconds", "n"), ("Why", ""), ("Against the recipe", "")]
    head = "".join(
        f'<th scope="col" class="{kind}"><button type="button">{escape(title)}</button></th>' for title, kind in heads
    )
    marked = chosen(record)
    best = None if marked is None else marked.number
    rows = "".join(_trial_row(row, best, record.model) for row in view.rows)
    tools = (
        '<div class="tools"><label for="filter-words">Filter</label><input id="filter-words" type="search" '
        'placeholder="words in any column"><label for="filter-state">State</label><select id="filter-state">'
        f'<option value="">all</option>{options}</select>'
        '<span class="soft" id="filter-shown" aria-live="polite"></span></div>'
    )
    table = (
        '<div class="scroll tall" tabindex="0" role="region" aria-label="Table of trials"><table class="trials"><thead>'
        f"<tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    return section(
        "trials",
        "All trials",
        "Every decision with its reason, and below it where the configuration came from; the tinted row is the one to use. "
        "Click a heading to sort.",
        tools + table,
    )


def _trial_row(row: TrialRow, best: int | None, model: str) -> str:
    scores = "".join(map(_score_cell, row.scores))
    title = f"<br>{escape(row.title)}" if row.title else ""
    return (
        f'<tr data-state="{escape(str(row.state))}"{" class=best" if row.number == best else ""}>'
        f'<td data-v="{row.number}">{row.number}{title}</td>'
        f'<td><span class="state {escape(str(row.state))}">{escape(labels.STATES[row.state])}</span></td>'
        f'<td class="n" data-v="{row.step}">{row.step:,}</td>{scores}'
        f'<td class="n" data-v="{row.seconds}">{formats.number(row.seconds)}</td>'
        f'<td class="why">{escape(row.decision)}<div class="soft">{escape(row.origin)}</div></td>'
        f'<td class="why">{_changes(row, model)}</td></tr>'
    )


def _score_cell(score: Score | None) -> str:
    sort = score.value if score is not None and math.isfinite(score.value) else ""
    value, _, interval = formats.score(score).partition(" ")
    interval = f'<div class="soft">{interval.strip("()")}</div>' if interval else ""
    return f'<td class="n" data-v="{sort}">{value}{interval}</td>'


def _changes(row: TrialRow, model: str) -> str:
    """The first few changes, and all of them with the whole configuration to be unfolded."""
    values = "".join(
        f'<dt title="{escape(describe(k, model))}">{escape(k)}</dt><dd>{escape(formats.setting(v))}</dd>'
        for k, v in row.config.items()
    )
    shown, more = row.changes[:CHANGES_SHOWN], row.changes[CHANGES_SHOWN:]
    others = f"<p>{escape(', '.join(more))}</p>" if more else ""
    summary = f"{formats.count(len(more), 'more change')}, all values" if more else "all values"
    return (
        f"{escape(', '.join(shown))}<details><summary>{summary}</summary>{others}"
        f'<dl class="pairs">{values}<dt>seed</dt><dd>{row.seed}</dd></dl></details>'
    )
