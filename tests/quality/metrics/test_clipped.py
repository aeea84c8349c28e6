import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maestune.quality.metric import Array
from maestune.quality.metrics.clipped import calibrated_coverage, clipped_coverage_error, expected_coverage
from maestune.quality.metrics.neighbours import K, neighbour_metrics


def _brute_force(real: Array, generated: Array) -> tuple[float, float]:
    """Clipped density, and clipped coverage before it is calibrated, one pair at a time."""

    def distance(a: Array, b: Array) -> float:
        return float(np.sqrt(((a - b) ** 2).sum()))

    radii = [sorted(distance(a, b) for j, b in enumerate(real) if j != i)[K - 1] for i, a in enumerate(real)]
    small = [min(radius, float(np.median(radii))) for radius in radii]

    def crowding(point: Array, without: int | None = None) -> float:
        hits = sum(distance(r, point) <= small[i] for i, r in enumerate(real) if i != without)
        return min(hits / K, 1.0)

    density = np.mean([crowding(g) for g in generated]) / np.mean([crowding(r, i) for i, r in enumerate(real)])
    reached = [
        min(sum(distance(r, g) <= radius for g in generated), K) / K for r, radius in zip(real, radii, strict=True)
    ]
    return min(float(density), 1.0), float(np.mean(reached))


@given(st.integers(0, 2**32 - 1), st.integers(K + 1, 20), st.integers(K + 1, 20))
@settings(max_examples=25, deadline=None)
def test_equal_the_definitions(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(n, 2)), rng.normal(size=(m, 2)) + 0.7
    density, raw = _brute_force(real, generated)
    found = neighbour_metrics(real, generated)
    assert found["clipped_density"] == pytest.approx(density)
    expected = calibrated_coverage(np.array([raw]), n, np.array([m]), K)[0]
    assert found["clipped_coverage"] == pytest.approx(expected)


@pytest.mark.parametrize(("n_real", "n"), [(40, 30), (25, 60)])
def test_expected_coverage_is_what_simulations_give(n_real: int, n: int) -> None:
    # In one dimension on (0, 1) all shares are lengths; the result does not depend on the distribution.
    rng = np.random.default_rng(0)
    found = np.zeros(n + 1)
    for _ in range(400):
        real, generated = rng.random(n_real), rng.random(n)
        radii = np.sort(np.abs(real[:, None] - real), axis=1)[:, K]
        near = np.abs(real[:, None] - generated) <= radii[:, None]
        found[1:] += np.minimum(near.cumsum(axis=1), K).mean(axis=0) / K
    np.testing.assert_allclose(expected_coverage(n_real, n, K), found / 400, atol=0.01)
    assert (np.diff(expected_coverage(n_real, n, K)) > 0).all()


def test_both_fall_in_proportion_to_the_share_of_bad_samples() -> None:
    rng = np.random.default_rng(0)
    real, good, bad = rng.normal(size=(400, 4)), rng.normal(size=(400, 4)), rng.normal(size=(400, 4)) + 50.0
    for share in (0.25, 0.5, 0.75, 1.0):
        kept = int(400 * share)
        found = neighbour_metrics(real, np.vstack([good[:kept], bad[kept:]]))
        assert found["clipped_density"] == pytest.approx(share, abs=0.06)
        assert found["clipped_coverage"] == pytest.approx(share, abs=0.06)


def test_stray_real_samples_flatter_density_and_not_its_clipped_form() -> None:
    # Samples in the empty space around a few strays lie in the strays' huge balls.
    rng = np.random.default_rng(0)
    real = np.vstack([rng.normal(size=(300, 4)), 10.0 * rng.normal(size=(20, 4))])
    generated = 10.0 * rng.normal(size=(300, 4))
    found = neighbour_metrics(real, generated)
    assert found["precision"] > 0.8
    assert found["clipped_density"] < 0.1


@pytest.mark.parametrize(("n", "width"), [(100, 0.01), (300, 0.01), (150, 0.02)])
def test_error_of_clipped_coverage_is_its_standard_deviation_or_a_little_more(n: int, width: float) -> None:
    rng = np.random.default_rng(0)
    real = rng.random(200)
    values, errors = [], []
    for _ in range(400):
        inside = np.abs(real[:, None] - rng.random(n)) <= width / 2
        raw = np.minimum(inside.sum(axis=1), K).mean() / K
        values.append(calibrated_coverage(np.array([raw]), 200, np.array([n]), K)[0])
        errors.append(clipped_coverage_error(inside, values[-1], K))
    assert 0.95 * np.std(values) <= np.sqrt(np.mean(np.square(errors))) <= 1.4 * np.std(values)


def test_nothing_reached_has_no_error() -> None:
    assert clipped_coverage_error(np.zeros((20, 7), dtype=np.bool_), 0.0, K) == 0
