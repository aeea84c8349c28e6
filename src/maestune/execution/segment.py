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
from maestune.families.base import Family
from maestune.quality import Judge
from maestune.training.best import look_steps, watch_of
from maestune.training.checkpoint import save_checkpoint
from maestune.training.loop import shown_again
from maestune.training.run import Run, Training
from maestune.types import Report, Rung, Score


def run_segment(
    training: Training, setup: Setup, job: Job, stop: Callable[[], bool], family: Family | None = None
) -> Iterator[Event]:
    """Train a trial's segment, yielding events; the last one is `Ended`. `stop` is asked at every report.

    `family`: whose models are trained, where it is known.
    """
    segment = Segment(setup, job, family)
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
    is one. `family`: where it is known, samples can be drawn of weights that were trained before.
    """

    def __init__(self, setup: Setup, job: Job, family: Family | None = None) -> None:
        self.setup, self.job, self.family = setup, job, family
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
            watching.looked(self.choice(report), report, drawn=self.drawn_at_looks or self.last(self.step))
        if self.scored:
            last = self.last(self.step)
            given = self.worth(report, last) if watching is None else self.result(watching, self.step)
            self.rungs.append(given)
            yield Scored(self.job.trial, given)
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
            self.state = report.state and report.state()
            yield from self.end_early()
        elif reached or interrupted:
            yield self.end(Outcome.REACHED if reached else Outcome.INTERRUPTED)

    def end_early(self) -> Iterator[Event]:
        """The end of a training that no longer improves: at all later rungs it is worth what it is worth now."""
        assert self.watching is not None
        reached = self.rungs[-1].step if self.rungs else 0
        for step in sorted({*self.job.score_at, self.job.until_steps}):
            if step > reached:
                self.rungs.append(self.result(self.watching, step))
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
        return self.rung(report, True)[0].scores[name].value  # a training of the user's own: nothing else to choose by

    def result(self, watching: Watching, step: int) -> Rung:
        """What the weights that are kept are worth after a step."""
        return watching.result(step, self.seconds, self.last(step), self.worth)

    def worth(self, report: Report, last: bool) -> Rung:
        """What the trial's result is worth; in the finals with what its samples have copied."""
        if report.step in self.looks and not self.last(report.step) and not self.drawn_at_looks:
            needed = self.measured(last) or self.job.split == "report"
            report = self.shown_again(last) if needed else report
        rung, seen = self.rung(report, last)
        if seen is not None and self.job.split == "report":
            write_copies(self.setup, self.job, report, seen)
        return rung

    def shown_again(self, last: bool) -> Report:
        """What there is to judge of the weights that are kept, drawn now that they are the result."""
        assert self.family is not None
        assert self.watching is not None
        weights = self.watching.state or self.state
        assert weights is not None
        judge = self.judge(last)
        n = judge.n_samples if judge is not None and self.measured(last) else 0
        return shown_again(self.family, self.job.config, self.run(), weights, n)

    @property
    def scored(self) -> bool:
        """Whether the model is scored at the present step."""
        return self.step in self.job.score_at or self.step == self.job.until_steps

    def last(self, step: int) -> bool:
        """Whether a full training ends there: it is judged on other terms than one that goes on."""
        return step >= self.job.full_steps

    def judge(self, last: bool) -> Judge | None:
        """Who scores samples: of a training that goes on fewer of them, where the job says so."""
        judge = self.setup.judges.get(self.job.split)
        if judge is None or last or self.job.screen is None:
            return judge
        return judge.fewer(self.job.screen)

    def measured(self, last: bool) -> tuple[str, ...]:
        """What the judge measures: of a training that goes on what decides about that, at its end all."""
        if self.job.split not in self.setup.judges:
            return ()
        if not last:
            return self.setup.metrics
        return self.setup.verdict_metrics if self.job.split == "report" else self.setup.full_metrics

    @property
    def drawn_at_looks(self) -> bool:
        """Whether samples are drawn at a look: where they choose, and where nobody could draw them later."""
        choosing = self.job.split == "search" and self.setup.objectives[0].name in self.setup.full_metrics
        return self.family is None or choosing

    def drawn(self, step: int) -> int:
        """How many samples are drawn where the model is scored; those of a look are perhaps those of the end."""
        look = step in self.looks and not self.last(step)
        if look and not self.drawn_at_looks:
            return 0
        last = self.last(step) or look
        if self.measured(last) and (judge := self.judge(last)) is not None:
            return judge.n_samples
        # Where nobody judges samples there is nothing to draw but what is shown.
        return self.shown if self.setup.data is not None else 0

    @property
    def shown(self) -> int:
        """How many samples people are shown."""
        return TEXT_SAMPLES if isinstance(self.setup.data, TextData) else PICTURE_SAMPLES

    def run(self) -> Run:
        """What the training is asked to do."""
        job, setup = self.job, self.setup
        scored_at = frozenset((*job.score_at, job.until_steps, *self.looks))
        chooser = setup.judges.get("search")
        by_samples = setup.objectives[0].name in setup.full_metrics  # not a measure of the model itself
        samples_at = dict.fromkeys(job.picture_at, self.shown)
        samples_at |= {step: n for step in scored_at if (n := self.drawn(step))}
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
            report_every=job.report_every or setup.report_every,
            device=setup.device,
            data=setup.data,
            split=job.split,
        )

    def rung(self, report: Report, last: bool) -> tuple[Rung, Any]:
        """What a report is worth, the judge's scores of its samples and the training's own; and what the judge saw."""
        scores = {name: Score(float(value)) for name, value in report.scores.items()}
        classes: tuple[float, ...] = ()
        seen: Any = None
        judge, metrics = self.judge(last), self.measured(last)
        if judge is not None and metrics:
            if report.samples is None:
                raise MetricError(
                    f"No samples came with the report at step {report.step}; a training judged by its samples yields "
                    "Report(samples=images (N, C, H, W) in [-1, 1]) wherever run.n_samples(step) > 0."
                )
            watched = report.step in self.looks  # there were as many samples as at the end
            seen = judge.look(report.samples[: judge.n_samples] if watched else report.samples)
            # Over samples, for the search. In the finals intervals are over seeds, which vary more and take no time.
            scores |= judge.score(seen, metrics, intervals=last and self.job.split == "search")
            classes = judge.classes(seen) if last else ()
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
