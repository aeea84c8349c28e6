"""The figures of the search: history, finals, classes, front. Each a pure drawing of a view."""

from __future__ import annotations

import math
from typing import Any

from maestune.report import formats, labels
from maestune.report.charts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    Chart,
    error_bars,
    failed_strip,
    level,
    new_figure,
    plain,
    scale_y,
    wrapped,
)
from maestune.report.front_views import ParetoView
from maestune.report.history_views import FinalsView, HistoryView
from maestune.report.training_views import ClassesView

CLASSES_NAMED = 40  # names of more would overlap
CLASS_LETTERS = 14


def history(view: HistoryView) -> Chart:
    """The objective over the trials or over the time of the campaign."""
    metric = plain(labels.metric_name(view.objective.name))
    in_seconds = view.over == "seconds"
    values = [p.score.value for p in view.points]
    figure = new_figure("campaign time (s)" if in_seconds else "trial", plain(labels.axis_title(view.objective)))
    scale_y(figure, [v for v in [*values, view.floor] if v is not None])
    extent = [*(p.x for p in view.points), *(x for _, x in view.failed)]
    if not in_seconds and max(extent, default=0) < 10:
        figure.update_xaxes(dtick=1)
    if view.best_so_far:
        line = [*view.best_so_far, (max(extent), view.best_so_far[-1][1])]
        figure.add_scatter(
            x=[x for x, _ in line],
            y=[value for _, value in line],
            mode="lines",
            line={"shape": "hv", "color": GREEN, "width": 2},
            name="best so far",
            hoverinfo="skip",
        )
    for rung, (colour, symbol) in zip(view.rungs, rung_marks(len(view.rungs)), strict=True):
        points = [p for p in view.points if p.step == rung]
        if points:
            figure.add_scatter(
                x=[p.x for p in points],
                y=[p.score.value for p in points],
                error_y=error_bars([p.score for p in points]),
                mode="markers",
                # Trials that had less training are less certain, and paler.
                marker={
                    "color": colour,
                    "symbol": symbol,
                    "size": 7,
                    "opacity": 1.0 if rung == view.rungs[-1] else 0.75,
                },
                name=f"{rung:,} steps",
                hovertext=[
                    f"trial {p.number}: {metric} {formats.score(p.score)}<br>{p.step:,} steps, {p.state}"
                    f"<br>{wrapped(p.reason)}"
                    for p in points
                ],
                hoverinfo="text",
            )
    for number, name, colour in ((view.recipe, "recipe", ORANGE), (view.best, view.best_name, GREEN)):
        marked = [p for p in view.points if p.number == number]
        if marked:
            figure.add_scatter(
                x=[p.x for p in marked],
                y=[p.score.value for p in marked],
                mode="markers",
                marker={"symbol": "circle-open", "color": colour, "size": 14, "line": {"width": 2.5}},
                name=name,
                hoverinfo="skip",
            )
    level(figure, view.recipe_value, "recipe", extent, ORANGE, "dash", in_legend=False)
    level(figure, view.floor, "floor", extent, GREY)
    if view.failed:
        text = "ended without a usable model"
        failed_strip(figure, [x for _, x in view.failed], [f"trial {number} {text}" for number, _ in view.failed])
    if in_seconds:
        # Colours are those of the figure over trials, which stands above it and has the legend.
        figure.update_layout(showlegend=False)
        caption = "The same points, in the same colours, at the time when each was last evaluated."
        return Chart("history-seconds", "Objective over time", caption, figure)
    floor = "" if view.floor is None else ", the dotted floor what real data score against real data"
    intervals = any(math.isfinite(p.score.high - p.score.low) for p in view.points)
    caption = (
        f"Each point is one configuration after its longest training{', with its 95 % interval where it has one' if intervals else ''}; "
        f"the green line is the best so far of those that trained longest ({labels.direction(view.objective)}), the dashed one "
        f"the recipe{floor}.{view.terms}"
    )
    return Chart("history-trial", "Objective over trials", caption, figure)


def rung_marks(n: int) -> list[tuple[str, str]]:
    """Colour and symbol of the points of each rung, from the shortest training to the longest.

    >>> rung_marks(2)
    [('#56B4E9', 'circle'), ('#0072B2', 'circle')]
    """
    shorter = [("#9197C8", "diamond"), (PINK, "square"), (GREY, "triangle-up")]
    marks = [(BLUE, "circle"), (SKY, "circle"), *shorter, *[(GREY, "triangle-down")] * n]
    return marks[:n][::-1]


def finals(view: FinalsView) -> Chart:
    """The finalists side by side, every seed a thin line."""
    titles = [column.title for column in view.columns]
    figure = new_figure("", plain(labels.axis_title(view.objective)))
    shown = [
        view.floor,
        *(v for c in view.columns for v in (c.mean.low, c.mean.value, c.mean.high, *(s for _, s in c.seeds))),
    ]
    scale_y(figure, [v for v in shown if v is not None and math.isfinite(v)])
    by_seed: dict[int, dict[int, float]] = {}
    for i, column in enumerate(view.columns):
        for seed, value in column.seeds:
            by_seed.setdefault(seed, {})[i] = value
    for k, (seed, values) in enumerate(sorted(by_seed.items())):
        figure.add_scatter(
            x=list(values),
            y=list(values.values()),
            mode="lines+markers",
            line={"color": GREY, "width": 1},
            marker={"size": 5, "color": GREY},
            opacity=0.7,
            name="seeds",
            showlegend=k == 0,
            hovertext=[f"{titles[i]}, seed {seed}: {formats.number(v)}" for i, v in values.items()],
            hoverinfo="text",
        )
    for role, colour, name in (("recipe", ORANGE, "recipe"), ("candidate", BLUE, "candidates")):
        columns = [(i, c) for i, c in enumerate(view.columns) if c.role == role]
        if columns:
            figure.add_scatter(
                x=[i for i, _ in columns],
                y=[c.mean.value for _, c in columns],
                error_y={**error_bars([c.mean for _, c in columns]), "width": 6, "thickness": 2},
                mode="markers",
                marker={"color": colour, "size": 11},
                name=name,
                hovertext=[f"{c.title}: {formats.score(c.mean)}" for _, c in columns],
                hoverinfo="text",
            )
    level(figure, view.floor, "floor", [-0.4, len(titles) - 0.6], GREY)
    figure.update_xaxes(tickvals=list(range(len(titles))), ticktext=titles, range=[-0.5, len(titles) - 0.5])
    caption = (
        "Every finalist was trained again on the same fresh seeds (thin lines join equal seeds) and scored on data "
        f"that nothing had seen; large points are means with 95 % intervals.{view.terms}"
    )
    return Chart("finals", "The finals", caption, figure)


def classes(view: ClassesView) -> Chart:
    """Bars of the share of each class: real images, recipe and best side by side."""
    figure = new_figure("class", "share of the images (%)", height=300)
    for who, colour in (("real", GREY), ("recipe", ORANGE), ("best", GREEN)):
        if who in view.shares:
            figure.add_bar(
                x=list(range(len(view.names))),
                y=[100 * share for share in view.shares[who]],
                marker={"color": colour},
                name=view.best_name if who == "best" else who,
                hovertext=[
                    f"{plain(name)}: {formats.number(100 * share, 2)} % of {who}"
                    for name, share in zip(view.names, view.shares[who], strict=True)
                ],
                hoverinfo="text",
            )
    ticks = view.names if len(view.names) <= CLASSES_NAMED else ()
    figure.update_xaxes(
        tickvals=list(range(len(ticks))), ticktext=[plain(formats.shortened(name, CLASS_LETTERS)) for name in ticks]
    )
    figure.update_layout(barmode="group", bargap=0.3)
    caption = (
        "How often each class of the data is seen in the samples, by the evaluator's classifier: green as high as grey is as it "
        "should be, and a class without a bar is a mode that the model has lost."
    )
    return Chart("classes", "Which classes it makes", caption, figure)


def pareto(view: ParetoView) -> Chart:
    """The first two objectives against each other, the front as a line."""
    first, second = view.objectives[:2]
    figure = new_figure(plain(labels.axis_title(first)), plain(labels.axis_title(second)))
    order = {number: i for i, number in enumerate(view.front)}
    on_front = sorted((p for p in view.points if p[0].number in order), key=lambda p: order[p[0].number])
    others = [p for p in view.points if p[0].number not in order]
    recipe = [p for p in view.points if p[0].number == view.recipe]
    styles: tuple[tuple[str, list[Any], str, dict[str, Any]], ...] = (
        ("other trials", others, "markers", {"color": SKY, "size": 6, "opacity": 0.8}),
        ("front", on_front, "lines+markers", {"color": GREEN, "size": 10}),
        ("recipe", recipe, "markers", {"symbol": "circle-open", "color": ORANGE, "size": 14, "line": {"width": 2.5}}),
    )
    for name, points, mode, marker in styles:
        figure.add_scatter(
            x=[scores[0].value for _, scores in points],
            y=[scores[1].value for _, scores in points],
            mode=mode,
            marker=marker,
            line={"color": marker["color"], "width": 1.5, "shape": "hv"},
            name=name,
            hovertext=[
                f"trial {t.number}, {t.step:,} steps"
                + "".join(
                    f"<br>{plain(labels.metric_name(o.name))} {formats.score(s)}"
                    for o, s in zip(view.objectives, scores, strict=True)
                )
                for t, scores in points
            ],
            hoverinfo="text",
        )
    caption = (
        "Trials on the green line are beaten by no other in both objectives at once; choose among them by what matters "
        "more to you. Only trials with the longest training can be on it."
    )
    return Chart("pareto", "The Pareto front", caption, figure)
