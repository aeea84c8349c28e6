import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.quality.metric import everyone
from maestune.quality.text.bleu import self_bleu
from maestune.quality.text.ngrams import grams

TEXTS = st.lists(st.lists(st.sampled_from("abcd"), max_size=12), min_size=1, max_size=6)


def naive_bleu(references: list[list[str]], text: list[str]) -> float:
    """Sentence BLEU-4 as nltk defines it, with its smoothing method 1."""

    def every(words: list[str], n: int) -> Counter:
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    logs = 0.0
    for n in (1, 2, 3, 4):
        counts = every(text, n)
        best: Counter = Counter()
        for reference in references:
            best |= every(reference, n)
        hits = sum(min(count, best[gram]) for gram, count in counts.items())
        if n == 1 and not hits:
            return 0.0
        logs += math.log((hits or 0.1) / max(1, sum(counts.values()))) / 4
    nearest = min((len(r) for r in references), key=lambda length: (abs(length - len(text)), length))
    penalty = 1.0 if len(text) > nearest else math.exp(1 - nearest / len(text))
    return penalty * math.exp(logs)


def naive_self_bleu(texts: list[list[str]]) -> float:
    if len(texts) < 2:
        return 0.0
    return sum(naive_bleu(texts[:i] + texts[i + 1 :], text) for i, text in enumerate(texts)) / len(texts)


@given(TEXTS, st.integers(0, 2**32 - 1))
def test_it_is_the_mean_bleu_of_each_with_all_others(texts: list[list[str]], seed: int) -> None:
    members = np.random.default_rng(seed).random((4, len(texts))) < 0.6
    members[:, 0] = True
    found = self_bleu(grams(texts, 4), members)
    expected = [naive_self_bleu([t for t, kept in zip(texts, chosen, strict=True) if kept]) for chosen in members]
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-12)


def test_against_nltk() -> None:
    translate = pytest.importorskip("nltk.translate.bleu_score")
    rng = np.random.default_rng(0)
    texts = [[str(w) for w in rng.integers(8, size=rng.integers(4, 15))] for _ in range(12)]
    smooth = translate.SmoothingFunction().method1
    expected = np.mean(
        [
            translate.sentence_bleu(texts[:i] + texts[i + 1 :], text, smoothing_function=smooth)
            for i, text in enumerate(texts)
        ]
    )
    assert self_bleu(grams(texts, 4), everyone(12))[0] == pytest.approx(expected)


def test_identical_texts_copy_each_other_and_different_ones_do_not() -> None:
    same = [list("abcdefgh")] * 5
    assert self_bleu(grams(same, 4), everyone(5))[0] == pytest.approx(1)
    different = [[f"{i}{j}" for j in range(8)] for i in range(5)]
    assert self_bleu(grams(different, 4), everyone(5))[0] == 0
    assert self_bleu(grams([[], [], []], 4), everyone(3))[0] == 0
