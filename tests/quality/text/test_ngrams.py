import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.quality.metric import everyone
from maestune.quality.text.ngrams import entropy, expected_distinct, grams, js, mean_over, repetition, variety
from maestune.quality.text.statistics import ngram_js

TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=9), min_size=1, max_size=6)
SUBSETS = st.integers(0, 2**32 - 1)


def naive(text: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def members_of(n: int, seed: int) -> np.ndarray:
    chosen = np.random.default_rng(seed).random((4, n)) < 0.5
    chosen[:, 0] = True
    return chosen


@given(TEXTS, SUBSETS)
def test_counts_are_those_of_loops(texts: list[list[str]], seed: int) -> None:
    members = members_of(len(texts), seed)
    for n, found in enumerate(grams(texts, 4), start=1):
        counts = found.counts(members)
        for chosen, row in zip(members, counts, strict=True):
            expected = Counter(g for text, kept in zip(texts, chosen, strict=True) if kept for g in naive(text, n))
            assert sorted(row[row > 0]) == sorted(expected.values())
        assert found.totals.tolist() == [len(naive(text, n)) for text in texts]


@given(TEXTS)
def test_repetition_and_variety_are_those_of_loops(texts: list[list[str]]) -> None:
    found = grams(texts, 4)

    def rep(text: list[str], n: int) -> float:
        every = naive(text, n)
        return 1 - len(set(every)) / len(every) if every else 0.0

    for n in (2, 3, 4):
        np.testing.assert_allclose(repetition(found[n - 1]), [rep(text, n) for text in texts])
    expected = [math.prod(1 - rep(text, n) for n in (2, 3, 4)) for text in texts]
    np.testing.assert_allclose(variety(found), expected)


def naive_js(p: Counter, q: Counter) -> float:
    if not sum(p.values()) or not sum(q.values()):
        return float(sum(p.values()) != sum(q.values()))
    total = 0.0
    for key in {*p, *q}:
        a, b = p[key] / sum(p.values()), q[key] / sum(q.values())
        middle = (a + b) / 2
        total += sum(x / 2 * math.log2(x / middle) for x in (a, b) if x)
    return total


@given(TEXTS, TEXTS, SUBSETS)
def test_divergence_is_that_of_loops(real: list[list[str]], made: list[list[str]], seed: int) -> None:
    members = members_of(len(made), seed)
    found = ngram_js(real, made, members)
    for n in (1, 2, 3, 4):
        truth = Counter(g for text in real for g in naive(text, n))
        for b, chosen in enumerate(members):
            told = Counter(g for text, kept in zip(made, chosen, strict=True) if kept for g in naive(text, n))
            assert found[n - 1, b] == pytest.approx(naive_js(truth, told), abs=1e-12)


@given(TEXTS, st.permutations(range(6)))
def test_order_of_texts_means_nothing(texts: list[list[str]], order: list[int]) -> None:
    moved = [texts[i] for i in order if i < len(texts)]
    one, other = (ngram_js(texts, group, everyone(len(texts))) for group in (texts, moved))
    np.testing.assert_allclose(one, other, atol=1e-12)
    for a, b in zip(grams(texts, 4), grams(moved, 4), strict=True):
        assert entropy(a.counts(everyone(len(texts)))) == pytest.approx(entropy(b.counts(everyone(len(texts)))))


def test_equal_texts_are_equal_and_disjoint_ones_are_not() -> None:
    one, other = [list("abcab")], [list("xyzzy")]
    assert ngram_js(one, one, everyone(1)).tolist() == [[0.0]] * 4
    assert ngram_js(one, other, everyone(1)) == pytest.approx(np.ones((4, 1)))


@given(st.integers(1, 40), st.integers(1, 60), st.integers(1, 3), SUBSETS)
def test_ead_is_the_formula(words: int, length: int, n: int, seed: int) -> None:
    text = [str(w) for w in np.random.default_rng(seed).integers(words, size=length)]
    found = grams([text], n)[n - 1]
    every = naive(text, n)
    value = float(expected_distinct(found, n, words, everyone(1))[0])
    if not every:
        assert value == 0
    else:
        kinds = words**n
        assert value == pytest.approx(len(set(every)) / (kinds * (1 - ((kinds - 1) / kinds) ** len(every))), rel=1e-6)


def test_even_draws_have_an_ead_of_one_whatever_their_number() -> None:
    rng = np.random.default_rng(0)
    for length in (50, 500, 5000):
        values = [
            expected_distinct(grams([[str(w) for w in rng.integers(200, size=length)]], 1)[0], 1, 200, everyone(1))[0]
            for _ in range(20)
        ]
        assert np.mean(values) == pytest.approx(1, abs=0.02)


def test_entropy_in_bits() -> None:
    counts = np.array([[1.0, 1.0, 1.0, 1.0], [4.0, 0.0, 0.0, 0.0], [2.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert entropy(counts).tolist() == [2.0, 0.0, 1.5, 0.0]


def test_nothing_written_has_defined_values() -> None:
    found = grams([[], [], ["a"]], 4)
    members = everyone(3)
    assert [one.totals.sum() for one in found] == [1, 0, 0, 0]
    assert variety(found).tolist() == [1, 1, 1]
    assert expected_distinct(found[1], 2, 5, members).tolist() == [0]
    assert ngram_js([["a"]], [[]], everyone(1)).tolist() == [[1.0], [0.0], [0.0], [0.0]]
    assert grams([], 3)[2].counts(np.ones((1, 0), dtype=bool)).shape == (1, 0)
    assert js(np.zeros(0), np.zeros((2, 0))).tolist() == [0, 0]
    assert mean_over(np.array([1.0, 3.0]), np.array([[True, True], [False, True]])).tolist() == [2, 3]
