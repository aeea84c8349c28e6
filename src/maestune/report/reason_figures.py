"""The figures of why: which parameters mattered, and each against the objective. Pure drawings of views."""

from __future__ import annotations

from collections.abc import Sequence

from maestune.report import formats, labels
from maestune.report.charts import BLUE, GREEN, GREY, ORANGE, SKY, Chart, failed_strip, new_figure, plain, scale_y
from maestune.report.importance_views import ImportanceView
from maestune.report.slice_views import SliceView

IMPORTANCES_SHOWN = 12


def importance(view: ImportanceView) -> Chart:
    """Bars of importance, the largest at the top."""
    rows = [row for row in view.rows if row.value > 0][:IMPORTANCES_SHOWN][::-1] or list(view.rows[:1])
    figure = new_figure("importance (loss of R²)", "", height=90 + 26 * len(rows))
    figure.add_bar(
        x=[row.value for row in rows],
        y=[plain(row.name) for row in rows],
        error_x={"type": "data", "array": [row.error for row in rows], "thickness": 1, "width": 3, "color": GREY},
        orientation="h",
        marker={"color": BLUE},
        hovertext=[f"{plain(r.name)}: {formats.number(r.value, 2)} ± {formats.number(r.error, 2)}" for r in rows],
        hoverinfo="text",
    )
    figure.update_layout(bargap=0.4, showlegend=False)
    trust = (
        "it predicts little, so read the order as a hint at most"
        if view.explained < 0.2
        else "the more, the more the order can be trusted"
    )
    share = f"{max(view.explained, 0.0) * 100:.0f} %"
    caption = (
        f"How much worse a random forest, fitted to some of {view.trials} trials, predicts the rank of the others when a parameter's "
        f"values are shuffled, ± one standard error. It explains {share} of the variation it has not seen: {trust}."
    )
    return Chart("importance", "What mattered", caption, figure)


def slices(views: Sequence[SliceView]) -> tuple[Chart, ...]:
    """One small figure a parameter."""
    return tuple(_slice(view, i) for i, view in enumerate(views))


def _slice(view: SliceView, index: int) -> Chart:
    name = plain(view.name)
    scored = [(p, p.objective) for p in view.points if p.objective is not None]
    notes = ", ".join(
        note for note in (view.unit, f"{view.scale} scale" if view.scale in ("log", "logit") else "") if note
    )
    # The heading above names the parameter.
    figure = new_figure(plain(notes), plain(labels.metric_name(view.objective.name)), height=260, showlegend=False)
    scale_y(figure, [value for _, value in scored])
    full = max((p.step for p, _ in scored), default=0)
    for chosen, colour, size in ((False, SKY, 6), (True, BLUE, 7)):
        part = [(p, value) for p, value in scored if (p.step == full) is chosen]
        figure.add_scatter(
            x=[p.position for p, _ in part],
            y=[value for _, value in part],
            mode="markers",
            marker={"color": colour, "size": size, "opacity": 0.9},
            hovertext=[
                f"trial {p.number}: {name} {plain(formats.setting(p.setting))}<br>{formats.number(value)} after "
                f"{p.step:,} steps"
                for p, value in part
            ],
            hoverinfo="text",
        )
    for mark, colour in (("recipe", ORANGE), ("best", GREEN)):
        marked = [(p, value) for p, value in scored if p.mark == mark]
        figure.add_scatter(
            x=[p.position for p, _ in marked],
            y=[value for _, value in marked],
            mode="markers",
            marker={"symbol": "circle-open", "color": colour, "size": 13, "line": {"width": 2.5}},
            hoverinfo="skip",
        )
    failed = [p for p in view.points if p.objective is None]
    if failed:
        failed_strip(figure, [p.position for p in failed], [f"trial {p.number} failed" for p in failed])
    ticks = {"tickvals": [t for t, _ in view.ticks], "ticktext": [plain(text) for _, text in view.ticks]}
    figure.update_xaxes(range=[-0.04, 1.04], autotickangles=[0, 45], **ticks)
    return Chart(f"slice-{index}", view.name, "", figure, small=True)


SLICES_CAPTION = (
    "Each panel is one parameter on its own scale against the objective: deep blue points trained longest, light blue ones "
    "less, and crosses at the upper edge are trials that failed. The orange ring is the recipe, the green ring the {best}."
)
