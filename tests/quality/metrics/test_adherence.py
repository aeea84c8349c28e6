import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maestune.data import ImageData, to_float
from maestune.errors import MetricError
from maestune.quality import Extractor, ImageEvaluator
from maestune.quality.interval import half_sample_interval, half_samples, share_interval
from maestune.quality.metric import Features, everyone
from maestune.quality.metrics.adherence import ADHERENCE


def _features(shown: list[int], asked: list[int], classes: int = 4) -> Features:
    """Features of samples in which a classifier sees these classes, not always surely."""
    rng = np.random.default_rng(0)
    probabilities = rng.random((len(shown), classes)) / 2
    probabilities[np.arange(len(shown)), shown] += 0.5
    return Features(np.zeros((len(shown), 1)), probabilities / probabilities.sum(1, keepdims=True), np.array(asked))


def test_it_is_the_share_that_shows_what_was_asked_for() -> None:
    features = _features([0, 1, 2, 3, 3, 1, 0, 2], [0, 1, 2, 0, 3, 3, 3, 0])
    assert ADHERENCE.compute(None, features, everyone(8))["adherence"].tolist() == [0.5]
    assert ADHERENCE.limits(None) == {"adherence": (0.0, 1.0)}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=40), st.integers(0, 2**32 - 1))
def test_of_every_subset_it_is_that_of_its_members(pairs: list[tuple[int, int]], seed: int) -> None:
    shown, asked = map(list, zip(*pairs, strict=True))
    members = half_samples(len(pairs), np.random.default_rng(seed))
    found = ADHERENCE.compute(None, _features(shown, asked), members)["adherence"]
    for value, row in zip(found, members, strict=True):
        assert value == pytest.approx(np.mean([a == b for a, b in np.array(pairs)[row]]))


@pytest.mark.parametrize("missing", ["probabilities", "label"])
def test_without_classes_or_where_nothing_was_asked_it_is_refused(missing: str) -> None:
    known = _features([0, 1], [0, 1])
    features = Features(
        known.values,
        None if missing == "probabilities" else known.probabilities,
        None if missing == "label" else known.label,
    )
    with pytest.raises(MetricError, match=r"needs data with labels, and samples that were asked.*conditional"):
        ADHERENCE.compute(None, features, everyone(2))


@pytest.fixture(scope="module")
def evaluator(digits: ImageData, classifier: Extractor) -> ImageEvaluator:
    return ImageEvaluator.prepare(digits, "search", classifier, 400, conditions=digits.prompts("search", 400))


def _of_classes(data: ImageData, classes: torch.Tensor) -> torch.Tensor:
    """A held-out image of each class, the next one each time."""
    labels = data.report.labels
    assert labels is not None
    places = [torch.where(labels == k)[0] for k in range(10)]
    index = [places[k][i % len(places[k])] for i, k in enumerate(classes.tolist())]
    return to_float(data.report.images[torch.stack(index)])


def test_a_judge_knows_what_its_samples_are_to_show(evaluator: ImageEvaluator, digits: ImageData) -> None:
    asked = digits.prompts("search", 400)["label"]
    assert evaluator.label is not None
    assert evaluator.label.tolist() == asked.tolist()
    seen = evaluator.extract(_of_classes(digits, asked))
    assert seen.label is not None
    assert seen.label.tolist() == evaluator.label.tolist()
    report = ImageEvaluator.prepare(
        digits, "report", evaluator.extractor, 400, conditions=digits.prompts("report", 400)
    )
    assert report.label is not None
    assert report.label.tolist() == digits.prompts("report", 400)["label"].tolist() != asked.tolist()


def test_real_images_of_what_was_asked_adhere_and_others_do_not(evaluator: ImageEvaluator, digits: ImageData) -> None:
    asked = digits.prompts("search", 400)["label"]
    shares = [0.0, 0.5, 1.0]
    found = []
    for share in shares:
        right = torch.arange(400) % 100 < 100 * share
        classes = torch.where(right, asked, (asked + 1) % 10)
        features = evaluator.extract(_of_classes(digits, classes))
        score = evaluator.score(features, ["adherence"], intervals=True)["adherence"]
        assert features.probabilities is not None
        assert score.value == np.mean(features.probabilities.argmax(1) == asked.numpy())
        found.append(score)
    # The classifier is wrong on a few real images.
    assert [score.value for score in found] == pytest.approx(shares, abs=0.08)
    assert found[0].value < found[1].value < found[2].value


def test_its_interval_is_about_that_of_a_share(evaluator: ImageEvaluator, digits: ImageData) -> None:
    asked = digits.prompts("search", 400)["label"]
    right = torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.7
    features = evaluator.extract(_of_classes(digits, torch.where(right, asked, (asked + 1) % 10)))
    score = evaluator.score(features, ["adherence"], intervals=True)["adherence"]
    halves = ADHERENCE.compute(None, features, half_samples(400, np.random.default_rng(0)))["adherence"]
    by_halves = half_sample_interval(score.value, halves, (0.0, 1.0))
    # Wilson's interval, and about what the spread over halves says.
    assert score == share_interval(score.value, 400)
    assert score.high - score.low == pytest.approx(by_halves.high - by_halves.low, rel=0.4)


def test_the_floor_asks_for_the_classes_of_its_images(evaluator: ImageEvaluator) -> None:
    floor = evaluator.floor(["adherence"], torch.Generator().manual_seed(0))["adherence"]
    assert floor.value > 0.95
    failure = evaluator.failure(["adherence"])["adherence"]
    assert (failure.low, failure.value, failure.high) == (0.0, 0.0, 0.0)
