"""How long a training is, where it is judged, and on how many samples: from measured speeds, by scripted workers."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from maestune.campaign.costs import EvaluationPlan, last_end
from maestune.campaign.length import LEAST_SCREENED, Speed, measure_speed, plan_evaluation
from maestune.campaign.prepare import Prepared
from maestune.campaign.settings import Settings
from maestune.errors import SettingsError
from maestune.execution.jobs import Ended, Job, Outcome, Progress
from maestune.types import Config, Rung, Score

RATE = 100.0  # steps a second


def prepared(n: int = 1000, min_samples: int = 100, metrics: tuple[str, ...] = ("fd",)) -> Prepared:
    evaluators = {
        split: SimpleNamespace(n_samples=m, min_samples=lambda _: min_samples)
        for split, m in (("search", n), ("report", 2 * n))
    }
    setup = SimpleNamespace(evaluators=evaluators, metrics=metrics)
    return cast(Prepared, SimpleNamespace(setup=setup, recipe=Config.of(lr=0.1)))


class Workers:
    """One worker on which a step takes 1 / RATE, and drawing and scoring a sample `each` seconds after `fixed`."""

    def __init__(self, fixed: float = 0.0, each: float = 0.0, first: float = 0.0, **ends: Outcome) -> None:
        self.fixed, self.each, self.first, self.ends = fixed, each, first, ends
        self.jobs: list[Job] = []
        self.coming: deque[Any] = deque()

    def submit(self, jobs: list[Job]) -> None:
        (job,) = jobs
        self.jobs.append(job)
        if not job.score_at:
            self.coming.extend(Progress(-1, s, s / RATE) for s in (50, 100, 400))
            self.coming.append(Ended(-1, self.ends.get("training", Outcome.INTERRUPTED), 400, 4.0, message="it broke"))
            return
        assert job.screen is not None
        seconds = self.fixed + self.each * job.screen
        rungs = tuple(
            Rung(s, {"fd": Score(1.0)}, s / RATE + (s - 1) * seconds + self.first * (s > 1)) for s in job.score_at
        )
        self.coming.append(Ended(-1, self.ends.get("evaluation", Outcome.REACHED), 3, 1.0, rungs))

    def events(self, timeout_seconds: float, silence_seconds: float | None = None) -> list[Any]:
        return [self.coming.popleft()] if self.coming else []

    def interrupt(self) -> None:
        pass


def measured(workers: Workers, made: Prepared, folder: Path) -> Speed:
    return measure_speed(cast(Any, workers), made, folder / "calibration", seed=0)


def test_quick_judging_is_measured_on_few_samples_and_on_all(tmp_path: Path) -> None:
    # The first look at anything makes what is kept of the real data: 0.05 s more, which must not be taken for a sample's time.
    workers = Workers(fixed=0.02, each=1e-4, first=0.05)
    speed = measured(workers, prepared(), tmp_path)
    assert [(job.screen, job.score_at) for job in workers.jobs] == [
        (None, ()),
        (LEAST_SCREENED, (1, 2)),
        (1000, (1, 2, 3)),
    ]
    assert speed.steps_per_second == pytest.approx(RATE)
    assert speed.timings[-1] == (1000, pytest.approx(0.12))
    assert speed.evaluation_seconds(1000) == pytest.approx(0.12)
    assert 0 < speed.evaluation_seconds(250) <= 0.12


def test_slow_judging_is_measured_on_few_samples_only(tmp_path: Path) -> None:
    workers = Workers(each=0.03)
    speed = measured(workers, prepared(2000), tmp_path)
    assert [job.screen for job in workers.jobs] == [None, 250]
    assert speed.evaluation_seconds(2000) == pytest.approx(60.0, rel=1e-3)


def test_metrics_that_need_more_samples_are_measured_on_those(tmp_path: Path) -> None:
    workers = Workers(each=0.03)
    measured(workers, prepared(min_samples=400), tmp_path)
    assert workers.jobs[-1].screen == 400


@pytest.mark.parametrize(
    "made",
    [
        prepared(metrics=()),
        cast(Prepared, SimpleNamespace(setup=SimpleNamespace(evaluators={}, metrics=()), recipe=Config.of(lr=0.1))),
    ],
)
def test_where_no_samples_decide_none_are_drawn(tmp_path: Path, made: Prepared) -> None:
    workers = Workers()
    assert measured(workers, made, tmp_path) == Speed(pytest.approx(RATE))
    assert len(workers.jobs) == 1


def test_a_training_that_breaks_while_it_is_judged_is_no_error_yet(tmp_path: Path) -> None:
    assert measured(Workers(evaluation=Outcome.DIVERGED), prepared(), tmp_path).timings == ()
    with pytest.raises(SettingsError, match="cannot be trained: it broke"):
        measured(Workers(training=Outcome.FAILED), prepared(), tmp_path)


def planned(speed: Speed, made: Prepared | None = None, steps: int = 2700, **values: Any) -> EvaluationPlan:
    return plan_evaluation(Settings.make(model="gan", data="digits", **values), made or prepared(), steps, speed)


def test_quick_judging_changes_nothing() -> None:
    found = planned(Speed(RATE, ((250, 0.1), (1000, 0.4))))  # the first rung takes a second
    assert (found.rungs, found.screen) == ((100, 300, 900, 2700), None)
    assert (found.screen_seconds, found.full_seconds, found.final_seconds) == pytest.approx((0.4, 0.4, 0.8))


def test_slower_judging_has_fewer_samples() -> None:
    found = planned(Speed(RATE, ((250, 0.25), (1000, 1.0))))
    assert (found.rungs, found.screen) == ((100, 300, 900, 2700), 500)
    assert (found.screen_seconds, found.full_seconds) == pytest.approx((0.5, 1.0))
    assert planned(Speed(RATE, ((250, 0.27), (1000, 1.08)))).screen == 450, "rounded down"


def test_where_even_few_samples_take_longer_than_training_there_is_no_rung() -> None:
    found = planned(Speed(RATE, ((250, 2.0),)))
    assert (found.rungs, found.screen) == ((300, 900, 2700), LEAST_SCREENED)
    found = planned(Speed(RATE, ((250, 100.0),)))
    assert (found.rungs, found.screen) == ((2700,), LEAST_SCREENED), "the end is always judged"
    assert planned(Speed(RATE, ((400, 2.0),)), prepared(min_samples=400)).screen == 400
    assert planned(Speed(RATE, ((200, 2.0),)), prepared(200)).screen is None, "there are no more"


def test_no_rung_is_in_the_first_steps_where_their_number_was_measured() -> None:
    assert planned(Speed(RATE), steps=200).rungs == (67, 200)
    assert planned(Speed(RATE), steps=40).rungs == (40,)
    assert planned(Speed(RATE), prepared(metrics=()), steps=200).rungs == (67, 200)
    assert planned(Speed(0.0), steps=200).rungs == (7, 22, 67, 200), "who counts trials gets what was asked for"


def test_a_given_number_is_kept() -> None:
    assert planned(Speed(RATE, ((250, 0.1), (1000, 0.4))), screen_samples=300).screen == 300
    assert planned(Speed(0.0), screen_samples=300) == EvaluationPlan((100, 300, 900, 2700), 300), "nothing was measured"
    assert planned(Speed(0.0), screen_samples=1000).screen is None
    assert planned(Speed(0.0)) == EvaluationPlan((100, 300, 900, 2700))


def test_the_last_of_some_jobs_ends_after_the_longest_and_after_an_even_share() -> None:
    assert last_end([], 2) == 0.0
    assert last_end([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert last_end([1.0] * 5, 2) == 3.0
    assert last_end([2.0, 1.0], 1) == 3.0
