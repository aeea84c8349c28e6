"""The transformer against a plain one, and what a language model must keep to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lm_reference import FAMILY, SPEC, config_of, model_of, reference, rng, tokens_of
from torch import Tensor, nn
from torch.func import functional_call, vmap

from maestune.errors import SettingsError
from maestune.families.lm.networks import (
    ACTIVATIONS,
    Cache,
    Feedforward,
    Norm,
    Passing,
    Transformer,
    causal_mask,
    rotary_turns,
    rotated,
)

VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"positions": "rotary"},
    {"norm": "rms"},
    {"qk_norm": "rms"},
    {"head": "untied"},
    {"positions": "rotary", "qk_norm": "rms", "norm": "rms", "head": "untied", "activation": "swiglu", "heads": 1},
    *({"activation": name} for name in ACTIVATIONS),
)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def named(values: dict[str, Any]) -> str:
    return "-".join(map(str, values.values())) or "centre"


def scrambled(network: Transformer) -> Transformer:
    """With gains that are not 1."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("gain"):
                parameter.uniform_(0.5, 1.5, generator=rng(7))
    return network


@pytest.mark.parametrize("values", VARIANTS, ids=named)
def test_the_network_is_the_plain_one(values: dict[str, Any]) -> None:
    model, config = model_of(**values)
    network = scrambled(model.network)
    tokens = tokens_of(2, 9)
    logits = network(tokens)
    assert logits.shape == (2, 9, SPEC.tokens)
    assert logits.std() > 0.1  # not a comparison of zeros
    for row, text in zip(logits, tokens.tolist(), strict=True):
        torch.testing.assert_close(row, reference(network, config, text), rtol=1e-9, atol=1e-10)


def test_a_block_is_that_of_pytorch() -> None:
    model, _ = model_of(width=24, heads=3)
    block = scrambled(model.network).blocks[0]
    theirs = nn.TransformerEncoderLayer(
        24, 3, 96, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, bias=False
    )
    ours = dict(block.named_parameters())
    with torch.no_grad():
        for name, weight in {
            "self_attn.in_proj_weight": ours["attention.inputs.weight"],
            "self_attn.out_proj.weight": ours["attention.output.weight"],
            "linear1.weight": ours["feedforward.inputs.weight"],
            "linear2.weight": ours["feedforward.output.weight"],
            "norm1.weight": ours["norm_1.gain"],
            "norm2.weight": ours["norm_2.gain"],
        }.items():
            theirs.get_parameter(name).copy_(weight)
    x = torch.randn(2, 7, 24, generator=rng())
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    passing = Passing(0, None, causal_mask(0, 7, x), [], 0.0)
    torch.testing.assert_close(block(x, passing, None), theirs(x, src_mask=mask, is_causal=True))


@pytest.mark.parametrize("values", VARIANTS, ids=named)
def test_the_future_does_not_change_the_past(values: dict[str, Any]) -> None:
    network = model_of(**values)[0].network
    tokens = tokens_of(1, 10)
    changed = tokens.clone()
    changed[0, 6] = (tokens[0, 6] + 1) % SPEC.tokens
    before, after = network(tokens), network(changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert ((before - after).abs().amax(2)[0, 6:] > 1e-6).all()  # but the present and what follows


@pytest.mark.parametrize("start", [0, 5])
def test_rotary_angles_are_a_product_of_complex_numbers(start: int) -> None:
    x = torch.randn(2, 6, 3, 8, generator=rng())
    turns = rotary_turns(start, 6, 8, x)
    rates = 10_000.0 ** (-torch.arange(4) / 4)
    phases = torch.polar(torch.ones(6, 4), torch.arange(start, start + 6)[:, None] * rates)
    expected = torch.complex(x[..., :4], x[..., 4:]) * phases[None, :, None]
    torch.testing.assert_close(rotated(x, *turns), torch.cat((expected.real, expected.imag), -1))


def test_rotary_attention_depends_on_distances_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, generator=rng()).unbind(0)

    def logit(i: int, j: int) -> Tensor:
        return (rotated(q, *rotary_turns(i, 1, 8, q)) * rotated(k, *rotary_turns(j, 1, 8, k))).sum()

    torch.testing.assert_close(logit(9, 4), logit(5, 0))
    assert abs(logit(9, 4) - logit(9, 5)) > 1e-3


def test_norms_are_those_of_pytorch() -> None:
    x = torch.randn(4, 6, generator=rng())
    gain = torch.rand(6, generator=rng(1))
    for kind, theirs in (("layer", nn.functional.layer_norm), ("rms", nn.functional.rms_norm)):
        norm = Norm(kind, 6)
        norm.gain = nn.Parameter(gain)
        torch.testing.assert_close(norm(x), theirs(x, (6,), gain, eps=1e-5))


@pytest.mark.parametrize("width", [16, 64, 96, 128, 192, 256])
def test_a_gate_costs_no_more(width: int) -> None:
    sizes = {name: sum(p.numel() for p in Feedforward(width, name).parameters()) for name in ACTIVATIONS}
    assert len({size for name, size in sizes.items() if name != "swiglu"}) == 1
    assert 0.93 * sizes["gelu"] < sizes["swiglu"] <= sizes["gelu"]


def test_tied_weights_are_one_parameter_with_the_gradients_of_both_uses() -> None:
    tied, _ = model_of()
    untied, _ = model_of(head="untied")
    names = [name for name, _ in tied.network.named_parameters(remove_duplicate=False)]
    assert "head" not in names
    assert set(dict(untied.network.named_parameters())) == {*names, "head"}
    assert untied.network.head is not None
    with torch.no_grad():
        for name, parameter in tied.network.named_parameters():
            untied.network.get_parameter(name).copy_(parameter)
        untied.network.head.copy_(tied.network.embedding)
    tokens = tokens_of(3, 8)
    (one,) = torch.autograd.grad(tied.network(tokens).square().sum(), [tied.network.embedding])
    two = torch.autograd.grad(untied.network(tokens).square().sum(), [untied.network.embedding, untied.network.head])
    torch.testing.assert_close(one, two[0] + two[1])


def test_dropout_sits_where_it_should_and_keeps_the_mean() -> None:
    network = model_of()[0].network
    tokens = tokens_of(3, 8)
    ones = [torch.ones(3, 8, 16)] * network.dropouts
    assert network.dropouts == 5
    assert torch.equal(network(tokens, ones, 0.0), network(tokens))
    for i in range(network.dropouts):  # each of them is used
        some = [u.clone() for u in ones]
        some[i][1] = 0.0
        moved = (network(tokens, some, 0.3) - network(tokens, ones, 0.3)).abs().amax((1, 2))
        assert moved[1] > 1e-4
        assert moved[0] == moved[2] == 0
    # All dropped behind the embedding and in the blocks: nothing is left of the text.
    nothing = network(tokens, [torch.zeros(3, 8, 16)] * network.dropouts, 0.5)
    assert torch.equal(nothing, torch.zeros_like(nothing))


def test_initial_weights_are_as_gpt_2_has_them() -> None:
    network = model_of(layers=8, width=128, init=0.02)[0].network
    for name, parameter in network.named_parameters():
        if name.endswith("gain"):
            assert torch.equal(parameter, torch.ones_like(parameter))
        else:
            spread = 0.02 / math.sqrt(16) if name.endswith("output.weight") else 0.02
            assert parameter.std().item() == pytest.approx(spread, rel=0.05)
            assert abs(parameter.mean().item()) < 4 * spread / math.sqrt(parameter.numel())


def test_weights_come_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    (a, _), (b, _), (c, _) = (model_of(seed, ema=0.9) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name])
        assert name.endswith("gain") or not torch.equal(tensor, c.state_dict()[name])
    assert a.average is not None
    assert all(torch.equal(a.network.get_parameter(n), p) for n, p in a.average.named_parameters())
    assert a.sampler is a.average
    assert model_of()[0].average is None


@pytest.mark.parametrize("values", [{"width": 18, "heads": 4}, {"width": 12, "heads": 4, "positions": "rotary"}])
def test_heads_that_do_not_fit_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"heads: 4.*width of 1"):
        model_of(**values)


def test_every_width_of_the_space_bears_every_number_of_heads() -> None:
    space = FAMILY.space(SPEC)
    for width in space["width"].values:  # type: ignore[union-attr]
        for heads in space["heads"].values:  # type: ignore[union-attr]
            FAMILY.build(config_of(width=width, heads=heads, positions="rotary"), SPEC, rng())


@pytest.mark.parametrize("values", VARIANTS, ids=named)
def test_tokens_one_by_one_with_a_cache_are_all_at_once(values: dict[str, Any]) -> None:
    network = model_of(**values)[0].network
    tokens = tokens_of(2, 12)
    whole = network(tokens)
    for first in (1, 5):
        caches = [Cache() for _ in network.blocks]
        found = [network(tokens[:, :first], caches=caches)]
        found += [network(tokens[:, t : t + 1], start=t, caches=caches) for t in range(first, 10)]
        found.append(network(tokens[:, 10:], start=10, caches=caches))  # two at once
        torch.testing.assert_close(torch.cat(found, 1), whole, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("values", VARIANTS, ids=named)
def test_many_members_at_once_are_each_by_itself(values: dict[str, Any]) -> None:
    networks = [model_of(seed, **values)[0].network for seed in range(3)]
    stacked = {
        n: torch.stack([dict(m.named_parameters())[n] for m in networks]) for n, _ in networks[0].named_parameters()
    }
    tokens = tokens_of(2, 8)
    together = vmap(lambda weights: functional_call(networks[0], weights, (tokens,)))(stacked)
    for member, network in zip(together, networks, strict=True):
        torch.testing.assert_close(member, network(tokens), rtol=1e-11, atol=1e-12)
