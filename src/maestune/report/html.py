"""The report: one self-contained page that works offline, needs no network and runs nothing that comes from data.

Texts are escaped by construction: all HTML is `Markup`, and whatever else is put into it is escaped.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from maestune.campaign.record import Record
from maestune.errors import FileRefusedError
from maestune.folder_files import MIB, read_text, replace_file
from maestune.report.charts import Chart, template
from maestune.report.document import document
from maestune.report.environment_views import environment_view
from maestune.report.html_parts import pairs, section
from maestune.report.importance_views import importance_view
from maestune.report.metric_html import scores_section
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
    charts: list[Chart] = []
    sections = [
        verdict_card(record, verdict),
        section("pictures", "What it makes", *samples_section(record)),
        scores_section(record, charts),
        history_section(record, charts),
        curves_section(record, curves, charts),
        reasons_section(record, importance, charts),
        trials_section(record),
        _best(record),
        _environment(record),
    ]
    figures = {d.key: json.loads(d.figure.to_json() or "{}") for d in charts}
    for figure in figures.values():
        figure["layout"].pop("template")  # the page chooses between two
    title = f"{verdict.headline} · {record.folder.name} · maestune"
    body = Markup("{}<main>{}</main>{}").format(_header(record), Markup("").join(sections), _footer(record))
    data = {"templates": {"light": template(dark=False), "dark": template(dark=True)}, "drawings": figures}
    return document(title, asset("page.css"), body, data, [get_plotlyjs(), asset("page.js")])


def asset(name: str) -> str:
    """A file of the page: its styles, its script."""
    return files("maestune.report").joinpath(name).read_text(encoding="utf-8")


def _header(record: Record) -> Markup:
    links = ("Pictures", "Scores", "History", "Curves", "Reasons", "Trials", "Configuration", "Environment")
    nav = Markup("").join(Markup('<a href="#{}">{}</a>').format(link.lower(), link) for link in links)
    return Markup(
        '<header><h1>maestune · {} <span class="soft">on {}</span></h1><nav aria-label="Sections">{}</nav></header>'
    ).format(record.model, record.data_text, nav)


def _best(record: Record) -> Markup:
    try:
        text = read_text(record.folder, "best.toml", MIB)
    except FileRefusedError as refused:
        return section("configuration", "The configuration", "", Markup("<p>Left out: {}.</p>").format(str(refused)))
    if text is None:
        return section(
            "configuration", "The configuration", "", Markup("<p>best.toml is written when a best is known.</p>")
        )
    body = Markup(
        '<div class="tools"><button type="button" class="copy" data-copies="best-toml">Copy</button></div>'
        '<pre id="best-toml" class="folds" tabindex="0">{}</pre>'
    ).format(text)
    return section("configuration", "The configuration", "best.toml of the campaign folder, ready to use.", body)


def _environment(record: Record) -> Markup:
    view = environment_view(record)
    cards = Markup("").join(
        (
            Markup('<div class="card"><h3>{}</h3><dl class="pairs">{}</dl></div>').format(title, pairs(told))
            for title, told in (("Settings", view.settings), ("Machine and versions", view.versions))
        )
    )
    return section("environment", "To do it again", "", Markup('<div class="columns">{}</div>').format(cards))


def _footer(record: Record) -> Markup:
    parts = [
        Markup('<h2 id="{}">{}</h2><ul class="plain">{}</ul>').format(
            title.lower(), title, Markup("").join(Markup("<li>{}</li>").format(t) for t in texts)
        )
        for title, texts in (("Notes", record.notes), ("Sources", sources(record.citations)))
        if texts
    ]
    return Markup("<footer>{}</footer>").format(Markup("").join(parts))
