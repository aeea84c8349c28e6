"""One segment of one trial: drives a training generator, scores its samples, writes checkpoints and pictures.

The same function serves the process workers and the inline executor. A checkpoint carries the scores reached so far,
so that a crash between "checkpoint written" and "campaign told" costs nothing and doubles nothing; for the same reason it
carries the newest reports, whose events may not have reached the disk.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import torch

from maestune.data import TextData
from maestune.errors import CheckpointError, MaestuneError, StoreError
from maestune.execution.artifacts import draw, write_copies, write_texts
from maestune.execution.best_weights import BestWeights, kept_state
from maestune.execution.folder import (
    checkpoint_path,
    checkpoints,
    exhibit_path,
    newest_checkpoint,
    picture_path,
    text_path,
    writing,
)
from maestune.execution.jobs import (
    Begun,
    Ended,
    Event,
    Job,
    Outcome,
    Progress,
    Scored,
    Setup,
    Weights,
    rung_data,
    rung_from,
)
from maestune.execution.reports import TrainingError, checked_report
from maestune.execution.scoring import Scoring, not_finite
from maestune.execution.worker import in_worker
from maestune.families.base import Family
from maestune.training.checkpoint import save_checkpoint
from maestune.training.early_stopping import early_stopping_of, validation_steps
from maestune.training.loop import evaluate_best
from maestune.training.run import Run, Training
from maestune.types import Report, Rung

RECENT_REPORTS = 2_000  # that a checkpoint carries at most
ERROR_CHARACTERS = 1_000  # of a message; the traceback has more of it
ERROR_BYTES = 1_000_000  # of a traceback, its end


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
    reports = training(segment.job.config, segment.run())
    if not isinstance(reports, Iterator):
        raise TrainingError(
            f"The training returned a {type(reports).__name__}; it must be a generator: yield Report(step, …)."
        )
    ended: Ended | None = None
    try:
        while ended is None and (report := _next(reports)) is not None:
            segment.leave_if_forked()
            now = time.perf_counter()
            segment.seconds += now - clock
            try:
                checked = segment.checked(report)
            except TrainingError as error:
                _raise_at_yield(reports, error)
            for event in segment.take(checked, stop()):
                if isinstance(event, Ended):
                    ended = event
                else:
                    yield event
            segment.seconds += time.perf_counter() - now
            clock = time.perf_counter()
    finally:
        # What a training does in its own `finally` belongs to its trial: nobody else is blamed for it.
        close = getattr(reports, "close", None)
        if close is not None:
            close()
    if ended is not None:
        yield ended
        return
    raise TrainingError(
        f"The training ended at step {segment.step} without a report at step {segment.job.until_steps}; "
        "yield a Report at every step where run.due(step) is true."
    )


def _next(reports: Iterator[Any]) -> Any:
    """The next report; None at the end of the training."""
    try:
        report = next(reports)
    except StopIteration:
        return None
    except StoreError as error:  # the training's own: the disk is not at fault
        raise TrainingError(f"The training raised StoreError: {error}") from error
    except GeneratorExit as error:  # raised by the training: were this segment to be closed, it would not be training
        raise TrainingError("The training raised GeneratorExit; return from it, or raise an error.") from error
    if report is None:
        raise TrainingError("The training yielded None; yield maestune.Report(step, signals, …).")
    return report


def _raise_at_yield(reports: Iterator[Report], error: TrainingError) -> NoReturn:
    """Raise an error where the training yielded its report, so that the traceback names the line of the user's code."""
    if isinstance(reports, Generator):
        with contextlib.suppress(StopIteration):  # the training caught it
            reports.throw(error)
    raise error


class Segment:
    """The running state of one segment: clock, rungs, last checkpoint. It is told of reports and answers with events.

    `seconds`: what the trial took of a worker so far, kept by whoever trains it. `ended`: the last event, once there
    is one. `family`: where it is known, samples can be drawn of weights that were trained before.
    """

    def __init__(self, setup: Setup, job: Job, family: Family | None = None) -> None:
        self.setup, self.job = setup, job
        self.step, self.seconds = 0, 0.0
        self.rungs: list[Rung] = []
        self.state: Mapping[str, Any] | None = None
        self.ended: Ended | None = None
        early_stopping = early_stopping_of(job.config, setup.objectives[0])
        self.best_weights = None if early_stopping is None else BestWeights(early_stopping)
        validated = () if early_stopping is None else validation_steps(job.full_steps)
        self.scoring = Scoring(setup, job, family, frozenset(step for step in validated if step <= job.until_steps))
        self.checkpointed = time.perf_counter()
        self.process = os.getpid()
        # Reports since the checkpoint before the newest: two back, since the newest may follow within a moment.
        self.recent: list[Progress] = []
        self.new: list[Progress] = []

    def leave_if_forked(self) -> None:
        """End a copy of the process that the training made with os.fork() and that goes on here: there is one writer."""
        if os.getpid() != self.process:
            with contextlib.suppress(Exception):
                sys.stderr.write(
                    f"trial {self.job.trial}: a forked copy of the training was ended; the original goes on\n"
                )
                sys.stderr.flush()
            os._exit(1)

    def checked(self, report: Any) -> Report:
        """The report with numbers as floats; raises TrainingError where it breaks the contract of trainings."""
        return checked_report(report, self.step, self.job.until_steps)

    def guarded(self, events: Callable[[], Iterator[Event]]) -> Iterator[Event]:
        """The events; where making them raises an error that is not the disk's, the trial has failed."""
        try:
            yield from events()
        except (StoreError, GeneratorExit):
            raise  # the disk, not the trial, is at fault, or the campaign has ended
        except BaseException as error:  # sys.exit() in a training is the trial's end, not the campaign's
            if isinstance(error, KeyboardInterrupt) and not in_worker():
                raise  # workers are told of Ctrl-C in another way
            self.leave_if_forked()
            with writing(self.job.folder):
                self.job.folder.mkdir(parents=True, exist_ok=True)
                text = traceback.format_exc().encode("utf-8", "backslashreplace")[-ERROR_BYTES:]
                (self.job.folder / "error.txt").write_bytes(text)
            yield self.end(Outcome.FAILED, one_line(error))

    def end(self, outcome: Outcome, message: str = "") -> Ended:
        """The last event."""
        self.ended = Ended(self.job.trial, outcome, self.step, self.seconds, tuple(self.rungs), message)
        return self.ended

    def begin(self) -> Iterator[Event]:
        """Take up the newest checkpoint; tells the scores that it holds."""
        yield Begun(self.job.trial)
        self.job.folder.mkdir(parents=True, exist_ok=True)
        if self.job.weights is not None:
            yield from self.draw_from(self.job.weights)
            return
        saved = newest_checkpoint(self.job.folder, self.job.until_steps, self.job.identity)
        if saved is not None:
            self.state, self.step, self.seconds = saved["state"], saved["step"], saved["seconds"]
            self.rungs = [rung_from(data) for data in saved["rungs"]]
            for step, seconds, signals in saved.get("recent", ()):
                yield Progress(self.job.trial, step, seconds, dict(signals), replayed=True)
            if self.best_weights is not None:
                self.best_weights.restore(saved["watched"])
        for rung in self.rungs:
            yield Scored(self.job.trial, rung)
        if self.step >= self.job.until_steps:  # the crash came after the checkpoint
            yield self.end(Outcome.REACHED)
        elif (
            self.best_weights is not None and self.best_weights.stops
        ):  # it had ended early, and was promoted nevertheless
            yield from self.end_early()

    def draw_from(self, weights: Weights) -> Iterator[Event]:
        """Draw samples from the weights of another trial, and score them on the terms of trainings that go on."""
        begun = time.perf_counter()
        saved = newest_checkpoint(weights.folder, self.job.full_steps, weights.identity)
        evaluator, family = self.scoring.evaluator(last=False), self.scoring.family
        if saved is None or evaluator is None or family is None:
            raise CheckpointError(f"There is no checkpoint in {weights.folder} to draw samples from.")
        report = evaluate_best(family, self.job.config, self.run(), kept_state(saved), evaluator.n_samples)
        self.step = self.job.until_steps
        rung, _ = self.scoring.rung(report, False, 0.0, intervals=True)
        if report.samples is not None:
            self.show(report.samples)
        self.seconds = time.perf_counter() - begun
        self.rungs = [replace(rung, step=self.step, seconds=self.seconds)]
        yield Scored(self.job.trial, self.rungs[-1])
        yield self.end(Outcome.REACHED)

    def run(self) -> Run:
        """What the training is asked to do from here."""
        return self.scoring.run(self.step, self.state)

    def take(self, report: Report, stop: bool, features: Any = None) -> Iterator[Event]:
        """What comes of a checked report; with `stop` the segment ends here, with a checkpoint.

        `features`: what the evaluator extracted from its samples, where it has done so already.
        """
        self.step = report.step
        scoring = self.scoring.due(self.step) or self.step in self.scoring.validation_steps
        told = Progress(self.job.trial, self.step, self.seconds, report.signals, scoring)
        self.new.append(told)
        yield told
        trouble = not_finite(report)
        if trouble:
            yield self.end(Outcome.DIVERGED, f"diverged at step {self.step}: {trouble}")
            return
        best_weights = self.best_weights if self.step in self.scoring.validation_steps else None
        if best_weights is not None:
            drawn = self.scoring.sampled_at_validation or self.scoring.last(self.step)
            best_weights.update(self.scoring.choice(report), report, drawn)
        scored, last = self.scoring.due(self.step), self.scoring.last(self.step)
        if scored:
            given = self.worth(report, last, features) if best_weights is None else self.result(best_weights, self.step)
            self.rungs.append(given)
            yield Scored(self.job.trial, given)
        elif scoring:
            yield Begun(self.job.trial)  # a validation that is no rung: training goes on
        if report.samples is not None and (self.step in self.job.picture_at or scored):
            self.show(report.samples)
        for name, images in report.exhibits.items():
            draw(images, exhibit_path(self.job.folder, name, self.step))
        reached = self.step >= self.job.until_steps
        early = not reached and self.best_weights is not None and self.best_weights.stops
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
        assert self.best_weights is not None
        reached = self.rungs[-1].step if self.rungs else 0
        for step in sorted({*self.job.score_at, self.job.until_steps}):
            if step > reached:
                self.rungs.append(self.result(self.best_weights, step))
                yield Scored(self.job.trial, self.rungs[-1])
        best = self.best_weights.best
        yield self.end(Outcome.REACHED, f"no improvement in {best.since} validations since step {best.step}")

    def result(self, best_weights: BestWeights, step: int) -> Rung:
        """What the weights that are kept are worth after a step."""
        return best_weights.result(step, self.seconds, self.scoring.last(step), self.worth)

    def worth(self, report: Report, last: bool, features: Any = None) -> Rung:
        """What the trial's result is worth; in the finals with what its samples have copied."""
        scoring = self.scoring
        if (
            report.step in scoring.validation_steps
            and not scoring.last(report.step)
            and not scoring.sampled_at_validation
        ):
            needed = scoring.measured(last) or self.job.split == "report"
            report = self.evaluate_best(last) if needed else report
        rung, features = scoring.rung(report, last, self.seconds, features)
        if features is not None and self.job.split == "report":
            write_copies(self.setup, self.job, report, features)
        return rung

    def evaluate_best(self, last: bool) -> Report:
        """The samples to score of the weights that are kept, drawn now that they are the result."""
        family, evaluator = self.scoring.family, self.scoring.evaluator(last)
        assert family is not None
        assert self.best_weights is not None
        weights = self.best_weights.state or self.state
        assert weights is not None
        n = evaluator.n_samples if evaluator is not None and self.scoring.measured(last) else 0
        return evaluate_best(family, self.job.config, self.run(), weights, n)

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
            "identity": self.job.identity.to_dict(),
            "recent": [(p.step, p.seconds, dict(p.signals)) for p in (*self.recent, *self.new)[-RECENT_REPORTS:]],
        }
        self.recent, self.new = self.new, []
        if self.best_weights is not None:
            state["watched"] = self.best_weights.to_dict()
        with writing(self.job.folder):
            save_checkpoint(path, state)
        for old in older:
            if old != path:
                old.unlink(missing_ok=True)


def one_line(error: BaseException) -> str:
    """An error in a line that can be stored and printed anywhere."""
    if isinstance(error, MaestuneError):
        text = str(error)
    else:
        try:
            lines = str(error).strip().splitlines()
        except Exception:  # an exception whose text cannot be made
            lines = []
        text = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    text = text if len(text) <= ERROR_CHARACTERS else text[:ERROR_CHARACTERS] + "…"
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if c != "\n" else c for c in text)
