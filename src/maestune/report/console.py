"""The campaign in the terminal: observers that the loop tells what happened, and the table of trials as text.

Observers only look; nothing they do reaches a decision. Every text that comes from data is shown as plain text, never
read as markup, and control characters in it are dropped.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console as Terminal
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from maestune.campaign.observer import Observer
from maestune.campaign.record import Record
from maestune.report import formats, labels
from maestune.report.bounds import bound_text
from maestune.report.comparing import best_trial, recipe_trial
from maestune.report.importance_views import importance_view
from maestune.report.summary import plain
from maestune.report.trial_views import TrialRow, progress_view, trials_view
from maestune.report.verdict_views import verdict_view
from maestune.types import Score, Trial, TrialState

REFRESH_SECONDS = 0.5  # drawing costs about 5 ms of a core that trains: a hundredth of it
ROWS_SHOWN = 10
SPARKS = "▁▂▃▄▅▆▇█"

STYLES: dict[TrialState, str] = {
    TrialState.RUNNING: "cyan",
    TrialState.PAUSED: "yellow",
    TrialState.COMPLETE: "green",
    TrialState.STOPPED: "bright_black",
    TrialState.DIVERGED: "magenta",
    TrialState.CRASHED: "red",
}


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

    def start(self, record: Record) -> None:
        """Print what is tuned, on what, and how long."""
        self._started = time.monotonic() - record.seconds
        for line in head_lines(record):
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
            left = f", {formats.duration(left_seconds)} left" if left_seconds else ""
            self.event(f"best so far: trial {best[0]}, {name} {formats.score(view.best_score)}{left}")

    def event(self, text: str) -> None:
        """Print one line."""
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

    def start(self, record: Record) -> None:
        """Print what is tuned, on what, and how long; open the display."""
        for i, line in enumerate(head_lines(record)):
            self.terminal.print(Text(formats.one_line(line), style="" if i else "bold"))
        # No thread of its own: drawing happens inside `update`, so its cost is bounded and training is not disturbed.
        self._live = Live(console=self.terminal, auto_refresh=False, transient=True, vertical_overflow="ellipsis")
        self._live.start()

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
        self.terminal.print(Text(formats.one_line(text)), style="bright_black")

    def finish(self, record: Record) -> None:
        """Close the display; print the last trials and the verdict."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        view = verdict_view(record, importance_view(record).weights)
        colour = {"better": "green", "worse": "red", "infeasible": "red"}.get(view.decision, "yellow")
        self.terminal.print(trials_table(record, ROWS_SHOWN))
        self.terminal.print(
            Panel(Text(formats.clean(view.text)), title=Text(view.headline, style="bold"), border_style=colour)
        )


def head_lines(record: Record) -> tuple[str, ...]:
    """What is tuned, on what, how, and where it is kept."""
    objectives = ", ".join(f"{labels.metric_name(o.name)} ({labels.direction(o)})" for o in record.objectives)
    before = f"; going on after {formats.count(len(record.trials), 'trial')}" if record.trials else ""
    bounds = f"; bounds: {', '.join(map(bound_text, record.constraints))}" if record.constraints else ""
    return (
        f"maestune: {record.model} on {record.data_text}",
        f"objective {objectives}{bounds}; {len(record.space.varying)} parameters; strategy {record.strategy}",
        f"budget {record.budget_text}, seed {record.seed}, folder {record.folder}{before}",
    )


def dashboard(record: Record, elapsed_seconds: float, left_seconds: float | None, activity: Sequence[str]) -> Group:
    """The live display at one moment."""
    view = progress_view(record)
    name = labels.sentence_case(labels.metric_name(view.objective))
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True, justify="right")
    left = "time left unknown" if left_seconds is None else f"{formats.duration(left_seconds)} left"
    known_left = left_seconds if left_seconds is not None and math.isfinite(left_seconds) else None
    total = None if known_left is None else max(elapsed_seconds + known_left, 1e-9)
    bar = ProgressBar(total=total, completed=elapsed_seconds, pulse=total is None, complete_style="cyan")
    head.add_row(Text(formats.duration(elapsed_seconds)), bar, Text(left))
    states = " · ".join(f"{n} {state}" for state, n in view.states.items())
    finals = f" · finals {view.finals_done} of {view.finals}" if view.finals else ""
    trainings = f" · {formats.number(view.full_trainings)} full trainings"
    lines: list[Any] = [head, Text(f"{states}{finals}{trainings}", style="bright_black")]
    if view.best is not None:
        best = Text(f"{name}: best {formats.score(view.best_score)} in trial {view.best.number}", style="bold green")
        best.append(f"   recipe {formats.score(view.recipe_score)}", style="default")
        lines.append(best)
    if view.curve:
        lines.append(Text(sparkline(view.curve, width=60), style="cyan"))
    lines.extend(Text(formats.one_line(line), style="cyan", no_wrap=True, overflow="ellipsis") for line in activity)
    lines.append(trials_table(record, ROWS_SHOWN))
    return Group(*lines)


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """The last values as bars, on a scale of ranks of size (logarithmic where they span more than a factor of ten).

    >>> sparkline([1.0, 2.0, 3.0, 4.0])
    '▁▃▆█'
    """
    shown = [v for v in values if math.isfinite(v)][-width:]
    if not shown:
        return ""
    if min(shown) > 0 and max(shown) > 10 * min(shown):
        shown = [math.log(v) for v in shown]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(SPARKS[round((v - low) / span * (len(SPARKS) - 1))] for v in shown)


def trials_table(record: Record, limit: int | None = None) -> Table:
    """The trials as a rich table: all of them, or the best, the recipe and the newest up to `limit`."""
    view = trials_view(record, None if limit is None else _most_telling(record, limit))
    best = record.best
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    heads = ["trial", "state", "step", *map(labels.metric_name, view.metrics), "time"]
    cells = [_cells(row, best) for row in view.rows]
    for i, head in enumerate(heads):
        # Only the reasons, in the last column, may be cut where the terminal is narrow.
        width = max(len(line[i]) for line in [heads, *cells])
        table.add_column(Text(head), justify="left" if head == "state" else "right", no_wrap=True, min_width=width)
    table.add_column("why", overflow="ellipsis", no_wrap=limit is not None)
    for row, line in zip(view.rows, cells, strict=True):
        texts = [Text(cell, style=STYLES[row.state] if i == 1 else "") for i, cell in enumerate(line)]
        table.add_row(*texts, Text(why(row)), style="bold" if row.number == best else "")
    return table


def _cells(row: TrialRow, best: int | None) -> list[str]:
    mark = "★" if row.number == best else ""
    scores = [formats.score(score) for score in row.scores]
    return [f"{mark}{row.number}", str(row.state), f"{row.step:,}", *scores, formats.duration(row.seconds)]


def why(row: TrialRow) -> str:
    """What a trial is, and the newest reason about it: of its decision, or of its proposal where there is none yet."""
    reason = formats.one_line(row.decision or row.origin)
    return f"{row.title}: {reason}" if row.title and reason else row.title or reason


def _most_telling(record: Record, limit: int) -> list[Trial]:
    """The best, the recipe and the newest trials."""
    best, recipe = best_trial(record), recipe_trial(record)
    chosen = {trial.number: trial for trial in (best, recipe) if trial is not None}
    for trial in reversed(record.trials):
        if len(chosen) >= limit:
            break
        chosen.setdefault(trial.number, trial)
    return sorted(chosen.values(), key=lambda t: t.number)


def trials_csv(record: Record) -> str:
    """The trials as CSV: one line each, three columns a metric (value, low, high), one a parameter."""
    metrics = _metrics(record)
    names = [param.name for param in record.space]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    fields = ["number", "stage", "role", "state", "seed", "step", "until_steps", "seconds", "reason", "decision"]
    scores = [f"{metric}{part}" for metric in metrics for part in ("", "_low", "_high")]
    writer.writerow([*fields, *scores, *names])
    for trial in record.trials:
        found = (trial.score(metric) or Score(math.nan) for metric in metrics)
        values = [v if math.isfinite(v) else "" for s in found for v in (s.value, s.low, s.high)]
        own = [trial.state.value if field == "state" else getattr(trial, field) for field in fields]
        writer.writerow([*own, *values, *(trial.config.get(name, "") for name in names)])
    return buffer.getvalue()


def trials_json(record: Record) -> str:
    """The trials as a JSON list: config, every rung with its scores, reason and decision; NaN becomes null."""
    return json.dumps([_trial_data(trial) for trial in record.trials], indent=2, allow_nan=False, ensure_ascii=False)


def _trial_data(trial: Trial) -> dict[str, Any]:
    rungs = [
        {
            "step": rung.step,
            "seconds": plain(rung.seconds),
            "classes": list(rung.classes),
            "scores": {
                name: {"value": plain(s.value), "low": plain(s.low), "high": plain(s.high)}
                for name, s in rung.scores.items()
            },
        }
        for rung in trial.rungs
    ]
    return {
        "number": trial.number,
        "stage": trial.stage,
        "role": trial.role,
        "state": str(trial.state),
        "seed": trial.seed,
        "step": trial.step,
        "until_steps": trial.until_steps,
        "seconds": plain(trial.seconds),
        "reason": trial.reason,
        "decision": trial.decision,
        "config": {name: plain(value) for name, value in trial.config.items()},
        "rungs": rungs,
    }


def _metrics(record: Record) -> list[str]:
    # In the order of their first appearance, the objectives first.
    names = dict.fromkeys(objective.name for objective in record.objectives)
    names |= dict.fromkeys(name for trial in record.trials for rung in trial.rungs for name in rung.scores)
    return list(names)
