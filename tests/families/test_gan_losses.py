"""The losses put together: what the discriminator sees, its consistency, serially and for many members at once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from gan_cases import (
    FAMILY,
    LABELLED,
    SPEC,
    WIDE,
    assert_one_by_one_is_at_once,
    batch_of,
    config_of,
    images,
    model_of,
    noise_of,
)
from torch import Tensor, nn

from maestune.families.augment import augmented, shifted
from maestune.families.gan.adversarial import GAMES
from maestune.families.gan.penalties import ONE_CENTRED, ZERO_CENTRED

PENALTIES = ("none", *ZERO_CENTRED, *ONE_CENTRED)


def test_dropout_instance_noise_and_smoothing_enter_the_loss() -> None:
    config = config_of(dropout_d=0.3, instance_noise=0.2, label_smoothing=0.1, label_smoothing_fake=0.05)
    model = model_of(config)
    d, g = FAMILY.players(config, SPEC)
    noise, batch, hyper = noise_of(d, 4), batch_of(5), FAMILY.hyper(config, 0.25)
    assert hyper["instance_noise"] == pytest.approx(0.15)
    fake = model.generator(noise["latent"])
    critic = nn.Sequential(*(layer for layer in model.discriminator.layers))

    def score(x: Tensor, side: str) -> Tensor:
        i = 0
        for layer in critic:
            if type(layer).__name__ == "Dropout":
                x = torch.where(noise[f"{side}_mask_{i}"] < 0.3, 0.0, x / 0.7)
                i += 1
            else:
                x = layer(x)
        return x.squeeze(1)

    r = score(batch["image"] + 0.15 * noise["real_noise"], "real")
    f = score(fake + 0.15 * noise["fake_noise"], "fake")
    expected = F.softplus(-r) + 0.1 * r + F.softplus(f) - 0.05 * f
    torch.testing.assert_close(d.loss(model, batch, hyper, noise), expected)
    torch.testing.assert_close(g.loss(model, batch, hyper, noise), F.softplus(-f))


def test_both_players_see_augmented_images_alone() -> None:
    policy = "colour+translation+cutout"
    config = config_of(augment=policy, loss="relativistic")
    model = model_of(config)
    d, g = FAMILY.players(config, SPEC)
    assert d.noise["fake_augment"].shape == (6, 7)
    for player, loss in ((d, lambda r, f: F.softplus(f - r)), (g, lambda r, f: F.softplus(r - f))):
        noise, batch = noise_of(player, 4), batch_of(5)
        fake = augmented(model.generator(noise["latent"]), policy, noise["fake_augment"])
        real = augmented(batch["image"], policy, noise["real_augment"])
        r, f = (model.discriminator(x).squeeze(1) for x in (real, fake))
        torch.testing.assert_close(player.loss(model, batch, {}, noise), loss(r, f))
    assert not torch.allclose(real, batch["image"])


def test_through_augmentation_the_generator_still_learns() -> None:
    config = config_of(augment="translation+cutout")
    model = model_of(config)
    g = FAMILY.players(config, SPEC)[1]
    gradients = torch.autograd.grad(
        g.loss(model, batch_of(5), {}, noise_of(g, 4)).mean(), list(model.generator.parameters())
    )
    assert all(gradient.abs().max() > 0 for gradient in gradients[-2:])


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("consistency", ["real", "both"])
def test_consistency_is_the_squared_change_of_the_score_under_a_shift(consistency: str, norm: str) -> None:
    weights: dict[str, Any] = {"cr_real": 3.0, "cr_fake": 7.0} if consistency == "both" else {"cr_real": 3.0}
    config = config_of(consistency=consistency, norm_d=norm, **weights)
    plain = config_of(norm_d=norm)
    model, batch, hyper = model_of(config), batch_of(5), FAMILY.hyper(config, 0.0)
    player = FAMILY.players(config, SPEC)[0]
    noise = noise_of(player, 4)
    fake = model.generator(noise["latent"]).detach()
    extra: Any = 0.0
    for side, x, weight in (("real", batch["image"], 3.0), ("fake", fake, 7.0)):
        if consistency == "both" or side == "real":
            moved = shifted(x, noise[f"{side}_shift"])
            assert not torch.equal(moved, x)
            extra = extra + weight * (model.discriminator(moved) - model.discriminator(x)).squeeze(1).square()
    adversarial = FAMILY.players(plain, SPEC)[0].loss(model, batch, hyper, noise)
    torch.testing.assert_close(player.loss(model, batch, hyper, noise), adversarial + extra)
    assert extra.max() > 1e-6


def test_relative_games_show_the_generator_the_real_images() -> None:
    for loss, adversarial in GAMES.items():
        config = config_of(loss=loss, dropout_d=0.2)
        model, g = model_of(config), FAMILY.players(config, SPEC)[1]
        noise, hyper = noise_of(g, 4), FAMILY.hyper(config, 0.0)
        a, b = (g.loss(model, batch_of(seed), hyper, noise) for seed in (1, 2))
        assert torch.equal(a, b) != adversarial.relative, loss
        assert ("real_mask_0" in g.noise) == adversarial.relative


def test_the_discriminators_loss_has_no_gradient_for_the_generator() -> None:
    config = config_of(consistency="both", penalty="r2")
    model = model_of(config)
    d, _ = FAMILY.players(config, SPEC)
    d.loss(model, batch_of(0), FAMILY.hyper(config, 0.0), noise_of(d, 1)).sum().backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.discriminator.parameters())


def test_samples_that_see_each_other_are_not_mixed_with_the_other_side() -> None:
    """With batch norm or the minibatch's spread, real and fake pass one after the other."""
    for config in (config_of(norm_d="batch"), config_of(minibatch_std="on")):
        model, d = model_of(config), FAMILY.players(config, SPEC)[0]
        noise, batch = noise_of(d, 4), batch_of(5)
        r, f = (model.discriminator(x).squeeze(1) for x in (batch["image"], model.generator(noise["latent"])))
        expected = F.softplus(-r) + F.softplus(f)
        torch.testing.assert_close(d.loss(model, batch, FAMILY.hyper(config, 0.0), noise), expected)


NORMS = {"mlp": ["none", "batch", "layer", "spectral"], "conv": ["none", "batch", "instance", "layer", "spectral"]}
SEAM = [
    *itertools.product(["mlp"], GAMES, ["none", "r1", "gp"], NORMS["mlp"]),
    *itertools.product(["mlp"], ["relativistic"], ["r2", "r1r2", "dragan"], ["none", "batch"]),
    *itertools.product(["conv"], ["ns"], ["none", "r1", "gp"], NORMS["conv"]),
]


@pytest.mark.parametrize(("network", "loss", "penalty", "norm"), SEAM)
def test_many_members_at_once_have_the_serial_gradients(network: str, loss: str, penalty: str, norm: str) -> None:
    norm_g = norm if norm != "spectral" else "batch"
    regularised: dict[str, Any] = {"dropout_d": 0.2, "instance_noise": 0.1}
    config = config_of(network, loss=loss, penalty=penalty, norm_d=norm, norm_g=norm_g, **regularised)
    assert_one_by_one_is_at_once(config, SPEC)


# What a structure may have beside; each with a penalty, so that it is differentiated twice.
BESIDE: list[tuple[str, dict[str, Any]]] = [
    ("mlp", {"condition": "concat", "penalty": "r1"}),
    ("mlp", {"condition": "projection", "penalty": "gp"}),
    ("mlp", {"condition": "projection", "norm_d": "spectral", "penalty": "r1r2"}),
    ("mlp", {"minibatch_std": "on", "penalty": "r1"}),
    ("mlp", {"consistency": "both", "norm_d": "batch", "dropout_d": 0.2}),
    ("mlp", {"augment": "colour+translation+cutout", "penalty": "dragan", "loss": "relativistic_average"}),
    ("mlp", {"penalty": "r1", "penalty_every": 4, "minibatch_std": "on", "activation_d": "silu"}),
    ("conv", {"condition": "concat", "penalty": "r1"}),
    ("conv", {"condition": "projection", "attention": "self", "penalty": "r1", "norm_d": "spectral"}),
    ("conv", {"attention": "self", "penalty": "gp", "norm_d": "batch", "activation_g": "silu"}),
    ("conv", {"augment": "translation+cutout", "consistency": "real", "minibatch_std": "on", "penalty": "r2"}),
]  # fmt: skip


@pytest.mark.parametrize(("network", "structure"), BESIDE)
@pytest.mark.parametrize("shared", [False, True])
def test_so_has_everything_else(network: str, structure: dict[str, Any], shared: bool) -> None:
    spec = WIDE if network == "conv" else LABELLED
    assert_one_by_one_is_at_once(config_of(network, spec, **structure), spec, shared=shared)


def test_images_of_a_batch_differ() -> None:
    """What the comparisons above rest on."""
    assert not torch.equal(images(0), images(1))
