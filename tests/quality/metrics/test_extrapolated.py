import numpy as np
import pytest

from maestune.errors import MetricError
from maestune.quality.metric import Array
from maestune.quality.metrics.extrapolated import POINTS, SMALLEST, extrapolated_distance
from maestune.quality.metrics.frechet import frechet_distance
from maestune.quality.metrics.order import content_order


def _pair(n: int, d: int = 8, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(5000, d)), 1.2 * rng.normal(size=(n, d)) + 0.1


def test_equals_the_line_drawn_by_hand() -> None:
    real, generated = _pair(200)
    ordered = generated[content_order(generated)]
    sizes = [round(SMALLEST * 200 + i * (200 - SMALLEST * 200) / (POINTS - 1)) for i in range(POINTS)]
    x = np.array([1 / size for size in sizes])
    y = np.array([frechet_distance(real, ordered[:size]) for size in sizes])
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    found = extrapolated_distance(real, generated)
    assert found.slope == pytest.approx(slope)
    assert found.value == pytest.approx(y.mean() - slope * x.mean())
    left = y - found.value - found.slope * x
    assert found.misfit == pytest.approx(np.sqrt((left**2).mean()) / y[-1])


def test_it_takes_most_of_the_bias_away() -> None:
    # Between N(0, 1) and N(0.1, 1.2²) in 8 dimensions the distance is 8 · (0.1² + 0.2²); the real side's own error is small.
    true = 8 * (0.1**2 + 0.2**2)
    pairs = [_pair(100, seed=seed) for seed in range(30)]
    plain = np.mean([frechet_distance(*pair) for pair in pairs]) - true
    extrapolated = np.mean([extrapolated_distance(*pair).value for pair in pairs]) - true
    assert plain > 0.1
    assert abs(extrapolated) < 0.3 * plain


def test_order_of_samples_and_features_does_not_matter() -> None:
    real, generated = _pair(60)
    rng = np.random.default_rng(1)
    columns = rng.permutation(8)
    found = extrapolated_distance(real, generated).value
    assert extrapolated_distance(real, rng.permutation(generated)).value == pytest.approx(found, rel=1e-9)
    assert extrapolated_distance(real[:, columns], generated[:, columns]).value == pytest.approx(found, rel=1e-9)


def test_one_image_over_and_over_has_the_same_distance_at_any_number() -> None:
    real, generated = _pair(60)
    same = np.tile(generated[:1], (60, 1))
    found = extrapolated_distance(real, same)
    assert found.value == pytest.approx(frechet_distance(real, same))
    assert found.slope == pytest.approx(0, abs=1e-6)
    assert found.misfit < 1e-6


def test_fewer_samples_than_twice_the_dimensions_are_refused() -> None:
    real, generated = _pair(18)
    assert np.isfinite(extrapolated_distance(real, generated).value)
    with pytest.raises(MetricError, match="at least 18, and twice as many with an interval"):
        extrapolated_distance(real, generated[:17])
