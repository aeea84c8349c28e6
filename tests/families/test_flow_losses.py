"""Ways, times, and the loss of flow matching, against formulas."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from maestune.families.flow.losses import FlowLoss, between, logit_normal, spread_times, velocity_error
from maestune.families.flow.text import Condition, Conditioner, LabelTable


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X, NOISE = torch.randn(5, 2, 3, 3, generator=rng(1)), torch.randn(5, 2, 3, 3, generator=rng(2))


def test_the_way_is_straight_from_noise_to_image() -> None:
    t = torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0])
    way = between(NOISE, X, t)
    for i, time in enumerate(t.tolist()):
        np.testing.assert_allclose(way[i], (1 - time) * NOISE[i].numpy() + time * X[i].numpy(), atol=1e-6)


def test_the_target_is_the_velocity_of_the_way() -> None:
    """The derivative of x_t by t, by differences, is what makes the error 0."""
    t, h = torch.full((5,), 0.4, dtype=torch.float64), 1e-6
    x, noise = X.double(), NOISE.double()
    velocity = (between(noise, x, t + h) - between(noise, x, t - h)) / (2 * h)
    told: Any = lambda *_: velocity  # noqa: E731
    assert float(velocity_error(told, x, noise, t, None).abs().max()) < 1e-12


def test_the_error_is_a_mean_of_squares_over_pixels_for_each_sample() -> None:
    told = torch.randn(X.shape, generator=rng(3))
    network: Any = lambda *_: told  # noqa: E731
    found = velocity_error(network, X, NOISE, torch.rand(5), None)
    expected = [np.mean((told[i].numpy() - (X[i] - NOISE[i]).numpy()) ** 2) for i in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(st.integers(1, 200), st.integers(0, 100))
def test_every_part_of_the_interval_has_one_time(n: int, seed: int) -> None:
    t = spread_times(torch.rand(n, generator=rng(seed), dtype=torch.float64))
    assert torch.equal((t * n).floor().long(), torch.arange(n))
    assert 0.0 <= float(t.min()) <= float(t.max()) < 1.0


@pytest.mark.parametrize("mean", [0.0, 0.7, -1.0])
def test_logit_normal_times_follow_their_law(mean: float) -> None:
    uniform = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    t = logit_normal(uniform, mean).numpy()
    logits = np.log(t / (1 - t))
    assert stats.kstest(logits, stats.norm(mean, 1).cdf).statistic < 1e-3
    assert np.isfinite(logit_normal(torch.tensor([0.0, 1.0]), mean).numpy()).all()
    torch.testing.assert_close(logit_normal(uniform, torch.tensor(mean)), logit_normal(uniform, mean))


class Recorder:
    """Stands for a network: keeps what it was asked."""

    def __init__(self, conditioner: Conditioner | None) -> None:
        self.conditioner = conditioner
        self.t = torch.empty(0)
        self.condition: Condition | None = None
        self.x = torch.empty(0)
        self.rate: Any = None
        self.masks: Any = None

    def __call__(self, x: Tensor, t: Tensor, condition: Condition | None, masks: Any, rate: Any) -> Tensor:
        self.x, self.t, self.condition, self.masks, self.rate = x, t, condition, masks, rate
        return torch.zeros_like(x)


def conditioner() -> Conditioner:
    made = Conditioner(LabelTable(3, 4), 4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(generator=rng(5))
    return made


def test_the_loss_uses_what_it_is_given() -> None:
    network = Recorder(None)
    uniforms = torch.rand(5, generator=rng(4))
    noise = {"noise": NOISE, "time": uniforms, "mask_0": uniforms, "mask_1": uniforms + 1}
    model: Any = SimpleNamespace(network=network)
    loss = FlowLoss("", "uniform", 2)(model, {"image": X}, {"dropout": 0.3}, noise)
    torch.testing.assert_close(loss, (X - NOISE).square().mean((1, 2, 3)))
    torch.testing.assert_close(network.t, spread_times(uniforms))
    torch.testing.assert_close(network.x, between(NOISE, X, network.t))
    assert network.rate == 0.3
    assert [m is n for m, n in zip(network.masks, (noise["mask_0"], noise["mask_1"]), strict=True)] == [True, True]
    FlowLoss("", "logit_normal", 0)(model, {"image": X}, {"time_mean": 0.5}, noise)
    torch.testing.assert_close(network.t, logit_normal(spread_times(uniforms), 0.5))
    assert network.rate == 0.0


def test_conditions_are_dropped_where_the_uniform_is_below_the_share() -> None:
    network, label = Recorder(conditioner()), torch.tensor([0, 1, 2, 1, 0])
    noise = {"noise": NOISE, "time": torch.rand(5), "drop": torch.tensor([0.05, 0.5, 0.19, 0.2, 0.9])}
    model: Any = SimpleNamespace(network=network)
    FlowLoss("label", "uniform", 0)(model, {"image": X, "label": label}, {"condition_dropout": 0.2}, noise)
    assert network.conditioner is not None
    assert network.condition is not None
    table: Any = network.conditioner.encoder
    for i, dropped in enumerate((True, False, True, False, False)):
        expected = network.conditioner.nothing if dropped else table.weight[label[i]]
        torch.testing.assert_close(network.condition.vector[i], expected)
