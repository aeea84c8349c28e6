from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maestune.errors import MetricError
from maestune.quality import METRICS
from maestune.quality.interval import scores
from maestune.quality.metric import Array, Features, Kind, Reals
from maestune.quality.metrics.frechet import frechet_distance
from maestune.quality.streaming import Stream, stream_compute, stream_init, stream_merge, stream_update

D = 3
NAMES = ("fd", "kid", "coverage", "recall", "mind", "vendi", "modes_js", "novelty", "c2st")
WANTED = [METRICS[name] for name in NAMES]


def _seen(n: int, seed: int = 0, scale: float = 1.0) -> Features:
    rng = np.random.default_rng(seed)
    return Features(scale * rng.normal(size=(n, D)) + 5.0, rng.dirichlet(np.ones(3), size=n))


REALS = Reals(_seen(40, 1), _seen(50, 2))
_REFERENCES: dict[str, Any] = {}


def _reference(kind: Kind[Any]) -> Any:
    if kind.name not in _REFERENCES:
        _REFERENCES[kind.name] = kind.reference(REALS, 60)
    return _REFERENCES[kind.name]


def _centre() -> Array:
    return REALS.held_out.values.mean(axis=0)


def _fed(features: Features, cuts: list[int], limit: int | None) -> list[Stream]:
    """A stream for each part of the samples between cuts."""
    ends = [0, *sorted(cuts), len(features)]
    return [
        stream_update(stream_init(_centre(), limit), features.take(np.arange(a, b)), a)
        for a, b in pairwise(ends)
        if b > a
    ]


def _merged(streams: list[Stream]) -> Stream:
    whole = streams[0]
    for stream in streams[1:]:
        whole = stream_merge(whole, stream)
    return whole


def _same(a: Stream, b: Stream) -> None:
    assert len(a) == len(b)
    np.testing.assert_array_equal(a.numbers, b.numbers)
    assert a.kept is not None
    assert b.kept is not None
    np.testing.assert_array_equal(a.kept.values, b.kept.values)
    np.testing.assert_array_equal(a.kept.probabilities, b.kept.probabilities)
    np.testing.assert_allclose(a.moments.mean, b.moments.mean, rtol=1e-12)
    np.testing.assert_allclose(a.moments.outer, b.moments.outer, rtol=1e-12, atol=1e-12)


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 59), min_size=2, max_size=6, unique=True),
    st.sampled_from([None, 4, 20, 100]),
)
@settings(max_examples=40, deadline=None)
def test_batches_their_order_and_who_saw_them_do_not_matter(seed: int, cuts: list[int], limit: int | None) -> None:
    features = _seen(60, seed)
    rng = np.random.default_rng(seed)
    parts = _fed(features, cuts, limit)
    at_once = _merged(_fed(features, [], limit))
    assert len(at_once.numbers) == min(60, limit or 60)
    _same(_merged(parts), at_once)
    _same(_merged([parts[i] for i in rng.permutation(len(parts))]), at_once)
    # Associative: (a b) c = a (b c).
    a, b, c = _merged(parts[:1]), _merged(parts[1:2]), _merged(parts[2:])
    _same(stream_merge(stream_merge(a, b), c), stream_merge(a, stream_merge(b, c)))
    # Updating and merging are the same.
    updated = stream_init(_centre(), limit)
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 60], strict=True):
        updated = stream_update(updated, features.take(np.arange(start, end)), start)
    _same(updated, at_once)


def test_what_is_kept_whole_scores_as_if_it_had_come_at_once() -> None:
    features = _seen(60, 3, 0.8)
    stream = _merged(_fed(features, [7, 8, 31], None))
    for intervals in (False, True):
        found = stream_compute(stream, _reference, WANTED, intervals)
        expected = scores(WANTED, _reference, features, intervals)
        for name in NAMES:
            assert found[name].value == pytest.approx(expected[name].value, rel=1e-12)
            if intervals:
                assert found[name].low == pytest.approx(expected[name].low, rel=1e-9)


def test_with_a_limit_the_frechet_distance_still_sees_everyone() -> None:
    features = _seen(400, 4, 0.8)
    stream = _merged(_fed(features, [100, 150], 60))
    assert (len(stream), len(stream.numbers)) == (400, 60)
    assert stream.kept is not None
    found = stream_compute(stream, _reference, WANTED, True)
    assert found["fd"].value == pytest.approx(frechet_distance(REALS.held_out.values, features.values), rel=1e-9)
    few = scores(WANTED, _reference, stream.kept, True)
    assert found["fd"].high - found["fd"].low < 0.5 * (few["fd"].high - few["fd"].low)
    assert found["kid"] == few["kid"]


def test_what_is_kept_is_a_fair_choice() -> None:
    features = Features(np.arange(3000.0).reshape(1000, D))
    kept = _merged(_fed(features, [500], 200)).numbers
    # The mean of 200 of 0 … 999 has a standard error of 18.
    assert abs(kept.mean() - 499.5) < 60


def test_samples_that_are_seen_twice_are_refused() -> None:
    features = _seen(10)
    stream = stream_update(stream_init(_centre()), features, 0)
    with pytest.raises(MetricError, match="Sample 9 is in both"):
        stream_update(stream, features, 9)
    assert len(stream_update(stream, features, 10)) == 20


def test_streams_that_do_not_belong_together_are_refused() -> None:
    stream = stream_update(stream_init(_centre(), 10), _seen(10), 0)
    with pytest.raises(MetricError, match="keep 10 and None"):
        stream_merge(stream, stream_init(_centre()))
    with pytest.raises(MetricError, match="different centres"):
        stream_merge(stream, stream_init(np.ones(D), 10))
    with pytest.raises(MetricError, match="2 features came to a stream of 3"):
        stream_update(stream, Features(np.zeros((4, 2))), 10)
    with pytest.raises(MetricError, match="has probabilities and another has none"):
        stream_update(stream, Features(np.zeros((4, D))), 10)
    with pytest.raises(MetricError, match="not finite"):
        stream_update(stream, Features(np.full((4, D), np.nan)), 10)
    with pytest.raises(MetricError, match="keeps 3 samples"):
        stream_init(_centre(), 3)
    with pytest.raises(MetricError, match="No samples have been seen"):
        stream_compute(stream_init(_centre()), _reference, WANTED)
