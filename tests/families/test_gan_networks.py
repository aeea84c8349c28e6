"""Shapes, couplings and initial weights of the GAN's networks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maestune.data import DataSpec
from maestune.errors import SettingsError
from maestune.families.attention import SelfAttention
from maestune.families.gan import GAN
from maestune.families.gan.adversarial import GAMES
from maestune.families.gan.networks import attended_stage, conv_plan, dropout_shapes
from maestune.families.layers import Dropout, MinibatchStd
from maestune.types import Config

FAMILY = GAN()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(shape: tuple[int, int, int], network: str, **values: object) -> Config:
    config = FAMILY.space(DataSpec(shape), network).complete(values)  # type: ignore[arg-type]
    return config.with_(width=4, latent_dim=3)


@given(
    side=st.sampled_from([4, 6, 8, 12, 28, 32, 48, 64, 96, 128]),
    channels=st.sampled_from([1, 3]),
    norm_g=st.sampled_from(["none", "batch", "instance", "layer"]),
    norm_d=st.sampled_from(["none", "batch", "instance", "layer", "spectral"]),
    ema=st.sampled_from([0.0, 0.99]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_convolutions_fit_any_size(side: int, channels: int, norm_g: str, norm_d: str, ema: float) -> None:
    shape = (channels, side, side)
    config = small(shape, "conv", norm_g=norm_g, norm_d=norm_d, ema=ema)
    model = FAMILY.build(config, DataSpec(shape), rng())
    images = model.generator(torch.randn(2, 3, generator=rng()))
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    assert model.discriminator(images).shape == (2, 1)
    assert (model.average is not None) == (ema > 0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7)])
@pytest.mark.parametrize("depth", [1, 3])
def test_dense_networks_fit_any_size(shape: tuple[int, int, int], depth: int) -> None:
    model = FAMILY.build(small(shape, "mlp", depth=depth), DataSpec(shape), rng())
    images = model.generator(torch.randn(4, 3, generator=rng()))
    assert images.shape == (4, *shape)
    assert model.discriminator(images).shape == (4, 1)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in model.generator.layers) == depth + 1


def test_rectangles_are_halved_together() -> None:
    assert conv_plan((1, 32, 48), 16) == ((4, 6), (16, 32, 64))
    assert conv_plan((3, 256, 256), 8)[1] == (8, 16, 32, 64, 64, 64)


@pytest.mark.parametrize("shape", [(1, 27, 28), (1, 2, 2)])
def test_a_size_that_cannot_be_halved_is_an_error_that_says_what_to_do(shape: tuple[int, int, int]) -> None:
    with pytest.raises(SettingsError, match=r"even.*Resize.*network=mlp"):
        FAMILY.build(small(shape, "conv"), DataSpec(shape), rng())


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("norm", ["none", "layer", "spectral", "batch"])
def test_only_batch_norm_couples_the_samples_of_a_batch(network: str, norm: str) -> None:
    shape = (1, 8, 8)
    model = FAMILY.build(small(shape, network, norm_d=norm), DataSpec(shape), rng())
    x = torch.randn(4, *shape, generator=rng())
    alone, together = model.discriminator(x[:2]), model.discriminator(x)[:2]
    assert torch.allclose(alone, together, atol=1e-6) == (norm != "batch")
    assert model.discriminator.couples_samples == (norm == "batch")


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_dropout_shapes_are_those_of_the_network(network: str) -> None:
    shape = (3, 16, 16)
    config = small(shape, network, dropout_d=0.25)
    model = FAMILY.build(config, DataSpec(shape), rng())
    found = tuple(layer.shape for layer in model.discriminator.layers if isinstance(layer, Dropout))
    assert found == dropout_shapes(config, DataSpec(shape)) != ()
    uniforms = [torch.rand(2, *s, generator=rng()) for s in found]
    images = torch.randn(2, *shape, generator=rng())
    dropped = model.discriminator(images, uniforms, 0.25)
    assert not torch.equal(dropped, model.discriminator(images))
    assert dropout_shapes(config.with_(dropout_d=0.0), DataSpec(shape)) == ()


def test_weights_come_from_the_generator_alone_and_no_global_state_is_touched() -> None:
    config = small((1, 8, 8), "mlp", norm_d="spectral", ema=0.9)
    before = torch.get_rng_state()
    a, b, c = (FAMILY.build(config, DataSpec((1, 8, 8)), rng(seed)).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_the_average_starts_at_the_generator_and_is_not_learnt() -> None:
    model = FAMILY.build(small((1, 8, 8), "mlp", ema=0.9), DataSpec((1, 8, 8)), rng())
    assert model.average is not None
    for mine, theirs in zip(model.average.parameters(), model.generator.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert not mine.requires_grad
    assert model.sampler is model.average


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "silu"])
def test_activations_are_the_configs(network: str, name: str) -> None:
    expected = {"relu": 0.0, "leaky_relu": -0.2, "silu": -1 / (1 + torch.e)}[name]
    config = small((1, 8, 8), network, activation_d=name, activation_g=name)
    model = FAMILY.build(config, DataSpec((1, 8, 8)), rng())
    for stack in (model.discriminator, model.generator):
        kinds = torch.nn.ReLU | torch.nn.LeakyReLU | torch.nn.SiLU
        found = [layer(torch.tensor(-1.0)).item() for layer in stack.layers if isinstance(layer, kinds)]
        assert len(found) == 2
        assert found == pytest.approx([expected] * 2)


@pytest.mark.parametrize(("shape", "side"), [((3, 64, 64), 8), ((1, 28, 28), 14), ((1, 16, 16), 8), ((3, 48, 64), 12)])
@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_attention_is_at_the_coarsest_map_of_eight_pixels_in_both(
    shape: tuple[int, int, int], side: int, norm: str
) -> None:
    model = FAMILY.build(small(shape, "conv", attention="self", norm_d=norm), DataSpec(shape), rng())
    sides: list[int] = []
    for stack in (model.discriminator, model.generator):
        (layer,) = (layer for layer in stack.layers if isinstance(layer, SelfAttention))
        layer.register_forward_hook(lambda module, inputs, output: sides.append(min(output.shape[2:])))
    images = model.generator(torch.randn(2, 3, generator=rng()))
    assert images.shape == (2, *shape)
    assert model.discriminator(images).shape == (2, 1)
    assert sides == [side, side]
    plain = FAMILY.build(small(shape, "conv", norm_d=norm), DataSpec(shape), rng())
    assert not any(isinstance(layer, SelfAttention) for layer in plain.modules())


def test_attention_is_offered_where_there_is_such_a_map() -> None:
    for shape, network in (((1, 8, 8), "conv"), ((1, 16, 16), "mlp"), ((1, 27, 28), "conv")):
        assert "attention" not in {param.name for param in FAMILY.space(DataSpec(shape), network)}
    assert attended_stage((1, 8, 8)) is None
    assert "attention" in {param.name for param in FAMILY.space(DataSpec((1, 16, 16)), "conv")}


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_the_minibatchs_spread_is_told_to_the_last_layer(network: str) -> None:
    spec = DataSpec((1, 8, 8))
    config = small(spec.image, network, minibatch_std="on", norm_d="none")
    model = FAMILY.build(config, spec, rng())
    plain = FAMILY.build(small(spec.image, network, norm_d="none"), spec, rng())
    *_, spread, last = model.discriminator.layers
    *_, plain_last = plain.discriminator.layers
    assert isinstance(spread, MinibatchStd)
    assert isinstance(last, torch.nn.Linear)
    assert isinstance(plain_last, torch.nn.Linear)
    assert last.in_features == plain_last.in_features + 1
    x = torch.randn(8, *spec.image, generator=rng())
    assert not torch.allclose(model.discriminator(x)[:2], model.discriminator(x[:2]), atol=1e-7)
    assert model.discriminator.couples_samples


@pytest.mark.parametrize("condition", ["none", "projection"])
@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_the_level_of_scores_is_not_learnt_where_nobody_looks_at_it(condition: str, norm: str) -> None:
    """A bias there would have no gradient but rounding."""
    spec = DataSpec((1, 8, 8), classes=3)
    for loss, adversarial in GAMES.items():
        config = FAMILY.space(spec).complete({"loss": loss, "condition": condition, "norm_d": norm})
        names = dict(FAMILY.build(config, spec, rng()).discriminator.named_parameters())
        last = "layers.5" + (".score" if condition == "projection" else "")
        assert f"{last}.weight" in names
        assert (f"{last}.bias" in names) == (not adversarial.relative), loss
