import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid

from maestune.errors import MetricError
from maestune.quality.metric import Array
from maestune.quality.metrics.frechet import (
    frechet_distance,
    frechet_reference,
    moments_distance,
    moments_init,
    moments_merge,
    moments_update,
)


def _pair(n: int, m: int, d: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    mix = np.eye(d) + 0.3 * rng.normal(size=(d, d)) / np.sqrt(d)
    return rng.normal(size=(n, d)), 0.3 + rng.normal(size=(m, d)) @ mix


def _by_sqrtm(real: Array, generated: Array) -> float:
    """The definition, written down."""
    a, b = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    shift = real.mean(0) - generated.mean(0)
    return float(shift @ shift + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b)).real)


def _by_torchmetrics(real: Array, generated: Array) -> float:
    sides = ((values.mean(0), np.cov(values, rowvar=False)) for values in (real, generated))
    return float(_compute_fid(*(torch.from_numpy(moment) for side in sides for moment in side)))


@pytest.mark.parametrize(("n", "m", "d"), [(200, 300, 8), (500, 400, 64), (100, 1000, 32)])
def test_equals_scipy_and_torchmetrics_when_well_conditioned(n: int, m: int, d: int) -> None:
    real, generated = _pair(n, m, d)
    ours = frechet_distance(real, generated)
    assert ours == pytest.approx(_by_sqrtm(real, generated), rel=1e-6)
    assert ours == pytest.approx(_by_torchmetrics(real, generated), rel=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(20, 30, 64), (20, 200, 64), (200, 20, 64), (64, 64, 64)])
def test_equals_a_regularised_limit_when_singular(n: int, m: int, d: int) -> None:
    # sqrtm is unreliable on singular products: the reference is its value with a vanishing ridge on one covariance.
    real, generated = _pair(n, m, d)
    a, b = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    root = np.linalg.cholesky(a + 1e-11 * np.eye(d))
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root.T @ b @ root), 0)).sum()
    shift = real.mean(0) - generated.mean(0)
    expected = shift @ shift + np.trace(a) + np.trace(b) - 2 * cross
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(real, generated) == pytest.approx(_by_torchmetrics(real, generated), rel=1e-4)


def test_dependent_and_constant_features_are_no_obstacle() -> None:
    # More samples than features, and a covariance without an inverse all the same: it has no factor of Cholesky's.
    real, generated = _pair(200, 150, 6)
    wide_real = np.hstack([real, np.ones((200, 2)), real[:, :2] + real[:, 2:4]])
    wide_generated = np.hstack([generated, np.ones((150, 2)), generated[:, :2] + generated[:, 2:4]])
    expected = pytest.approx(_by_torchmetrics(wide_real, wide_generated), rel=1e-4)
    assert frechet_distance(wide_real, wide_generated) == expected
    mix = np.hstack([np.eye(6), np.zeros((6, 2)), np.eye(6)[:, :2] + np.eye(6)[:, 2:4]])
    np.testing.assert_allclose(wide_real - wide_real.mean(0), (real - real.mean(0)) @ mix, atol=1e-12)
    factor = frechet_reference(wide_real).factor
    np.testing.assert_allclose(factor.T @ factor, np.cov(wide_real, rowvar=False), atol=1e-12)
    np.testing.assert_allclose(np.tril(factor, -1), 0, atol=1e-15)


def test_known_gaussians() -> None:
    # In one dimension: (difference of means)² + (difference of standard deviations)².
    x = np.array([[-1.0], [1.0]])  # variance 2
    assert frechet_distance(x, 3 * x + 5) == pytest.approx(25 + 2 * (3 - 1) ** 2)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40), st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_laws(seed: int, n: int, m: int, d: int) -> None:
    real, generated = _pair(n, m, d, seed)
    rng = np.random.default_rng(seed)
    value = frechet_distance(real, generated)
    scale = max(1.0, value)
    assert value >= 0
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(generated, real) == pytest.approx(value, abs=1e-6 * scale)
    assert frechet_distance(real, rng.permutation(generated)) == pytest.approx(value, abs=1e-6 * scale)
    features = rng.permutation(d)
    assert frechet_distance(real[:, features], generated[:, features]) == pytest.approx(value, abs=1e-6 * scale)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    assert frechet_distance(real @ rotation + 7, generated @ rotation + 7) == pytest.approx(value, abs=1e-6 * scale)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 9), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_moments_merge_in_any_grouping_and_equal_the_whole(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=4)
    parts = [rng.normal(loc=3.0, size=(size, 4)) for size in sizes] + [rng.normal(size=(3, 4))]
    a, b, c, d = (moments_update(moments_init(centre), part) for part in parts)
    left = moments_merge(moments_merge(moments_merge(a, b), c), d)
    right = moments_merge(a, moments_merge(b, moments_merge(d, c)))
    whole = np.concatenate(parts)
    for merged in (left, right):
        assert merged.count == len(whole)
        np.testing.assert_allclose(merged.mean, whole.mean(0), atol=1e-12)
        np.testing.assert_allclose(merged.covariance, np.cov(whole, rowvar=False), atol=1e-12)


def test_streamed_equals_at_once_far_from_the_origin() -> None:
    # Sums of raw features near 1e6 would lose all digits of a covariance near 1; centred ones do not.
    real, generated = _pair(300, 400, 16)
    reference = frechet_reference(real + 1e6)
    streamed = moments_init(reference.mean)
    for batch in np.array_split(generated + 1e6, 7):
        streamed = moments_update(streamed, batch)
    assert moments_distance(reference, streamed) == pytest.approx(frechet_distance(real, generated), rel=1e-6)


def test_moments_around_different_centres_are_not_merged() -> None:
    with pytest.raises(MetricError, match="different centres"):
        moments_merge(moments_init(np.zeros(2)), moments_init(np.ones(2)))


def test_constant_features_have_a_defined_distance() -> None:
    real, _ = _pair(50, 50, 4)
    constant = np.tile(real.mean(0), (30, 1))
    assert frechet_distance(real, constant) == pytest.approx(np.trace(np.cov(real, rowvar=False)))
    assert frechet_distance(constant, constant) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_unusable_features_are_refused(bad: float) -> None:
    real, generated = _pair(10, 10, 3)
    broken = generated.copy()
    broken[4, 1] = bad
    with pytest.raises(MetricError, match="1 of 10 generated samples"):
        frechet_distance(real, broken)
    with pytest.raises(MetricError, match="1 real samples; this metric needs at least 2"):
        frechet_distance(real[:1], generated)
    with pytest.raises(MetricError, match="3 dimensions and generated ones 2"):
        frechet_distance(real, generated[:, :2])
    with pytest.raises(MetricError, match="matrix"):
        frechet_distance(real, generated[0])
