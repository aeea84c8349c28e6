"""The report: one self-contained page that works offline, needs no network and runs nothing that comes from data.

Every text is escaped where it is put into the page (`escape`); data for scripts travels as JSON with "<" written as an
escape, so that nothing in it can close its element. The page's own policy forbids loading anything.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from plotly.offline import get_plotlyjs

from maestune.campaign.record import Record, Verdict
from maestune.families.words import describe
from maestune.report import curve_figures, figures, formats, labels
from maestune.report.bounds import kept_text
from maestune.report.drawing import Drawing, template
from maestune.report.formats import escape
from maestune.report.sample_html import samples_section
from maestune.report.search_views import (
    ImportanceView,
    finals_view,
    history_view,
    importance_view,
    pareto_view,
    slice_views,
)
from maestune.report.training_views import CurvesView, classes_view, curves_view
from maestune.report.views import (
    Compared,
    TrialRow,
    VerdictView,
    bounds_view,
    compared,
    decisive,
    environment_view,
    trials_view,
    verdict_view,
)
from maestune.types import Score

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
CHANGES_SHOWN = 8


def render(record: Record, path: Path) -> Path:
    """Write the report of a campaign, finished or not, and return its path. Written whole or not at all.

    Raises OSError when the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(page(record), encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def page(record: Record) -> str:
    """The whole page as text."""
    importance = importance_view(record)
    verdict = verdict_view(record, importance.weights)
    curves = curves_view(record)
    drawings: list[Drawing] = []
    sections = [
        _verdict(record, verdict),
        _section("pictures", "What it makes", *samples_section(record, verdict.decision)),
        _scores(record, drawings),
        _history(record, drawings),
        _curves(record, curves, drawings),
        _reasons(record, importance, drawings),
        _trials(record),
        _best(record),
        _environment(record),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(f'{verdict.headline} · {record.folder.name} · maestune')}</title><style>{_asset('page.css')}</style>"
    )
    data = {d.key: json.loads(d.figure.to_json() or "{}") for d in drawings}
    for figure in data.values():
        figure["layout"].pop("template")  # the page chooses between two
    scripts = (
        f'<script type="application/json" id="templates">'
        f"{_json({'light': template(dark=False), 'dark': template(dark=True)})}</script>"
        f'<script type="application/json" id="drawings">{_json(data)}</script>'
        f"<script>{get_plotlyjs()}</script><script>{_asset('page.js')}</script>"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{_header(record)}<main>{"".join(sections)}</main>'
        f"{_footer(record)}{scripts}</body></html>\n"
    )


def _asset(name: str) -> str:
    return files("maestune.report").joinpath(name).read_text(encoding="utf-8")


def _json(data: object) -> str:
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")


def _header(record: Record) -> str:
    links = ("Pictures", "Scores", "History", "Curves", "Reasons", "Trials", "Configuration", "Environment")
    nav = "".join(f'<a href="#{link.lower()}">{link}</a>' for link in links)
    return (
        f"<header><h1>maestune · {escape(record.model)} on {escape(record.data_text)}</h1>"
        f'<nav aria-label="Sections">{nav}</nav></header>'
    )


def _section(key: str, title: str, lead: str, body: str) -> str:
    lead = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{lead}{body}</section>'


def _verdict(record: Record, view: VerdictView) -> str:
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


def _scores(record: Record, drawings: list[Drawing]) -> str:
    pair = compared(record)
    names = list(dict.fromkeys([*decisive(record), *pair.best, *pair.recipe]))
    names = [name for name in names if name in pair.best or name in pair.recipe]
    if not names:
        return _section("scores", "How good it is", "", "<p>Nothing has been scored yet.</p>")
    lead = (
        "Means over fresh seeds with 95 % intervals, on data that neither training nor search has seen."
        if pair.stage == "finals"
        else "Scores of the search so far, with 95 % intervals; the finals will score again on data unseen by then."
    )
    table = (
        '<div class="scroll"><table class="scores"><thead><tr><th scope="col">Metric</th><th scope="col" class="n">Recipe</th>'
        '<th scope="col" class="n">Best</th><th scope="col" class="n">Floor: real against real</th>'
        f'<th scope="col">What it says</th></tr></thead>{_score_rows(names, decisive(record), pair)}</table></div>'
    )
    if (classes := classes_view(record)) is not None:
        drawings.append(figures.classes(classes))
        table += f'<div class="apart">{_plots(drawings[-1:])}</div>'
    return _section("scores", "How good it is", lead, table)


def _score_rows(names: Sequence[str], decided: Sequence[str], pair: Compared) -> str:
    """What decided first, then all others by what they look at."""
    groups: dict[tuple[str, str], list[str]] = {("decisive", "What the search was led by."): []}
    groups |= {(axis, asked): [] for axis, asked in labels.AXES.items()}
    others = ("others", "")
    for name in names:
        axis = "decisive" if name in decided else labels.metric_axis(name)
        key = next((group for group in groups if group[0] == axis), others)
        groups.setdefault(key, []).append(name)
    return "".join(
        f'<tbody><tr class="axis"><th colspan="5" scope="rowgroup">{labels.sentence_case(axis)}<span class="soft">{asked}</span></th></tr>'
        + "".join(
            f'<tr><th scope="row">{escape(labels.sentence_case(labels.metric_name(name)))}</th>'
            f"{_score_cell(pair.recipe.get(name))}{_score_cell(pair.best.get(name))}{_score_cell(pair.floor.get(name))}"
            f"<td>{escape(labels.metric_meaning(name))}</td></tr>"
            for name in rows
        )
        + "</tbody>"
        for (axis, asked), rows in groups.items()
        if rows
    )


def _score_cell(score: Score | None) -> str:
    value, _, interval = formats.score(score).partition(" ")
    return f'<td class="n">{value}<div class="soft">{interval.strip("()")}</div></td>'


def _history(record: Record, drawings: list[Drawing]) -> str:
    view = history_view(record)
    if not view.points:
        return _section("history", "How it got there", "", "<p>No trial has a score yet.</p>")
    shown = [figures.history(view)]
    if any(trial.clock_seconds for trial in record.search_trials):
        shown.append(figures.history(history_view(record, "seconds")))
    pareto, finals = pareto_view(record), finals_view(record)
    if finals is not None:
        shown.append(figures.finals(finals))
    if pareto is not None:
        shown.append(figures.pareto(pareto))
    drawings += shown
    return _section("history", "How it got there", "", _plots(shown))


def _plots(shown: Sequence[Drawing]) -> str:
    large, small = [d for d in shown if not d.small], [d for d in shown if d.small]
    # An odd number of large figures: the first takes the whole width.
    first_wide = len(large) % 2 == 1
    text = "".join(_plot(d, wide=first_wide and i == 0) for i, d in enumerate(large))
    few = "".join(_plot(d) for d in small)
    margin = " apart" if large else ""
    return (f'<div class="plots">{text}</div>' if text else "") + (
        f'<div class="plots small{margin}">{few}</div>' if few else ""
    )


def _plot(drawing: Drawing, wide: bool = False) -> str:
    key = escape(drawing.key)
    caption = f"<figcaption>{drawing.caption}</figcaption>" if drawing.caption else ""
    return (
        f'<figure class="card{" wide" if wide else ""}"><h3>{escape(drawing.title)}</h3>'
        f'<div class="plot" id="plot-{key}" style="min-height:{drawing.figure.layout.height}px" role="img" '
        f'aria-label="{escape(drawing.title)}. {drawing.caption}"></div>{caption}</figure>'
    )


def _curves(record: Record, view: CurvesView, drawings: list[Drawing]) -> str:
    shown = curve_figures.curves(view, decisive(record))
    if not shown:
        return _section("curves", "How they trained", "", "<p>No training has reported yet.</p>")
    drawings += shown
    notes = "".join(
        f"<li>trial {curve.number}: {escape(note)}</li>" for curve in view.curves for note in curve.notes[-5:]
    )
    notes = f'<ul class="plain">{notes}</ul>' if notes else ""
    lead = "Green is the best, orange the recipe, vermilion one that went wrong or was stopped."
    return _section("curves", "How they trained", lead, _plots(shown) + notes)


def _reasons(record: Record, view: ImportanceView, drawings: list[Drawing]) -> str:
    parts: list[str] = []
    if view.why_not:
        parts.append(f"<p>{escape(view.why_not)}</p>")
    else:
        shown = figures.importance(view)
        drawings.append(shown)
        parts.append(_plots([shown]))
    slices = figures.slices(slice_views(record, view))
    drawings += slices
    if slices:
        parts.append(f'<p class="lead apart">{figures.SLICES_CAPTION}</p>{_plots(slices)}')
    return _section("reasons", "Why", "", "".join(parts))


def _trials(record: Record) -> str:
    view = trials_view(record)
    if not view.rows:
        return _section("trials", "All trials", "", "<p>No trial has begun.</p>")
    states = list(dict.fromkeys(str(row.state) for row in view.rows))
    options = "".join(f'<option value="{escape(s)}">{escape(s)}</option>' for s in states)
    heads = [("Trial", ""), ("State", ""), ("Steps", "n")]
    heads += [(labels.sentence_case(labels.metric_name(name)), "n") for name in view.metrics]
    heads += [("Seconds", "n"), ("Why", ""), ("Against the recipe", "")]
    head = "".join(
        f'<th scope="col" class="{kind}"><button type="button">{escape(title)}</button></th>' for title, kind in heads
    )
    rows = "".join(_trial_row(row, record.best, record.model) for row in view.rows)
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
    return _section(
        "trials",
        "All trials",
        "Every decision with its reason, and below it where the configuration came from; click a heading to sort.",
        tools + table,
    )


def _trial_row(row: TrialRow, best: int | None, model: str) -> str:
    scores = "".join(
        f'<td class="n" data-v="{s.value if s is not None and math.isfinite(s.value) else ""}">{formats.score(s)}</td>'
        for s in row.scores
    )
    title = f"<br>{escape(row.title)}" if row.title else ""
    values = "".join(
        f'<dt title="{escape(describe(k, model))}">{escape(k)}</dt><dd>{escape(formats.setting(v))}</dd>'
        for k, v in row.config.items()
    )
    config = f'<details><summary>config, seed {row.seed}</summary><dl class="pairs">{values}</dl></details>'
    return (
        f'<tr data-state="{escape(str(row.state))}"{" class=best" if row.number == best else ""}>'
        f'<td data-v="{row.number}">{row.number}{title}</td>'
        f'<td><span class="state {escape(str(row.state))}">{escape(labels.STATES[row.state])}</span></td>'
        f'<td class="n" data-v="{row.step}">{row.step:,}</td>{scores}'
        f'<td class="n" data-v="{row.seconds}">{formats.number(row.seconds)}</td>'
        f'<td class="why">{escape(row.decision)}<div class="soft">{escape(row.origin)}</div></td>'
        f'<td class="why">{escape(row.changes)}{config}</td></tr>'
    )


def _best(record: Record) -> str:
    path = record.folder / "best.toml"
    if not path.is_file():
        return _section("configuration", "The configuration", "", "<p>best.toml is written when a best is known.</p>")
    text = escape(path.read_text(encoding="utf-8", errors="replace"))
    body = (
        '<div class="tools"><button type="button" class="copy" data-copies="best-toml">Copy</button></div>'
        f'<pre id="best-toml" tabindex="0">{text}</pre>'
    )
    return _section("configuration", "The configuration", "best.toml of the campaign folder, ready to use.", body)


def _environment(record: Record) -> str:
    view = environment_view(record)
    cards = "".join(
        f'<div class="card"><h3>{title}</h3><dl class="pairs">{_pairs(pairs)}</dl></div>'
        for title, pairs in (("Settings", view.settings), ("Machine and versions", view.versions))
    )
    return _section("environment", "To do it again", "", f'<div class="columns">{cards}</div>')


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)


def _footer(record: Record) -> str:
    parts = [
        f'<h2 id="{title.lower()}">{title}</h2><ul class="plain">{"".join(f"<li>{escape(t)}</li>" for t in texts)}</ul>'
        for title, texts in (("Notes", record.notes), ("Sources", record.citations))
        if texts
    ]
    return f"<footer>{''.join(parts)}</footer>"
