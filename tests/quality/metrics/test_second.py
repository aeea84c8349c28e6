import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from maestune.data import ImageData, to_float
from maestune.errors import MetricError
from maestune.quality import METRICS, Extractor, ImageEvaluator
from maestune.quality.features.fitting import random_extractor
from maestune.quality.interval import half_samples
from maestune.quality.metric import Features, Reals, everyone
from maestune.quality.metrics.second import SECOND

RNG = np.random.default_rng(0)


def _features(shift: float, n: int = 80, d: int = 6) -> Features:
    """Two extractors that see different things."""
    return Features(RNG.normal(size=(n, 3)), second=RNG.normal(shift, 1.0, (n, d)))


def test_it_is_the_frechet_distance_of_the_second_features() -> None:
    real, generated = _features(0.0), _features(0.7)
    a, b = real.second, generated.second
    ca, cb = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    found = SECOND.compute(SECOND.reference(Reals(real), 80), generated, everyone(80))["fd_second"]
    assert found.tolist() == [pytest.approx(expected, rel=1e-9)]


def test_of_every_subset_it_is_that_of_its_members() -> None:
    real, generated = _features(0.0), _features(0.2)
    reference = SECOND.reference(Reals(real), 80)
    members = half_samples(80, np.random.default_rng(1))
    found = SECOND.compute(reference, generated, members)["fd_second"]
    for value, chosen in zip(found, members, strict=True):
        alone = SECOND.compute(reference, generated.take(np.flatnonzero(chosen)), everyone(40))["fd_second"]
        assert value == pytest.approx(alone[0], rel=1e-9)
    assert SECOND.limits(reference) == {"fd_second": (0.0, np.inf)}


def test_without_a_second_extractor_it_is_refused() -> None:
    with pytest.raises(MetricError, match="second extractor"):
        SECOND.reference(Reals(Features(RNG.normal(size=(9, 2)))), 9)
    reference = SECOND.reference(Reals(_features(0.0)), 80)
    with pytest.raises(MetricError, match="generated features of a second"):
        SECOND.compute(reference, Features(RNG.normal(size=(9, 2))), everyone(9))
    broken = _features(0.0)
    broken.second[0, 0] = np.nan
    with pytest.raises(MetricError, match="not finite"):
        SECOND.compute(reference, broken, everyone(80))


def test_a_judge_with_a_second_extractor_tells_it(digits: ImageData, classifier: Extractor) -> None:
    assert METRICS["fd_second"].kind is SECOND
    assert METRICS["fd_second"].needs_second
    evaluator = ImageEvaluator.prepare(digits, "search", classifier, 200, second=random_extractor(digits))
    assert "fd_second" in evaluator.metrics
    assert "fd_second" not in ImageEvaluator.prepare(digits, "search", classifier, 200).metrics
    clean = to_float(digits.report.images[:200])
    noise = torch.empty_like(clean).normal_(0.0, 0.4, generator=torch.Generator().manual_seed(0))
    good, bad = (
        evaluator.score(evaluator.extract(x), ["fd_second"], intervals=True)["fd_second"]
        for x in (clean, clean + noise)
    )
    assert good.value < good.high < bad.low < bad.value
