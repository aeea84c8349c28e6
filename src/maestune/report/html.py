"""The report: one self-contained page that works offline, needs no network and runs nothing that comes from data.

Every text is escaped where it is put into the page (`escape`); data for scripts travels as JSON with "<" written as an
escape, so that nothing in it can close its element. The page's own policy forbids loading anything, and
runs no script but the two of the page.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from plotly.offline import get_plotlyjs

from maestune.campaign.record import Record
from maestune.errors import FileRefusedError
from maestune.execution.folder_files import MIB, read_text, replace_file
from maestune.report.drawing import Drawing, template
from maestune.report.environment_views import environment_view
from maestune.report.formats import escape
from maestune.report.html_parts import pairs, section
from maestune.report.importance_views import importance_view
from maestune.report.metric_html import scores_section
from maestune.report.policy import content_policy, inline_script
from maestune.report.sample_html import samples_section
from maestune.report.search_html import curves_section, history_section, reasons_section
from maestune.report.sources import sources
from maestune.report.training_views import curves_view
from maestune.report.trial_html import trials_section
from maestune.report.verdict_html import verdict_card
from maestune.report.verdict_views import verdict_view


def render(record: Record, path: Path) -> Path:
    """Write the report of a campaign, finished or not, and return its path. Written whole or not at all.

    Raises OSError when the file cannot be written.
    """
    replace_file(path, page(record))
    return path


def page(record: Record) -> str:
    """The whole page as text."""
    importance = importance_view(record)
    verdict = verdict_view(record, importance.weights)
    curves = curves_view(record)
    drawings: list[Drawing] = []
    sections = [
        verdict_card(record, verdict),
        section("pictures", "What it makes", *samples_section(record)),
        scores_section(record, drawings),
        history_section(record, drawings),
        curves_section(record, curves, drawings),
        reasons_section(record, importance, drawings),
        trials_section(record),
        _best(record),
        _environment(record),
    ]
    own_scripts = [inline_script(text) for text in (get_plotlyjs(), asset("page.js"))]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{content_policy(own_scripts)}">'
        f"<title>{escape(f'{verdict.headline} · {record.folder.name} · maestune')}</title><style>{asset('page.css')}</style>"
    )
    data = {d.key: json.loads(d.figure.to_json() or "{}") for d in drawings}
    for figure in data.values():
        figure["layout"].pop("template")  # the page chooses between two
    scripts = (
        f'<script type="application/json" id="templates">'
        f"{_json({'light': template(dark=False), 'dark': template(dark=True)})}</script>"
        f'<script type="application/json" id="drawings">{_json(data)}</script>'
        f"{''.join(f'<script>{text}</script>' for text in own_scripts)}"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{_header(record)}<main>{"".join(sections)}</main>'
        f"{_footer(record)}{scripts}</body></html>\n"
    )


def asset(name: str) -> str:
    """A file of the page: its styles, its script."""
    return files("maestune.report").joinpath(name).read_text(encoding="utf-8")


def _json(data: object) -> str:
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")


def _header(record: Record) -> str:
    links = ("Pictures", "Scores", "History", "Curves", "Reasons", "Trials", "Configuration", "Environment")
    nav = "".join(f'<a href="#{link.lower()}">{link}</a>' for link in links)
    return (
        f'<header><h1>maestune · {escape(record.model)} <span class="soft">on {escape(record.data_text)}</span></h1>'
        f'<nav aria-label="Sections">{nav}</nav></header>'
    )


def _best(record: Record) -> str:
    try:
        text = read_text(record.folder, "best.toml", MIB)
    except FileRefusedError as refused:
        return section("configuration", "The configuration", "", f"<p>Left out: {escape(str(refused))}.</p>")
    if text is None:
        return section("configuration", "The configuration", "", "<p>best.toml is written when a best is known.</p>")
    body = (
        '<div class="tools"><button type="button" class="copy" data-copies="best-toml">Copy</button></div>'
        f'<pre id="best-toml" class="folds" tabindex="0">{escape(text)}</pre>'
    )
    return section("configuration", "The configuration", "best.toml of the campaign folder, ready to use.", body)


def _environment(record: Record) -> str:
    view = environment_view(record)
    cards = "".join(
        f'<div class="card"><h3>{title}</h3><dl class="pairs">{pairs(told)}</dl></div>'
        for title, told in (("Settings", view.settings), ("Machine and versions", view.versions))
    )
    return section("environment", "To do it again", "", f'<div class="columns">{cards}</div>')


def _footer(record: Record) -> str:
    parts = [
        f'<h2 id="{title.lower()}">{title}</h2><ul class="plain">{"".join(f"<li>{escape(t)}</li>" for t in texts)}</ul>'
        for title, texts in (("Notes", record.notes), ("Sources", sources(record.citations)))
        if texts
    ]
    return f"<footer>{''.join(parts)}</footer>"
