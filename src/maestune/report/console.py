"""The campaign in the terminal: observers that the loop tells what happened.

Observers only look; nothing they do reaches a decision. Every text that comes from data is shown as plain text, never
read as markup, and control characters in it are dropped.
"""

from __future__ import annotations

import atexit
import math
import time
from collections.abc import Collection, Sequence
from typing import TextIO

from rich.console import Console as Terminal
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from maestune.campaign.observer import Observer
from maestune.campaign.record import Record
from maestune.report import formats, labels
from maestune.report.bounds import bound_text
from maestune.report.dashboard import dashboard, left_text
from maestune.report.importance_views import importance_view
from maestune.report.trial_views import progress_view
from maestune.report.trials_text import ROWS_SHOWN, trials_table
from maestune.report.verdict_views import verdict_view

REFRESH_SECONDS = 0.5  # drawing costs about 5 ms of a core that trains: a hundredth of it


def make_console(stream: TextIO, live: bool | None = None) -> Observer:
    """A live display where the stream is a terminal, plain lines elsewhere; `live` overrides the choice."""
    terminal = Terminal(file=stream, highlight=False)
    if terminal.is_terminal if live is None else live:
        return LiveConsole(terminal)
    return PlainConsole(stream)


class PlainConsole:
    """One plain line per event, with the time since the start: for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._started = time.monotonic()
        self._best: tuple[int, float] | None = None
        self._said: set[str] = set()

    def start(self, record: Record) -> None:
        """Print what is tuned, on what, and how long."""
        self._started = time.monotonic() - record.seconds
        for line in head_lines(record, self._said):
            self.event(line)

    def update(
        self, record: Record, elapsed_seconds: float, left_seconds: float | None, activity: Sequence[str] = ()
    ) -> None:
        """Print a line when the best trial changed."""
        view = progress_view(record)
        # A resumed campaign counts the time of its earlier runs too.
        self._started = time.monotonic() - elapsed_seconds
        if view.best is None or view.best_score is None:
            return
        best = (view.best.number, view.best_score.value)
        if best != self._best:
            self._best = best
            name = labels.metric_name(view.objective)
            left = f", {left_text(left_seconds)}" if left_seconds else ""
            self.event(f"best so far: trial {best[0]}, {name} {formats.score(view.best_score)}{left}")

    def event(self, text: str) -> None:
        """Print one line."""
        self._said.add(text)
        elapsed = formats.duration(time.monotonic() - self._started)
        self.stream.write(f"[{elapsed:>11}] {formats.one_line(text)}\n")
        self.stream.flush()

    def finish(self, record: Record) -> None:
        """Print the verdict."""
        self.event(verdict_view(record, importance_view(record).weights).text)


class LiveConsole:
    """A display that stays in place: progress with the time left, the best so far, the trials and their decisions."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self._live: Live | None = None
        self._drawn = -math.inf
        self._said: set[str] = set()

    def start(self, record: Record) -> None:
        """Print what is tuned, on what, and how long; open the display."""
        for i, line in enumerate(head_lines(record, self._said)):
            self.terminal.print(Text(formats.one_line(line), style="" if i else "bold"))
        # No thread of its own: drawing happens inside `update`, so its cost is bounded and training is not disturbed.
        self._live = Live(console=self.terminal, auto_refresh=False, transient=True, vertical_overflow="ellipsis")
        self._live.start()
        atexit.register(self._close)  # whatever ends the run early: a terminal is not left without its cursor

    def update(
        self, record: Record, elapsed_seconds: float, left_seconds: float | None, activity: Sequence[str] = ()
    ) -> None:
        """Redraw, unless that was done a moment ago."""
        now = time.monotonic()
        if self._live is None or now - self._drawn < REFRESH_SECONDS:
            return
        self._live.update(dashboard(record, elapsed_seconds, left_seconds, activity), refresh=True)
        self._drawn = time.monotonic()

    def event(self, text: str) -> None:
        """Print a line above the display."""
        self._said.add(text)
        self.terminal.print(Text(formats.one_line(text)), style="bright_black")

    def finish(self, record: Record) -> None:
        """Close the display; print the last trials and the verdict."""
        self._close()
        view = verdict_view(record, importance_view(record).weights)
        colour = {"better": "green", "worse": "red", "infeasible": "red"}.get(view.decision, "yellow")
        self.terminal.print(trials_table(record, ROWS_SHOWN))
        self.terminal.print(
            Panel(
                Text(formats.clean(view.text)),
                title=Text(formats.one_line(view.headline), style="bold"),
                border_style=colour,
            )
        )

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        atexit.unregister(self._close)


def head_lines(record: Record, said: Collection[str] = ()) -> tuple[str, ...]:
    """What is tuned, on what, how, and where it is kept; the data only where they have not been `said`."""
    objectives = ", ".join(f"{labels.metric_name(o.name)} ({labels.direction(o)})" for o in record.objectives)
    before = f"; going on after {formats.count(len(record.trials), 'trial')}" if record.trials else ""
    bounds = f"; bounds: {', '.join(map(bound_text, record.constraints))}" if record.constraints else ""
    data = "" if record.data_text in said else f" on {record.data_text}"
    return (
        f"maestune: {record.model}{data}",
        f"objective {objectives}{bounds}; {len(record.space.varying)} parameters; strategy {record.strategy}",
        f"budget {record.budget_text}, seed {record.seed}, folder {record.folder}{before}",
    )
