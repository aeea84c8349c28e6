"""Transformer, U-Net, encoder of captions, and guidance, each against a formula of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.data import DataSpec
from maestune.families.flow.attention import Attention
from maestune.families.flow.dit import DiT, modulated
from maestune.families.flow.networks import VelocityNetwork, fill, guided, make_network, time_features
from maestune.families.flow.space import flow_space
from maestune.families.flow.text import Condition, Conditioner, LabelTable, TextEncoder, joined
from maestune.families.flow.unet import ResidualBlock, UNet, unet_channels
from maestune.families.layers import initialise


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed))


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@torch.no_grad()
def stirred(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every weight a random number: nothing hides behind a weight that begins at 0."""
    generator = rng(seed)
    for parameter in module.parameters():
        parameter.normal_(0.0, 0.3, generator=generator)
    return module


CAPTIONED, LABELLED = DataSpec((1, 8, 8), 10, 12, 5), DataSpec((1, 8, 8), 10)


def network_of(kind: str = "dit", spec: DataSpec = CAPTIONED, **values: object) -> VelocityNetwork:
    small = {"width": 16, "text_width": 8, "depth": 2} if spec.words else {"width": 16, "depth": 2}
    config = flow_space(spec, kind).centre().with_(**{**small, **values})  # type: ignore[arg-type]
    with torch.device("meta"):
        network = make_network(config, spec)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(math.nan)  # what is not filled is seen
    fill(network, rng())
    return network


# Attention and transformer --------------------------------------------------------------------------------------------


def test_attention_is_that_of_torch() -> None:
    ours, theirs = Attention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    stirred(ours)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x = normal(2, 5, 12)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    bias = torch.where(padding, -1e9, 0.0)
    torch.testing.assert_close(ours(x, bias=bias), theirs(x, x, x, key_padding_mask=padding)[0])


def test_attention_to_words_is_one_softmax_over_both() -> None:
    attention = Attention(8, 2, context=6)
    stirred(attention)
    x, words = normal(3, 4, 8), normal(3, 5, 6, seed=1)
    assert attention.context_kv is not None
    q, k, v = attention.qkv(x).chunk(3, 2)
    more_k, more_v = attention.context_kv(words).chunk(2, 2)
    heads = [
        F.scaled_dot_product_attention(
            *(t[..., part] for t in (q, torch.cat((k, more_k), 1), torch.cat((v, more_v), 1)))
        )
        for part in (slice(0, 4), slice(4, 8))
    ]
    torch.testing.assert_close(attention(x, words), attention.out(torch.cat(heads, 2)))
    # Of forbidden words nothing is seen.
    bias = torch.tensor([0.0] * 4 + [-1e9] * 5).expand(3, -1)
    torch.testing.assert_close(attention(x, words, bias), attention(x))


def test_patches_are_squares_and_go_back_to_where_they_were() -> None:
    net = DiT((2, 4, 6), 2, 8, 1, 2, 0)
    x = normal(3, 2, 4, 6)
    patches = net._patches(x)
    assert patches.shape == (3, 6, 8)
    torch.testing.assert_close(patches[1, 4], x[1, :, 2:4, 2:4].flatten())
    torch.testing.assert_close(net._image(patches), x)
    torch.testing.assert_close(patches.transpose(1, 2), F.unfold(x, 2, stride=2))


def test_a_modulated_norm_is_a_layer_norm_with_weights_from_outside() -> None:
    x, shift, scale = normal(2, 3, 8), normal(2, 8, seed=1), normal(2, 8, seed=2)
    for i in range(2):
        expected = F.layer_norm(x[i], (8,), 1.0 + scale[i], shift[i])
        torch.testing.assert_close(modulated(x, shift, scale)[i], expected)


def test_the_transformer_begins_as_the_identity() -> None:
    net = network_of().backbone
    assert isinstance(net, DiT)
    x, vector = normal(2, 1, 8, 8), normal(2, 16, seed=1)
    assert torch.equal(net(x, vector), torch.zeros_like(x))
    with torch.no_grad():
        net.out.weight.normal_(generator=rng())
    # Blocks still say nothing: what comes out is the norm of what went in.
    tokens = net.embed(net._patches(x)) + net.positions.weight
    expected = net._image(F.layer_norm(tokens, (16,)) @ net.out.weight.t())
    torch.testing.assert_close(net(x, vector), expected)


def test_a_block_is_that_of_the_paper() -> None:
    """Peebles & Xie 2023, figure 3, right: written out for one sample."""
    net = DiT((1, 4, 4), 2, 8, 1, 2, 0)
    stirred(net)
    block, x, modulation = net.blocks[0], normal(1, 4, 8), normal(1, 48, seed=1)
    shift1, scale1, gate1, shift2, scale2, gate2 = modulation[0].split(8)
    y = x + gate1 * block.attention(F.layer_norm(x, (8,)) * (1 + scale1) + shift1)  # type: ignore[operator]
    hidden = F.gelu(block.up(F.layer_norm(y, (8,)) * (1 + scale2) + shift2), approximate="tanh")  # type: ignore[operator]
    expected = y + gate2 * block.down(hidden)  # type: ignore[operator]
    torch.testing.assert_close(block(x, modulation, None, None, 0.0), expected)


# U-Net ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "channels"), [((1, 8, 8), 2), ((3, 28, 28), 3), ((1, 7, 9), 1), ((3, 128, 64), 4)])
def test_the_unet_gives_an_image_of_the_same_shape_and_begins_at_zero(
    shape: tuple[int, int, int], channels: int
) -> None:
    assert len(unet_channels(shape, 8)) == channels
    for depth in (1, 2):
        net = UNet(shape, 8, depth, 2, 6, 0)
        initialise(net, rng())
        assert net(normal(2, *shape), normal(2, 6)).shape == (2, *shape)
        stirred(net)
        x, vector = normal(2, *shape), normal(2, 6, seed=1)
        apart = torch.cat([net(x[i : i + 1], vector[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(net(x, vector), apart)  # samples do not see each other
        assert float((net(x, vector) - net(x, vector.flip(0))).detach().abs().max()) > 1e-3
    net = network_of("unet", DataSpec(shape), width=8, heads=2).backbone
    assert torch.equal(net(x, torch.randn(2, 16)), torch.zeros_like(x))


def test_a_residual_block_is_scaled_and_shifted_by_the_condition() -> None:
    block = ResidualBlock(8, 4, 6)
    stirred(block)
    x, vector, uniforms = normal(2, 8, 5, 5), normal(2, 6, seed=1), torch.rand(2, 4, 1, 1, generator=rng(2))
    scale, shift = block.film(vector).chunk(2, 1)
    y = F.conv2d(F.silu(F.group_norm(x, 8, block.norm_in.weight, block.norm_in.bias)), block.conv_in.weight, block.conv_in.bias, padding=1)  # fmt: skip
    y = F.group_norm(y, 4, block.norm_out.weight, block.norm_out.bias)
    y = F.silu(y * (1 + scale[..., None, None]) + shift[..., None, None]) * (uniforms >= 0.4) / 0.6
    assert block.past is not None
    expected = F.conv2d(x, block.past.weight, block.past.bias) + F.conv2d(y, block.conv_out.weight, block.conv_out.bias, padding=1)  # fmt: skip
    torch.testing.assert_close(block(x, vector, uniforms, 0.4), expected)


# Conditions -----------------------------------------------------------------------------------------------------------


def test_times_are_told_apart_by_cosines_and_sines() -> None:
    t = torch.tensor([0.0, 0.3, 1.0])
    found = time_features(t)
    for i, time in enumerate(t.tolist()):
        for j in range(32):
            angle = 1000 * time / 10_000 ** (j / 32)
            assert float(found[i, j]) == pytest.approx(math.cos(angle), abs=1e-9)
            assert float(found[i, 32 + j]) == pytest.approx(math.sin(angle), abs=1e-9)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_encoder_of_captions_ignores_padding(depth: int) -> None:
    encoder = TextEncoder(12, 6, 8, depth, 4, attended=True)
    stirred(encoder)
    caption = torch.tensor([[5, 6, 3, 0, 0, 0], [2, 0, 0, 0, 0, 0]])
    found = encoder(caption)
    torch.testing.assert_close(found.vector[0], encoder(caption[:1, :3]).vector[0])
    torch.testing.assert_close(found.vector[1], encoder(caption[1:, :1]).vector[0])
    assert found.bias is not None
    assert ((found.bias == 0) == (caption != 0)).all()
    gradient = torch.autograd.grad(found.vector.square().sum(), encoder.words.weight)[0]
    assert [bool(row.abs().max() > 0) for row in gradient] == [i in (2, 3, 5, 6) for i in range(12)]
    empty = encoder(torch.zeros(1, 6, dtype=torch.int64)).vector  # says nothing, and is a number
    torch.testing.assert_close(empty[0], encoder.out.bias)


def test_the_encoder_of_captions_without_blocks_is_a_mean_of_words() -> None:
    encoder = TextEncoder(12, 3, 8, 0, 4, attended=False)
    stirred(encoder)
    words = encoder.words.weight[[4, 7]] + encoder.positions.weight[:2]
    mean = F.layer_norm(words, (8,), encoder.norm.weight, encoder.norm.bias).mean(0)
    found = encoder(torch.tensor([[4, 7, 0]]))
    torch.testing.assert_close(found.vector[0], encoder.out(mean))
    assert found.words is None


def test_word_order_matters_with_blocks() -> None:
    encoder = TextEncoder(12, 3, 8, 1, 4, attended=False)
    stirred(encoder)
    one, other = encoder(torch.tensor([[4, 7, 2], [7, 4, 2]])).vector
    assert float((one - other).detach().abs().max()) > 1e-3


def test_what_is_dropped_is_what_nothing_is() -> None:
    encoder = TextEncoder(12, 4, 8, 1, 6, attended=True)
    conditioner = Conditioner(encoder, 6)
    stirred(conditioner)
    caption = torch.tensor([[5, 6, 0, 0], [2, 3, 4, 5], [7, 0, 0, 0]])
    dropped, plain, nothing = (
        conditioner(caption, torch.tensor([True, False, True])),
        encoder(caption),
        conditioner.of_nothing(3),
    )
    for found, kept, none in zip(dropped, plain, nothing, strict=True):
        torch.testing.assert_close(found[[0, 2]], none[[0, 2]])
        torch.testing.assert_close(found[1], kept[1])
    both = joined(plain, nothing)
    assert [None if t is None else len(t) for t in both] == [6, 6, 6]
    assert joined(Condition(normal(2, 3)), Condition(normal(1, 3))).words is None


def test_labels_are_rows_of_a_table() -> None:
    table = LabelTable(4, 3)
    stirred(table)
    torch.testing.assert_close(table(torch.tensor([2, 0])).vector, table.weight[[2, 0]])


# Guidance -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dit", "unet"])
@pytest.mark.parametrize("use", ["pooled", "attended"])
def test_guidance_goes_on_from_nothing_past_the_condition(kind: str, use: str) -> None:
    network = network_of(kind, caption_use=use)
    stirred(network)
    assert network.conditioner is not None
    x, caption, t = normal(3, 1, 8, 8), torch.tensor([[5, 6, 0, 0, 0], [2, 3, 4, 5, 1], [7, 0, 0, 0, 0]]), 0.3
    towards = network(x, torch.full((3,), t), network.conditioner(caption))
    anywhere = network(x, torch.full((3,), t), network.conditioner.of_nothing(3))
    assert float((towards - anywhere).detach().abs().max()) > 1e-3
    for guidance in (0.0, 1.0, 2.5):
        found = guided(network, caption, 3, guidance)(x, t)
        np.testing.assert_allclose(found.detach(), (anywhere + guidance * (towards - anywhere)).detach(), atol=1e-10)
    number, tensor = (guided(network, caption, 3, g)(x, t) for g in (1.0, torch.tensor(1.0)))
    torch.testing.assert_close(number, towards)
    torch.testing.assert_close(tensor, towards)
    torch.testing.assert_close(guided(network, None, 3, 4.0)(x, t), anywhere)


def test_one_pass_is_enough_without_guidance() -> None:
    network = network_of(spec=LABELLED)
    sizes: list[int] = []
    network.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    for guidance in (1.0, 2.0):
        guided(network, torch.tensor([1, 2, 3]), 3, guidance)(normal(3, 1, 8, 8), 0.5)
    assert sizes == [3, 6]


def test_without_labels_or_captions_there_is_nothing_to_guide() -> None:
    network = network_of(spec=DataSpec((1, 8, 8)))
    stirred(network)
    assert network.conditioner is None
    x = normal(3, 1, 8, 8)
    torch.testing.assert_close(guided(network, None, 3, 4.0)(x, 0.2), network(x, torch.full((3,), 0.2)))


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dit", "unet"])
def test_weights_come_from_the_generator_alone(kind: str) -> None:
    torch.manual_seed(1)
    one = network_of(kind, caption_use="attended").state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    other = network_of(kind, caption_use="attended").state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert all(torch.isfinite(tensor).all() for tensor in one.values())


@pytest.mark.parametrize("kind", ["dit", "unet"])
@pytest.mark.parametrize("spec", [CAPTIONED, LABELLED, DataSpec((1, 8, 8))])
def test_every_weight_is_used(kind: str, spec: DataSpec) -> None:
    values = {"caption_use": "attended"} if spec.words else {}
    network = network_of(kind, spec, **values)
    stirred(network)
    condition = None
    if network.conditioner is not None:
        asked = torch.tensor([[3, 4, 0, 0, 0], [5, 6, 7, 8, 9]]) if spec.words else torch.tensor([1, 2])
        condition = network.conditioner(asked, torch.tensor([True, False]))
    told = network(normal(2, 1, 8, 8), torch.tensor([0.2, 0.7]), condition)
    gradients = torch.autograd.grad(told.square().sum(), list(network.parameters()))
    for (name, _), gradient in zip(network.named_parameters(), gradients, strict=True):
        assert float(gradient.abs().max()) > 0, name
