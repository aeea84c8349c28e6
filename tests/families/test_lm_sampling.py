"""How text is drawn: every filter against a naive one, the cache against none, the draw against its distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lm_reference import FAMILY, SPEC, model_of, rng, tokens_of
from torch import Tensor
from torch.func import functional_call, vmap

from maestune.families.lm import sampling
from maestune.families.lm.family import OFF, SAMPLE_TOKENS
from maestune.families.lm.networks import Transformer

KINDS = 7
# Hundredths: what differs by rounding alone is equal to one and not to the other.
LOGITS = st.lists(st.integers(-800, 800).map(lambda i: i / 100), min_size=KINDS, max_size=KINDS, unique=True)
ALL: dict[str, float] = {
    "temperature": 0.7, "top_k": 6.0, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.95, "repetition_penalty": 1.3
}  # fmt: skip


def chances_of(logits: list[float]) -> list[float]:
    whole = sum(math.exp(value) for value in logits)
    return [math.exp(value) / whole for value in logits]


def fewest(order: list[int], chances: list[float], p: float) -> set[int]:
    """The first of an order that together have at least p."""
    kept: set[int] = set()
    mass = 0.0
    for token in order:
        if kept and mass >= p:
            break
        kept.add(token)
        mass += chances[token]
    return kept


def naive_top_k(logits: list[float], k: float) -> set[int]:
    return set(sorted(range(len(logits)), key=lambda i: -logits[i])[: int(k)])


def naive_top_p(logits: list[float], p: float) -> set[int]:
    chances = chances_of(logits)
    return fewest(sorted(range(len(logits)), key=lambda i: -chances[i]), chances, p)


def naive_min_p(logits: list[float], share: float) -> set[int]:
    chances = chances_of(logits)
    return {i for i, chance in enumerate(chances) if chance >= share * max(chances)}


def naive_typical_p(logits: list[float], p: float) -> set[int]:
    chances = chances_of(logits)
    entropy = -sum(c * math.log(c) for c in chances)
    return fewest(sorted(range(len(logits)), key=lambda i: abs(-math.log(chances[i]) - entropy)), chances, p)


@pytest.mark.parametrize(
    ("ours", "naive", "numbers"),
    [
        (sampling.top_k, naive_top_k, [1.0, 2.0, 5.0, 7.0, 100.0]),
        (sampling.top_p, naive_top_p, [0.05, 0.3, 0.7, 0.95]),
        (sampling.min_p, naive_min_p, [0.01, 0.1, 0.5, 1.0]),
        (sampling.typical_p, naive_typical_p, [0.05, 0.3, 0.7, 0.95]),
    ],
    ids=["top_k", "top_p", "min_p", "typical_p"],
)
@given(rows=st.lists(LOGITS, min_size=1, max_size=4), data=st.data())
def test_filters_are_the_naive_ones(
    ours: Callable[[Tensor, Any], Tensor],
    naive: Callable[[list[float], float], set[int]],
    numbers: list[float],
    rows: Any,
    data: Any,
) -> None:
    number = data.draw(st.sampled_from(numbers))
    logits = torch.tensor(rows, dtype=torch.float64)
    for told in (number, torch.tensor(number, dtype=torch.float64)):
        kept = ours(logits, told)
        for row, found in zip(rows, kept.tolist(), strict=True):
            assert {i for i, keep in enumerate(found) if keep} == naive(row, number)


def test_equals_of_the_last_that_is_kept_are_kept() -> None:
    logits = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    for keep, number in ((sampling.top_k, 2), (sampling.top_p, 0.5)):
        assert keep(logits, number).tolist() == [[True, True, True, False]]


def test_what_an_earlier_filter_took_is_not_given_back() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
    for second in ("top_p", "min_p", "typical_p"):
        shaped = sampling.shaped(logits, {"top_k": 2.0, second: 1.0 if second != "min_p" else 0.0})
        assert torch.isneginf(shaped).tolist() == [[False, False, True, True, True]], second
    # The second filter sees the probabilities of what the first has left: 0.73 and 0.27.
    assert torch.isfinite(sampling.shaped(logits, {"top_k": 2.0, "top_p": 0.72})).sum() == 1
    assert torch.isfinite(sampling.shaped(logits, {"top_k": 2.0, "top_p": 0.74})).sum() == 2


def test_temperature_divides_and_zero_takes_the_likeliest() -> None:
    logits = torch.randn(5, KINDS, generator=rng(), dtype=torch.float64)
    torch.testing.assert_close(
        torch.softmax(sampling.shaped(logits, {"temperature": 0.5}), 1), torch.softmax(logits * 2.0, 1)
    )
    cold = sampling.shaped(logits, {"temperature": 0.0})
    for uniform in (0.0, 0.5, 1.0 - 2**-24):
        assert torch.equal(sampling.drawn(cold, torch.full((5,), uniform, dtype=torch.float64)), logits.argmax(1))
    assert torch.equal(sampling.shaped(logits, {}), logits)


def test_what_was_seen_is_penalised() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    seen = torch.tensor([[True, True, False, False]])
    assert sampling.shaped(logits, {"repetition_penalty": 2.0}, seen).tolist() == [[1.0, -4.0, 2.0, -2.0]]
    assert sampling.counted(torch.tensor([[2, 0, 2]]), 4).tolist() == [[True, False, True, False]]


@given(LOGITS)
def test_draws_follow_the_distribution(row: list[float]) -> None:
    logits = torch.tensor([row], dtype=torch.float64)
    n = 4000
    uniforms = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    shares = torch.bincount(sampling.drawn(logits.expand(n, -1), uniforms), minlength=KINDS) / n
    torch.testing.assert_close(shares.double(), torch.softmax(logits[0], 0), rtol=0, atol=1.01 / n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_filtered_out_is_never_drawn(dtype: torch.dtype) -> None:
    logits = torch.full((3, 5), -math.inf, dtype=dtype)
    logits[0, 2] = logits[1, 0] = logits[2, 1:3] = 0.3
    for uniform in (0.0, 0.3, 1.0 - 2**-24, 1.0 - 2**-53):
        tokens = sampling.drawn(logits, torch.full((3,), uniform, dtype=dtype)).tolist()
        assert tokens[:2] == [2, 0]
        assert tokens[2] in (1, 2)


def uncached(network: Transformer, hyper: dict[str, float], prompt: Tensor, uniforms: Tensor) -> Tensor:
    """The same by reading everything anew for every token."""
    text, context = prompt, network.context
    begin = 0 if prompt.shape[1] <= context else prompt.shape[1] - context // 2
    for uniform in uniforms.unbind(1):
        if text.shape[1] - begin > context:
            begin = text.shape[1] - context // 2
        seen = sampling.counted(text, SPEC.tokens)
        logits = sampling.shaped(network(text[:, begin:])[:, -1], hyper, seen)
        text = torch.cat((text, sampling.drawn(logits, uniform)[:, None]), 1)
    return text


@pytest.mark.parametrize("length", [1, 5, 12, 13, 30])
@pytest.mark.parametrize("hyper", [{"temperature": 0.0}, {}, ALL], ids=["argmax", "plain", "all"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_the_cache_changes_nothing(length: int, hyper: dict[str, float], positions: str) -> None:
    network = model_of(positions=positions, qk_norm="rms")[0].network.double()
    prompt = tokens_of(4, length)
    uniforms = torch.rand(4, 40, generator=rng(), dtype=torch.float64)
    text = sampling.generate(network, hyper, prompt, uniforms)
    assert torch.equal(text, uncached(network, hyper, prompt, uniforms))
    assert text.shape == (4, length + 40)
    assert torch.equal(text[:, :length], prompt)
    assert len({tuple(row) for row in text.tolist()}) == 4


def test_every_number_of_sampling_changes_what_is_drawn() -> None:
    model, config = model_of()
    noise = {"prompt": tokens_of(20, 5), "uniform": torch.rand(20, 30, generator=rng())}
    plain = FAMILY.generate(model, FAMILY.hyper(config.with_(**OFF), 1.0), noise)
    for name, value in {**ALL, "min_p": 0.3, "top_k": 2.0, "typical_p": 0.5}.items():
        hyper = FAMILY.hyper(config.with_(**{**OFF, name: value}), 1.0)
        assert hyper == {name: value}
        assert not torch.equal(FAMILY.generate(model, hyper, noise), plain), name
        off = FAMILY.hyper(config.with_(**OFF), 1.0)
        assert off == {}


def test_greedy_text_is_what_the_network_finds_likeliest() -> None:
    model, config = model_of()
    hyper = FAMILY.hyper(config.with_(temperature=0.0), 1.0)
    text = FAMILY.generate(model, hyper, {"prompt": tokens_of(3, 2), "uniform": torch.rand(3, 8, generator=rng())})
    likeliest = model.network(text[:, :-1]).argmax(2)
    assert torch.equal(likeliest[:, 1:], text[:, 2:])


def test_generating_is_pure_and_does_not_depend_on_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = model_of(ema=0.9)
    assert model.average is not None
    hyper = FAMILY.hyper(config, 1.0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    noise = {"prompt": tokens_of(9, 4), "uniform": torch.rand(9, 30, generator=rng())}
    whole = FAMILY.generate(model, hyper, noise)
    monkeypatch.setattr("maestune.families.lm.family.CACHE_VALUES", 1)  # one by one
    assert torch.equal(FAMILY.generate(model, hyper, noise), whole)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert whole.dtype == torch.int64
    assert 0 <= int(whole.min()) <= int(whole.max()) < SPEC.tokens
    with torch.no_grad():  # drawn from the average
        model.network.embedding.zero_()
    assert torch.equal(FAMILY.generate(model, hyper, noise), whole)


def test_without_a_prompt_text_follows_token_0() -> None:
    model, config = model_of()
    draws = FAMILY.latents(config, SPEC, 5)
    assert draws["uniform"].shape == (5, SAMPLE_TOKENS)
    text = FAMILY.generate(
        model, FAMILY.hyper(config, 1.0), {"uniform": torch.rand(draws["uniform"].shape, generator=rng())}
    )
    assert text.shape == (5, 1 + SAMPLE_TOKENS)
    assert (text[:, 0] == 0).all()


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_many_members_draw_what_each_draws_alone(positions: str) -> None:
    models = [model_of(seed, positions=positions)[0].double() for seed in range(3)]
    numbers = [{name: value * factor for name, value in ALL.items()} for factor in (1.0, 0.8, 1.1)]
    noise = {"prompt": tokens_of(4, 5), "uniform": torch.rand(4, 30, generator=rng(), dtype=torch.float64)}
    stacked = {n: torch.stack([dict(m.named_parameters())[n] for m in models]) for n, _ in models[0].named_parameters()}
    hyper = {name: torch.tensor([row[name] for row in numbers], dtype=torch.float64) for name in ALL}

    class Call(torch.nn.Module):
        """`functional_call` calls modules; here it is the family that is called with one."""

        def __init__(self) -> None:
            super().__init__()
            self.model = models[0]

        def forward(self, hyper: Any) -> Tensor:
            return FAMILY.generate(self.model, hyper, noise)

    def one(weights: dict[str, Tensor], hyper: dict[str, Tensor]) -> Tensor:
        return functional_call(Call(), {f"model.{name}": tensor for name, tensor in weights.items()}, (hyper,))

    together = vmap(one)(stacked, hyper)
    for text, model, row in zip(together, models, numbers, strict=True):
        assert torch.equal(text, FAMILY.generate(model, row, noise))
