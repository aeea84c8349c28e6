import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.quality.metric import counts_in, everyone
from maestune.quality.metrics.distances import nearest
from maestune.quality.text.distances import centres_of, frontier_area, kl_bits, mauve

SHARES = st.lists(st.integers(0, 20), min_size=2, max_size=12).filter(lambda counts: sum(counts) > 0)


def shares(counts: list[int]) -> np.ndarray:
    return np.array(counts) / sum(counts)


def area_by_the_paper(p: np.ndarray, q: np.ndarray, c: float = 5.0, mixtures: int = 25) -> float:
    """Equations (1) and (2) of arXiv:2102.01454, with loops: the curve of exp(-c KL), closed at both axes, and its area."""

    def kl(a: np.ndarray, b: np.ndarray) -> float:
        return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True) if x > 0)

    points = [(0.0, 1.0), (1.0, 0.0)]
    for k in range(mixtures):
        w = 1e-6 + (1 - 2e-6) * k / (mixtures - 1)
        mixture = [w * x + (1 - w) * y for x, y in zip(p, q, strict=True)]
        points.append((math.exp(-c * kl(q, mixture)), math.exp(-c * kl(p, mixture))))
    points.sort(key=lambda point: (point[0], -point[1]))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


@given(SHARES, SHARES)
def test_the_frontier_is_that_of_the_paper(one: list[int], other: list[int]) -> None:
    size = min(len(one), len(other))
    one, other = one[:size], other[:size]
    if not sum(one) or not sum(other):
        return
    p, q = shares(one), shares(other)
    assert frontier_area(p, q) == pytest.approx(area_by_the_paper(p, q), abs=1e-9)
    assert frontier_area(p, q) == pytest.approx(frontier_area(q, p), abs=1e-9)  # symmetric
    assert 0 <= frontier_area(p, q) <= frontier_area(p, p) + 1e-12 <= 1 + 1e-9


def test_the_frontier_ends() -> None:
    assert frontier_area(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == pytest.approx(1)
    assert frontier_area(np.array([1.0, 0.0]), np.array([0.0, 1.0])) < 0.01


@given(SHARES)
def test_divergence_is_that_of_loops(counts: list[int]) -> None:
    p = shares(counts)
    q = np.full(len(p), 1 / len(p))
    assert kl_bits(p, q) == pytest.approx(sum(x * math.log2(x * len(p)) for x in p if x > 0))
    assert kl_bits(p, p) == pytest.approx(0, abs=1e-12)


def test_what_is_missing_costs_without_bound() -> None:
    assert kl_bits(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == math.inf
    assert kl_bits(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == 1


def test_centres_are_found_and_never_more_than_values() -> None:
    rng = np.random.default_rng(0)
    middles = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    values = np.repeat(middles, 50, axis=0) + 0.1 * rng.normal(size=(150, 2))
    centres = centres_of(values, 3)
    assert sorted(map(tuple, centres.round().tolist())) == sorted(map(tuple, middles.tolist()))
    bins, _ = nearest(values, centres)
    expected = np.linalg.norm(values[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(bins, expected)
    assert sorted(counts_in(bins, 3, everyone(150))[0]) == [50, 50, 50]
    assert centres_of(np.ones((20, 4)), 5).shape == (1, 4)


def test_mauve_falls_as_samples_leave_real_text() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 8))
    values = [mauve(real, rng.normal(size=(300, 8)) + shift, everyone(300))[0] for shift in (0.0, 0.7, 3.0)]
    assert values[0] > 0.85
    assert values[0] > values[1] > values[2]
    assert values[2] < 0.1


def test_mauve_of_missing_variety_and_of_one_point() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(200, 8)) * 2
    half = real[real[:, 0] > 0]
    assert mauve(real, half, everyone(len(half)))[0] < mauve(real, real[::2], everyone(100))[0]
    assert 0 <= mauve(real, np.zeros((50, 8)), everyone(50))[0] < 0.2
    assert mauve(np.ones((9, 3)), np.ones((9, 3)), everyone(9))[0] == pytest.approx(1)


def test_subsets_of_samples_share_the_bins() -> None:
    rng = np.random.default_rng(2)
    real, made = rng.normal(size=(120, 5)), rng.normal(size=(120, 5)) + 0.5
    members = np.stack([np.ones(120, dtype=bool), np.arange(120) % 2 == 0])
    found = mauve(real, made, members)
    assert found[0] == mauve(real, made, everyone(120))[0]
    assert found[1] != found[0]
