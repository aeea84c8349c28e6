import numpy as np
import pytest

from maestune.errors import MetricError
from maestune.quality import METRICS
from maestune.quality.interval import scores
from maestune.quality.metric import Features, everyone
from maestune.quality.metrics.answers import ANSWERS


def _told(yes: np.ndarray | None) -> Features:
    return Features(np.zeros((8, 1)), yes=yes)


def test_the_score_is_the_mean_over_each_subset() -> None:
    yes = np.array([0.1, 0.9, 0.5, 0.5, 1.0, 0.0, 0.2, 0.8])
    members = np.concatenate([everyone(8), np.arange(8)[None] < 2])
    found = ANSWERS.compute(None, _told(yes), members)
    np.testing.assert_allclose(found["vqa_score"], [0.5, 0.5])
    assert ANSWERS.compute(None, _told(np.ones(8)), everyone(8))["vqa_score"].tolist() == [1.0]
    assert ANSWERS.limits(None) == {"vqa_score": (0.0, 1.0)}


def test_intervals_are_those_of_a_mean_and_hold_it_as_often_as_stated() -> None:
    rng = np.random.default_rng(0)
    metric = METRICS["vqa_score"]
    assert not metric.counts_samples
    held = 0
    for _ in range(200):
        yes = rng.beta(0.5, 2.0, size=200)
        score = scores([metric], lambda kind: None, Features(np.zeros((200, 1)), yes=yes), True)["vqa_score"]
        assert score.value == pytest.approx(yes.mean())
        held += score.low <= 0.2 <= score.high
    assert held >= 180


def test_samples_that_nobody_was_asked_about_are_refused() -> None:
    with pytest.raises(MetricError, match="--vqa FOLDER"):
        ANSWERS.compute(None, _told(None), everyone(8))
