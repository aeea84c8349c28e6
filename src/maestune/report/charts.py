"""What all figures share: colours, the two templates, axes, error bars, levels, the strip of failed trials.

Backgrounds are transparent and all greys come from one of two templates, so that a figure suits a light and a dark
page. Colours are those of Okabe and Ito (2008), which colour-blind people can tell apart. No WebGL: vector graphics
print well and need no rights from the page.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from maestune.report import formats
from maestune.types import Score

BLUE, SKY, GREEN, ORANGE, VERMILION, PINK, GREY = (
    "#0072B2",
    "#56B4E9",
    "#009E73",
    "#E69F00",
    "#D55E00",
    "#CC79A7",
    "#8A8F98",
)
LOG_SPAN = 10  # values that span more than this factor are drawn on a logarithmic axis


@dataclass(frozen=True)
class Chart:
    """A figure with its title and the sentence that says how to read it. `small` ones stand several in a row."""

    key: str
    title: str
    caption: str
    figure: go.Figure
    small: bool = False


def template(dark: bool) -> dict[str, Any]:
    """The plotly template of a light or a dark page."""
    ink, faint, line = ("#e8eaed", "#2c3138", "#5b626c") if dark else ("#1d2125", "#e7e9ec", "#a7adb5")
    axis = {
        "gridcolor": faint,
        "linecolor": line,
        "tickcolor": line,
        "zerolinecolor": line,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "exponentformat": "power",
        "minexponent": 5,
        "separatethousands": True,
        "title": {"standoff": 10, "font": {"size": 13}},
    }
    return {
        "layout": {
            "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": [BLUE, ORANGE, GREEN, VERMILION, SKY, PINK],
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": "#23282e" if dark else "#ffffff",
                "bordercolor": line,
                "font": {"color": ink, "size": 13},
                "align": "left",
            },
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.03, "yanchor": "bottom"},
            "margin": {"l": 8, "r": 24, "t": 8, "b": 8},
            "hovermode": "closest",
        }
    }


def new_figure(x_title: str, y_title: str, height: int = 380, **layout: Any) -> go.Figure:
    """An empty figure with titled axes."""
    figure = go.Figure()
    figure.update_layout(template=template(dark=False), height=height, **layout)
    figure.update_xaxes(title_text=x_title)
    figure.update_yaxes(title_text=y_title)
    return figure


def scale_y(figure: go.Figure, values: Sequence[float]) -> None:
    """Make the vertical axis logarithmic where the values want it, with plain numbers at 1, 2 and 5 of a decade."""
    if not wants_log(values):
        return
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    leading = (1, 2, 5) if last - first <= 3 else (1,)
    stride = math.ceil((last - first) / 8)  # never more labels than can be read
    powers = range(first, last + 1, max(stride, 1))
    ticks = [
        float(f"{digit}e{power}") for power in powers for digit in leading
    ]  # 10.0**309 would raise, this is infinite
    ticks = [tick for tick in ticks if 0 < tick < math.inf]
    figure.update_yaxes(type="log", tickvals=ticks, ticktext=[formats.number(tick, 1) for tick in ticks])


def error_bars(scores: Sequence[Score]) -> dict[str, Any]:
    """Asymmetric error bars of scores; none where a bound is NaN."""
    up = [s.high - s.value if math.isfinite(s.high) else 0.0 for s in scores]
    down = [s.value - s.low if math.isfinite(s.low) else 0.0 for s in scores]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "width": 0}


def wants_log(values: Sequence[float]) -> bool:
    """Whether values are better seen on a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) > LOG_SPAN * min(values)


def level(
    figure: go.Figure,
    value: float | None,
    name: str,
    x: Sequence[float],
    colour: str,
    dash: str = "dot",
    in_legend: bool = True,
) -> None:
    """A horizontal line with a name, over the extent of x; nothing where the value is None."""
    if value is not None and x:
        text = f"{name} {formats.number(value)}"
        figure.add_scatter(
            x=[min(x), max(x)],
            y=[value, value],
            mode="lines",
            line={"color": colour, "dash": dash, "width": 1.5},
            name=name,
            showlegend=in_legend,
            hovertext=text,
            hoverinfo="text",
        )


def failed_strip(figure: go.Figure, x: Sequence[float], hover: Sequence[str]) -> None:
    """Crosses along the upper edge: trials that have no value."""
    # An axis of their own, over the whole height, whatever the values of the others are.
    figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})
    figure.add_scatter(
        x=list(x),
        y=[0.985] * len(x),
        yaxis="y2",
        mode="markers",
        marker={"symbol": "x-thin", "color": VERMILION, "size": 8, "line": {"width": 2, "color": VERMILION}},
        name="failed",
        hovertext=list(hover),
        hoverinfo="text",
        cliponaxis=False,
    )


def plain(text: str) -> str:
    """Text from data for a figure, where it would else be read as markup; plotly knows no entities of quotes."""
    return html.escape(formats.clean(text), quote=False)


def wrapped(text: str, width: int = 60) -> str:
    """Text from data for a hover label: escaped, broken into lines."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = ""
        line = f"{line} {word[:width]}".strip()
    return "<br>".join(plain(part) for part in [*lines, line])
