"""The trials as text: a table that fits its terminal, CSV and JSON.

Every text that comes from data is shown as plain text, never read as markup, and control characters in it are dropped.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Any

from rich.console import Console as Terminal
from rich.console import ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from maestune.campaign.record import Record
from maestune.plain_text import json_text, table_cell
from maestune.report import formats, labels
from maestune.report.comparing import best_trial, chosen, recipe_trial
from maestune.report.summary import plain
from maestune.report.trial_views import TrialRow, TrialsView, trials_view
from maestune.types import Score, Trial, TrialState

ROWS_SHOWN = 10  # where not all are
HEAD_LETTERS = 40  # of a metric's name
LEAST_REASON = 16  # letters of a reason that are worth a column

STYLES: dict[TrialState, str] = {
    TrialState.RUNNING: "cyan",
    TrialState.PAUSED: "yellow",
    TrialState.COMPLETE: "green",
    TrialState.STOPPED: "bright_black",
    TrialState.DIVERGED: "magenta",
    TrialState.CRASHED: "red",
}


@dataclass(frozen=True)
class TrialsTable:
    """A table of trials. On a narrow terminal reasons are cut, then intervals and times left out, and no number is.

    `star`: number of the trial that is to be used so far; `whole`: reasons take as many lines as they need.
    """

    view: TrialsView
    star: int | None
    whole: bool

    def __rich_console__(self, console: Terminal, options: ConsoleOptions) -> RenderResult:
        yield self.fitted(options.max_width)

    def fitted(self, width: int) -> Table:
        """The table on a terminal of so many letters."""
        metrics = (formats.shortened(labels.metric_name(name), HEAD_LETTERS) for name in self.view.metrics)
        heads = ["trial", "state", "step", *metrics, "time"]
        columns = _columns(heads, [self._cells(row, intervals=True) for row in self.view.rows])
        if _width(columns) + LEAST_REASON > width:
            columns = _columns(heads, [self._cells(row, intervals=False) for row in self.view.rows])
        if _width(columns) + LEAST_REASON > width:
            columns = columns[:-1]
        table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
        for head, *cells in columns:
            least = max(map(len, (head, *cells)))
            table.add_column(Text(head), justify="left" if head == "state" else "right", no_wrap=True, min_width=least)
        # Only this column may be made narrower.
        table.add_column("why", overflow="fold" if self.whole else "ellipsis")
        for i, row in enumerate(self.view.rows, start=1):
            texts = [Text(cells[i], style=STYLES[row.state] if cells[0] == "state" else "") for cells in columns]
            reason = Text(why(row), no_wrap=not self.whole, overflow="fold" if self.whole else "ellipsis")
            table.add_row(*texts, reason, style="bold" if row.number == self.star else "")
        return table

    def _cells(self, row: TrialRow, intervals: bool) -> list[str]:
        star = "★" if row.number == self.star else ""
        scores = [formats.score(score) for score in row.scores]
        scores = scores if intervals else [text.partition(" ")[0] for text in scores]
        return [f"{star}{row.number}", str(row.state), f"{row.step:,}", *scores, formats.duration(row.seconds)]


def trials_table(record: Record, limit: int | None = None) -> TrialsTable:
    """The trials as a rich table: all of them, or the best, the recipe and the newest up to `limit`."""
    view = trials_view(record, None if limit is None else _most_telling(record, limit))
    star = chosen(record)
    return TrialsTable(view, None if star is None else star.number, whole=limit is None)


def _columns(heads: list[str], rows: list[list[str]]) -> list[list[str]]:
    """Every column with its heading first."""
    return [[head, *(row[i] for row in rows)] for i, head in enumerate(heads)]


def _width(columns: list[list[str]]) -> int:
    """Letters that the columns need, with the gap behind each."""
    return sum(max(map(len, column)) + 2 for column in columns)


def why(row: TrialRow) -> str:
    """What a trial is, and the newest reason about it: of its decision, or of its proposal where there is none yet."""
    reason = formats.one_line(row.decision or row.origin)
    return f"{row.title}: {reason}" if row.title and reason else row.title or reason


def _most_telling(record: Record, limit: int) -> list[Trial]:
    """The best, the recipe and the newest trials."""
    best, recipe = best_trial(record), recipe_trial(record)
    telling = {trial.number: trial for trial in (best, recipe) if trial is not None}
    for trial in reversed(record.trials):
        if len(telling) >= limit:
            break
        telling.setdefault(trial.number, trial)
    return sorted(telling.values(), key=lambda t: t.number)


def trials_csv(record: Record) -> str:
    """The trials as CSV: one line each, three columns a metric (value, low, high), one a parameter.

    No text is a formula for a spreadsheet: one that begins like it has an apostrophe before it. Numbers are as they are.
    """
    metrics = _metrics(record)
    names = [param.name for param in record.space]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    fields = ["number", "stage", "role", "state", "seed", "step", "until_steps", "seconds", "reason", "decision"]
    scores = [f"{metric}{part}" for metric in metrics for part in ("", "_low", "_high")]
    writer.writerow(map(table_cell, [*fields, *scores, *names]))
    for trial in record.trials:
        found = (trial.score(metric) or Score(math.nan) for metric in metrics)
        values = [v if math.isfinite(v) else "" for s in found for v in (s.value, s.low, s.high)]
        own = [trial.state.value if field == "state" else getattr(trial, field) for field in fields]
        writer.writerow(map(table_cell, [*own, *values, *(trial.config.get(name, "") for name in names)]))
    return buffer.getvalue()


def trials_json(record: Record) -> str:
    """The trials as a JSON list: config, every rung with its scores, reason and decision; NaN becomes null."""
    return json_text([_trial_data(trial) for trial in record.trials])


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
