"""Likelihoods, KL, free bits and annealing against independent formulas; serially and for many members at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import AffineTransform, Bernoulli, Normal, SigmoidTransform, TransformedDistribution, Uniform
from torch.distributions import kl_divergence as reference_kl
from torch.func import functional_call, grad, stack_module_state, vmap
from vae_cases import FAMILY, SPEC, STRUCTURES, B, Z, config_of, images, model_of, noise_of, rng

from maestune.errors import SettingsError
from maestune.families.vae.losses import (
    LEVEL,
    LIKELIHOODS,
    annealing,
    bernoulli_cost,
    free_bits_shortfall,
    gaussian_cost,
    latent_kl,
    likelihood_named,
    logistic_cost,
    pixel_means,
    vae_loss,
)

SHAPE = (B, 3, 4, 5)


def logits(seed: int = 1) -> Tensor:
    return 2.0 * torch.randn(SHAPE, generator=rng(seed), dtype=torch.float64)


def pixels(seed: int = 2) -> Tensor:
    levels = torch.randint(0, 256, SHAPE, generator=rng(seed))
    levels[0] = 0
    levels[1] = 255
    return levels.double() / 127.5 - 1.0


def logistic_distribution(mean: Tensor, scale: float) -> TransformedDistribution:
    uniform = Uniform(torch.zeros_like(mean), torch.ones_like(mean))
    return TransformedDistribution(
        uniform, [SigmoidTransform().inv, AffineTransform(mean, torch.tensor(scale, dtype=torch.float64))]
    )


def test_means_of_pixels_are_the_sigmoid_turned_to_their_range() -> None:
    torch.testing.assert_close(pixel_means(logits()), 2 * torch.sigmoid(logits()) - 1)


def test_bernoulli_is_the_distribution_of_black_and_white_images() -> None:
    x = (torch.rand(SHAPE, generator=rng(), dtype=torch.float64) < 0.5).double()
    expected = -Bernoulli(logits=logits()).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(bernoulli_cost(2 * x - 1, logits()), expected)


def test_bernoulli_of_grey_images_is_the_cross_entropy_with_their_values() -> None:
    x = pixels()
    expected = F.binary_cross_entropy_with_logits(logits(), (x + 1) / 2, reduction="none").flatten(1).sum(1)
    torch.testing.assert_close(bernoulli_cost(x, logits()), expected)


@pytest.mark.parametrize("scale", [0.01, 0.5, 3.0])
def test_gaussian_is_the_normal_density(scale: float) -> None:
    mean = 2 * torch.sigmoid(logits()) - 1
    expected = -Normal(mean, scale).log_prob(pixels()).flatten(1).sum(1)
    torch.testing.assert_close(
        gaussian_cost(pixels(), logits(), torch.tensor([math.log(scale)], dtype=torch.float64)), expected
    )


@pytest.mark.parametrize("scale", [0.2, 0.5, 2.0])
def test_logistic_is_the_mass_of_a_bin(scale: float) -> None:
    x, distribution = pixels(), logistic_distribution(2 * torch.sigmoid(logits()) - 1, scale)
    upper, lower = distribution.cdf(x + LEVEL / 2), distribution.cdf(x - LEVEL / 2)
    mass = torch.where(x > 0.999, 1.0, upper) - torch.where(x < -0.999, 0.0, lower)
    expected = -mass.log().flatten(1).sum(1)
    torch.testing.assert_close(
        logistic_cost(x, logits(), torch.tensor([math.log(scale)], dtype=torch.float64)), expected
    )


@given(logit=st.floats(-12, 12), log_scale=st.floats(-7, 5))
def test_the_masses_of_the_256_levels_add_up_to_one(logit: float, log_scale: float) -> None:
    levels = (torch.arange(256).double() / 127.5 - 1.0).reshape(256, 1, 1, 1)
    cost = logistic_cost(levels, torch.full_like(levels, logit), torch.tensor([log_scale]).double())
    assert torch.logsumexp(-cost, 0).item() == pytest.approx(0.0, abs=1e-9)


def test_masses_too_small_for_a_number_still_have_a_logarithm_and_a_gradient() -> None:
    x = torch.linspace(-1, 1, 256)[:, None, None, None]
    x.requires_grad_(False)
    for level in (-30.0, 30.0):
        at = torch.full_like(x, level).requires_grad_()
        log_scale = torch.tensor([math.log(0.00226)]).requires_grad_()
        cost = logistic_cost(x, at, log_scale)
        gradients = torch.autograd.grad(cost.sum(), (at, log_scale))
        assert torch.isfinite(cost).all()
        assert all(torch.isfinite(g).all() for g in gradients)
    # Far away the tail falls by one nat a scale: 2 / s from one end to the other, less half a bin.
    s = 0.01
    far = logistic_cost(torch.full((1, 1, 1, 1), 1.0), torch.full((1, 1, 1, 1), -60.0), torch.tensor([math.log(s)]))
    assert far.item() == pytest.approx((2 - LEVEL / 2) / s, rel=1e-5)


def test_kl_is_that_of_two_normals() -> None:
    mean, log_variance = torch.randn(2, B, Z, generator=rng(), dtype=torch.float64)
    posterior = Normal(mean, (log_variance / 2).exp())
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(latent_kl(mean, log_variance), reference_kl(posterior, prior))


@given(free=st.floats(0, 3), seed=st.integers(0, 20))
def test_free_bits_are_those_of_the_paper_on_the_batchs_average(free: float, seed: int) -> None:
    kl = torch.rand(B, Z, generator=rng(seed), dtype=torch.float64) * 2
    loss = kl.sum(1) + free_bits_shortfall(kl, free)
    expected = torch.maximum(kl.mean(0), torch.tensor(free).double()).sum()
    torch.testing.assert_close(loss.mean(), expected)


def test_latents_below_the_floor_have_no_gradient_of_their_kl_and_the_others_have_their_own() -> None:
    kl = torch.tensor([[0.1, 1.0], [0.3, 3.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad((kl.sum(1) + free_bits_shortfall(kl, 0.5)).mean(), kl)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0.5], [0.0, 0.5]], dtype=torch.float64))


def test_without_free_bits_the_loss_of_an_image_is_its_own() -> None:
    assert free_bits_shortfall(torch.rand(B, Z, generator=rng()), 0.0).item() == 0.0


@given(progress=st.floats(0, 1), warmup=st.floats(0.01, 1), cycles=st.integers(1, 8))
def test_annealing(progress: float, warmup: float, cycles: int) -> None:
    assert annealing("constant", progress, warmup, cycles) == 1.0
    linear = annealing("linear", progress, warmup)
    assert linear == pytest.approx(min(1.0, progress / warmup))
    cyclical = annealing("cyclical", progress, warmup, cycles)
    assert 0.0 <= cyclical <= 1.0
    assert annealing("cyclical", progress, warmup, 1) == linear
    # Each cycle is the same again, and begins at 0.
    assert annealing("cyclical", min(progress, 0.999) / cycles, warmup, cycles) == pytest.approx(
        annealing("linear", min(progress, 0.999), warmup), abs=1e-9
    )
    assert annealing("cyclical", 1.0, warmup, cycles) == annealing("linear", 1.0, warmup) == 1.0


@pytest.mark.parametrize("cycles", [2, 4])
def test_every_cycle_begins_without_a_kl(cycles: int) -> None:
    assert [annealing("cyclical", c / cycles, 0.5, cycles) for c in range(cycles)] == [0.0] * cycles


def test_unknown_names_are_errors_that_help() -> None:
    with pytest.raises(SettingsError, match=r"kl_schedule: 'lineer' is not known.*linear"):
        annealing("lineer", 0.5, 0.5)
    with pytest.raises(SettingsError, match=r"likelihood: 'gausian' is not known.*gaussian"):
        likelihood_named("gausian")


@pytest.mark.parametrize(("likelihood", "network"), STRUCTURES)
def test_the_loss_is_reconstruction_and_weighted_kl_of_one_draw(likelihood: str, network: str) -> None:
    config = config_of(network, likelihood=likelihood, norm="layer")
    model, (player,) = model_of(config), FAMILY.players(config, SPEC)
    x, noise = images(), noise_of(player)
    hyper = {"beta_now": 0.7, "free_bits": 0.0, "temperature": 1.0}
    posterior = model.network.encoder((x + 1) / 2)
    mean, std = posterior[:, :Z], (posterior[:, Z:] / 2).exp()
    logits = model.network.decoder(mean + std * noise["posterior"])
    reconstruction = LIKELIHOODS[likelihood].cost(x, logits, model.network.log_scale)
    kl = reference_kl(Normal(mean, std), Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(1)
    torch.testing.assert_close(player.loss(model, {"image": x}, hyper, noise), reconstruction + 0.7 * kl)
    floor = 1.5
    shortfall = (floor - latent_kl(mean, 2 * std.log()).mean(0)).clamp_min(0).sum()
    assert shortfall > 0
    torch.testing.assert_close(
        player.loss(model, {"image": x}, {**hyper, "free_bits": floor}, noise),
        reconstruction + 0.7 * (kl + shortfall),
    )


@pytest.mark.parametrize(("likelihood", "network"), STRUCTURES)
def test_gradients_are_those_of_finite_differences(likelihood: str, network: str) -> None:
    config = config_of(network, likelihood=likelihood, activation="silu")
    model, (player,) = model_of(config), FAMILY.players(config, SPEC)
    x, noise, hyper = {"image": images()}, noise_of(player), FAMILY.hyper(config.with_(free_bits=0.1), 0.5)
    parameters = list(model.network.parameters())
    gradients = torch.autograd.grad(player.loss(model, x, hyper, noise).mean(), parameters)
    directions = [torch.randn(p.shape, generator=rng(9), dtype=torch.float64) for p in parameters]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    step, values = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=sign * step)
            values.append(player.loss(model, x, hyper, noise).mean())
            for p, d in zip(parameters, directions, strict=True):
                p.sub_(d, alpha=sign * step)
    assert slope.item() == pytest.approx(((values[0] - values[1]) / (2 * step)).item(), rel=1e-5)  # type: ignore[union-attr]


class FunctionModule(nn.Module):
    """A model and a function of it as one module, so that `functional_call` reaches it with other weights."""

    def __init__(self, model: nn.Module, function: Any) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Any) -> Any:
        return self.function(self.model, *inputs)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(("likelihood", "network"), STRUCTURES)
def test_many_members_at_once_are_computed_as_one_by_one(likelihood: str, network: str, depth: int) -> None:
    config = config_of(network, likelihood=likelihood, depth=depth, norm="layer" if depth == 2 else "none", ema=0.9)
    (player,) = FAMILY.players(config, SPEC)
    models = [model_of(config, seed=seed) for seed in range(3)]
    hypers = [
        FAMILY.hyper(config.with_(beta=beta, free_bits=free, temperature=temperature), 0.5)
        for beta, free, temperature in ((1.0, 0.0, 1.0), (4.0, 0.3, 0.5), (0.1, 2.0, 1.2))
    ]
    x, noise = {"image": images()}, noise_of(player)
    latents = {"latent": torch.randn(4, Z, generator=rng(3), dtype=torch.float64)}
    parameters, _ = stack_module_state([m.network for m in models])  # type: ignore[arg-type]
    averages, _ = stack_module_state([m.average for m in models])  # type: ignore[arg-type, list-item]
    stacked = {f"model.network.{n}": t for n, t in parameters.items()}
    stacked |= {f"model.average.{n}": t for n, t in averages.items()}
    hyper = {name: torch.tensor([h[name] for h in hypers], dtype=torch.float64) for name in hypers[0]}

    def loss(tensors: dict[str, Tensor], hyper: Any) -> Tensor:
        return functional_call(FunctionModule(models[0], player.loss), tensors, (x, hyper, noise))

    losses = vmap(loss)(stacked, hyper)
    gradients = vmap(grad(lambda t, h: loss(t, h).mean()))(stacked, hyper)
    samples = vmap(lambda t, h: functional_call(FunctionModule(models[0], FAMILY.generate), t, (h, latents)))(
        stacked, hyper
    )
    signals = vmap(
        lambda t, h: functional_call(FunctionModule(models[0], FAMILY.signals), t, (x, h, {"network": noise}))
    )(stacked, hyper)
    for k, (model, numbers) in enumerate(zip(models, hypers, strict=True)):
        alone = player.loss(model, x, numbers, noise)
        torch.testing.assert_close(losses[k], alone, rtol=1e-10, atol=1e-10)
        names = [name for name, _ in model.network.named_parameters()]
        expected = torch.autograd.grad(alone.mean(), list(model.network.parameters()))
        for name, gradient in zip(names, expected, strict=True):
            torch.testing.assert_close(gradients[f"model.network.{name}"][k], gradient, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(samples[k], FAMILY.generate(model, numbers, latents), rtol=1e-10, atol=1e-10)
        for name, value in FAMILY.signals(model, x, numbers, {"network": noise}).items():
            torch.testing.assert_close(signals[name][k], value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("likelihood", "network"), STRUCTURES)
def test_a_step_along_the_gradient_lowers_the_loss(likelihood: str, network: str) -> None:
    config = config_of(network, likelihood=likelihood)
    model, (player,) = model_of(config), FAMILY.players(config, SPEC)
    x, noise, hyper = {"image": images()}, noise_of(player), FAMILY.hyper(config, 0.5)
    optimiser = torch.optim.Adam(model.network.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        loss = vae_loss(model, x, hyper, noise).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
