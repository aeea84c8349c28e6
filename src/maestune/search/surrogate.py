"""A small Gaussian process for few, noisy results in many dimensions: fitted in milliseconds, without a training loop.

The kernel is a sum of one-dimensional ones (most hyperparameters act on their own: Duvenaud et al. 2011, arXiv
1112.4394) and a broad joint one. The four constants (share of the sum, length, noise, scale) are those of the
highest marginal likelihood on a coarse grid: with tens of results, a finer fit would fit the noise.
"""

# scipy publishes no complete types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.special import ndtr, ndtri

from maestune.space import Choice, Param, Space
from maestune.types import Config, Value

Array = NDArray[np.float64]

_LENGTHS = (0.25, 0.6)  # in the unit interval
_SHARES = (0.3, 0.8)  # of the sum of one-dimensional kernels
_NOISES = (0.05, 0.3)  # variances, relative to the kernel's


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A fitted process. `points` (n, d): coordinates, index for unordered choices, which `unordered` (d,) marks."""

    points: Array
    unordered: NDArray[np.bool_]
    targets: Array  # (n,) standardised losses
    noise: Array  # (n,) variances
    length: float
    share: float
    scale: float
    covariance: Array  # (n, n), without the noise
    factor: Any  # Cholesky factor of the covariance, as scipy returns it
    weights: Array  # (n,) covariance⁻¹ · targets

    @staticmethod
    def fit(points: Array, losses: Array, doubts: Array, unordered: NDArray[np.bool_]) -> Surrogate:
        """Fitted to losses (n,), known up to independent normal errors of the standard deviations `doubts` (n,)."""
        deviation = float(losses.std()) or 1.0
        targets = (losses - losses.mean()) / deviation
        own_noise = (doubts / deviation) ** 2
        best: tuple[float, Surrogate] | None = None
        for length in _LENGTHS:
            additive, joint = _kernels(points, points, unordered, length)
            for share in _SHARES:
                kernel = share * additive + (1 - share) * joint
                for noise in _NOISES:
                    factor = cho_factor(kernel + np.diag(noise + own_noise), lower=True)
                    weights = cho_solve(factor, targets)
                    scale = max(float(targets @ weights) / len(targets), 1e-9)
                    likelihood = -0.5 * len(targets) * np.log(scale) - float(np.log(np.diag(factor[0])).sum())
                    if best is None or likelihood > best[0]:
                        fitted = Surrogate(
                            points, unordered, targets, noise + own_noise, length, share, scale, kernel, factor, weights
                        )
                        best = (likelihood, fitted)
        assert best is not None
        return best[1]

    @property
    def expected(self) -> Array:
        """Expected standardised losses (n,) at its own points."""
        # kernel · weights, since (kernel + noise) · weights = targets
        return self.targets - self.noise * self.weights

    def mean(self, points: Array) -> Array:
        """Expected standardised losses (m,) at points (m, d)."""
        return self._kernel(points) @ self.weights

    def believing(self, pending: Array) -> Surrogate:
        """The process as if pending points (m, d) had come out as expected: nothing is to be gained near them."""
        points = np.concatenate([self.points, pending])
        across = self._kernel(pending)  # (m, n)
        targets = np.concatenate([self.targets, across @ self.weights])
        noise = np.concatenate([self.noise, np.full(len(pending), min(_NOISES))])
        covariance = np.block([[self.covariance, across.T], [across, self._kernel(pending, pending)]])
        factor = cho_factor(covariance + np.diag(noise), lower=True)
        weights = cho_solve(factor, targets)
        return replace(
            self, points=points, targets=targets, noise=noise, covariance=covariance, factor=factor, weights=weights
        )

    def expected_improvement(self, points: Array) -> Array:
        """How much better than the best expected so far points (m, d) are, in expectation (m,)."""
        kernel = self._kernel(points)
        mean = kernel @ self.weights
        explained = (solve_triangular(self.factor[0], kernel.T, lower=True) ** 2).sum(axis=0)
        deviation = np.sqrt(self.scale * np.maximum(1.0 - explained, 1e-9))
        z = (self.expected.min() - mean) / deviation
        return deviation * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))

    def _kernel(self, points: Array, others: Array | None = None) -> Array:
        others = self.points if others is None else others
        additive, joint = _kernels(points, others, self.unordered, self.length)
        return self.share * additive + (1 - self.share) * joint


def _kernels(one: Array, other: Array, unordered: NDArray[np.bool_], length: float) -> tuple[Array, Array]:
    """The additive and the joint kernel (n, m) between points (n, d) and (m, d); both are 1 at distance 0."""
    gaps = (one[:, None, ~unordered] - other[None, :, ~unordered]) / length  # (n, m, numbers)
    half_squares = 0.5 * gaps**2
    same = one[:, None, unordered] == other[None, :, unordered]  # (n, m, unordered choices)
    d = one.shape[1]
    additive = (np.exp(-half_squares).sum(axis=2) + same.sum(axis=2)) / d
    joint = np.exp(-(half_squares.sum(axis=2) + (~same).sum(axis=2)) / np.sqrt(d))
    return additive, joint


def half_rank(losses: Array) -> Array:
    """Losses (n,) whose worse half is replaced by what a normal with the better half's spread would give its ranks.

    Diverging regions and outliers then say "bad", not how bad, and leave the model its resolution where it is good
    (half-rank warping; Song et al. 2024, arXiv 2408.11527).
    """
    ranks = np.empty(len(losses))
    ranks[np.argsort(losses, kind="stable")] = np.arange(len(losses))
    median = float(np.median(losses))
    worse = losses > median
    spread = float(np.sqrt(np.mean((losses[~worse] - median) ** 2)))
    warped = losses.copy()
    warped[worse] = median + spread * ndtri((ranks[worse] + 0.5) / len(losses))
    return warped


def coordinates(space: Space, configs: list[Config]) -> Array:
    """Points (n, d) of configs: unit-cube positions, indices for unordered choices.

    An inactive parameter is at its neutral place (the prior's centre, else the middle or the first choice), so that it
    makes no difference between configs that do without it.
    """
    rows = [dict(config.items_) for config in configs]
    points = np.empty((len(rows), len(space)))
    for column, param in enumerate(space):
        places: dict[tuple[type, Value | None], float | int] = {}  # most values come again; True is not 1
        for row, values in enumerate(rows):
            value = values.get(param.name)
            key = (type(value), value)
            place = places.get(key)
            if place is None:
                place = places[key] = coordinate(param, values)
            points[row, column] = place
    return points


def unordered_mask(space: Space) -> NDArray[np.bool_]:
    """(d,) true for choices whose values have no order."""
    return np.array([is_unordered(param) for param in space])


def is_unordered(param: Param) -> bool:
    """Whether a parameter is a choice whose values have no order."""
    return isinstance(param, Choice) and not param.ordered


def coordinate(param: Param, config: Mapping[str, Value]) -> float | int:
    """One coordinate of a config: see `coordinates`."""
    value = config.get(param.name)
    if value is None and param.prior is not None:
        value = param.prior.centre
    if isinstance(param, Choice) and not param.ordered:
        return 0 if value is None else param.values.index(param.check(value))
    return 0.5 if value is None else param.to_unit(value)
