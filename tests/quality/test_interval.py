from typing import Any

import numpy as np
import pytest

from maestune.errors import MetricError
from maestune.quality.frechet import FRECHET, frechet_reference, samples_distance
from maestune.quality.interval import REPLICATES, half_sample_interval, half_samples
from maestune.quality.metric import Features, Kind, everyone
from maestune.quality.neighbours import REAL_BALLS

FREE = (-np.inf, np.inf)


@pytest.mark.parametrize("n", [4, 7, 100])
def test_halves_are_halves_without_repeats_and_depend_on_the_generator_alone(n: int) -> None:
    halves = half_samples(n, np.random.default_rng(3))
    assert halves.shape == (REPLICATES, n)
    assert (halves.sum(axis=1) == n // 2).all()
    np.testing.assert_array_equal(halves, half_samples(n, np.random.default_rng(3)))
    assert not np.array_equal(halves, half_samples(n, np.random.default_rng(4)))


def test_spread_over_halves_is_the_standard_error_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    halves = half_samples(500, rng, 4000)
    assert (halves @ x / 250).std() == pytest.approx(x.std() / np.sqrt(500), rel=0.05)


def test_interval_is_clipped_and_holds_the_value() -> None:
    score = half_sample_interval(0.99, np.array([0.8, 0.9, 1.0]), (0.0, 1.0))
    assert score.low < score.value == 0.99 < score.high == 1.0
    still = half_sample_interval(3.0, np.full(5, 3.0), FREE)
    assert (still.low, still.high) == (3.0, 3.0)


def test_values_that_cannot_be_are_refused() -> None:
    with pytest.raises(MetricError, match="outside what its metric can be"):
        half_sample_interval(float("nan"), np.zeros(4), FREE)
    with pytest.raises(MetricError, match="outside"):
        half_sample_interval(1.5, np.array([0.4, 0.6]), (0.0, 1.0))
    with pytest.raises(MetricError, match="only 3 samples"):
        half_samples(3, np.random.default_rng(0))


@pytest.mark.parametrize(("kind", "name", "least"), [(FRECHET, "fd", 0.9), (REAL_BALLS, "coverage", 0.78)])
def test_intervals_hold_the_expected_value_about_as_often_as_they_say(kind: Kind[Any], name: str, least: float) -> None:
    # The real features are fixed; each repetition draws other samples of one model, a poor one: the hard case of
    # coverage (see the module's notes on how well intervals do).
    rng = np.random.default_rng(0)
    reference = kind.reference(Features(rng.normal(size=(200, 4))), 200)
    members = np.concatenate([everyone(200), half_samples(200, rng)])
    scores = []
    for _ in range(150):
        generated = Features(rng.normal(size=(200, 4)) * 0.5 + 0.8)
        values = kind.compute(reference, generated, members)[name]
        scores.append(half_sample_interval(float(values[0]), values[1:], kind.limits(reference)[name]))
    expected = np.mean([s.value for s in scores])
    assert np.mean([s.low <= expected <= s.high for s in scores]) >= least
    # Not by being wide: an exact interval is 2 · 1.96 standard deviations.
    width = np.mean([s.high - s.low for s in scores])
    assert width < 1.3 * 3.92 * np.std([s.value for s in scores])


def test_repeated_samples_would_mislead_where_halves_do_not() -> None:
    # Why not the bootstrap: on samples repeated at random, the Fréchet distance sees a smaller covariance on average.
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(200, 32)), rng.normal(size=(60, 32))
    reference = frechet_reference(real)
    value = samples_distance(reference, generated)
    repeated = [samples_distance(reference, generated[rng.integers(0, 60, 60)]) for _ in range(50)]
    assert np.mean(repeated) > 1.3 * value
