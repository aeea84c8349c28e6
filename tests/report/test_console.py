from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import records
from rich.console import Console as Terminal

from maestune.campaign.record import Record
from maestune.report import console, formats
from maestune.report.comparing import best_trial, scores_of
from maestune.report.console import LiveConsole, PlainConsole, make_console
from maestune.report.dashboard import dashboard
from maestune.report.trials_text import trials_table
from maestune.types import Objective


def _terminal(width: int = 120, force: bool = False, height: int | None = None) -> tuple[Terminal, io.StringIO]:
    stream = io.StringIO()
    return Terminal(file=stream, width=width, height=height, force_terminal=force, color_system=None), stream


def _best_fd(record: Record) -> str:
    """The Fréchet distance of the best, as it is written."""
    return formats.number(scores_of(record, best_trial(record))["fd"].value)


def _printed(renderable: object, width: int = 120, height: int = 40) -> str:
    terminal, stream = _terminal(width, height=height)
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
    assert f"better than the starting configuration. Recommended: trial {full.best}; fd " in lines[-1]
    assert "of the recipe, means over 5 fresh seeds. What changed most: lr " in lines[-1]
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


def test_the_terminal_needs_neither_plotly_nor_scikit_learn() -> None:
    code = "import sys, maestune.report.console; print([m for m in ('plotly', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("live", [False, True])
def test_what_was_said_of_the_data_is_not_said_again(full: Record, live: bool) -> None:
    terminal, stream = _terminal(width=300, force=True)
    told = LiveConsole(terminal) if live else PlainConsole(stream)
    told.event(full.data_text)
    told.start(full)
    told.finish(full)
    assert stream.getvalue().count("1,257 to learn from") == 1
    assert "maestune: gan" in stream.getvalue()


def test_a_run_that_ends_early_leaves_the_terminal_its_cursor(full: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(console.atexit, "register", at_exit.append)
    terminal, stream = _terminal(force=True)
    live = LiveConsole(terminal)
    live.start(full)
    live.update(full, 1.0, 2.0)
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert stream.getvalue().rfind(hidden) > stream.getvalue().rfind(shown)
    for close in at_exit:
        close()
    assert stream.getvalue().rfind(shown) > stream.getvalue().rfind(hidden)
