"""Held-out scores against models whose likelihood is known, and against formulas of torch's distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal
from vae_cases import (
    COLOUR,
    FAMILY,
    SPEC,
    STRUCTURES,
    Z,
    believing,
    config_of,
    images,
    indifferent,
    model_of,
    rng,
)

from maestune.families.vae import scores
from maestune.families.vae.losses import LEVEL, LIKELIHOODS, latent_kl, pixel_means
from maestune.families.vae.networks import VaeModel
from maestune.families.vae.scores import held_out_scores, importance_gap


def own_likelihood(model: VaeModel, likelihood: str, level: float) -> float:
    """What an image costs in nats, on average, where the pixels do not depend on the latents: their masses, summed up."""
    x = images(n=40)
    mean = math.tanh(level / 2)
    if likelihood == "bernoulli":
        p = (mean + 1) / 2
        shade = (x + 1) / 2
        return -(shade * math.log(p) + (1 - shade) * math.log(1 - p)).flatten(1).sum(1).mean().item()
    assert model.network.log_scale is not None
    scale = model.network.log_scale.exp()
    if likelihood == "gaussian":
        normal = Normal(torch.tensor(mean).double(), scale)
        mass = normal.cdf(x + LEVEL / 2) - normal.cdf(x - LEVEL / 2)
    else:
        upper = torch.where(x > 0.999, 1.0, torch.sigmoid((x + LEVEL / 2 - mean) / scale))
        lower = torch.where(x < -0.999, 0.0, torch.sigmoid((x - LEVEL / 2 - mean) / scale))
        mass = upper - lower
    return -mass.log().flatten(1).sum(1).mean().item()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_bounds_are_exact_where_latents_say_nothing(likelihood: str) -> None:
    model = believing(indifferent(model_of(config_of(likelihood=likelihood)), 0.3))
    found = held_out_scores(model, images(n=40), rng())
    # A Gaussian's is the mass of a bin within what averaging over the bin costs: nothing at its width here.
    expected = own_likelihood(model, likelihood, 0.3)
    assert found["elbo_nats"] == pytest.approx(expected, rel=1e-4 if likelihood == "gaussian" else 1e-6)
    assert found["iwae_nats"] == pytest.approx(found["elbo_nats"])
    assert found["kl_nats"] == pytest.approx(0.0, abs=1e-9)
    assert found["active_units"] == 0


def test_many_draws_make_up_for_a_wrong_posterior() -> None:
    # q = N(0.4, 1.5²) while the truth is the prior: the bound is off by the KL, and many draws find that out.
    config = config_of()
    model = believing(indifferent(model_of(config)), 0.4, 2 * math.log(1.5))
    kl = held_out_scores(model, images(), rng())["kl_nats"]
    assert kl == pytest.approx(Z * (0.5 * (0.16 + 2.25 - 1) - math.log(1.5)))
    gaps = [importance_gap(model, images(), k, rng()) for k in (1, 4, 64, 20_000)]
    assert gaps[0] == pytest.approx(0.0, abs=1e-12)
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(kl, rel=0.02)


@pytest.mark.parametrize(("likelihood", "network"), STRUCTURES)
def test_importance_gap_is_burdas_bound_less_the_mean_of_log_weights(likelihood: str, network: str) -> None:
    model = model_of(config_of(network, likelihood=likelihood))
    x, k = images(n=3), 7
    found = importance_gap(model, x, k, rng(4))

    g = rng(4)
    if likelihood == "gaussian":
        x = x + LEVEL * (torch.rand(x.shape, generator=g, dtype=torch.float64) - 0.5)
    mean, log_variance = (t.repeat_interleave(k, 0) for t in model.network.encode(x))
    noise = torch.randn(mean.shape, generator=g, dtype=torch.float64)
    posterior = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    z = mean + (log_variance / 2).exp() * noise
    prior = Independent(Normal(torch.zeros_like(z), torch.ones_like(z)), 1)
    likely = -LIKELIHOODS[likelihood].cost(x.repeat_interleave(k, 0), model.network.decode(z), model.network.log_scale)
    log_w = (likely + prior.log_prob(z) - posterior.log_prob(z)).reshape(3, k)
    expected = (torch.logsumexp(log_w, 1) - math.log(k) - log_w.mean(1)).mean().item()
    assert found == pytest.approx(expected, rel=1e-9)
    assert found > 0


@pytest.mark.parametrize(("likelihood", "network"), STRUCTURES)
def test_more_draws_never_cost_more(likelihood: str, network: str) -> None:
    for seed in range(3):
        found = held_out_scores(model_of(config_of(network, likelihood=likelihood), seed=seed), images(), rng())
        assert found["iwae_nats"] <= found["elbo_nats"]
        assert set(found) == set(FAMILY.measures)
        assert set(FAMILY.failure(SPEC)) == set(FAMILY.measures)


@pytest.mark.parametrize(("likelihood", "network"), STRUCTURES)
def test_the_bound_is_reconstruction_and_kl_with_a_weight_of_one(likelihood: str, network: str) -> None:
    model = model_of(config_of(network, likelihood=likelihood, beta=16.0, free_bits=3.0), COLOUR)
    x = images(n=300, spec=COLOUR)
    found = [held_out_scores(model, x, rng(seed)) for seed in range(3)]
    mean, log_variance = model.network.encode(x)
    z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=rng(5), dtype=torch.float64)
    cost = LIKELIHOODS[likelihood].cost(x, model.network.decode(z), model.network.log_scale).mean().item()
    # Of a density the bins' widths: its logarithm is of another unit otherwise.
    bins = 3 * 8 * 8 * math.log(LEVEL) if likelihood == "gaussian" else 0.0
    kl = latent_kl(mean, log_variance).sum(1).mean().item()
    assert sum(f["elbo_nats"] for f in found) / 3 == pytest.approx(cost - bins + kl, rel=5e-3)
    assert found[0]["kl_nats"] == pytest.approx(kl, rel=1e-3 if likelihood == "gaussian" else 1e-9)


def test_the_bound_of_a_density_is_never_better_than_the_masses_of_the_levels() -> None:
    model = believing(indifferent(model_of(config_of(likelihood="gaussian"))))
    assert model.network.scale is not None
    for value in (0.0, -3.0, -5.0):
        with torch.no_grad():
            model.network.scale.fill_(value)
        bound = sum(held_out_scores(model, images(n=40), rng(seed))["elbo_nats"] for seed in range(20)) / 20
        mass = own_likelihood(model, "gaussian", 0.3)
        if math.isfinite(mass):  # far from the mean it is 0 in double precision
            assert bound >= mass * (1 - 1e-4)
        if value == 0.0:
            assert bound == pytest.approx(mass, rel=1e-4)


@pytest.mark.parametrize("active", [0, 2, Z])
def test_active_units_are_those_whose_means_vary(active: int) -> None:
    model = model_of(config_of())
    last = model.network.encoder.layers[-1]
    with torch.no_grad():
        last.weight.mul_(10.0)
        last.weight[active:Z] = 0.0
    variance = model.network.encode(images(n=50))[0].var(0, correction=0)
    assert (variance[:active] > 0.02).all()
    assert held_out_scores(model, images(n=50), rng())["active_units"] == active


def test_nothing_but_the_generator_is_random() -> None:
    model = model_of(config_of(likelihood="gaussian"))
    before = torch.get_rng_state()
    a, b, c = (held_out_scores(model, images(), rng(seed)) for seed in (1, 1, 2))
    assert a == b
    assert a["elbo_nats"] != c["elbo_nats"]
    assert torch.equal(torch.get_rng_state(), before)


def test_scores_are_the_averages_where_it_is_kept() -> None:
    model = model_of(config_of(ema=0.9))
    expected = held_out_scores(model, images(), rng())
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.fill_(float("nan"))
    assert held_out_scores(model, images(), rng()) == expected


@pytest.mark.parametrize("rows", [1, 5, 64, 100])
def test_no_more_pixels_pass_at_once_than_memory_should_hold(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(config_of(likelihood="logistic"))
    seen: list[int] = []
    decode = type(model.network).decode

    def watched(self: object, z: torch.Tensor) -> torch.Tensor:
        seen.append(len(z))
        return decode(self, z)  # type: ignore[arg-type]

    monkeypatch.setattr(type(model.network), "decode", watched)
    monkeypatch.setattr(scores, "IWAE_IMAGES", 11)
    whole = held_out_scores(model, images(n=30), rng())
    monkeypatch.setattr(scores, "PIXELS_AT_ONCE", rows * 64 + 1)
    seen.clear()
    found = held_out_scores(model, images(n=30), rng())
    assert max(seen) <= rows
    assert sum(seen) == 30 + 11 * scores.IWAE_SAMPLES
    assert found["elbo_nats"] == pytest.approx(whole["elbo_nats"], rel=0.05)
    assert found["kl_nats"] == pytest.approx(whole["kl_nats"])


def test_failure_is_as_bad_as_guessing_levels() -> None:
    model = model_of(config_of(likelihood="logistic"))
    assert FAMILY.failure(SPEC)["elbo_nats"] == pytest.approx(64 * math.log(256))
    untrained = FAMILY.measure(model, {}, {"image": images()}, rng())
    assert untrained["elbo_nats"] < 2 * FAMILY.failure(SPEC)["elbo_nats"]


def test_pixel_means_are_within_the_range_of_images() -> None:
    assert pixel_means(torch.tensor([-1e4, 0.0, 1e4])).tolist() == [-1.0, 0.0, 1.0]
