"""Worker seconds of trainings: learnt from the trials so far, and from how long evaluation turned out to take at the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maestune.types import Trial

LEAST_TRAINING = 0.1  # share of a trial's time that was training, whatever evaluation is said to take


@dataclass(frozen=True)
class EvaluationPlan:
    """Evaluation of trainings on their way: after which steps, and on how many samples before the last (None: on all).

    `screen_seconds`, `full_seconds` and `final_seconds`: what that takes, there, at the end, and in the finals; 0 where it was
    not measured.
    """

    rungs: tuple[int, ...]
    screen: int | None = None
    screen_seconds: float = 0.0
    full_seconds: float = 0.0
    final_seconds: float = 0.0


@dataclass(frozen=True)
class Costs:
    """Worker seconds of segments and final trainings. `evaluation_plan`: how trainings are evaluated on their way."""

    evaluation_plan: EvaluationPlan

    def per_step(self, trials: Sequence[Trial]) -> float:
        """Seconds of training a step, the mean of trials, without what evaluation them took; 0 where there are none yet."""
        begun = [t for t in trials if t.step > 0]
        steps = sum(t.step for t in begun)
        return sum(map(self._training, begun)) / steps if steps else 0.0

    def segment(self, begin: int, until: int, per_step: float) -> float:
        """Seconds of a segment of the search from one step to another, with its evaluation."""
        return (until - begin) * per_step + self._evaluation_seconds(begin, until)

    def final(self, trials: Sequence[Trial]) -> float:
        """Seconds of a final training of what these trials are; it is evaluated once, on more samples."""
        full = self.evaluation_plan.rungs[-1]
        return full * self.per_step(trials) + self.evaluation_plan.final_seconds

    def _training(self, trial: Trial) -> float:
        return max(trial.seconds - self._evaluation_seconds(0, trial.step), LEAST_TRAINING * trial.seconds)

    def _evaluation_seconds(self, begin: int, until: int) -> float:
        """Seconds of evaluation after begin, until and with a step."""
        passed = [step for step in self.evaluation_plan.rungs if begin < step <= until]
        full = sum(step == self.evaluation_plan.rungs[-1] for step in passed)
        return (len(passed) - full) * self.evaluation_plan.screen_seconds + full * self.evaluation_plan.full_seconds


def last_end(seconds: Sequence[float], workers: int) -> float:
    """When the last of some jobs ends, of so many seconds each: the longest first, each to the worker that is free first.

    >>> last_end([4.0, 1.0, 1.0, 4.0], workers=2)
    5.0
    """
    loads = [0.0] * max(workers, 1)
    for one in sorted(seconds, reverse=True):
        loads[loads.index(min(loads))] += one
    return max(loads)
