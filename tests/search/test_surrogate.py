from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.search.surrogate import Surrogate, coordinates, half_rank, unordered_mask
from maestune.space import Choice, Float, Prior, Space
from maestune.types import Config

NUMBERS = np.zeros(3, dtype=bool)


def data(n: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    points = np.random.default_rng(seed).random((n, 3))
    return points, (points[:, 0] - 0.3) ** 2 * 10 + points[:, 1]


def test_the_mean_is_that_of_the_textbook() -> None:
    points, losses = data()
    model = Surrogate.fit(points, losses, np.full(30, 0.1), NUMBERS)
    new = np.random.default_rng(1).random((5, 3))

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squares = ((a[:, None] - b[None]) / model.length) ** 2 / 2
        return model.share * np.exp(-squares).mean(-1) + (1 - model.share) * np.exp(-squares.sum(-1) / 3**0.5)

    targets = (losses - losses.mean()) / losses.std()
    covariance = kernel(points, points) + np.diag(model.noise)
    assert model.mean(new) == pytest.approx(kernel(new, points) @ np.linalg.inv(covariance) @ targets, abs=1e-8)
    assert model.expected == pytest.approx(model.mean(points), abs=1e-8)
    variance = model.scale * (1 - np.diag(kernel(new, points) @ np.linalg.inv(covariance) @ kernel(points, new)))
    draws = np.random.default_rng(2).normal(model.mean(new), np.sqrt(variance), (400_000, 5))
    simulated = np.maximum(model.expected.min() - draws, 0).mean(axis=0)
    assert model.expected_improvement(new) == pytest.approx(simulated, rel=0.03, abs=2e-4)


def test_it_learns_and_finds_the_minimum() -> None:
    points, losses = data(60)
    model = Surrogate.fit(points, losses, np.zeros(60), NUMBERS)
    new, truth = data(200, seed=5)
    assert np.corrcoef(model.mean(new), truth)[0, 1] > 0.97
    assert truth[np.argmax(model.expected_improvement(new))] < np.quantile(truth, 0.05)


def test_doubtful_results_count_less() -> None:
    points = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0.1, 0.9, 0.2]])
    losses = np.array([0.0, 4.0, 2.0])
    trusted = Surrogate.fit(points, losses, np.array([0.0, 3.0, 0.0]), NUMBERS)
    assert trusted.mean(points[:1])[0] < -0.5
    assert Surrogate.fit(points, losses, np.zeros(3), NUMBERS).mean(points[:1])[0] == pytest.approx(0.0, abs=0.2)


def test_nothing_is_gained_beside_a_pending_trial() -> None:
    points, losses = data()
    model = Surrogate.fit(points, losses, np.zeros(30), NUMBERS)
    new = np.random.default_rng(3).random((100, 3))
    best = new[np.argmax(model.expected_improvement(new))][None]
    believing = model.believing(best)
    assert believing.expected_improvement(best)[0] < 0.7 * model.expected_improvement(best)[0]
    assert believing.mean(new) == pytest.approx(model.mean(new), abs=1e-6)


def test_equal_losses_are_no_trouble() -> None:
    points, _ = data(10)
    model = Surrogate.fit(points, np.ones(10), np.zeros(10), NUMBERS)
    assert np.isfinite(model.expected_improvement(points)).all()


@given(st.lists(st.floats(-1e3, 1e12), min_size=1, max_size=30, unique=True))
def test_half_rank_keeps_the_order_and_the_better_half(losses: list[float]) -> None:
    given_ = np.array(losses)
    warped = half_rank(given_)
    better = given_ <= np.median(given_)
    assert (warped[better] == given_[better]).all()
    order = np.argsort(given_)
    assert (np.diff(warped[order]) >= 0).all()
    assert np.ptp(warped) <= 4 * (np.median(given_) - given_.min())


def test_coordinates_of_choices_and_inactive_parameters() -> None:
    space = Space(
        (
            Choice("kind", ("a", "b", "c")),
            Float("x", 0.0, 1.0, prior=Prior(0.2), when={"kind": ("b",)}),
            Choice("batch", (32, 64), ordered=True),
        )
    )
    configs = [Config.of(kind="c", batch=32), Config.of(kind="b", x=0.9, batch=64)]
    assert coordinates(space, configs).tolist() == [[2.0, 0.2, 0.25], [1.0, 0.9, 0.75]]
    assert unordered_mask(space).tolist() == [True, False, False]
    assert coordinates(space, []).shape == (0, 3)
