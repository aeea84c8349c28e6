from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
import records
from rich.console import Console as Terminal

from maestune.campaign.record import Record
from maestune.report import formats
from maestune.report.comparing import best_trial, recipe_trial, scores_of
from maestune.report.dashboard import BUSY_SHOWN, SPARKS, busy_lines, dashboard, left_text, sparkline
from maestune.report.trial_views import state_counts
from maestune.types import Constraint


def _best_fd(record: Record) -> str:
    """The Fréchet distance of the best, as it is written."""
    return formats.number(scores_of(record, best_trial(record))["fd"].value)


def _printed(renderable: object, width: int = 120, height: int = 40) -> str:
    stream = io.StringIO()
    Terminal(file=stream, width=width, height=height, color_system=None).print(renderable)
    return stream.getvalue()


def test_the_live_display_shows_where_it_stands(full: Record) -> None:
    text = _printed(dashboard(full, 45.0, 75.0, ["worker 1: [bold]trial 41[/]"]))
    for part in (
        "45 s",
        "1 min 15 s left",
        " · ".join(f"{n} {state}" for state, n in state_counts(full).items()) + " · finals 15 of 15",
        f"Fréchet distance: best {_best_fd(full)}",
        f"recipe {formats.number(scores_of(full, recipe_trial(full))['fd'].value)}",
        "worker 1: [bold]trial 41[/]",
        f"★{full.best}",
        "recipe: reached its full training",
    ):
        assert part in text
    assert any(spark in text for spark in SPARKS)


@pytest.mark.parametrize("left", [None, 0.0, float("inf")])
def test_the_live_display_bears_every_time_left(folder: Path, left: float | None) -> None:
    assert "trial" in _printed(dashboard(records.empty(folder), 0.0, left, ()))


def test_sparkline_shows_the_last_values_and_bears_anything() -> None:
    assert sparkline([]) == ""
    assert sparkline([1.0, float("nan"), 1.0]) == "▁▁"
    assert len(sparkline(range(1, 1000), width=60)) == 60
    assert sparkline([1.0, 10.0, 100.0, 1000.0]) == sparkline([1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 15), (200, 60)])
def test_the_live_display_fits_its_terminal(full: Record, width: int, height: int) -> None:
    bounds = (Constraint("coverage", ">=", 0.2), Constraint("novelty", ">=", 0.5))
    busy = [f"trial {i}: step {100 + i % 6} of 333" for i in range(40, 56)]
    for record in (full, replace(full, constraints=bounds)):
        lines = _printed(dashboard(record, 45.0, 75.0, busy), width, height).splitlines()
        assert len(lines) <= height
        assert max(map(len, lines)) <= width
        for head in ("trial", "state", "step"):
            assert any(re.match(rf".*\b{head}\b", line) for line in lines), head
        assert sum("Fréchet distance: best" in line and "recipe" in line for line in lines) == 1


def test_trials_at_the_same_step_share_a_line_and_lines_are_few() -> None:
    assert busy_lines([f"trial {i}: step 0 of 46" for i in range(3)]) == ["trials 0, 1, 2: step 0 of 46"]
    many = busy_lines([f"trial {i}: step {i} of 46" for i in range(9)])
    assert len(many) == BUSY_SHOWN
    assert many[-1] == f"and {9 - BUSY_SHOWN + 1} more"
    assert busy_lines(["measuring\x1b[2J"]) == ["measuring[2J"]
    assert busy_lines([]) == []


def test_a_budget_that_is_over_says_by_how_much(full: Record) -> None:
    assert "38 s over" in _printed(dashboard(full, 78.0, -38.0, ()))
    assert left_text(0.0) == "0.0 s left"


def test_the_last_line_of_the_display_is_free(full: Record) -> None:
    assert _printed(dashboard(full, 1.0, 2.0, ["trial 1: step 2 of 3"]), width=60).splitlines()[-1] == ""
