"""The section of the report with the scores of recipe and best, beside what real data would score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maestune.campaign.record import Record
from maestune.quality.catalogue import DESCRIBED
from maestune.report import figures, formats, labels
from maestune.report.comparing import Compared, best_name, compared, decisive
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
    if any(_ahead(record, name, pair) for name in names):
        judged = "by the verdict, and otherwise " if pair.stage == "finals" else ""
        lead += f" In bold: the better of the two, {judged}where their intervals do not meet."
    best = labels.sentence_case(best_name(record))
    table = (
        '<div class="scroll"><table class="scores"><thead><tr><th scope="col">Metric</th><th scope="col" class="n">Recipe</th>'
        f'<th scope="col" class="n">{best}</th><th scope="col" class="n">Floor: real against real</th>'
        f'<th scope="col">What it says</th></tr></thead>{_score_rows(record, names, pair)}</table></div>'
    )
    if (classes := classes_view(record)) is not None:
        drawings.append(figures.classes(classes))
        table += f'<div class="apart">{plots(drawings[-1:])}</div>'
    return section("scores", "How good it is", lead, table)


def _score_rows(record: Record, names: Sequence[str], pair: Compared) -> str:
    """What decided first, then all others by what they look at."""
    decided = decisive(record)
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
            f"{_score_cells(name, _ahead(record, name, pair), pair, best_name(record))}"
            f"<td>{escape(labels.metric_meaning(name))}</td></tr>"
            for name in rows
        )
        + "</tbody>"
        for (axis, asked), rows in groups.items()
        if rows
    )


def _ahead(record: Record, name: str, pair: Compared) -> str:
    """Which is the better one, "recipe" or "best"; "" where that is not sure.

    Of objectives the verdict says so, which is paired over seeds; of other scores, two intervals that do not meet. Of those that
    nobody is to raise or to lower (spread that noise has more of) none is better.
    """
    verdict = next((v for v in record.verdicts if v.objective.name == name), None)
    if verdict is not None and verdict.decision in ("better", "worse"):
        return "best" if verdict.decision == "better" else "recipe"
    recipe, best = pair.recipe.get(name), pair.best.get(name)
    goals = {o.name: o.higher_is_better for o in record.objectives}
    if name in DESCRIBED and DESCRIBED[name].goal:
        goals.setdefault(name, DESCRIBED[name].higher_is_better)
    if name not in goals or recipe is None or best is None:
        return ""
    if not all(map(math.isfinite, (recipe.low, recipe.high, best.low, best.high))):
        return ""
    higher = "best" if best.low > recipe.high else "recipe" if recipe.low > best.high else ""
    lower = {"best": "recipe", "recipe": "best", "": ""}[higher]
    return higher if goals[name] else lower


def _score_cells(name: str, ahead: str, pair: Compared, best: str) -> str:
    cells = (
        ("Recipe", pair.recipe.get(name), ahead == "recipe"),
        (labels.sentence_case(best), pair.best.get(name), ahead == "best"),
        ("Floor", pair.floor.get(name), False),
    )
    return "".join(_score_cell(score, of, bold) for of, score, bold in cells)


def _score_cell(score: Score | None, of: str, bold: bool) -> str:
    """A cell; `of` says whose it is where a narrow page has no room for columns with headings."""
    value, _, interval = formats.score(score).partition(" ")
    value = f"<strong>{value}</strong>" if bold else value
    return f'<td class="n" data-of="{of}">{value}<div class="soft">{interval.strip("()")}</div></td>'
