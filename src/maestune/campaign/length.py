"""How long a full training is, and at which lengths it is judged; measured where the budget is a time."""

from __future__ import annotations

import shutil
from pathlib import Path

from maestune.campaign.budget import Budget
from maestune.campaign.prepare import DEFAULT_STEPS, Prepared
from maestune.campaign.settings import Settings
from maestune.errors import SettingsError
from maestune.execution.jobs import Ended, Executor, Job, Outcome, Progress

FULL_TRAININGS = 40  # a time budget's search is worth about so many full trainings, where their length is free
MIN_STEPS = 200
CALIBRATION_SECONDS = 1.5
ENDLESS_STEPS = 10**7


def rung_steps(full_steps: int, rungs: int, eta: int) -> list[int]:
    """Steps at which a training is judged: a geometric ladder up to the full training.

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


def measure_speed(executor: Executor, prepared: Prepared, folder: Path, seed: int) -> float:
    """Steps per second of the recipe on one worker, from a short training that is thrown away.

    Raises SettingsError with what went wrong when the recipe cannot be trained.
    """
    job = Job(
        trial=-1,
        config=prepared.recipe,
        seed=seed,
        sample_seed=seed,
        split="search",
        folder=folder,
        until_steps=ENDLESS_STEPS,
        full_steps=ENDLESS_STEPS,
        score_at=(),
        picture_at=(),
    )
    executor.submit([job])
    first: Progress | None = None
    rate, asked = 0.0, False
    while True:
        for event in executor.events(0.5):
            if isinstance(event, Progress):
                if first is None:
                    first = event  # what came before is warm-up
                elif event.seconds > first.seconds:
                    rate = (event.step - first.step) / (event.seconds - first.seconds)
                    if event.seconds - first.seconds > CALIBRATION_SECONDS and not asked:
                        executor.interrupt()
                        asked = True
            elif isinstance(event, Ended):
                shutil.rmtree(folder, ignore_errors=True)
                return _checked(rate, event)


def _checked(rate: float, ended: Ended) -> float:
    if ended.outcome in (Outcome.FAILED, Outcome.DIED):
        raise SettingsError(f"The starting configuration cannot be trained: {ended.message}.")
    if rate <= 0:
        raise SettingsError(
            f"The starting configuration ended after {ended.step} steps ({ended.outcome}: {ended.message}), too early to "
            "measure its speed; give --steps, or mend the starting configuration."
        )
    return rate
