"""Jobs in the campaign's own process, one after the other: notebooks, debuggers, and trainings without a file."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout

from maestune.execution.jobs import Ended, Event, Job, Setup
from maestune.execution.segment import run_segment
from maestune.training.run import Training


class Inline:
    """An executor without workers; a job advances by one event at each call of `events`."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._setup: Setup | None = None
        self._waiting: deque[Job] = deque()
        self._current: Iterator[Event] | None = None
        self._stop = False

    def prepare(self, setup: Setup) -> None:
        """Take what all jobs share."""
        self._setup = setup

    @property
    def free(self) -> int:
        """One when idle."""
        return 0 if self._current is not None or self._waiting else 1

    @property
    def pids(self) -> tuple[int, ...]:
        """No processes but this one."""
        return ()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._waiting.append(job)

    def events(self, timeout_seconds: float) -> Sequence[Event]:
        """The next event of the current job."""
        del timeout_seconds
        if self._current is None and self._waiting:
            assert self._setup is not None, "prepare() comes before submit()"
            self._stop = False
            self._current = run_segment(self._training, self._setup, self._waiting.popleft(), lambda: self._stop)
        if self._current is None:
            return ()
        with redirect_stdout(sys.stderr):  # what a training prints must not get into --json
            event = next(self._current)
        if isinstance(event, Ended):
            self._current = None
        return (event,)

    def interrupt(self) -> None:
        """Ask the running job to write a checkpoint and end."""
        self._stop = True

    def close(self) -> None:
        """Drop what has not been run."""
        self._waiting.clear()
        self._current = None
