from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from maestune.errors import MetricError
from maestune.quality import METRICS
from maestune.quality.interval import (
    REPLICATES,
    half_sample_interval,
    half_samples,
    scores,
    share_bounds,
    share_interval,
    union_bounds,
)
from maestune.quality.metric import Features, Kind, Metric, Reals
from maestune.quality.metrics.frechet import frechet_reference, samples_distance
from maestune.types import Score

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


@pytest.mark.parametrize("p", [0.0, 0.01, 0.3, 0.99, 1.0])
def test_share_of_samples_is_held_as_often_as_stated_near_0_and_1_too(p: float) -> None:
    shares = np.random.default_rng(0).binomial(200, p, size=1000) / 200
    found = [share_interval(float(share), 200) for share in shares]
    assert np.mean([score.low <= p <= score.high for score in found]) >= 0.92
    assert all(0 <= score.low <= score.value <= score.high <= 1 for score in found)


def test_share_of_samples_equals_scipy() -> None:
    for count, n in ((0, 30), (7, 30), (30, 30), (500, 1000)):
        expected = binomtest(count, n).proportion_ci(method="wilson")
        found = share_interval(count / n, n)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_by_halves_is_that_of_its_count() -> None:
    # Of what is a count after all, halves tell about as many trials as there are samples.
    rng = np.random.default_rng(0)
    hits = (rng.random(1000) < 0.2).astype(float)
    halves = half_samples(1000, rng, 1000) @ hits / 500
    low, high = share_bounds(float(hits.mean()), halves, 10_000)
    count = share_interval(float(hits.mean()), 1000)
    assert (low, high) == pytest.approx((count.low, count.high), abs=0.004)
    # Halves that do not vary at all are no reason to be surer than of a count.
    assert share_bounds(1.0, np.ones(24), 100)[0] == pytest.approx(share_interval(1.0, 100).low, abs=0.01)


@pytest.mark.parametrize("mean", [0.1, 0.5, 1.0, 2.0])
def test_halves_of_a_union_tell_too_many_trials_by_what_is_stated(mean: float) -> None:
    # 100 of 1000 things are looked at: how many samples reach them varies as if it were Poisson.
    rng = np.random.default_rng(0)
    n = int(1000 * mean)
    values, widths = [], []
    for _ in range(300):
        which = rng.integers(0, 1000, size=n)
        halves = [len(np.unique(which[chosen & (which < 100)])) / 100 for chosen in half_samples(n, rng)]
        values.append(len(np.unique(which[which < 100])) / 100)
        low, high = union_bounds(values[-1], np.array(halves), 10_000)
        widths.append(high - low)
    assert 0.9 < np.mean(widths) / (2 * 2.07 * np.std(values)) < 1.15


# Each repetition draws other samples of one model; the real images are held fixed. `shares` are those of four kinds of images.
SITUATIONS: dict[str, dict[str, Any]] = {
    "as the data": {},
    "too narrow": {"scale": 0.15},
    "shrunk and shifted": {"scale": 0.5, "shift": 0.4},
    "a kind missing, another rare": {"shares": (0.5, 0.48, 0.02, 0.0)},
    "blurred and shifted": {"scale": 1.6, "shift": 1.2},
    "a tenth copies": {"copied": 0.1},
}
D, N, REPEATS = 6, 200, 200
PLACES = np.random.default_rng(99).normal(size=(4, D)) * 2.5


def _seen(
    rng: np.random.Generator,
    n: int,
    shares: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25),
    scale: float = 1.0,
    shift: float = 0.0,
    copied: float = 0.0,
    train: Features | None = None,
) -> Features:
    kinds = rng.choice(4, size=n, p=shares)
    values = PLACES[kinds] + scale * rng.normal(size=(n, D)) + shift
    if train is not None and copied > 0:
        copies = rng.random(n) < copied
        values[copies] = train.values[rng.integers(0, len(train), size=int(copies.sum()))]
    squares = ((values[:, None] - PLACES) ** 2).sum(axis=2)
    likely = np.exp(-0.5 * (squares - squares.min(axis=1, keepdims=True)))
    places = values.reshape(n, 3, 2)
    agreement = np.tanh(values[:, 0])
    return Features(
        values,
        likely / likely.sum(axis=1, keepdims=True),
        label=kinds,
        places=places,
        second=values[:, ::-1].copy(),
        condition=kinds,
        agreement=agreement,
        rank=1 + (agreement < 0).astype(np.int64),
        yes=(1 + agreement) / 2,
    )


def _held(situation: str, metrics: list[Metric]) -> dict[str, float]:
    """How often the interval of each metric holds the expected value, which is the mean of all repeats."""
    rng = np.random.default_rng(0)
    train = _seen(rng, 400)
    reals = Reals(_seen(rng, 300), train)
    references: dict[str, Any] = {}

    def reference(kind: Kind[Any]) -> Any:
        if kind.name not in references:
            references[kind.name] = kind.reference(reals, N)
        return references[kind.name]

    found: dict[str, list[Score]] = {metric.name: [] for metric in metrics}
    for _ in range(REPEATS):
        for name, score in scores(
            metrics, reference, _seen(rng, N, **SITUATIONS[situation], train=train), True
        ).items():
            found[name].append(score)
    held: dict[str, float] = {}
    for name, each in found.items():
        expected = float(np.mean([score.value for score in each]))
        # Whole numbers of classes: the nearest of them, since no interval of theirs ends anywhere else.
        expected = round(expected) if name == "modes" else expected
        held[name] = float(np.mean([score.low - 1e-9 <= expected <= score.high + 1e-9 for score in each]))
    return held


# 0.95 is stated, 0.90 is asked for, and 200 repeats are two binomial errors of 0.021 away from it.
LEAST = 0.90 - 2 * 0.0212
CHEAP = [metric for metric in METRICS.values() if not metric.costly]
COSTLY = [metric for metric in METRICS.values() if metric.costly]


@pytest.mark.parametrize("situation", list(SITUATIONS)[:4])
def test_intervals_hold_the_expected_value_as_often_as_they_say(situation: str) -> None:
    held = _held(situation, CHEAP)
    assert {name: share for name, share in held.items() if share < LEAST} == {}


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS)
def test_intervals_of_all_metrics_hold_the_expected_value_in_all_situations(situation: str) -> None:
    held = _held(situation, [*CHEAP, *COSTLY])
    print(situation, {name: round(share, 3) for name, share in held.items()})
    assert {name: share for name, share in held.items() if share < LEAST} == {}


def test_repeated_samples_would_mislead_where_halves_do_not() -> None:
    # Why not the bootstrap: on samples repeated at random, the Fréchet distance sees a smaller covariance on average.
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(200, 32)), rng.normal(size=(60, 32))
    reference = frechet_reference(real)
    value = samples_distance(reference, generated)
    repeated = [samples_distance(reference, generated[rng.integers(0, 60, 60)]) for _ in range(50)]
    assert np.mean(repeated) > 1.3 * value
