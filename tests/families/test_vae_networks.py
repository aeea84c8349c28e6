"""Shapes, weights and scales of the VAE's networks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vae_cases import COLOUR, FAMILY, SPEC, Z, config_of, images, model_of, rng

from maestune.data import DataSpec
from maestune.errors import SettingsError
from maestune.families.vae.networks import ACTIVATIONS, FIRST_SCALE, LEAST_SCALE, conv_sizes


@given(
    side=st.sampled_from([2, 4, 6, 8, 12, 28, 32, 48, 64]),
    channels=st.sampled_from([1, 3]),
    depth=st.integers(1, 2),
    norm=st.sampled_from(["none", "layer"]),
    likelihood=st.sampled_from(["bernoulli", "gaussian"]),
    ema=st.sampled_from([0.0, 0.99]),
)
@settings(max_examples=25, derandomize=True)
def test_convolutions_fit_any_even_size(
    side: int, channels: int, depth: int, norm: str, likelihood: str, ema: float
) -> None:
    spec = DataSpec((channels, side, side))
    config = config_of("conv", depth=depth, norm=norm, likelihood=likelihood, ema=ema).with_(width=4)
    model = FAMILY.build(config, spec, rng())
    mean, log_variance = model.network.encode(torch.zeros(2, *spec.image))
    assert mean.shape == log_variance.shape == (2, Z)
    assert model.network.decode(mean).shape == (2, *spec.image)
    assert (model.average is not None) == (ema > 0)
    assert (model.network.scale is not None) == (likelihood == "gaussian")


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7)])
@pytest.mark.parametrize("depth", [1, 3])
def test_dense_networks_fit_any_size(shape: tuple[int, int, int], depth: int) -> None:
    model = FAMILY.build(config_of(depth=depth), DataSpec(shape), rng())
    mean, _ = model.network.encode(torch.zeros(4, *shape))
    assert mean.shape == (4, Z)
    assert model.network.decode(mean).shape == (4, *shape)
    for coder in (model.network.encoder, model.network.decoder):
        assert sum(isinstance(layer, torch.nn.Linear) for layer in coder.layers) == depth + 1


def test_sizes_of_convolutions() -> None:
    assert conv_sizes((1, 32, 48), 16) == ((4, 6), (16, 32, 64))
    assert conv_sizes((3, 256, 256), 8) == ((4, 4), (8, 16, 32, 64, 64, 64))
    assert conv_sizes((1, 14, 14), 8) == ((7, 7), (8,))


@pytest.mark.parametrize("shape", [(1, 27, 28), (1, 28, 27), (1, 1, 1)])
def test_a_size_that_cannot_be_halved_is_an_error_that_says_what_to_do(shape: tuple[int, int, int]) -> None:
    with pytest.raises(SettingsError, match=r"even.*Resize.*network=mlp"):
        FAMILY.build(config_of("conv"), DataSpec(shape), rng())


@pytest.mark.parametrize(("name", "value"), [("activation", "rellu"), ("norm", "batch"), ("likelihood", "normal")])
def test_what_is_not_known_is_an_error_that_says_what_is(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: '{value}' is"):
        FAMILY.build(config_of().with_(**{name: value}), SPEC, rng())


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_images_do_not_look_at_each_other(network: str) -> None:
    model = model_of(config_of(network, norm="layer"))
    together, alone = model.network.encode(images())[0][:2], model.network.encode(images()[:2])[0]
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_weights_come_from_the_generator_alone(network: str) -> None:
    config = config_of(network, likelihood="logistic", norm="layer", ema=0.9)
    before = torch.get_rng_state()
    a, b, c = (FAMILY.build(config, COLOUR, rng(seed)).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.isfinite(t).all() for t in a.values())
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)
    for name, tensor in a.items():
        if name.startswith("average."):
            assert torch.equal(tensor, a[name.replace("average", "network", 1)])
    assert not any(p.requires_grad for n, p in FAMILY.build(config, COLOUR, rng()).named_parameters() if "average" in n)


def test_weights_begin_as_pytorchs_own() -> None:
    # Uniform in ±1/√(inputs), as the recipe's: 64 pixels in.
    weight = FAMILY.build(config_of().with_(width=400), SPEC, rng()).network.encoder.layers[1].weight
    assert weight.abs().max().item() == pytest.approx(1 / 8, rel=1e-2)
    assert weight.std().item() == pytest.approx(1 / 8 / math.sqrt(3), rel=2e-2)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_every_activation_and_norm_makes_another_network(network: str) -> None:
    found = [
        model_of(config_of(network, activation=activation, norm=norm)).network.encode(images())[0]
        for activation in ACTIVATIONS
        for norm in ("none", "layer")
    ]
    for i, a in enumerate(found):
        assert all(not torch.allclose(a, b) for b in found[i + 1 :])


def test_the_scale_starts_as_it_should_and_stays_above_its_floor() -> None:
    network = model_of(config_of(likelihood="gaussian")).network
    assert network.scale is not None

    def scale(value: float) -> float:
        assert network.scale is not None
        with torch.no_grad():
            network.scale.fill_(value)
        log_scale = network.log_scale
        assert log_scale is not None
        return log_scale.exp().item()

    assert scale(0.0) == pytest.approx(FIRST_SCALE, rel=1e-2)
    assert scale(-1.0) == pytest.approx(FIRST_SCALE / math.e, rel=2e-2)
    assert scale(-1000.0) == pytest.approx(LEAST_SCALE)
