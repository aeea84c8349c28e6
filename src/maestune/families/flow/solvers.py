"""Solvers of dx/dt = v(x, t) from t = 0 (noise) to t = 1 (images), in equal steps.

Fixed steps and no stopping rule: the same code runs for one member and for many. Formulas as in Hairer, Nørsett & Wanner
1993, Solving Ordinary Differential Equations I, section II.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]  # (x, t) → dx/dt
Step = Callable[[Velocity, Tensor, float, float], Tensor]  # (v, x, t, h) → x at t + h


def euler(v: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    """First order, one evaluation a step."""
    return x + h * v(x, t)


def midpoint(v: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    """Second order, two evaluations a step: the velocity half-way."""
    return x + h * v(x + 0.5 * h * v(x, t), t + 0.5 * h)


def heun(v: Velocity, x: Tensor, t: float, h: float) -> Tensor:
    """Second order, two evaluations a step: the mean of the velocities at both ends."""
    first = v(x, t)
    return x + 0.5 * h * (first + v(x + h * first, t + h))


SOLVERS: Mapping[str, Step] = {"euler": euler, "midpoint": midpoint, "heun": heun}


def solve(step: Step, v: Velocity, x: Tensor, steps: int) -> Tensor:
    """x at t = 1 from x at t = 0, in equal steps."""
    for i in range(steps):
        x = step(v, x, i / steps, 1.0 / steps)
    return x
