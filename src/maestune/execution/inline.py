"""Jobs in the campaign's own process, one after the other: notebooks, debuggers, and trainings without a file."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, cast

from maestune.execution.group import Trainer
from maestune.execution.jobs import Ended, Event, Job, Outcome, Setup
from maestune.families.base import Family
from maestune.training.run import Training

AGAIN_SECONDS = 1.0  # after which a training that went on regardless is interrupted once more


class Inline:
    """An executor without workers; a group of jobs advances by one event at each call of `events`."""

    def __init__(self, training: Training, family: Family | None) -> None:
        self._training = training
        self._family = family
        self._trainer: Trainer | None = None
        self._waiting: deque[Sequence[Job]] = deque()
        self._left: list[int] = []  # trials of the current group that have not ended
        self._current: Iterator[Event] | None = None
        self._stop = False
        self._alarm_may_ring = False

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

    def events(self, timeout_seconds: float, silence_seconds: float | None = None) -> Sequence[Event]:
        """The next event of the current group; an end as HUNG of all its jobs where none comes for `silence_seconds`."""
        del timeout_seconds
        if self._current is None and self._waiting:
            assert self._trainer is not None, "prepare() comes before submit()"
            self._stop = False
            jobs = self._waiting.popleft()
            self._left = [job.trial for job in jobs]
            self._current = self._trainer.run(jobs, lambda: self._stop)
        if self._current is None:
            return ()
        working = os.getcwd()
        try:
            # What a training prints must not get into --json; should it close its stdout, ours stays open.
            with redirect_stdout(cast(TextIO, _Unclosable(sys.stderr))), self._alarm(silence_seconds):
                event = next(self._current)
        except _SilentError:
            self._current = None
            why = f"no report for {silence_seconds:,.0f} s"
            ended, self._left, stack = self._left, [], traceback.format_exc()
            return [Ended(trial, Outcome.HUNG, 0, 0.0, message=why, stack=stack) for trial in ended]
        finally:
            os.chdir(working)  # all paths of the campaign may be relative
        if isinstance(event, Ended):
            self._left.remove(event.trial)
            if not self._left:
                self._current = None
        return (event,)

    @contextmanager
    def _alarm(self, seconds: float | None) -> Iterator[None]:
        """Raise _SilentError in the training after so many seconds, on the main thread, which alone has signals."""
        if (
            seconds is None
            or threading.current_thread() is not threading.main_thread()
            or not hasattr(signal, "SIGALRM")
        ):
            yield
            return
        before = signal.signal(signal.SIGALRM, _ring)
        self._alarm_may_ring = True
        if math.isfinite(seconds):
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), AGAIN_SECONDS)
        try:
            yield
        finally:
            self._alarm_may_ring = False
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)

    def end_within(self, seconds: float) -> None:
        """Leave a training that does not report within so many seconds."""
        self._stop = True
        if self._alarm_may_ring:
            left = signal.getitimer(signal.ITIMER_REAL)[0]
            signal.setitimer(signal.ITIMER_REAL, min(left or seconds, seconds), AGAIN_SECONDS)

    def interrupt(self) -> None:
        """Ask the running jobs to write checkpoints and end."""
        self._stop = True

    def kill(self, trials: Mapping[int, str]) -> None:
        """Nothing: nobody is here to be killed while a call of `events` does not return, which ends by itself."""

    def close(self) -> None:
        """Drop what has not been run."""
        self._waiting.clear()
        self._current = None


class _SilentError(KeyboardInterrupt):
    """A training in this process that has not reported for too long. Like Ctrl-C no error of the training."""


def _ring(_number: int, _frame: object) -> None:
    raise _SilentError


class _Unclosable:
    """A text stream that cannot be closed by whoever it is lent to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def close(self) -> None:
        """Flush, and stay open."""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
