"""The figures of trainings: scores, losses, gradient norms and other signals over the steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from maestune.report import formats, labels
from maestune.report.charts import GREEN, ORANGE, VERMILION, Chart, error_bars, new_figure, plain, scale_y, wants_log
from maestune.report.training_views import Curve, CurvesView

DASHES = {"solid": "solid", "dash": "dashed", "dot": "dotted", "dashdot": "dash-dotted", "longdash": "long-dashed"}
OTHER_SIGNALS = 6


def curves(view: CurvesView, metrics: Sequence[str]) -> tuple[Chart, ...]:
    """Losses, gradient norms and scores of the chosen trials; other signals as small figures."""
    scored = [metric for metric in metrics if any(metric in curve.scores for curve in view.curves)]
    charts = [_score_curves(view, metric) for metric in scored]
    groups = {
        "losses": ("Losses", "loss", [s for s in view.signals if s == "loss" or s.startswith("loss_")]),
        "grad-norms": ("Gradient norms", "gradient norm", [s for s in view.signals if s.startswith("grad_norm")]),
    }
    for key, (title, y_title, names) in groups.items():
        if names:
            charts.append(_signal_curves(view, names, f"curves-{key}", title, y_title))
    grouped = {name for _, _, names in groups.values() for name in names}
    others = [name for name in view.signals if name not in grouped][:OTHER_SIGNALS]
    for i, name in enumerate(others):
        title = labels.sentence_case(labels.signal_name(name))
        charts.append(_signal_curves(view, [name], f"signal-{i}", title, "", small=True))
    return tuple(charts)


def _curve_colour(curve: Curve) -> str:
    if curve.title.endswith("recipe") or curve.title.endswith("(the recipe)"):
        return ORANGE
    return GREEN if curve.title.startswith("best") else VERMILION


def _score_curves(view: CurvesView, metric: str) -> Chart:
    shown = [(curve, curve.scores[metric]) for curve in view.curves if metric in curve.scores]
    values = [score.value for _, points in shown for _, score in points if math.isfinite(score.value)]
    name = labels.metric_name(metric)
    figure = new_figure("training (steps)", plain(labels.sentence_case(name)), height=320)
    scale_y(figure, values)
    for curve, points in shown:
        figure.add_scatter(
            x=[step for step, _ in points],
            y=[score.value if math.isfinite(score.value) else None for _, score in points],
            error_y=error_bars([score for _, score in points]),
            mode="lines+markers",
            line={"color": _curve_colour(curve), "width": 2},
            name=_curve_name(curve),
            hovertext=[f"trial {curve.number}, {step:,} steps: {formats.score(score)}" for step, score in points],
            hoverinfo="text",
        )
    caption = f"Score at every rung that a trial reached, with 95 % interval where it has one. {labels.metric_meaning(metric)}"
    return Chart(f"scores-{metric}", f"{labels.sentence_case(name)} over training", caption.strip(), figure)


def _signal_curves(
    view: CurvesView, names: Sequence[str], key: str, title: str, y_title: str, small: bool = False
) -> Chart:
    figure = new_figure("training (steps)", y_title, height=260 if small else 340, showlegend=not small)
    dashes = dict(zip(names, itertools.cycle(DASHES), strict=False))
    for curve in view.curves:
        shown = [name for name in names if curve.signals.get(name)]
        for name in shown:
            part = f", {plain(labels.signal_name(name))}" if len(names) > 1 else ""
            points = curve.signals[name]
            figure.add_scatter(
                x=[step for step, _ in points],
                y=[value if math.isfinite(value) else None for _, value in points],
                mode="lines" if len(points) > 1 else "markers",  # a line needs two
                line={"color": _curve_colour(curve), "dash": dashes[name], "width": 1.5},
                name=_curve_name(curve),
                # One entry a trial: the colour is the trial, the caption tells the dashes.
                legendgroup=str(curve.number),
                showlegend=name == shown[0],
                hovertemplate=f"{_curve_name(curve)}{part}: %{{y:.3g}} at %{{x}} steps<extra></extra>",
            )
    values, frame = _frame(view, names)
    scale_y(figure, values)
    if frame is not None:
        figure.update_yaxes(range=frame)
    told = ", ".join(f"{DASHES[dash]} {labels.signal_name(name)}" for name, dash in dashes.items())
    told = f"{told}; one colour a trial" if len(names) > 1 else "one line a trial, in its colour"
    away = "" if frame is None else ", and a line that leaves the frame has run away"
    caption = labels.sentence_case(f"{told}{away}.")
    return Chart(key, title, "" if small else caption, figure, small)


def _curve_name(curve: Curve) -> str:
    return f"{curve.title} ({curve.number})"


def _frame(view: CurvesView, names: Sequence[str]) -> tuple[list[float], list[float] | None]:
    """The values of trials that went well, and the range of the vertical axis where one ran away, else None.

    The frame is made for trials that went well: one that ran away to 1e9 must not flatten the others.
    """
    well = [curve for curve in view.curves if _curve_colour(curve) != VERMILION] or list(view.curves)
    values = [v for c in well for n in names for _, v in c.signals.get(n, ()) if math.isfinite(v)]
    every = [v for c in view.curves for n in names for _, v in c.signals.get(n, ()) if math.isfinite(v)]
    if not values:
        return [], None
    low, high = min(values), max(values)
    if max(every) - min(every) <= 5 * (high - low):
        return values, None
    if wants_log(values):
        return values, [math.log10(low) - 0.1, math.log10(high) + 0.5]
    margin = 0.25 * ((high - low) or 1.0)
    return values, [low - margin, high + margin]
