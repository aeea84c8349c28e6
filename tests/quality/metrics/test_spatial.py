import numpy as np
import pytest

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Reals, everyone
from maestune.quality.metrics.frechet import frechet_distance
from maestune.quality.metrics.spatial import MOST_DIMENSIONS, SPATIAL, by_place


def _seen(places: Array | None, n: int = 0) -> Features:
    n = n if places is None else len(places)
    return Features(np.zeros((n, 1)), places=places)


def _distance(real: Array, generated: Array) -> float:
    reference = SPATIAL.reference(Reals(_seen(real)), len(generated))
    return float(SPATIAL.compute(reference, _seen(generated), everyone(len(generated)))["spatial_fd"][0])


def _images(n: int, seed: int, parts: bool = True) -> Array:
    """Images of four parts, each with features of its own; `parts`: of one image they go together."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 1, 3))
    alone = rng.normal(size=(n, 4, 3))
    return 0.9 * (common if parts else rng.normal(size=(n, 4, 3))) + 0.4 * alone


def test_equals_the_frechet_distance_of_all_places_side_by_side() -> None:
    real, generated = _images(80, 0), 1.3 * _images(60, 1)
    assert _distance(real, generated) == pytest.approx(
        frechet_distance(real.reshape(80, 12), generated.reshape(60, 12))
    )


def test_parts_that_do_not_belong_together_are_seen_here_alone() -> None:
    # Each part of each image is as it should be, and so is the mean over places but for its spread.
    real, sound, mixed = _images(2000, 0), _images(2000, 1), _images(2000, 2)
    rng = np.random.default_rng(3)
    for place in range(4):
        mixed[:, place] = rng.permutation(mixed[:, place])
    for place in range(4):
        assert frechet_distance(real[:, place], mixed[:, place]) < 0.05
    assert _distance(real, sound) < 0.1
    assert _distance(real, mixed) > 1


def test_many_features_are_projected_alike_in_all_places() -> None:
    rng = np.random.default_rng(0)
    places = rng.normal(size=(50, 4, 200))
    values = by_place(_seen(places), "real")
    assert values.shape == (50, MOST_DIMENSIONS)
    # Lengths are kept on average, and equal parts stay equal.
    assert (values**2).sum() == pytest.approx((places**2).sum(), rel=0.1)
    places[:, 1] = places[:, 0]
    values = by_place(_seen(places), "real").reshape(50, 4, -1)
    np.testing.assert_array_equal(values[:, 1], values[:, 0])


def test_many_places_keep_at_least_one_feature_each() -> None:
    assert by_place(_seen(np.random.default_rng(0).normal(size=(5, 300, 3))), "real").shape == (5, 300)


def test_unusable_features_are_refused() -> None:
    real = _images(20, 0)
    with pytest.raises(MetricError, match="it tells none"):
        SPATIAL.reference(Reals(_seen(None, 20)), 10)
    reference = SPATIAL.reference(Reals(_seen(real)), 10)
    with pytest.raises(MetricError, match="4 places with 3 features each, samples in 2"):
        SPATIAL.compute(reference, _seen(real[:, :2]), everyone(20))
    with pytest.raises(MetricError, match="shape"):
        by_place(Features(np.zeros((3, 1)), places=np.zeros((3, 4))), "real")
    broken = real.copy()
    broken[3, 1, 2] = np.nan
    with pytest.raises(MetricError, match="1 of 20 generated samples"):
        SPATIAL.compute(reference, _seen(broken), everyone(20))
