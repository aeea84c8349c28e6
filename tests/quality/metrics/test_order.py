import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from maestune.quality.metrics.order import content_order, mixed


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_order_is_that_of_what_rows_are(seed: int, n: int, d: int, copies: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, d))[rng.integers(0, 3, size=n)] if copies else rng.normal(size=(n, d))
    ordered = values[content_order(values)]
    assert sorted(map(tuple, ordered)) == sorted(map(tuple, values))
    shuffled = rng.permutation(values)
    np.testing.assert_array_equal(shuffled[content_order(shuffled)], ordered)


def test_columns_may_be_in_any_order() -> None:
    rng = np.random.default_rng(0)
    values, columns = rng.normal(size=(30, 6)), rng.permutation(6)
    np.testing.assert_array_equal(content_order(values[:, columns]), content_order(values))


def test_it_is_as_good_as_random() -> None:
    values = np.linspace(0, 1, 2000)[:, None]
    first = values[content_order(values)[:500]]
    # The mean of 500 of 2000 without replacement has a standard error of 0.011.
    assert abs(first.mean() - 0.5) < 0.04


def test_copies_are_spread_out() -> None:
    values = np.repeat(np.arange(10.0), 100)[:, None]
    first = values[content_order(values)[:200], 0]
    assert np.bincount(first.astype(int), minlength=10).min() > 5


def test_mixing_is_one_to_one() -> None:
    assert len(np.unique(mixed(np.arange(10_000, dtype=np.uint64)))) == 10_000
