"""Solvers against an equation whose solution is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maestune.families.flow.solvers import SOLVERS, solve

START = torch.tensor([1.0, -2.0], dtype=torch.float64)


def velocity(x: Tensor, t: float) -> Tensor:
    """dx/dt = x cos 2t, whose solution is x(0) exp(sin(2t) / 2)."""
    return x * math.cos(2 * t)


def error(name: str, steps: int) -> float:
    exact = START * math.exp(math.sin(2.0) / 2.0)
    return float((solve(SOLVERS[name], velocity, START, steps) - exact).abs().max())


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_the_order_of_convergence(name: str, order: int) -> None:
    found = math.log2(error(name, 256) / error(name, 512))
    assert found == pytest.approx(order, abs=0.1)
    assert error(name, 128) < {1: 0.02, 2: 2e-4}[order]


@pytest.mark.parametrize(("name", "evaluations"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_evaluations_lie_in_the_interval(name: str, evaluations: int) -> None:
    times: list[float] = []

    def watched(x: Tensor, t: float) -> Tensor:
        times.append(t)
        return x

    solve(SOLVERS[name], watched, START, 5)
    assert len(times) == 5 * evaluations
    assert min(times) == 0.0
    assert max(times) <= 1.0 + 1e-12


@pytest.mark.parametrize("name", list(SOLVERS))
def test_a_straight_way_is_followed_exactly_in_one_step(name: str) -> None:
    there = solve(SOLVERS[name], lambda x, t: torch.full_like(x, 3.0), START, 1)
    torch.testing.assert_close(there, START + 3.0)


def test_second_order_steps_differ_where_the_velocity_is_not_linear() -> None:
    """By hand for dx/dt = x², one step from 1: midpoint (1 + 1/2)², Heun (1 + 4) / 2."""
    one = torch.ones(1, dtype=torch.float64)
    assert float(SOLVERS["midpoint"](lambda x, t: x**2, one, 0.0, 1.0)) == pytest.approx(1 + 2.25)
    assert float(SOLVERS["heun"](lambda x, t: x**2, one, 0.0, 1.0)) == pytest.approx(1 + 2.5)
    assert float(SOLVERS["euler"](lambda x, t: x**2, one, 0.0, 1.0)) == pytest.approx(2)
