import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maestune.errors import MetricError
from maestune.quality.text.byte_lm import BEGIN, Reader, fit_reader, mean_states, surprise

SMALL = 6e9  # multiply-adds: a second or two


Prose = Callable[..., str]


@pytest.fixture(scope="module")
def reader(prose: Prose) -> Reader:
    return fit_reader(prose(200), torch.Generator().manual_seed(0), SMALL)


def by_hand(reader: Reader, begun: str, made: str) -> tuple[np.ndarray, float]:
    """One text alone, byte after byte: the mean of its states, and the nats of what was made."""
    signs = list((BEGIN + begun + made).encode())
    state, states, nats = None, [], 0.0
    for place, sign in enumerate(signs):
        out, state = reader.memory(reader.embedding(torch.tensor([[sign]])), state)
        states.append(out[0, 0].double().numpy())
        if place + 1 < len(signs) and place + 1 > len(begun.encode()):
            log_chances = torch.log_softmax(reader.head(out[0, 0]).double(), 0)
            nats -= float(log_chances[signs[place + 1]])
    return np.mean(states, axis=0), nats


TEXTS = st.lists(st.text(max_size=20), min_size=1, max_size=5)


@given(TEXTS, TEXTS)
@settings(max_examples=25)
def test_texts_read_together_are_read_as_each_alone(reader: Reader, begun: list[str], made: list[str]) -> None:
    n = min(len(begun), len(made))
    begun, made = begun[:n], made[:n]
    nats, states = surprise(reader, begun, made), mean_states(reader, made)
    for row in range(n):
        assert nats[row] == pytest.approx(by_hand(reader, begun[row], made[row])[1], rel=1e-4, abs=1e-4)
        np.testing.assert_allclose(states[row], by_hand(reader, "", made[row])[0], atol=1e-5)


def test_it_has_learnt_to_read(reader: Reader, prose: Prose) -> None:
    other = prose(20, seed=1)
    bits = float(surprise(reader, [""], [other])[0]) / math.log(2) / len(other)
    assert bits < 2.5  # eight without learning, and some four by the frequencies of letters alone
    shuffled = "".join(np.random.default_rng(0).permutation(list(other)))
    assert float(surprise(reader, [""], [shuffled])[0]) > 1.5 * float(surprise(reader, [""], [other])[0])


def test_nothing_costs_nothing(reader: Reader) -> None:
    assert surprise(reader, ["The river", ""], ["", ""]).tolist() == [0, 0]
    assert np.isfinite(mean_states(reader, ["", "\udc80"])).all()


def test_same_seed_same_reader_and_no_global_randomness(prose: Prose) -> None:
    before = torch.get_rng_state()
    text = prose(20)
    one, again, other = (fit_reader(text, torch.Generator().manual_seed(seed), 2e8) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.fingerprint == again.fingerprint != other.fingerprint


def test_hardly_any_text() -> None:
    generator = torch.Generator().manual_seed(0)
    assert np.isfinite(surprise(fit_reader("ab", generator, 1e8), [""], ["ab"])).all()
    with pytest.raises(MetricError, match="cannot learn from 1 bytes"):
        fit_reader("a", generator)
