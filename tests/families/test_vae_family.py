"""The VAE as a family: its space, its numbers, samples, signals and pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vae_cases import COLOUR, FAMILY, SPEC, B, Z, believing, config_of, images, model_of, noise_of, rng

from maestune.data import DataSpec
from maestune.errors import SettingsError, SpaceError
from maestune.families.base import Noise, drawer
from maestune.families.vae import VAE, family
from maestune.families.vae.losses import LIKELIHOODS, latent_kl, pixel_means
from maestune.recipes import find
from maestune.space import structure
from maestune.types import Config


def latents(n: int, seed: int = 0) -> dict[str, torch.Tensor]:
    return {"latent": torch.randn(n, Z, generator=rng(seed), dtype=torch.float64)}


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_the_centre_of_the_space_is_the_recipe(network: str) -> None:
    centre = FAMILY.space(SPEC, network).centre()
    assert centre["network"] == network
    assert centre["width"] == (400 if network == "mlp" else 32)
    assert [centre[name] for name in ("free_bits", "weight_decay", "l1", "clip", "ema", "warmup")] == [0.0] * 6
    assert centre["temperature"] == 1.0


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_the_catalogue_has_the_same_recipe(network: str) -> None:
    centre = FAMILY.space(SPEC, network).centre()
    for name, value in find(FAMILY.recipe, FAMILY.name).on(network).items():
        assert centre[name] == value, name


def test_networks_follow_the_size_of_images() -> None:
    assert [FAMILY.space(DataSpec((1, side, side))).centre()["network"] for side in (8, 16, 28, 64)] == [
        "mlp", "mlp", "conv", "conv",
    ]  # fmt: skip
    with pytest.raises(SpaceError, match=r"'cnn' is no network of a VAE"):
        FAMILY.space(SPEC, "cnn")


def test_every_parameter_says_who_believes_in_its_centre() -> None:
    for network in ("mlp", "conv"):
        for param in FAMILY.space(SPEC, network):
            if param.name != "network":
                assert param.prior is not None, param.name
                assert param.prior.citation, param.name


@given(seed=st.integers(0, 200), network=st.sampled_from(["mlp", "conv"]))
@settings(max_examples=25, derandomize=True)
def test_every_config_of_the_space_is_a_model_with_finite_losses_and_samples(seed: int, network: str) -> None:
    config = FAMILY.space(SPEC, network).sample(np.random.default_rng(seed)).with_(batch_size=4, width=8)
    model = FAMILY.build(config, SPEC, rng(seed))
    (player,) = FAMILY.players(config, SPEC)
    batch = {"image": images(n=4).float()}
    for progress in (0.01, 0.5, 0.99):
        loss = player.loss(model, batch, FAMILY.hyper(config, progress), drawer(player.noise)(rng(seed)))
        assert loss.shape == (4,)
        assert torch.isfinite(loss).all(), dict(config)
    samples = FAMILY.generate(model, FAMILY.hyper(config, 1.0), drawer(FAMILY.latents(config, SPEC, 5))(rng(seed)))
    assert samples.shape == (5, *SPEC.image)
    assert samples.abs().max() <= 1
    assert (player.average == "average") == (config.number("ema") > 0) == (model.average is not None)


def test_numbers_of_the_loss_and_of_generation() -> None:
    config = config_of(beta=4.0, kl_schedule="linear", kl_warmup=0.4, free_bits=0.2, temperature=0.8)
    assert FAMILY.hyper(config, 0.1) == pytest.approx({"beta_now": 1.0, "free_bits": 0.2, "temperature": 0.8})
    assert FAMILY.hyper(config, 0.9)["beta_now"] == 4.0
    cyclical = config_of(kl_schedule="cyclical", kl_warmup=0.5, kl_cycles=4, beta=2.0)
    assert [FAMILY.hyper(cyclical, p)["beta_now"] for p in (0.0, 0.0625, 0.125, 0.2, 0.25, 1.0)] == pytest.approx(
        [0.0, 1.0, 2.0, 2.0, 0.0, 2.0]
    )
    assert FAMILY.hyper(config_of(beta=3.0), 0.0)["beta_now"] == 3.0
    assert list(FAMILY.hyper(cyclical, 0.3)) == list(FAMILY.hyper(config_of(), 0.3))


def test_a_config_without_optional_parameters_is_the_plain_vae() -> None:
    bare = Config.of(network="mlp", batch_size=B, latent_dim=Z, width=8)
    model, (player,) = model_of(bare), FAMILY.players(bare, SPEC)
    assert FAMILY.hyper(bare, 0.0) == {"beta_now": 1.0, "free_bits": 0.0, "temperature": 1.0}
    assert player.loss(model, {"image": images()}, FAMILY.hyper(bare, 0.0), noise_of(player)).shape == (B,)
    assert model.likelihood is LIKELIHOODS["bernoulli"]


def test_annealing_free_bits_weights_and_temperature_are_no_part_of_the_structure() -> None:
    space = FAMILY.space(SPEC)
    plain = structure(space, space.centre(), FAMILY.fusible)
    for values in (
        {"beta": 4.0},
        {"kl_schedule": "cyclical", "kl_cycles": 3},
        {"free_bits": 0.5},
        {"temperature": 0.7},
        {"lr": 3e-3, "clip": 5.0, "schedule": "cosine"},
    ):
        assert structure(space, space.complete(values), FAMILY.fusible) == plain
    for values in ({"likelihood": "logistic"}, {"latent_dim": 10}, {"norm": "layer"}, {"ema": 0.9}):
        assert structure(space, space.complete(values), FAMILY.fusible) != plain


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [("beta", 1.0, 2.0), ("kl_warmup", 0.3, 0.6), ("kl_schedule", "constant", "linear"), ("free_bits", 0.0, 0.5)],
)
def test_every_number_of_the_loss_changes_it(name: str, one: float | str, other: float | str) -> None:
    base = {"kl_schedule": "linear"} if name == "kl_warmup" else {}
    losses = []
    for value in (one, other):
        config = config_of(**{**base, name: value})
        model, (player,) = model_of(config), FAMILY.players(config, SPEC)
        losses.append(player.loss(model, {"image": images()}, FAMILY.hyper(config, 0.2), noise_of(player)))
    assert (losses[0] != losses[1]).all()


def test_samples_are_pixel_means_of_latents_from_a_narrower_or_wider_prior() -> None:
    config = config_of(temperature=0.7)
    model = model_of(config)
    found = FAMILY.generate(model, FAMILY.hyper(config, 1.0), latents(9))
    expected = 2 * torch.sigmoid(model.network.decoder(0.7 * latents(9)["latent"])) - 1
    torch.testing.assert_close(found, expected)
    cold = FAMILY.generate(model, {"temperature": 0.0}, latents(9))
    torch.testing.assert_close(cold, cold[:1].expand_as(cold))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_generating_changes_nothing_and_does_not_depend_on_chunks(
    likelihood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of("conv", likelihood=likelihood, ema=0.9)
    model = model_of(config)
    before, state = {n: t.clone() for n, t in model.state_dict().items()}, torch.get_rng_state()
    hyper = FAMILY.hyper(config, 1.0)
    whole = FAMILY.generate(model, hyper, latents(50))
    assert whole.shape == (50, *SPEC.image)
    assert not whole.requires_grad
    monkeypatch.setattr(family, "CHUNK", 7)
    torch.testing.assert_close(FAMILY.generate(model, hyper, latents(50)), whole)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_samples_come_from_the_average_where_it_is_kept() -> None:
    config = config_of(ema=0.9)
    model = model_of(config)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.fill_(float("nan"))
    assert torch.isfinite(FAMILY.generate(model, FAMILY.hyper(config, 1.0), latents(4))).all()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_signals_are_the_parts_of_the_loss(likelihood: str) -> None:
    config = config_of(likelihood=likelihood, beta=3.0, free_bits=0.0)
    model, (player,) = model_of(config), FAMILY.players(config, SPEC)
    batch, hyper = {"image": images()}, FAMILY.hyper(config, 0.5)
    noise: dict[str, Noise] = {"network": noise_of(player)}
    found = FAMILY.signals(model, batch, hyper, noise)
    assert all(value.shape == () and not value.requires_grad for value in found.values())
    loss = player.loss(model, batch, hyper, noise["network"]).mean()
    torch.testing.assert_close(found["reconstruction"] + 3.0 * found["kl"], loss.detach())
    assert found["beta_now"] == 3.0
    if likelihood == "bernoulli":
        assert "pixel_scale" not in found
    else:
        assert model.network.log_scale is not None
        assert found["pixel_scale"].item() == pytest.approx(math.exp(model.network.log_scale.item()))


def test_the_share_of_active_latents() -> None:
    config = config_of()
    model, (player,) = model_of(config), FAMILY.players(config, SPEC)
    last = model.network.encoder.layers[-1]
    with torch.no_grad():
        last.weight.mul_(30.0)
        last.weight[2:Z] = 0.0
    noise: dict[str, Noise] = {"network": noise_of(player)}
    found = FAMILY.signals(model, {"image": images()}, FAMILY.hyper(config, 0.5), noise)
    assert found["active_share"].item() == pytest.approx(2 / Z)
    kl = latent_kl(*model.network.encode(images())).sum(1).mean().item()
    assert found["kl"].item() == pytest.approx(kl)


@pytest.mark.parametrize("spec", [SPEC, COLOUR])
@pytest.mark.parametrize("n", [12, 64])
def test_pictures_show_originals_above_reconstructions_and_ways_between_images(spec: DataSpec, n: int) -> None:
    config = config_of("conv", ema=0.9)
    model = model_of(config, spec)
    x = images(n=n, spec=spec)
    found = FAMILY.exhibits(model, FAMILY.hyper(config, 1.0), {"image": x}, rng())
    assert {name: tuple(shown.shape) for name, shown in found.items()} == {
        "reconstructions": (64, *spec.image), "walk": (64, *spec.image),
    }  # fmt: skip
    assert model.average is not None

    def decoded(means: torch.Tensor) -> torch.Tensor:
        assert model.average is not None
        return pixel_means(model.average.decode(means))

    mean = model.average.encode(x)[0]
    for row in range(8):
        shown = found["reconstructions"][8 * row : 8 * row + 8]
        which = torch.arange(8 * (row // 2), 8 * (row // 2) + 8) % n
        torch.testing.assert_close(shown, x[which] if row % 2 == 0 else decoded(mean[which]))
        a, b = mean[2 * row % n], mean[(2 * row + 1) % n]
        way = torch.stack([a + (b - a) * step / 7 for step in range(8)])
        torch.testing.assert_close(found["walk"][8 * row : 8 * row + 8], decoded(way))


def test_measures_are_those_of_the_held_out_images() -> None:
    model = believing(model_of(config_of()), 1.0)
    found = FAMILY.measure(model, {}, {"image": images()}, rng())
    assert tuple(found) == FAMILY.measures
    assert found["kl_nats"] == pytest.approx(Z * 0.5)


def test_text_cannot_be_learnt_from() -> None:
    with pytest.raises(SettingsError, match=r"vae: learns from images"):
        FAMILY.check(DataSpec(tokens=100))
    FAMILY.check(SPEC)


def test_full_trainings() -> None:
    assert FAMILY.full_steps(SPEC, 1000) == 3000
    assert FAMILY.full_steps(DataSpec((1, 28, 28)), 50_000) == 2000
    assert FAMILY.full_steps(DataSpec((3, 128, 128)), 1000) == 1000
    assert FAMILY.full_steps(SPEC, 10**9) == 10_000
    assert VAE() == VAE()
