"""Trainings that hang: no report for far longer than reports have taken so far.

A training without a report for longer than the limit is ended, and that is the outcome of its trial. The limit is the person's
(`--trial-timeout`), or else `LEAST_SECONDS`, `TIMES_MEDIAN` times the median time between reports so far, or `TIMES_SCORING` times what
drawing and scoring samples was measured to take, whichever is longest: samples are drawn between two reports. Before there is
any report, it is a third of a time budget.

Time counts only while the campaign itself runs: after Ctrl-Z, or beside a machine that swaps, nobody is blamed for the pause.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from maestune.campaign.budget import Budget
from maestune.campaign.costs import EvaluationPlan

LEAST_SECONDS = 60.0
TIMES_MEDIAN = 20.0
TIMES_SCORING = 10.0
FIRST_SHARE = 1 / 3  # of a time budget, before there is any report
FIRST_SECONDS = 3600.0  # of other budgets, which tell nothing of time
STARTING_SECONDS = 60.0  # more until a worker has started and loaded the training
COMPILING_SECONDS = (
    600.0  # more for the first report of trials that are trained as one: their step may be compiled first
)
GRACE_SECONDS = 10.0  # to write checkpoints after Ctrl-C, of a training whose reports come faster
TIMES_GRACE = 3.0  # as often as the median time between reports where they come slower
TICK_SECONDS = 1.0  # longer pauses of the campaign itself do not count
REMEMBERED = 1_000  # times between reports that the median is of


@dataclass(frozen=True)
class Patience:
    """How long a training may go without a report, in seconds, before and after the first report of the campaign.

    `timeout`: what the person set; None for the rule of this module, 0 for no limit.
    """

    budget: Budget
    evaluation_plan: EvaluationPlan
    timeout: float | None = None

    def limit(self, intervals: Collection[float]) -> float:
        """Seconds without a report after which a training counts as hung; infinite where there is no limit."""
        if self.timeout is not None:
            return self.timeout or float("inf")
        scoring = TIMES_SCORING * max(self.evaluation_plan.full_seconds, self.evaluation_plan.final_seconds)
        if intervals:
            return max(LEAST_SECONDS, TIMES_MEDIAN * median(intervals), scoring)
        first = FIRST_SHARE * self.budget.amount if self.budget.kind == "seconds" else FIRST_SECONDS
        return max(LEAST_SECONDS, first, scoring)

    @staticmethod
    def grace(intervals: Collection[float]) -> float:
        """Seconds that a training has to end when it is asked to."""
        return max(GRACE_SECONDS, TIMES_GRACE * median(intervals)) if intervals else GRACE_SECONDS


@dataclass
class _Group:
    """Trials on one worker: a report of any of them shows that all are alive, since some may wait for their turn."""

    trials: set[int]
    silent: float = 0.0  # seconds since the last sign of life
    paused: bool = False  # our own scoring is under way
    starting: bool = True  # no worker has taken it up so far
    extra: float = 0.0  # seconds more until the first report

    def silence(self, limit: float) -> float:
        """Seconds that it may be silent now, where that is `limit` in the middle of a training."""
        return limit + self.extra + (STARTING_SECONDS if self.starting else 0.0)


@dataclass
class Watchdog:
    """Times the trials that are being trained. Told of each start, sign of life and end; names those silent for too long."""

    patience: Patience
    intervals: deque[float] = field(default_factory=lambda: deque[float](maxlen=REMEMBERED))
    _groups: dict[int, _Group] = field(default_factory=dict[int, _Group])  # of each trial
    _since: dict[int, float] = field(default_factory=dict[int, float])  # seconds since a trial's last report, if any
    _now: float | None = None
    _asked: float | None = None  # seconds of grace used up, once trainings have been asked to end

    def begin(self, trials: Iterable[int]) -> None:
        """Trials are given to a worker, as one where they are several."""
        numbers = set(trials)
        group = _Group(numbers, extra=COMPILING_SECONDS if len(numbers) > 1 else 0.0)
        self._groups |= dict.fromkeys(numbers, group)
        self._asked = None

    def began(self, trial: int) -> None:
        """A worker has taken up a trial, or goes on with it."""
        group = self._groups.get(trial)
        if group is not None:
            group.silent, group.starting, group.paused = 0.0, False, False

    def report(self, trial: int, scoring: bool) -> None:
        """A trial reported; `scoring`: its model is scored before training goes on, which is not the training's time."""
        group = self._groups.get(trial)
        if group is None:
            return
        if trial in self._since:
            self.intervals.append(self._since[trial])
        self._since[trial] = 0.0
        group.silent, group.paused, group.extra, group.starting = 0.0, scoring, 0.0, False

    def scored(self, trial: int) -> None:
        """The scoring of a trial is over, and its training goes on."""
        group = self._groups.get(trial)
        if group is not None:
            self._since[trial] = 0.0
            group.silent, group.paused = 0.0, False

    def end(self, trial: int) -> None:
        """A trial is trained no longer."""
        self._since.pop(trial, None)
        group = self._groups.pop(trial, None)
        if group is not None:
            group.trials.discard(trial)
            group.silent, group.paused = 0.0, False

    def ask_to_end(self) -> None:
        """All trainings have been asked to write checkpoints and end: from now on they have their grace."""
        self._asked = 0.0

    def tick(self, now: float) -> None:
        """Count the time since the last call. `now`: a clock in seconds."""
        passed = 0.0 if self._now is None else min(max(now - self._now, 0.0), TICK_SECONDS)
        self._now = now
        for group in {id(group): group for group in self._groups.values()}.values():
            group.silent += passed
        for trial in self._since:
            self._since[trial] += passed
        if self._asked is not None:
            self._asked += passed

    @property
    def left(self) -> float | None:
        """Seconds until somebody counts as hung; None while all that is silent is our own scoring."""
        limit = self.patience.limit(self.intervals)
        left = [group.silence(limit) - group.silent for group in self._groups.values() if not group.paused]
        return min(left, default=None)

    @property
    def hung(self) -> Mapping[int, float]:
        """Trials that are silent for longer than the limit, with the limit in seconds."""
        limit = self.patience.limit(self.intervals)
        return self._silent(limit)

    @property
    def overstaying(self) -> Mapping[int, float]:
        """Trials that were asked to end and have not within their grace, with that in seconds; our own scoring may finish."""
        grace = self.patience.grace(self.intervals)
        return {} if self._asked is None or self._asked <= grace else self._silent(grace, extra=False)

    def _silent(self, limit: float, extra: bool = True) -> Mapping[int, float]:
        found: dict[int, float] = {}
        for trial, group in self._groups.items():
            allowed = group.silence(limit) if extra else limit
            if not group.paused and group.silent > allowed:
                found[trial] = allowed
        return found
