"""A group of jobs on one worker: fused where that is possible and pays, else one after the other.

However it is trained, every trial has its own segment, with its own reports, scores and checkpoint, and goes on from
there in either way.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from maestune.errors import MaestuneError, StoreError
from maestune.execution.jobs import Chosen, Ended, Event, Job, Outcome, Setup
from maestune.execution.segment import Segment, one_line, run_segment
from maestune.families.base import Family
from maestune.families.fusing import why_not_fused
from maestune.training.compiled import Programs
from maestune.training.fused import Group
from maestune.training.loop import data_of
from maestune.training.member import Task
from maestune.training.mode import TrainingMode, choose, is_out_of_memory
from maestune.training.run import Training
from maestune.types import Report

_LAST = "the last of its group goes on as it began"


@dataclass
class Trainer:
    """Trains groups of jobs of one model; remembers what it has measured and compiled. `family`: None where only the
    user's own training knows how to train."""

    training: Training
    family: Family | None
    setup: Setup
    _programs: dict[tuple[object, ...], Programs] = field(default_factory=dict[tuple[object, ...], Programs])
    _training_modes: dict[tuple[object, ...], TrainingMode] = field(
        default_factory=dict[tuple[object, ...], TrainingMode]
    )
    _compiles: bool = True  # until it has failed

    def __post_init__(self) -> None:
        if self.setup.device != "cpu":
            evaluators = {split: evaluator.on(self.setup.device) for split, evaluator in self.setup.evaluators.items()}
            self.setup = replace(self.setup, evaluators=evaluators)

    def run(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> Iterator[Event]:
        """Train the jobs, which share their structure; events as they come, the last of each trial is `Ended`.

        `stop` is asked at every report; once it says so, every segment ends with a checkpoint.
        """
        asked = _Latch(stop)
        left = list(jobs)
        if self.family is not None and self.setup.fuse != "off" and (len(jobs) > 1 or jobs[0].fused):
            members, reason = max(len(jobs), 2), ""
            while left and members > 1:
                ended: set[int] = set()
                trouble: Exception | None = None
                try:
                    for event in self._fused(self.family, left, members, reason, asked):
                        if isinstance(event, Ended):
                            ended.add(event.trial)
                        yield event
                except (StoreError, KeyboardInterrupt):
                    raise
                except Exception as error:
                    trouble = error
                left = [job for job in left if job.trial not in ended]
                if trouble is None:
                    break
                if is_out_of_memory(trouble):
                    members, reason = members // 2, "memory ran out"
                elif self.setup.fuse == "compiled" and self._compiles:
                    self._compiles, reason = False, f"it cannot be compiled: {one_line(trouble)}"
                else:
                    members, reason = 1, f"it cannot be fused: {one_line(trouble)}"
                if members < 2:
                    yield Chosen(tuple(job.trial for job in left), "serial", 1, reason)
        if len(jobs) > 1 and left and left[0].split == "report":
            # Final trainings are few, and other workers may have nothing else to do: all but one go back.
            for job in left[1:]:
                yield Ended(job.trial, Outcome.RETURNED, 0, 0.0)
            left = left[:1]
        for job in left:
            if asked.heard:  # before its turn came
                yield Ended(job.trial, Outcome.INTERRUPTED, 0, 0.0)
            else:
                yield from run_segment(self.training, self.setup, job, asked, self.family)

    def _fused(self, family: Family, jobs: Sequence[Job], members: int, reason: str, stop: _Latch) -> Iterator[Event]:
        """Train as one. Ends without an `Ended` for those that are to be trained one by one.

        `reason`: why only so many `members` at a time, where it has turned out so.
        """
        segments = {job.trial: Segment(self.setup, job, family) for job in jobs}
        tasks: list[Task] = []
        for segment in segments.values():
            yield from segment.guarded(segment.begin)
            if segment.ended is None:
                tasks.append(Task(segment.job.trial, segment.job.config, segment.run()))
        if not tasks:
            return
        programs = self._programs_of(family, tasks[0]) if self.setup.fuse in ("measured", "compiled") else None
        mode = self._mode(family, tasks, members, programs, alone=not segments[_trial(tasks[0])].job.fused)
        yield Chosen(tuple(map(_trial, tasks)), mode.name, mode.members, reason or mode.reason)
        if mode.name == "serial":
            return
        group = Group(
            family,
            tasks,
            mode.members,
            programs=programs if mode.name == "compiled" else None,
            even=self.setup.fuse == "fused",  # where the clock decides nothing is bit for bit anyway
        )
        clock = time.perf_counter()
        for reports in group.reports():
            now = time.perf_counter()
            for key in group.keys:  # the time of a step is that of all who took part in it
                segments[key].seconds += (now - clock) / len(group.keys)  # pyright: ignore[reportArgumentType]
            clock = now
            stopping = stop()
            features = _extract_group(segments, reports)
            extracting = (time.perf_counter() - now) / len(reports) if features else 0.0
            for key, report in reports.items():
                segment = segments[key]  # pyright: ignore[reportArgumentType]
                before = time.perf_counter()
                yield from segment.guarded(partial(_taken, segment, report, stopping, features.get(key)))
                segment.seconds += time.perf_counter() - before + extracting
                if segment.ended is not None:
                    group.drop(key)
            if stopping:  # those who wait for a place need not begin
                for key in segments.keys() - set(group.keys):
                    group.drop(key)
            clock = time.perf_counter()
        for segment in segments.values():
            if segment.ended is None:  # stopped before its turn came
                yield segment.end(Outcome.INTERRUPTED)

    def _mode(
        self, family: Family, tasks: Sequence[Task], members: int, programs: Programs | None, alone: bool
    ) -> TrainingMode:
        """`alone`: whether one that is left of a group may go on without being fused."""
        first = tasks[0]
        if len(tasks) == 1 and alone:
            return TrainingMode("serial", 1, "no other is left to train it with")
        reason = why_not_fused(family, first.config, data_of(first.run).spec)
        if reason:
            return TrainingMode("serial", 1, f"it cannot be fused: {reason}")
        fuse, memory = self.setup.fuse, self.setup.memory_bytes
        if len(tasks) == 1:  # by the kernels of a group, which takes the memory of two
            mode = choose(family, (first, first), memory_bytes=memory, measure=False)
            return replace(mode, members=1, reason=mode.reason if mode.name == "serial" else _LAST)
        if fuse == "measured":
            size = min(len(tasks), members)
            steps = max(task.run.until_steps - task.run.start_steps for task in tasks)
            measured = (*self._structure(family, first), size, steps)
            if measured not in self._training_modes:
                self._training_modes[measured] = choose(
                    family, tasks[:members], memory_bytes=memory, measure=True, programs=programs
                )
            mode = self._training_modes[measured]
        else:
            mode = choose(family, tasks, memory_bytes=memory, measure=False)
            if fuse == "compiled" and mode.name == "fused" and self._compiles:
                mode = replace(mode, name="compiled")
        return replace(mode, members=min(mode.members, members))

    def _programs_of(self, family: Family, task: Task) -> Programs:
        """Where compiled steps of the task's structure are kept."""
        return self._programs.setdefault(self._structure(family, task), {})

    def _structure(self, family: Family, task: Task) -> tuple[object, ...]:
        """What members of a group share, as a key."""
        numbers = family.fusible.numbers | family.fusible.switches
        switches = tuple(bool(task.config.get(name)) for name in sorted(family.fusible.switches))
        return tuple((name, value) for name, value in task.config.items() if name not in numbers), switches


def _extract_group(segments: Mapping[int, Segment], reports: Mapping[Hashable, Report]) -> dict[Hashable, Any]:
    """What evaluators see in the samples of members that are scored now, by member: those of equal terms in one pass."""
    found: dict[Hashable, Any] = {}
    told = [(key, segments[key].scoring.extraction_evaluator(report), report) for key, report in reports.items()]  # pyright: ignore[reportArgumentType]
    scored = [(key, evaluator, report.samples) for key, evaluator, report in told if evaluator is not None]
    for _, same in itertools.groupby(sorted(scored, key=lambda one: id(one[1])), key=lambda one: id(one[1])):
        keys, evaluators, samples = zip(*same, strict=True)
        if len(keys) > 1:
            with suppress(MaestuneError):  # somebody's samples cannot be looked at: each then tells for itself
                found |= zip(keys, evaluators[0].extract_all(samples), strict=True)
    return found


def _taken(segment: Segment, report: Report, stop: bool, features: Any) -> Iterator[Event]:
    """Take a report of a member once it is checked."""
    segment.leave_if_forked()
    yield from segment.take(segment.checked(report), stop, features)


def _trial(task: Task) -> int:
    """The trial that a task trains."""
    assert isinstance(task.key, int)
    return task.key


class _Latch:
    """A request to stop, remembered: it may be told only once."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self.heard = False

    def __call__(self) -> bool:
        self.heard = self.heard or self._ask()
        return self.heard
