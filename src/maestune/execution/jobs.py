"""What crosses between the campaign and those who train: jobs one way, events the other. All values, all picklable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from maestune.data import Data
from maestune.data import Split as Split
from maestune.quality import Evaluator
from maestune.types import Config, Objective, Rung, Score

Fuse = Literal["off", "fused", "compiled", "measured"]
REPORT_EVERY = 50  # steps


@dataclass(frozen=True)
class Setup:
    """What every job of a campaign shares; sent once to each worker.

    `model`: "gan" or `path.py:function`. `evaluators`: who scores samples, by split; empty where the training reports its
    own scores. `metrics`: what the evaluators measure at every rung; `full_metrics`: what they measure, with intervals, at
    the end of a full training of the search; `verdict_metrics`: in the finals, costly ones among them,
    without intervals, which are over seeds there.
    `checkpoint_seconds`: how much work a crash may cost at most, within a segment. `fuse`: how jobs that share a structure
    may be trained; `memory_bytes`: what one worker may take for it.
    """

    model: str
    device: str
    data: Data | None
    evaluators: Mapping[Split, Evaluator]
    metrics: tuple[str, ...]
    full_metrics: tuple[str, ...]
    objectives: tuple[Objective, ...]
    report_every: int = REPORT_EVERY
    checkpoint_seconds: float = 30.0
    fuse: Fuse = "off"
    memory_bytes: float = math.inf
    verdict_metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Identity:
    """Owner of a checkpoint: the campaign's id, the trial's number, its config and its seed."""

    campaign: str
    trial: int
    config: Config
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for a checkpoint."""
        return {"campaign": self.campaign, "trial": self.trial, "config": dict(self.config), "seed": self.seed}


@dataclass(frozen=True)
class Weights:
    """The trained weights that samples are drawn from in place of training: the folder of their trial, and its identity."""

    folder: Path
    identity: Identity


@dataclass(frozen=True)
class Job:
    """One segment of a trial: train on from its newest checkpoint (if any) until `until_steps`.

    `screen`: how many samples are scored where the training goes on afterwards; None for as many as at its end. `fused`: it
    was begun with others as one, and goes on so even when it alone is left: its numbers are rounded in the same way.
    `report_every`: steps between reports, where not as all do. `weights`: whose newest checkpoint samples are drawn from, in place
    of training. `campaign`: the campaign's id, empty where a job belongs to none.
    """

    trial: int
    config: Config
    seed: int
    sample_seed: int
    split: Split
    folder: Path
    until_steps: int
    full_steps: int
    score_at: tuple[int, ...]
    picture_at: tuple[int, ...]
    fused: bool = False
    screen: int | None = None
    report_every: int | None = None
    weights: Weights | None = None
    campaign: str = ""

    @property
    def identity(self) -> Identity:
        """The owner of the checkpoints that the job writes and goes on from."""
        return Identity(self.campaign, self.trial, self.config, self.seed)


class Outcome(StrEnum):
    """How a segment ended."""

    REACHED = "reached"  # until_steps
    RETURNED = "returned"  # not begun: the group is trained one by one, for which any worker will do
    INTERRUPTED = "interrupted"  # asked to stop; a checkpoint was written
    CUT = "cut"  # asked to stop for good: the search is over
    DIVERGED = "diverged"  # a loss or sample that is not finite
    FAILED = "failed"  # the training raised an error
    DIED = "died"  # the worker process is gone
    HUNG = "hung"  # no report came for too long, and the worker was ended


@dataclass(frozen=True)
class Begun:
    """A worker has taken up a trial: it has loaded whatever it needs, and what follows is training."""

    trial: int


@dataclass(frozen=True)
class Progress:
    """A report of training: where it is, and the newest signals. `scoring`: the model is scored before training goes on. `replayed`:
    it was told before, by a process that may have been killed."""

    trial: int
    step: int
    seconds: float
    signals: Mapping[str, float] = field(default_factory=dict[str, float])
    scoring: bool = False
    replayed: bool = False


@dataclass(frozen=True)
class Scored:
    """Samples of a trial were scored at a step."""

    trial: int
    rung: Rung


@dataclass(frozen=True)
class Ended:
    """A segment is over. `rungs` are all scores of the trial so far; `message` says what went wrong, if anything did, and `stack`
    where a training was that had hung.
    """

    trial: int
    outcome: Outcome
    step: int
    seconds: float
    rungs: tuple[Rung, ...] = ()
    message: str = ""
    stack: str = ""


@dataclass(frozen=True)
class Chosen:
    """How the jobs of these trials are trained from now on: "serial", "fused" or "compiled", so many at a time, and why."""

    trials: tuple[int, ...]
    mode: str
    members: int
    reason: str


Event = Begun | Progress | Scored | Chosen | Ended


class Executor(Protocol):
    """Runs jobs and tells what happens. Decides nothing."""

    @property
    def free(self) -> int:
        """How many more groups would start at once."""
        ...

    def submit(self, jobs: Sequence[Job]) -> None:
        """Give a worker a group of jobs of one structure; it is free again when all have ended."""
        ...

    def events(self, timeout_seconds: float, silence_seconds: float | None = None) -> Sequence[Event]:
        """What happened since the last call; waits up to the timeout for the first event.

        `silence_seconds`: an executor that trains within the call ends a job that reports nothing for so long (`Ended` as
        HUNG); None where the silence is our own scoring.
        """
        ...

    def end_within(self, seconds: float) -> None:
        """A job that trains within `events` is to be left after so many seconds. Safe in a signal handler."""
        ...

    def interrupt(self) -> None:
        """Ask every running job to write a checkpoint and end."""
        ...

    def kill(self, trials: Mapping[int, str]) -> None:
        """End the jobs of these trials, and all on the same worker, at once; `Ended` as HUNG, with the reason given, follows."""
        ...

    def close(self) -> None:
        """End all workers; running jobs are lost back to their last checkpoint."""
        ...


def rung_data(rung: Rung) -> dict[str, Any]:
    """A rung as plain data for JSON and checkpoints; what is not a number becomes None."""
    scores = {
        name: [v if math.isfinite(v) else None for v in values] for name, values in score_dict(rung.scores).items()
    }
    return {"step": rung.step, "scores": scores, "seconds": rung.seconds, "classes": list(rung.classes)}


def rung_from(data: Mapping[str, Any]) -> Rung:
    """The rung that `rung_data` wrote down."""
    scores = {name: [math.nan if v is None else v for v in values] for name, values in data["scores"].items()}
    return Rung(data["step"], score_values(scores), data["seconds"], tuple(data["classes"]))


def score_dict(scores: Mapping[str, Score]) -> dict[str, list[float]]:
    """Scores as plain lists [value, low, high]."""
    return {name: [score.value, score.low, score.high] for name, score in scores.items()}


def score_values(data: Mapping[str, Sequence[float]]) -> dict[str, Score]:
    """Scores from plain lists, as `score_dict` writes them."""
    return {name: Score(*values) for name, values in data.items()}
