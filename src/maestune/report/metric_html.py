"""The section of the report with the scores of recipe and best, beside what real data would score."""

from __future__ import annotations

from collections.abc import Sequence

from maestune.campaign.record import Record
from maestune.report import figures, formats, labels
from maestune.report.comparing import Compared, compared, decisive
from maestune.report.drawing import Drawing
from maestune.report.formats import escape
from maestune.report.html_parts import plots, section
from maestune.report.training_views import classes_view
from maestune.types import Score


def scores_section(record: Record, drawings: list[Drawing]) -> str:
    """The section; adds its figures to the drawings."""
    pair = compared(record)
    names = list(dict.fromkeys([*decisive(record), *pair.best, *pair.recipe]))
    names = [name for name in names if name in pair.best or name in pair.recipe]
    if not names:
        return section("scores", "How good it is", "", "<p>Nothing has been scored yet.</p>")
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
        table += f'<div class="apart">{plots(drawings[-1:])}</div>'
    return section("scores", "How good it is", lead, table)


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
