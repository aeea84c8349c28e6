"""Length of a full training, its rungs, and numbers of samples scored there; measured where the budget is a time.

Drawing and scoring samples may take longer than the training that they tell about: a flow draws a sample in dozens of passes of
its network, and the first rung is a thirtieth of a full training. So rungs below the last are evaluated on as many samples as take
half the time of training to the first of them, but at least `LEAST_SCREENED`, and begin where training takes as long as evaluation.

Nor do they begin in the first `LEAST_STEPS`, which tell of initial weights and warm-up: two-minute campaigns of language models, 200
steps long, had them at step 7 (benchmarks/results/lm_two_minutes.md; few campaigns, in which other things changed as well).
"""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from maestune.campaign.budget import Budget
from maestune.campaign.costs import EvaluationPlan
from maestune.campaign.prepare import DEFAULT_STEPS, Prepared
from maestune.campaign.settings import Settings
from maestune.campaign.watchdog import STARTING_SECONDS
from maestune.errors import SettingsError
from maestune.execution.jobs import REPORT_EVERY, Ended, Executor, Job, Outcome, Progress

FULL_TRAININGS = 40  # a time budget's search is worth about so many full trainings, where their length is free
MIN_STEPS = 200
CALIBRATION_SECONDS = 1.5
OFTEN = 10
REPORT_SECONDS = 0.5  # of the recipe's training between two reports
ENDLESS_STEPS = 10**7
LEAST_SCREENED = 250  # the fewest on which ranking was measured: benchmarks/results/common_noise.md
LEAST_STEPS = 50
SCREEN_SHARE = 0.5  # of the time of training to the first rung
SCREEN_STEP = 50  # numbers of samples are rounded down to multiples
QUICK_SECONDS = 1.0  # evaluation that takes no longer is measured on all samples as well


@dataclass(frozen=True)
class Speed:
    """What the recipe takes of one worker: `steps_per_second` of training, and for numbers of samples that were drawn and scored
    `timings`, the seconds that this took; nothing where samples do not decide.

    >>> speed = Speed(100.0, ((250, 0.5), (1000, 1.25)))
    >>> speed.evaluation_seconds(500), speed.samples_evaluated_in(0.75), Speed(100.0, ((250, 0.5),)).evaluation_seconds(1000)
    (0.75, 500, 2.0)
    """

    steps_per_second: float
    timings: tuple[tuple[int, float], ...] = ()

    def evaluation_seconds(self, n_samples: int) -> float:
        """Seconds of drawing and scoring so many samples."""
        fixed, each = self._line
        return fixed + each * n_samples

    def samples_evaluated_in(self, seconds: float) -> int:
        """How many samples are drawn and scored in so many seconds."""
        fixed, each = self._line
        return max(0, int((seconds - fixed) / each + 1e-9)) if each > 0 else 10**9

    @property
    def report_every(self) -> int | None:
        """Steps between reports, so that slower configs than the recipe can be stopped in seconds too; None: as usual."""
        often = round(self.steps_per_second * REPORT_SECONDS)
        return max(1, often) if self.steps_per_second > 0 and often < REPORT_EVERY else None

    @property
    def _line(self) -> tuple[float, float]:
        """Seconds for any, and for each."""
        if not self.timings:
            return 0.0, 0.0
        (few, least), (many, most) = self.timings[0], self.timings[-1]
        each = (most - least) / (many - few) if many > few else least / few
        fixed = least - each * few
        return (fixed, each) if each > 0 and fixed >= 0 else (0.0, most / many)


def plan_evaluation(settings: Settings, prepared: Prepared, steps: int, speed: Speed) -> EvaluationPlan:
    """Rungs and numbers of samples for full trainings of so many steps."""
    ladder = rung_steps(steps, settings.rungs, settings.eta)
    if speed.steps_per_second > 0:  # who counts trials has given or accepted the length of a training
        ladder = [step for step in ladder if step >= min(LEAST_STEPS, steps)]
    evaluator = prepared.setup.evaluators.get("search")
    if evaluator is None or not prepared.setup.metrics:
        return EvaluationPlan(tuple(ladder))
    n, screen = evaluator.n_samples, settings.screen_samples
    if screen is None and speed.timings:
        least = min(max(LEAST_SCREENED, evaluator.min_samples(prepared.setup.metrics)), n)
        wanted = speed.samples_evaluated_in(SCREEN_SHARE * ladder[0] / speed.steps_per_second)
        screen = min(max(wanted // SCREEN_STEP * SCREEN_STEP, least), n)
    if screen is None or screen >= n:
        screen = None
    seconds = speed.evaluation_seconds(screen or n)
    paying = [step for step in ladder[:-1] if not speed.timings or step / speed.steps_per_second >= seconds]
    final = prepared.setup.evaluators["report"].n_samples
    return EvaluationPlan(
        (*paying, ladder[-1]), screen, seconds, speed.evaluation_seconds(n), speed.evaluation_seconds(final)
    )


def rung_steps(full_steps: int, rungs: int, eta: int) -> list[int]:
    """Steps at which a training is evaluated: a geometric ladder up to the full training.

    >>> rung_steps(900, rungs=3, eta=3)
    [100, 300, 900]
    """
    return sorted({max(1, round(full_steps / eta**k)) for k in range(rungs)})


def full_steps(settings: Settings, prepared: Prepared, steps_per_second: float, workers: int) -> int:
    """Length of a full training.

    As given; else the model's own, for budgets that count trials or trainings; for a time budget as many steps as make the
    search worth `FULL_TRAININGS`, between the shortest that the model allows and its own length.
    """
    if settings.steps is not None:
        return settings.steps
    budget = Budget.parse(settings.budget)
    if budget.kind != "seconds":
        return prepared.model_steps or DEFAULT_STEPS
    fitted = max(MIN_STEPS, round(steps_per_second * budget.search_amount * workers / FULL_TRAININGS))
    if prepared.model_steps is None:
        return fitted
    return min(max(fitted, round(prepared.model_steps * prepared.shortest)), prepared.model_steps)


def measure_speed(
    executor: Executor, prepared: Prepared, folder: Path, seed: int, silence_seconds: float = math.inf
) -> Speed:
    """Speed of the recipe on one worker, from short trainings that are thrown away.

    `silence_seconds`: how long the recipe may train without a report. Raises SettingsError with what went wrong when the recipe
    cannot be trained.
    """
    rate = _training_speed(executor, prepared, folder, seed, silence_seconds)
    evaluator = prepared.setup.evaluators.get("search")
    if evaluator is None or not prepared.setup.metrics:
        return Speed(rate)
    few = min(max(LEAST_SCREENED, evaluator.min_samples(prepared.setup.metrics)), evaluator.n_samples)
    measured: list[tuple[int, float]] = []
    # What is kept of the real data is made at the first time, which tells only where evaluation is quick.
    for n, times in ((few, 2), (evaluator.n_samples, 3)):
        quick = not measured or measured[0][1] * n / few < QUICK_SECONDS
        if quick and (seconds := _evaluation_seconds(executor, prepared, folder, seed, n, times)) is not None:
            measured.append((n, max(seconds - 1 / rate, 1e-6)))
    return Speed(rate, tuple(measured))


def _evaluation_seconds(
    executor: Executor, prepared: Prepared, folder: Path, seed: int, n: int, times: int
) -> float | None:
    """Seconds of one step with drawing and scoring n samples, the last of some; None where the training ended before."""
    score_at = tuple(range(1, times + 1))
    executor.submit([_job(prepared, folder, seed, until=times, score_at=score_at, screen=n)])
    while True:
        for event in executor.events(0.5):
            if isinstance(event, Ended):
                shutil.rmtree(folder, ignore_errors=True)
                told = [rung.seconds for rung in event.rungs]
                return told[-1] - told[-2] if event.outcome == Outcome.REACHED and len(told) == times else None


def _job(
    prepared: Prepared, folder: Path, seed: int, until: int, score_at: tuple[int, ...] = (), screen: int | None = None
) -> Job:
    """A training of the recipe that is no trial."""
    return Job(
        trial=-1,
        config=prepared.recipe,
        seed=seed,
        sample_seed=seed,
        split="search",
        folder=folder,
        until_steps=until,
        full_steps=ENDLESS_STEPS,
        score_at=score_at,
        picture_at=(),
        screen=screen,
        report_every=OFTEN,  # fifty steps of a slow model take longer than the whole measurement
    )


def _training_speed(executor: Executor, prepared: Prepared, folder: Path, seed: int, silence_seconds: float) -> float:
    executor.submit([_job(prepared, folder, seed, until=ENDLESS_STEPS)])
    first: Progress | None = None
    rate, stopping = 0.0, False
    heard, limit = time.monotonic(), silence_seconds + STARTING_SECONDS
    while True:
        if time.monotonic() - heard > limit:
            executor.kill({-1: f"no report for {limit:,.0f} s"})
        for event in executor.events(0.5, limit):
            heard, limit = time.monotonic(), silence_seconds
            if isinstance(event, Progress):
                if first is None:
                    first = event  # what came before is warm-up
                elif event.seconds > first.seconds:
                    rate = (event.step - first.step) / (event.seconds - first.seconds)
                    if event.seconds - first.seconds > CALIBRATION_SECONDS and not stopping:
                        executor.interrupt()
                        stopping = True
            elif isinstance(event, Ended):
                shutil.rmtree(folder, ignore_errors=True)
                return _checked(rate, event)


def _checked(rate: float, ended: Ended) -> float:
    if ended.outcome in (Outcome.FAILED, Outcome.DIED, Outcome.HUNG):
        raise SettingsError(f"The starting configuration cannot be trained: {ended.message}.")
    if rate <= 0:
        raise SettingsError(
            f"The starting configuration ended after {ended.step} steps ({ended.outcome}: {ended.message}), too early to "
            "measure its speed; give --steps, or mend the starting configuration."
        )
    return rate
