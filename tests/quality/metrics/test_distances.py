import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from maestune.quality.metrics import distances
from maestune.quality.metrics.distances import nearest, nearest_others, neighbour_radii, squared_distances


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_distances_equal_those_of_scipy(seed: int, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    np.testing.assert_allclose(squared_distances(x, y), cdist(x, y, "sqeuclidean"), rtol=1e-9, atol=1e-12)


def test_equal_rows_are_at_distance_zero_and_near_ones_are_not() -> None:
    x = np.random.default_rng(0).normal(size=(50, 64)) * 1e3
    near = x + 1e-2
    assert not np.diag(squared_distances(x, x)).any()
    np.testing.assert_allclose(np.diag(squared_distances(x, near)), 64e-4, rtol=1e-3)


def test_a_stray_row_does_not_make_others_equal() -> None:
    # Rounding is evaluated pair by pair: one row at 1e8 leaves the others' small distances alone.
    x = np.array([[0.0, 0.0], [1e-3, 0.0], [1e8, 0.0]])
    assert squared_distances(x, x)[0, 1] == pytest.approx(1e-6)


@pytest.mark.parametrize("rows", [3, 7, 1024])
def test_blocks_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "BLOCK_ROWS", rows)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(41, 3)), rng.normal(size=(29, 3))
    all_of_them = cdist(x, y, "sqeuclidean")
    which, distance = nearest(x, y)
    np.testing.assert_array_equal(which, all_of_them.argmin(axis=1))
    np.testing.assert_allclose(distance, all_of_them.min(axis=1))
    within = cdist(x, x, "sqeuclidean")
    np.fill_diagonal(within, np.inf)
    np.testing.assert_allclose(neighbour_radii(x, 5), np.sort(within, axis=1)[:, 4])
    found, away = nearest_others(x, 8)
    np.testing.assert_array_equal(found, np.argsort(within, axis=1)[:, :8])
    np.testing.assert_allclose(away, np.sort(within, axis=1)[:, :8])


def test_there_are_no_more_neighbours_than_others() -> None:
    x = np.random.default_rng(0).normal(size=(4, 2))
    assert nearest_others(x, 48)[0].shape == (4, 3)
    assert np.isinf(neighbour_radii(x, 4)).all()
    assert np.isfinite(neighbour_radii(x, 3)).all()


def test_duplicates_are_their_own_neighbours() -> None:
    points = np.repeat(np.random.default_rng(0).normal(size=(4, 20)) * 1e3, 6, axis=0)
    assert not neighbour_radii(points, 5).any()
    assert not nearest(points, points)[1].any()
