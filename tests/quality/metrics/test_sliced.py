from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maestune.errors import MetricError
from maestune.quality.interval import half_samples
from maestune.quality.metric import Array, Features, Reals, everyone
from maestune.quality.metrics import sliced
from maestune.quality.metrics.sliced import SLICED, sliced_distance, unit_directions


def _squared_wasserstein(x: Array, y: Array) -> float:
    """The definition in one dimension: the integral of the squared difference of both quantile functions."""
    x, y = np.sort(x), np.sort(y)
    ends = np.unique(np.concatenate([np.arange(len(x) + 1) * len(y), np.arange(len(y) + 1) * len(x)]))
    total = 0.0
    for low, high in pairwise(ends):  # in parts of 1 / (N M)
        total += (high - low) * (x[low // len(y)] - y[low // len(x)]) ** 2
    return total / (len(x) * len(y))


@given(st.integers(0, 2**32 - 1), st.integers(2, 15), st.integers(2, 15), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_equals_the_definition_for_any_numbers_of_samples(seed: int, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(n, d)), 1.5 * rng.normal(size=(m, d)) + 0.5
    along = [_squared_wasserstein(real @ u, generated @ u) for u in unit_directions(d)]
    assert sliced_distance(real, generated) == pytest.approx(3 * d * np.mean(along), rel=1e-9, abs=1e-12)


def test_directions_have_length_one_and_are_orthogonal_within_a_rotation() -> None:
    directions = unit_directions(16, 40)
    assert directions.shape == (40, 16)
    np.testing.assert_allclose(directions[:16] @ directions[:16].T, np.eye(16), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_array_equal(directions, unit_directions(16, 40))


def test_a_shift_is_seen_without_error() -> None:
    # Along u a shift by s moves everything by u·s; its mean square over whole rotations is |s|²/d, whatever they are.
    rng = np.random.default_rng(0)
    real, shift = rng.normal(size=(50, 16)), rng.normal(size=16)
    assert sliced_distance(real, real + shift) == pytest.approx(3 * shift @ shift)
    assert sliced_distance(real, real) == pytest.approx(0, abs=1e-12)


def test_spheres_of_different_size() -> None:
    # Between N(0, 1) and N(0, s²) in any direction W₂² is (s - 1)².
    rng = np.random.default_rng(0)
    found = sliced_distance(rng.normal(size=(4000, 4)), 2.0 * rng.normal(size=(4000, 4)))
    assert found == pytest.approx(12, rel=0.1)


def test_it_is_exact_far_from_the_origin() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(40, 4)), rng.normal(size=(30, 4))
    assert sliced_distance(real + 1e6, generated + 1e6) == pytest.approx(sliced_distance(real, generated), rel=1e-6)


def test_features_may_be_in_any_order_but_for_the_choice_of_directions() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(300, 8)), rng.exponential(size=(300, 8))
    found = sliced_distance(real, generated)
    assert sliced_distance(real[:, ::-1], generated[:, ::-1]) == pytest.approx(found, rel=0.03)
    assert sliced_distance(real, rng.permutation(generated)) == pytest.approx(found, rel=1e-12)


def test_subsets_are_scored_as_if_they_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliced, "BLOCK", 100)
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(31, 3)), rng.normal(size=(41, 3)) + 0.2
    members = np.concatenate([everyone(41), half_samples(41, rng, 3)])
    found = SLICED.compute(SLICED.reference(Reals(Features(real)), 41), Features(generated), members)["mind"]
    for value, chosen in zip(found, members, strict=True):
        assert value == pytest.approx(sliced_distance(real, generated[chosen]))


def test_no_more_real_samples_are_kept_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sliced, "MOST_REAL", 20)
    real = np.random.default_rng(0).normal(size=(50, 2))
    reference = SLICED.reference(Reals(Features(real)), 10)
    assert reference.integrals.shape[1] == 21


def test_unusable_features_are_refused() -> None:
    with pytest.raises(MetricError, match="not finite"):
        sliced_distance(np.zeros((5, 3)), np.full((5, 3), np.nan))
