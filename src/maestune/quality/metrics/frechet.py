"""Fréchet distance between two sets of features, each taken as a Gaussian (Heusel et al. 2017, arXiv:1706.08500).

    FD = ‖μr - μg‖² + tr Σr + tr Σg - 2 tr (Σr Σg)^½

The trace of the root is never taken of the non-symmetric product, where rounding makes eigenvalues negative or complex
once samples are fewer than dimensions. With any factor A of Σr (AᵀA = Σr) and B of Σg it is the nuclear norm of A Bᵀ:

- fewer samples than dimensions: B = the centred samples / √(N-1), and the singular values of A Bᵀ are summed;
- otherwise: A Σg Aᵀ is symmetric, and the roots of its eigenvalues are summed (clipped at 0). A is triangular there, which
  halves the work of the product (LAPACK's sygst).

Covariances divide by N-1. A set of identical features has covariance 0, for which the distance is defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import lapack  # pyright: ignore[reportMissingTypeStubs]

from maestune.errors import MetricError
from maestune.quality.metric import (
    Array,
    Features,
    Kind,
    Limits,
    Members,
    Reals,
    check_features,
    check_pair,
    chosen_from,
)

_LAPACK: Any = lapack  # it publishes no types


@dataclass(frozen=True)
class Moments:
    """Sums over samples seen so far, of features minus a fixed `centre`: mergeable, in any order.

    The centre is a point near the data (the real mean), so that the covariance is not the small difference of two
    large numbers. `total` (d,), `outer` (d, d), both float64.
    """

    centre: Array
    count: int
    total: Array
    outer: Array

    @property
    def mean(self) -> Array:
        """Mean (d,)."""
        return self.centre + self.total / self.count

    @property
    def covariance(self) -> Array:
        """Unbiased covariance (d, d); raises MetricError below two samples."""
        if self.count < 2:
            raise MetricError(f"A covariance of {self.count} samples was asked for; at least 2 are needed.")
        return (self.outer - np.outer(self.total, self.total) / self.count) / (self.count - 1)


def moments_init(centre: Array) -> Moments:
    """The moments of no samples, to be summed around a centre (d,)."""
    d = centre.shape[0]
    return Moments(centre, 0, np.zeros((d,)), np.zeros((d, d)))


def moments_update(moments: Moments, values: Array) -> Moments:
    """The moments with more samples (N, d)."""
    x = values - moments.centre
    return Moments(moments.centre, moments.count + len(x), moments.total + x.sum(axis=0), moments.outer + x.T @ x)


def moments_merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of samples; raises MetricError where they were summed around different centres."""
    if not np.array_equal(a.centre, b.centre):
        raise MetricError("Moments around different centres cannot be merged; start both from the same moments_init.")
    return Moments(a.centre, a.count + b.count, a.total + b.total, a.outer + b.outer)


@dataclass(frozen=True)
class FrechetReference:
    """What is kept of the real features: `mean` (d,), `trace` of Σr, and a `factor` A with AᵀA = Σr.

    A is upper triangular (d, d), or the centred features themselves (N, d) where these are fewer than d.
    """

    mean: Array
    trace: float
    factor: Array


def frechet_reference(real: Array) -> FrechetReference:
    """Mean and covariance factor of real features (N, d)."""
    n, d = real.shape
    mean = real.mean(axis=0)
    centred = real - mean
    if n < d:
        centred /= np.sqrt(n - 1)
        return FrechetReference(mean, float((centred**2).sum()), centred)
    covariance = centred.T @ centred / (n - 1)
    return FrechetReference(mean, float(np.trace(covariance)), _triangular_factor(covariance))


def _triangular_factor(covariance: Array) -> Array:
    """Upper triangular A with AᵀA = Σ: Cholesky's, and where Σ is singular that of its symmetric root."""
    try:
        factor = np.linalg.cholesky(covariance).T
    except np.linalg.LinAlgError:
        eigenvalues, vectors = np.linalg.eigh(covariance)
        factor = np.linalg.qr(np.sqrt(np.maximum(eigenvalues, 0.0))[:, None] * vectors.T).R
    return np.asarray(factor, dtype=np.float64)


def moments_distance(reference: FrechetReference, generated: Moments) -> float:
    """Fréchet distance to samples of which only the moments are known (any number of them, streamed)."""
    covariance = generated.covariance
    if reference.factor.shape[0] == reference.factor.shape[1]:
        product: Array = np.asarray(
            _LAPACK.dsygst(covariance.T, reference.factor, itype=2, lower=0)[0], dtype=np.float64
        )  # its upper triangle
    else:
        product = reference.factor @ covariance @ reference.factor.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(product, UPLO="U"), 0.0)).sum()
    return _assemble(reference, generated.mean - reference.mean, float(np.trace(covariance)), float(cross))


def samples_distance(reference: FrechetReference, generated: Array) -> float:
    """Fréchet distance to samples (N, d), by whichever of the two algorithms is exact and fast for N."""
    n, d = generated.shape
    if n >= d:
        return moments_distance(reference, moments_update(moments_init(reference.mean), generated))
    mean = generated.mean(axis=0)
    centred = (generated - mean) / np.sqrt(n - 1)
    cross = np.linalg.svd(reference.factor @ centred.T, compute_uv=False).sum()
    return _assemble(reference, mean - reference.mean, float((centred**2).sum()), float(cross))


def frechet_distance(real: Array, generated: Array) -> float:
    """Fréchet distance between two sets of features (N, d); raises MetricError on unusable features.

    >>> x = np.array([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0]])
    >>> round(frechet_distance(x, x + 3.0), 6)
    18.0
    """
    real, generated = check_pair(real, generated)
    return samples_distance(frechet_reference(real), generated)


def _assemble(reference: FrechetReference, shift: Array, trace: float, cross: float) -> float:
    return max(0.0, float(shift @ shift) + reference.trace + trace - 2.0 * cross)


def _reference(reals: Reals, n: int) -> FrechetReference:
    return frechet_reference(check_features(reals.held_out.values, "real"))


def _compute(reference: FrechetReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated")
    return {"fd": np.array([samples_distance(reference, subset) for subset in chosen_from(values, members)])}


def _limits(reference: FrechetReference) -> Mapping[str, Limits]:
    return {"fd": (0.0, np.inf)}


FRECHET = Kind("frechet", _reference, _compute, _limits)
