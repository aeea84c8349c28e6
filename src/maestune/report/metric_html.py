"""The section of the report with the scores of recipe and best, beside what real data would score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from maestune.campaign.record import Record
from maestune.quality.catalogue import DESCRIBED
from maestune.report import figures, formats, labels
from maestune.report.charts import Chart
from maestune.report.comparing import Compared, best_name, compared, decisive
from maestune.report.html_parts import plots, section
from maestune.report.training_views import classes_view
from maestune.types import Score


def scores_section(record: Record, charts: list[Chart]) -> Markup:
    """The section; adds its figures to the drawings."""
    pair = compared(record)
    names = list(dict.fromkeys([*decisive(record), *pair.best, *pair.recipe]))
    names = [name for name in names if name in pair.best or name in pair.recipe]
    if not names:
        return section("scores", "How good it is", "", Markup("<p>Nothing has been scored yet.</p>"))
    lead = (
        "Means over fresh seeds with 95 % intervals, on data that neither training nor search has seen."
        if pair.stage == "finals"
        else "Scores of the search so far, with 95 % intervals; the finals will score again on data unseen by then."
    )
    if any(_ahead(record, name, pair) for name in names):
        decided = "by the verdict, and otherwise " if pair.stage == "finals" else ""
        lead += f" In bold: the better of the two, {decided}where their intervals do not meet."
    best = labels.sentence_case(best_name(record))
    table = Markup(
        '<div class="scroll"><table class="scores"><thead><tr><th scope="col">Metric</th><th scope="col" '
        'class="n">Recipe</th><th scope="col" class="n">{}</th><th scope="col" class="n">Floor: real against '
        'real</th><th scope="col">What it says</th></tr></thead>{}</table></div>'
    ).format(best, _score_rows(record, names, pair))
    if (classes := classes_view(record)) is not None:
        charts.append(figures.classes(classes))
        table += Markup('<div class="apart">{}</div>').format(plots(charts[-1:]))
    return section("scores", "How good it is", lead, table)


def _score_rows(record: Record, names: Sequence[str], pair: Compared) -> Markup:
    """What decided first, then all others by what they look at."""
    decided = decisive(record)
    groups: dict[tuple[str, str], list[str]] = {("decisive", "What the search was led by."): []}
    groups |= {(axis, asked): [] for axis, asked in labels.AXES.items()}
    others = ("others", "")
    for name in names:
        axis = "decisive" if name in decided else labels.metric_axis(name)
        key = next((group for group in groups if group[0] == axis), others)
        groups.setdefault(key, []).append(name)
    return Markup("").join(
        (
            Markup(
                '<tbody><tr class="axis"><th colspan="5" scope="rowgroup">{}<span class="soft">{}</span></th></tr>'
            ).format(labels.sentence_case(axis), asked)
            + Markup("").join(
                (
                    Markup('<tr><th scope="row">{}</th>{}<td>{}</td></tr>').format(
                        labels.sentence_case(labels.metric_name(name)),
                        _score_cells(name, _ahead(record, name, pair), pair, best_name(record)),
                        labels.metric_meaning(name),
                    )
                    for name in rows
                )
            )
            + Markup("</tbody>")
            for (axis, asked), rows in groups.items()
            if rows
        )
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


def _score_cells(name: str, ahead: str, pair: Compared, best: str) -> Markup:
    cells = (
        ("Recipe", pair.recipe.get(name), ahead == "recipe"),
        (labels.sentence_case(best), pair.best.get(name), ahead == "best"),
        ("Floor", pair.floor.get(name), False),
    )
    return Markup("").join((_score_cell(score, of, bold) for of, score, bold in cells))


def _score_cell(score: Score | None, of: str, bold: bool) -> Markup:
    """A cell; `of` says whose it is where a narrow page has no room for columns with headings."""
    value, _, interval = formats.score(score).partition(" ")
    value = Markup("<strong>{}</strong>").format(value) if bold else value
    return Markup('<td class="n" data-of="{}">{}<div class="soft">{}</div></td>').format(
        of, value, interval.strip("()")
    )
