"""What holds of every metric: laws, and what happens with samples that are no good."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maestune.errors import MetricError
from maestune.quality import METRICS
from maestune.quality.interval import half_samples, scores
from maestune.quality.metric import Array, Features, Kind, Reals, everyone

KINDS = {kind.name: kind for kind in (metric.kind for metric in METRICS.values())}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
# Stated where they are described: some things of a subset are those of all samples.
NOT_AS_IF_ALONE = {"c_t", "fld", "ndb"}
# Directions are fixed in the space of features; what is seen in a place is no column of the features.
FIXED_DIRECTIONS = {"mind"}
NEEDS_DIFFERENT_IMAGES = {"feature likelihood", "variety of what was asked for"}


@pytest.fixture(scope="module")
def reals(seen: Callable[..., Features]) -> Reals:
    return Reals(seen(60, seed=1), seen(80, seed=2))


def _values(kind: Kind[Any], reals: Reals, generated: Features) -> dict[str, float]:
    found = kind.compute(kind.reference(reals, len(generated)), generated, everyone(len(generated)))
    return {name: float(value[0]) for name, value in found.items()}


def _within_limits(kind: Kind[Any], reals: Reals, generated: Features) -> None:
    reference = kind.reference(reals, len(generated))
    limits = kind.limits(reference)
    for name, value in kind.compute(reference, generated, everyone(len(generated))).items():
        assert limits[name][0] <= value[0] <= limits[name][1], name
        assert np.isfinite(value[0]), name


@every_kind
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_order_of_samples_does_not_matter(
    kind: Kind[Any], seed: int, reals: Reals, seen: Callable[..., Features]
) -> None:
    generated = seen(50, seed=seed, shift=0.3)
    order = np.random.default_rng(seed).permutation(50)
    assert _values(kind, reals, generated.take(order)) == pytest.approx(
        _values(kind, reals, generated), rel=1e-7, abs=1e-9
    )


@every_kind
def test_order_of_features_does_not_matter(kind: Kind[Any], reals: Reals, seen: Callable[..., Features]) -> None:
    def turned(features: Features) -> Features:
        second = features.second
        assert second is not None
        return replace(features, values=features.values[:, [2, 0, 3, 1]], second=second[:, [1, 3, 0, 2]])

    generated = seen(50, shift=0.3)
    assert reals.train is not None
    other = Reals(turned(reals.held_out), turned(reals.train))
    found, expected = _values(kind, other, turned(generated)), _values(kind, reals, generated)
    for name, value in expected.items():
        tolerance = 0.1 if name in FIXED_DIRECTIONS else 1e-6
        assert found[name] == pytest.approx(value, rel=tolerance, abs=1e-9), name


@every_kind
def test_subsets_are_scored_as_if_they_were_alone(kind: Kind[Any], reals: Reals, seen: Callable[..., Features]) -> None:
    generated = seen(41, shift=0.3)
    members = np.concatenate([everyone(41), half_samples(41, np.random.default_rng(0), 3)])
    reference = kind.reference(reals, 41)
    found = kind.compute(reference, generated, members)
    for b, chosen in enumerate(members):
        alone = kind.compute(reference, generated.take(np.flatnonzero(chosen)), everyone(int(chosen.sum())))
        for name, values in found.items():
            assert values.shape == (4,)
            if name not in NOT_AS_IF_ALONE or chosen.all():
                assert values[b] == pytest.approx(alone[name][0], rel=1e-6, abs=1e-9), name


@every_kind
def test_nothing_that_is_given_is_changed(kind: Kind[Any], reals: Reals, seen: Callable[..., Features]) -> None:
    generated = seen(40)
    reference = kind.reference(reals, 40)
    before = [array.copy() for array in vars(generated).values() if array is not None]
    kind.compute(reference, generated, np.concatenate([everyone(40), half_samples(40, np.random.default_rng(0), 2)]))
    after = [array for array in vars(generated).values() if array is not None]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def _constant(rng: np.random.Generator) -> Array:
    return np.tile(rng.normal(size=(1, 4)), (40, 1))


def _zero(rng: np.random.Generator) -> Array:
    return np.zeros((40, 4))


def _duplicates(rng: np.random.Generator) -> Array:
    return np.repeat(rng.normal(size=(8, 4)), 5, axis=0)


def _far(rng: np.random.Generator) -> Array:
    return rng.normal(size=(40, 4)) + 1e6


def _huge_outlier(rng: np.random.Generator) -> Array:
    return np.vstack([rng.normal(size=(39, 4)), np.full((1, 4), 1e8)])


def _real(rng: np.random.Generator) -> Array:
    return np.random.default_rng(1).normal(size=(60, 4))[:40]


@every_kind
@pytest.mark.parametrize("make", [_constant, _zero, _duplicates, _far, _huge_outlier, _real])
def test_strange_samples_have_finite_scores_within_the_limits(
    kind: Kind[Any], make: Callable[[np.random.Generator], Array], reals: Reals, all_of: Callable[[Array], Features]
) -> None:
    _within_limits(kind, reals, all_of(make(np.random.default_rng(0))))


@every_kind
@pytest.mark.parametrize("make", [_constant, _duplicates])
def test_strange_real_images_are_scored_or_refused_in_words(
    kind: Kind[Any],
    make: Callable[[np.random.Generator], Array],
    seen: Callable[..., Features],
    all_of: Callable[[Array], Features],
) -> None:
    strange = all_of(make(np.random.default_rng(0)))
    if make is _constant and kind.name in NEEDS_DIFFERENT_IMAGES:
        with pytest.raises(MetricError):
            _within_limits(kind, Reals(strange, strange), seen(40, seed=3))
    else:
        _within_limits(kind, Reals(strange, strange), seen(40, seed=3))


@every_kind
def test_more_features_than_samples(kind: Kind[Any], seen: Callable[..., Features]) -> None:
    reals = Reals(seen(60, d=90, seed=1), seen(80, d=90, seed=2))
    if kind.name == "extrapolated Fréchet distance":
        with pytest.raises(MetricError, match="from 40 samples of 90 features"):
            _within_limits(kind, reals, seen(40, d=90))
    else:
        _within_limits(kind, reals, seen(40, d=90))


@every_kind
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(
    kind: Kind[Any], bad: float, reals: Reals, seen: Callable[..., Features]
) -> None:
    generated = seen(40)
    broken: dict[str, Array] = {}
    for name in ("values", "probabilities", "places", "second", "agreement", "yes"):
        array = getattr(generated, name).copy()
        array[3] = bad
        broken[name] = array
    reference = kind.reference(reals, 40)
    if kind.name == "adherence":  # it looks at nothing but which class is most likely
        return
    with pytest.raises(MetricError, match="not finite"):
        kind.compute(reference, replace(generated, **broken), everyone(40))


def test_every_metric_has_an_interval_that_holds_its_value(reals: Reals, seen: Callable[..., Features]) -> None:
    references: dict[str, Any] = {}

    def reference(kind: Kind[Any]) -> Any:
        return references.setdefault(kind.name, kind.reference(reals, 60))

    found = scores(list(METRICS.values()), reference, seen(60, shift=0.2), True)
    assert list(found) == list(METRICS)
    for name, score in found.items():
        assert score.low <= score.value <= score.high, name
        low, high = METRICS[name].kind.limits(references[METRICS[name].kind.name])[name]
        assert low <= score.low, name
        assert score.high <= high, name
