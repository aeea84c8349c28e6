import math

import numpy as np
import pytest

from maestune.quality.interval import half_samples
from maestune.quality.metric import everyone
from maestune.quality.text import TextModels
from maestune.quality.text.byte_lm import surprise
from maestune.quality.text.copying import Known
from maestune.quality.text.oracle_metrics import (
    NOVELTY,
    Copies,
    alikeness,
    bits_per_character,
    is_clear,
    likeness,
    pairing,
    pairings_of,
)
from maestune.quality.text.texts import Texts, pooled


def naive_pairing(one: np.ndarray, other: np.ndarray) -> float:
    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    n = len(one)
    own = np.mean([cosine(one[i], other[i]) for i in range(n)])
    across = np.mean([cosine(one[i], other[j]) for i in range(n) for j in range(n) if i != j])
    return float(own - across)


def test_pairing_is_that_of_loops() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(12, 5)), rng.normal(size=(12, 5))
    members = np.stack([np.ones(12, dtype=bool), rng.random(12) < 0.5])
    found = pairing(alikeness(one, other), members)
    for value, chosen in zip(found, members, strict=True):
        assert value == pytest.approx(naive_pairing(one[chosen], other[chosen]))


def test_real_pairs_are_clear_and_shuffled_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    topics = rng.normal(size=(60, 5))
    one, other = (topics + rng.normal(size=(60, 5)) for _ in range(2))
    assert is_clear(alikeness(one, other))
    assert not is_clear(alikeness(one, other[rng.permutation(60)]))
    assert not is_clear(np.ones((2, 2)))
    assert pairing(alikeness(one, np.zeros((60, 5))), everyone(60))[0] == 0


def test_likeness_is_one_like_real_and_zero_like_shuffled() -> None:
    assert likeness(np.array([0.3, 0.0, 0.6, -0.3]), 0.3) == pytest.approx([1, 0, 0, -1])


def test_cost_is_pooled_over_characters(prose_models: TextModels) -> None:
    begun, made = ("The ", "", "x"), ("river sees the garden.", "zq zq", "")
    texts = Texts(begun, made, prose_models)
    nats = surprise(prose_models.oracle, begun, made)
    members = np.array([[True, True, True], [True, False, True], [False, False, True]])
    expected = [nats.sum() / 27, nats[0] / 22, 0.0]
    assert bits_per_character(texts, members) == pytest.approx(np.array(expected) / math.log(2))
    assert pooled(np.ones(3), np.zeros(3), members).tolist() == [0, 0, 0]


def test_texts_with_nothing_in_them_have_no_pairings(prose_models: TextModels) -> None:
    empty = Texts(("",) * 8, ("",) * 8, prose_models)
    found = pairings_of(empty)
    assert (found.prompt, found.long) == (None, None)
    assert empty.embedded.shape == empty.ends[0].shape
    assert [one.totals.sum() for one in empty.word_grams] == [0, 0, 0, 0]


@pytest.mark.parametrize("usual", [0.0, 0.03])
@pytest.mark.parametrize(("share", "part"), [(0.005, 1.0), (0.03, 1.0), (0.1, 0.5), (0.5, 1.0), (1.0, 0.4)])
def test_the_interval_of_novelty_holds_the_expected_value(
    share: float, part: float, usual: float, prose_models: TextModels
) -> None:
    # Of some texts a part is copied; how much of all is, varies with which texts were drawn.
    rng = np.random.default_rng(0)
    n, held, values = 100, [], []
    members = np.concatenate([everyone(n), half_samples(n, rng)])
    copies, texts = Copies(Known.of(""), usual), Texts(("",) * n, ("",) * n, prose_models)
    assert NOVELTY.intervals is not None
    for _ in range(200):
        lengths = rng.integers(100, 160, n).astype(np.float64)
        copied = pooled(lengths * part * (rng.random(n) < share), lengths, members)
        found = 1.0 - np.clip((copied - usual) / (1.0 - usual), 0.0, 1.0)
        held.append(NOVELTY.intervals(copies, texts, {"text_novelty": found})["text_novelty"])
        values.append(found[0])
    expected = np.mean(values)
    assert np.mean([low - 1e-9 <= expected <= high + 1e-9 for low, high in held]) >= 0.88
