"""Jobs in the campaign's own process, one after the other: notebooks, debuggers, and trainings without a file."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout

from maestune.execution.group import Trainer
from maestune.execution.jobs import Ended, Event, Job, Setup
from maestune.families.base import Family
from maestune.training.run import Training


class Inline:
    """An executor without workers; a group of jobs advances by one event at each call of `events`."""

    def __init__(self, training: Training, family: Family | None) -> None:
        self._training = training
        self._family = family
        self._trainer: Trainer | None = None
        self._waiting: deque[Sequence[Job]] = deque()
        self._left = 0  # jobs of the current group that have not ended
        self._current: Iterator[Event] | None = None
        self._stop = False

    def prepare(self, setup: Setup) -> None:
        """Take what all jobs share."""
        self._trainer = Trainer(self._training, self._family, setup)

    @property
    def free(self) -> int:
        """One when idle."""
        return 0 if self._current is not None or self._waiting else 1

    @property
    def pids(self) -> tuple[int, ...]:
        """No processes but this one."""
        return ()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue a group of jobs."""
        self._waiting.append(jobs)

    def events(self, timeout_seconds: float) -> Sequence[Event]:
        """The next event of the current group."""
        del timeout_seconds
        if self._current is None and self._waiting:
            assert self._trainer is not None, "prepare() comes before submit()"
            self._stop = False
            jobs = self._waiting.popleft()
            self._left = len(jobs)
            self._current = self._trainer.run(jobs, lambda: self._stop)
        if self._current is None:
            return ()
        with redirect_stdout(sys.stderr):  # what a training prints must not get into --json
            event = next(self._current)
        if isinstance(event, Ended):
            self._left -= 1
            if not self._left:
                self._current = None
        return (event,)

    def interrupt(self) -> None:
        """Ask the running jobs to write checkpoints and end."""
        self._stop = True

    def close(self) -> None:
        """Drop what has not been run."""
        self._waiting.clear()
        self._current = None
