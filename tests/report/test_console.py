from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import records
from rich.console import Console as Terminal

from maestune.campaign.record import Record
from maestune.report import console, formats
from maestune.report.comparing import best_trial, recipe_trial, scores_of
from maestune.report.console import (
    LiveConsole,
    PlainConsole,
    dashboard,
    make_console,
    sparkline,
    trials_csv,
    trials_json,
    trials_table,
)
from maestune.report.trial_views import state_counts
from maestune.types import Config, Objective


def _terminal(width: int = 120, force: bool = False) -> tuple[Terminal, io.StringIO]:
    stream = io.StringIO()
    return Terminal(file=stream, width=width, force_terminal=force, color_system=None), stream


def _best_fd(record: Record) -> str:
    """The Fréchet distance of the best, as it is written."""
    return formats.number(scores_of(record, best_trial(record))["fd"].value)


def _printed(renderable: object, width: int = 120) -> str:
    terminal, stream = _terminal(width)
    terminal.print(renderable)
    return stream.getvalue()


def test_a_stream_that_is_no_terminal_gets_plain_lines() -> None:
    assert isinstance(make_console(io.StringIO()), PlainConsole)
    assert isinstance(make_console(io.StringIO(), live=True), LiveConsole)


def test_plain_lines_tell_start_best_events_and_verdict(full: Record) -> None:
    stream = io.StringIO()
    plain = PlainConsole(stream)
    plain.start(replace(full, trials=()))
    for _ in range(3):
        plain.update(full, 30.2, 61.0, ["trial 3"])
    plain.event("trial 3: stopped\nbecause \x1b[31mof this [bold]x[/]")
    plain.finish(full)
    lines = stream.getvalue().splitlines()
    assert all(line.startswith("[") and line[12] == "]" for line in lines)
    assert "maestune: gan on digits" in lines[0]
    assert sum(f"best so far: trial {full.best}, Fréchet distance {_best_fd(full)}" in line for line in lines) == 1
    assert "1 min 1 s left" in stream.getvalue()
    assert "30 s]" in lines[-2]
    assert lines[-2].endswith("trial 3: stopped because [31mof this [bold]x[/]")
    assert "better than the starting configuration. What changed most: lr " in lines[-1]
    assert "\x1b" not in stream.getvalue()


def test_plain_lines_of_a_campaign_without_results(folder: Path) -> None:
    stream = io.StringIO()
    plain = PlainConsole(stream)
    record = records.empty(folder)
    plain.start(record)
    plain.update(record, 0.1, None)
    plain.finish(record)
    assert "No verdict yet" in stream.getvalue().splitlines()[-1]
    assert "going on" not in stream.getvalue()


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
    assert any(spark in text for spark in console.SPARKS)


@pytest.mark.parametrize("left", [None, 0.0, float("inf")])
def test_the_live_display_bears_every_time_left(folder: Path, left: float | None) -> None:
    assert "trial" in _printed(dashboard(records.empty(folder), 0.0, left, ()))


def test_a_narrow_terminal_cuts_reasons_and_not_numbers(full: Record) -> None:
    text = _printed(trials_table(full, limit=10), width=70)
    assert full.best is not None
    assert formats.score(full.trial(full.best).score("fd")) in text
    assert "complete" in text
    assert max(map(len, text.splitlines())) <= 70


def test_the_live_console_draws_at_most_twice_a_second(full: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    drawn: list[float] = []
    monkeypatch.setattr(console, "dashboard", lambda *_: drawn.append(clock[0]) or "x")
    terminal, _ = _terminal(force=True)
    live = LiveConsole(terminal)
    live.start(full)
    try:
        for i in range(100):
            clock[0] = 100 + i / 10
            live.update(full, 1.0, 2.0)
    finally:
        live.finish(full)
    assert 15 <= len(drawn) <= 21


def test_the_live_console_ends_with_trials_and_verdict(full: Record) -> None:
    terminal, stream = _terminal(force=True)
    live = LiveConsole(terminal)
    live.start(full)
    live.update(full, 1.0, 2.0, ["busy"])
    live.event("event [bold]one[/] \x1b[31m")
    live.finish(full)
    live.update(full, 2.0, 1.0)  # too late, and harmless
    text = stream.getvalue()
    assert "event [bold]one[/] [31m" in text
    assert f"{formats.percent(-full.verdicts[0].relative).lstrip('+')} % lower Fréchet distance" in text
    assert "better than the" in text


def test_hostile_text_is_shown_as_text(full: Record) -> None:
    text = _printed(trials_table(full), width=400)
    assert "worker died (signal 9) <script>alert('x')</script>" in text
    assert "[bold red]markup[/]" in text
    assert "\x1b" not in text
    head = _printed(dashboard(replace(full, objectives=(Objective("[red]own"),)), 1.0, 2.0, ()))
    assert "[red]own" in head


def test_the_whole_table_has_every_trial(full: Record) -> None:
    assert trials_table(full).row_count == 55
    assert trials_table(full, limit=10).row_count == 10


def test_csv_has_a_row_a_trial_and_a_column_a_parameter(full: Record) -> None:
    rows = list(csv.DictReader(io.StringIO(trials_csv(full))))
    assert [int(row["number"]) for row in rows] == list(range(55))
    assert {"state", "reason", "decision", "fd", "fd_low", "fd_high", "own_score"} < set(rows[0])
    assert set(full.space.centre()) < set(rows[0])
    assert rows[3]["reason"] == full.trials[3].reason
    assert float(rows[0]["lr"]) == 2e-4
    assert rows[0]["own_score_low"] == ""
    diverged = next(t for t in full.search_trials if t.state == "diverged")
    assert rows[diverged.number]["fd"] == ""


def test_json_has_every_rung_and_no_nan(full: Record) -> None:
    broken = full.trials[0].with_(config=Config.of(lr=float("nan")))
    data = json.loads(trials_json(replace(full, trials=(broken, *full.trials[1:]))))
    assert len(data) == 55
    assert [rung["step"] for rung in data[0]["rungs"]] == [111, 333, 1000]
    assert data[0]["config"] == {"lr": None}
    assert data[0]["rungs"][0]["scores"]["own_score"]["low"] is None
    assert data[1]["config"] == dict(full.trials[1].config)


def test_sparkline_shows_the_last_values_and_bears_anything() -> None:
    assert sparkline([]) == ""
    assert sparkline([1.0, float("nan"), 1.0]) == "▁▁"
    assert len(sparkline(range(1, 1000), width=60)) == 60
    assert sparkline([1.0, 10.0, 100.0, 1000.0]) == sparkline([1.0, 2.0, 3.0, 4.0])


def test_the_terminal_needs_neither_plotly_nor_scikit_learn() -> None:
    code = "import sys, maestune.report.console; print([m for m in ('plotly', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
