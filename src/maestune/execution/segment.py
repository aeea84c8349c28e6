"""One segment of one trial: drives a training generator, scores its samples, writes checkpoints and pictures.

The same function serves the process workers and the inline executor. A checkpoint carries the scores reached so far,
so that a crash between "checkpoint written" and "campaign told" costs nothing and doubles nothing.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import torch

from maestune.data import TextData
from maestune.errors import MaestuneError, MetricError, StoreError
from maestune.execution.folder import (
    checkpoint_path,
    checkpoints,
    exhibit_path,
    newest_checkpoint,
    picture_path,
    text_path,
    writing,
)
from maestune.execution.jobs import Ended, Event, Job, Outcome, Progress, Scored, Setup, rung_data, rung_from
from maestune.execution.shown import PICTURE_SAMPLES, TEXT_SAMPLES, draw, write_copies, write_texts
from maestune.execution.watching import Watching
from maestune.training.best import look_steps, watch_of
from maestune.training.checkpoint import save_checkpoint
from maestune.training.run import Run, Training
from maestune.types import Report, Rung, Score


def run_segment(training: Training, setup: Setup, job: Job, stop: Callable[[], bool]) -> Iterator[Event]:
    """Train a trial's segment, yielding events; the last one is `Ended`. `stop` is asked at every report."""
    segment = Segment(setup, job)
    yield from segment.guarded(partial(_reported, segment, training, stop))


def _reported(segment: Segment, training: Training, stop: Callable[[], bool]) -> Iterator[Event]:
    yield from segment.begin()
    if segment.ended is not None:
        return
    clock = time.perf_counter()
    with closing(training(segment.job.config, segment.run())) as reports:  # type: ignore[type-var]
        for report in reports:
            now = time.perf_counter()
            segment.seconds += now - clock
            yield from segment.take(report, stop())
            segment.seconds += time.perf_counter() - now
            clock = time.perf_counter()
            if segment.ended is not None:
                return
    yield segment.end(
        Outcome.FAILED,
        f"the training ended at step {segment.step} without a report at step {segment.job.until_steps}; "
        "yield a Report at every step where run.due(step) is true.",
    )


class Segment:
    """The running state of one segment: clock, rungs, last checkpoint. It is told of reports and answers with events.

    `seconds`: what the trial took of a worker so far, kept by whoever trains it. `ended`: the last event, once there
    is one.
    """

    def __init__(self, setup: Setup, job: Job) -> None:
        self.setup, self.job = setup, job
        self.step, self.seconds = 0, 0.0
        self.rungs: list[Rung] = []
        self.state: Mapping[str, Any] | None = None
        self.ended: Ended | None = None
        watch = watch_of(job.config, setup.objectives[0])
        self.watching = None if watch is None else Watching(watch)
        self.checkpointed = time.perf_counter()

    def guarded(self, events: Callable[[], Iterator[Event]]) -> Iterator[Event]:
        """The events; where making them raises an error that is not the disk's, the trial has failed."""
        try:
            yield from events()
        except (StoreError, KeyboardInterrupt):
            raise  # the disk, not the trial, is at fault: the campaign has to stop
        except Exception as error:
            self.job.folder.mkdir(parents=True, exist_ok=True)
            (self.job.folder / "error.txt").write_text(traceback.format_exc())
            yield self.end(Outcome.FAILED, one_line(error))

    def end(self, outcome: Outcome, message: str = "") -> Ended:
        """The last event."""
        self.ended = Ended(self.job.trial, outcome, self.step, self.seconds, tuple(self.rungs), message)
        return self.ended

    def begin(self) -> Iterator[Event]:
        """Take up the newest checkpoint; tells the scores that it holds."""
        self.job.folder.mkdir(parents=True, exist_ok=True)
        saved = newest_checkpoint(self.job.folder, self.job.until_steps)
        if saved is not None:
            self.state, self.step, self.seconds = saved["state"], saved["step"], saved["seconds"]
            self.rungs = [rung_from(data) for data in saved["rungs"]]
            if self.watching is not None:
                self.watching.restore(saved["watched"])
        for rung in self.rungs:
            yield Scored(self.job.trial, rung)
        if self.step >= self.job.until_steps:  # the crash came after the checkpoint
            yield self.end(Outcome.REACHED)
        elif self.watching is not None and self.watching.stops:  # it had ended early, and was promoted nevertheless
            yield from self.end_early()

    def take(self, report: Report, stop: bool) -> Iterator[Event]:
        """What comes of a report; with `stop` the segment ends here, with a checkpoint."""
        self.step = report.step
        yield Progress(self.job.trial, self.step, self.seconds, dict(report.signals))
        trouble = not_finite(report)
        if trouble:
            yield self.end(Outcome.DIVERGED, f"diverged at step {self.step}: {trouble}")
            return
        watching = self.watching if self.step in self.looks else None
        if watching is not None:
            watching.looked(self.choice(report), report)
        if self.scored:
            rung = self.worth(report) if watching is None else watching.result(self.step, self.seconds, self.worth)
            self.rungs.append(rung)
            yield Scored(self.job.trial, rung)
        if report.samples is not None and (self.step in self.job.picture_at or self.scored):
            self.show(report.samples)
        for name, images in report.exhibits.items():
            draw(images, exhibit_path(self.job.folder, name, self.step))
        reached = self.step >= self.job.until_steps
        early = not reached and self.watching is not None and self.watching.stops
        interrupted = not reached and stop
        overdue = time.perf_counter() - self.checkpointed > self.setup.checkpoint_seconds
        if report.state is not None and (reached or early or interrupted or overdue):
            self.checkpoint(report)
            self.checkpointed = time.perf_counter()
        if early:
            yield from self.end_early()
        elif reached or interrupted:
            yield self.end(Outcome.REACHED if reached else Outcome.INTERRUPTED)

    def end_early(self) -> Iterator[Event]:
        """The end of a training that no longer improves: at all later rungs it is worth what it is worth now."""
        assert self.watching is not None
        reached = self.rungs[-1].step if self.rungs else 0
        for step in sorted({*self.job.score_at, self.job.until_steps}):
            if step > reached:
                self.rungs.append(self.watching.result(step, self.seconds, self.worth))
                yield Scored(self.job.trial, self.rungs[-1])
        seen = self.watching.seen
        yield self.end(Outcome.REACHED, f"no improvement in {seen.since} looks since step {seen.step}")

    @property
    def looks(self) -> frozenset[int]:
        """After which steps it is decided which weights are kept, and whether to go on."""
        if self.watching is None:
            return frozenset()
        return frozenset(step for step in look_steps(self.job.full_steps) if step <= self.job.until_steps)

    def choice(self, report: Report) -> float:
        """The value by which weights are chosen: always of the part that the search is scored on."""
        name = self.setup.objectives[0].name
        if name in report.choice:
            return report.choice[name]
        samples = report.samples if self.job.split == "search" else report.choice_samples
        judge = self.setup.judges.get("search")
        if judge is not None and samples is not None and name in self.setup.full_metrics:
            return judge.score(judge.look(samples), [name])[name].value
        return self.rung(report)[0].scores[name].value  # a training of the user's own: it has nothing else to choose by

    def worth(self, report: Report) -> Rung:
        """What the trial's result is worth; in the finals with what its samples have copied."""
        rung, seen = self.rung(report)
        if seen is not None and self.job.split == "report":
            write_copies(self.setup, self.job, report, seen)
        return rung

    @property
    def scored(self) -> bool:
        """Whether the model is scored at the present step."""
        return self.step in self.job.score_at or self.step == self.job.until_steps

    def measured(self, step: int) -> tuple[str, ...]:
        """What the judge measures of the samples after a step: what decides; all of it where the model may be the result."""
        if self.job.split not in self.setup.judges:
            return ()
        if step < self.job.full_steps and step not in self.looks:
            return self.setup.metrics
        return self.setup.verdict_metrics if self.job.split == "report" else self.setup.full_metrics

    def run(self) -> Run:
        """What the training is asked to do."""
        job, setup = self.job, self.setup
        shown = TEXT_SAMPLES if isinstance(setup.data, TextData) else PICTURE_SAMPLES
        scored_at = frozenset((*job.score_at, job.until_steps, *self.looks))
        judge, chooser = setup.judges.get(job.split), setup.judges.get("search")
        by_samples = setup.objectives[0].name in setup.full_metrics  # not a measure of the model itself
        # Where nobody judges samples there is nothing to draw but what is shown.
        unjudged = shown if setup.data is not None else 0
        samples_at = dict.fromkeys(job.picture_at, shown)
        samples_at |= {step: judge.n_samples if judge and self.measured(step) else unjudged for step in scored_at}
        return Run(
            until_steps=job.until_steps,
            full_steps=job.full_steps,
            start_steps=self.step,
            state=self.state,
            seed=job.seed,
            sample_seed=job.sample_seed,
            samples_at=samples_at,
            scored_at=scored_at,
            watched_at=self.looks,
            n_choice=chooser.n_samples if chooser is not None and by_samples else 0,
            report_every=setup.report_every,
            device=setup.device,
            data=setup.data,
            split=job.split,
        )

    def rung(self, report: Report) -> tuple[Rung, Any]:
        """What a report is worth, the judge's scores of its samples and the training's own; and what the judge saw."""
        scores = {name: Score(float(value)) for name, value in report.scores.items()}
        classes: tuple[float, ...] = ()
        seen: Any = None
        if metrics := self.measured(report.step):
            judge = self.setup.judges[self.job.split]
            if report.samples is None:
                raise MetricError(
                    f"No samples came with the report at step {report.step}; a training judged by its samples yields "
                    "Report(samples=images (N, C, H, W) in [-1, 1]) wherever run.n_samples(step) > 0."
                )
            full = report.step >= self.job.full_steps or report.step in self.looks  # each may be the result
            seen = judge.look(report.samples)
            # Over samples, for the search. In the finals intervals are over seeds, which vary more and take no time.
            scores |= judge.score(seen, metrics, intervals=full and self.job.split == "search")
            classes = judge.classes(seen) if full else ()
        missing = [o.name for o in self.setup.objectives if o.name not in scores]
        if missing:
            raise MetricError(
                f"The objective {missing[0]!r} is not among the scores of the report at step {report.step} "
                f"({', '.join(scores) or 'none'}); yield Report(scores={{{missing[0]!r}: value}}) there."
            )
        return Rung(report.step, scores, self.seconds, classes), seen

    def show(self, samples: torch.Tensor) -> None:
        """Draw samples, or write some of the texts down."""
        data = self.setup.data
        if isinstance(data, TextData):
            write_texts(data, self.job.split, samples, text_path(self.job.folder, self.step))
        else:
            draw(samples, picture_path(self.job.folder, self.step))

    def checkpoint(self, report: Report) -> None:
        """Write a checkpoint, then remove the older ones: there is always a whole one."""
        assert report.state is not None
        older = checkpoints(self.job.folder)
        path = checkpoint_path(self.job.folder, report.step)
        rungs = [rung_data(rung) for rung in self.rungs]
        state: dict[str, Any] = {
            "state": report.state(),
            "step": report.step,
            "seconds": self.seconds,
            "rungs": rungs,
        }
        if self.watching is not None:
            state["watched"] = self.watching.to_dict()
        with writing(self.job.folder):
            save_checkpoint(path, state)
        for old in older:
            if old != path:
                old.unlink(missing_ok=True)


def not_finite(report: Report) -> str:
    """What of a report is not a finite number; empty where all is."""
    for name, value in (*report.signals.items(), *report.scores.items()):
        if not math.isfinite(value):
            return f"{name} is {value}"
    if report.samples is not None and not bool(torch.isfinite(report.samples).all()):
        return "samples are not finite"
    return ""


def one_line(error: Exception) -> str:
    """An error in a line."""
    if isinstance(error, MaestuneError):
        return str(error)
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"
