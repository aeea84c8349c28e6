"""The live display of a campaign in the terminal: where it stands, what is being trained, and the latest decisions.

Every text that comes from data is shown as plain text, never read as markup, and control characters in it are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console as Terminal
from rich.console import ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from maestune.campaign.record import Record
from maestune.report import formats, labels
from maestune.report.trial_views import ProgressView, progress_view
from maestune.report.trials_text import ROWS_SHOWN, trials_table

BUSY_SHOWN = 4  # lines about what is being trained
SPARK_NAME = "by trial "
SPARKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Dashboard:
    """The live display at one moment, as large as its terminal lets it be."""

    record: Record
    elapsed_seconds: float
    left_seconds: float | None
    activity: Sequence[str]

    def __rich_console__(self, console: Terminal, options: ConsoleOptions) -> RenderResult:
        view = progress_view(self.record)
        states = Text(_states(view), style="bright_black", no_wrap=True, overflow="ellipsis")
        lines = [self._clock(), states, *_best_lines(view, options.max_width)]
        if view.curve:
            bars = sparkline(view.curve, min(60, options.max_width - len(SPARK_NAME)))
            lines.append(Text(SPARK_NAME, style="bright_black").append(bars, style="cyan"))
        lines += [Text(line, style="cyan", no_wrap=True, overflow="ellipsis") for line in busy_lines(self.activity)]
        yield from lines
        # The heading, and the free line below.
        rows = console.size.height - len(lines) - 2
        yield trials_table(self.record, min(max(rows, 2), ROWS_SHOWN))
        yield Text("")  # a terminal writes its ^C here, where it breaks no full line and shifts nothing

    def _clock(self) -> Table:
        """The time so far, a bar, and the time left."""
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(no_wrap=True, justify="right")
        left = self.left_seconds if self.left_seconds is not None and math.isfinite(self.left_seconds) else None
        total = None if left is None else max(self.elapsed_seconds + left, 1e-9)
        bar = ProgressBar(total=total, completed=self.elapsed_seconds, pulse=total is None, complete_style="cyan")
        head.add_row(Text(formats.duration(self.elapsed_seconds)), bar, Text(left_text(left)))
        return head


def dashboard(record: Record, elapsed_seconds: float, left_seconds: float | None, activity: Sequence[str]) -> Dashboard:
    """The live display at one moment."""
    return Dashboard(record, elapsed_seconds, left_seconds, activity)


def left_text(seconds: float | None) -> str:
    """The time left of a budget in words; beyond it, by how much.

    >>> left_text(61.0), left_text(-5.0), left_text(None)
    ('1 min 1 s left', '5.0 s over', 'time left unknown')
    """
    if seconds is None:
        return "time left unknown"
    return f"{formats.duration(seconds)} left" if seconds >= 0 else f"{formats.duration(-seconds)} over"


def _states(view: ProgressView) -> str:
    states = [f"{n} {state}" for state, n in view.states.items()]
    finals = [f"finals {view.finals_done} of {view.finals}"] if view.finals else []
    return " · ".join([*states, *finals, f"{formats.number(view.full_trainings)} full trainings"])


def _best_lines(view: ProgressView, width: int) -> list[Text]:
    """The best beside the recipe, without intervals where these do not fit on one line."""
    if view.best is None:
        return []
    name = labels.sentence_case(formats.one_line(labels.metric_name(view.objective)))
    best, recipe = formats.score(view.best_score), formats.score(view.recipe_score)

    def line(best: str, recipe: str) -> Text:
        told = Text(f"{name}: best {best} in trial {view.best.number if view.best else ''}", style="bold green")
        told.no_wrap, told.overflow = True, "ellipsis"
        return told.append(f"   recipe {recipe}", style="default")

    whole = line(best, recipe)
    return [whole if whole.cell_len <= width else line(best.partition(" ")[0], recipe.partition(" ")[0])]


def busy_lines(activity: Sequence[str]) -> list[str]:
    """What is being trained: trials that stand at the same step in one line, at most a few lines in all.

    >>> busy_lines(["trial 7: step 20 of 46", "trial 8: step 20 of 46", "trial 3: step 9 of 46"])
    ['trials 7, 8: step 20 of 46', 'trial 3: step 9 of 46']
    """
    at: dict[str, list[str]] = {}
    for line in map(formats.one_line, activity):
        trial, _, place = line.partition(": ")
        at.setdefault(place, []).append(trial)
    lines = [_together(trials, place) for place, trials in at.items()]
    return lines if len(lines) <= BUSY_SHOWN else [*lines[: BUSY_SHOWN - 1], f"and {len(lines) - BUSY_SHOWN + 1} more"]


def _together(trials: Sequence[str], place: str) -> str:
    if len(trials) == 1:
        return f"{trials[0]}: {place}" if place else trials[0]
    return f"trials {', '.join(trial.removeprefix('trial ') for trial in trials)}: {place}"


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
