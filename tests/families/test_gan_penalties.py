"""Penalties on the discriminator's gradient against double backward, finite differences and their formulas."""

from __future__ import annotations

import pytest
import torch
from gan_cases import FAMILY, LABELLED, SPEC, B, batch_of, config_of, images, model_of, noise_of, rng
from torch import Tensor

from maestune.families.gan.penalties import (
    ONE_CENTRED,
    ZERO_CENTRED,
    one_centred,
    points,
    scores_and_gradient,
    zero_centred,
)


@pytest.mark.parametrize("norm", ["none", "layer", "spectral"])
def test_gradient_norm_equals_double_backward_and_finite_differences(norm: str) -> None:
    critic = model_of(config_of(norm_d=norm)).discriminator
    weights = list(critic.parameters())
    x = images(1)
    scores, squared = scores_and_gradient(lambda x: critic(x).squeeze(1), x)
    penalty = one_centred(squared, 10.0).sum() + zero_centred(squared, 3.0).sum()
    ours = torch.autograd.grad(penalty, weights, materialize_grads=True)

    leaf = x.clone().requires_grad_(True)
    out = critic(leaf).squeeze(1)
    (gradient,) = torch.autograd.grad(out.sum(), leaf, create_graph=True)
    norms = gradient.flatten(1).norm(2, dim=1)
    theirs = torch.autograd.grad((10.0 * (norms - 1) ** 2 + 1.5 * norms**2).sum(), weights, materialize_grads=True)
    torch.testing.assert_close(scores, out)
    torch.testing.assert_close(squared, norms**2)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)

    step, direction = 1e-6, torch.randn(x.shape, generator=rng(2), dtype=torch.float64)
    with torch.no_grad():
        slope = (critic(x + step * direction) - critic(x - step * direction)).squeeze(1) / (2 * step)
    torch.testing.assert_close((gradient * direction).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-7)


def gradient_norms(model, x: Tensor, label: Tensor | None) -> Tensor:
    x = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.discriminator(x, label=label).sum(), x)
    return gradient.flatten(1).norm(2, dim=1)


@pytest.mark.parametrize("penalty", [*ZERO_CENTRED, *ONE_CENTRED])
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("condition", ["none", "projection"])
def test_the_discriminators_loss_is_game_plus_penalty(penalty: str, norm: str, condition: str) -> None:
    config = config_of(spec=LABELLED, loss="hinge", penalty=penalty, norm_d=norm, condition=condition)
    model = model_of(config, LABELLED)
    player = FAMILY.players(config, LABELLED)[0]
    noise, batch = noise_of(player, 4), batch_of(5, LABELLED)
    loss = player.loss(model, batch, FAMILY.hyper(config, 0.3), noise)

    real, label = batch["image"], batch["label"] if condition != "none" else None
    fake = model.generator(noise["latent"], label=label).detach()
    if penalty in ZERO_CENTRED:
        assert config.number("r1_gamma") > 0
        at = {"r1": [real], "r2": [fake], "r1r2": [real, fake]}[penalty]
        extra = sum(config.number("r1_gamma") / 2 * gradient_norms(model, x, label) ** 2 for x in at)
    else:
        u = noise["mix"].view(-1, 1, 1, 1) if penalty == "gp" else noise["around"]
        middle = real.flatten().mean()
        deviation = ((real - middle) ** 2).mean().sqrt()
        point = u * real + (1 - u) * fake if penalty == "gp" else real + 0.5 * deviation * u
        extra = config.number("gp_lambda") * (gradient_norms(model, point, label) - 1) ** 2
    r, f = (model.discriminator(x, label=label).squeeze(1) for x in (real, fake))
    torch.testing.assert_close(loss, torch.relu(1 - r) + torch.relu(1 + f) + extra)
    assert loss.shape == (B,)


def test_dragan_looks_around_real_images_alone() -> None:
    real = images(0)
    around = torch.rand(real.shape, generator=rng(1), dtype=torch.float64)
    found = points("dragan", real, torch.full_like(real, torch.nan), {"around": around})
    distance = (found - real) / real.std(correction=0)
    assert 0 <= distance.min() < 0.01
    assert 0.49 < distance.max() <= 0.5


@pytest.mark.parametrize("penalty", [*ZERO_CENTRED, *ONE_CENTRED])
def test_a_lazy_penalty_is_as_heavy_over_all_steps(penalty: str) -> None:
    every = 4
    config, lazy = (config_of(penalty=penalty, penalty_every=n) for n in (1, every))
    model, batch = model_of(config), batch_of(5)
    at_once, rarely = FAMILY.players(config, SPEC)[0], FAMILY.players(lazy, SPEC)[0]
    assert at_once.lazy is None
    assert rarely.lazy is not None
    assert rarely.lazy[0] == every
    hyper, noise = FAMILY.hyper(config, 0.3), noise_of(at_once, 4)
    assert FAMILY.hyper(lazy, 0.3) == hyper
    adversarial = FAMILY.players(config_of(penalty="none"), SPEC)[0].loss(model, batch, hyper, noise)
    whole = at_once.loss(model, batch, hyper, noise) - adversarial
    steps = [rarely.loss_at(step)(model, batch, hyper, noise) - adversarial for step in range(1, 2 * every + 1)]
    assert whole.abs().min() > 0
    assert [bool(extra.abs().max() > 1e-9) for extra in steps] == [False, False, False, True] * 2
    torch.testing.assert_close(sum(steps), 2 * every * whole)
