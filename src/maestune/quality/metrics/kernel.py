"""Kernel distance: the squared maximum mean discrepancy between two sets of features.

Bińkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401, with their kernel k(x, y) = (xᵀy/d + 1)³. The full
unbiased U-statistic over all samples, not a mean over random subsets; it can be slightly negative for equal
distributions. Kernels are computed in blocks of rows, so memory grows with N, not N².
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, check_features, check_pair, everyone

BLOCK_ROWS = 512


@dataclass(frozen=True)
class KernelReference:
    """Real features (Nr, d) and the mean kernel between two different ones of them."""

    values: Array
    within: float


def polynomial_kernel(x: Array, y: Array) -> Array:
    """(xᵀy/d + 1)³ between the rows of x (N, d) and y (M, d): (N, M)."""
    k = x @ y.T
    k /= x.shape[1]
    k += 1.0
    return k * k * k


def kernel_reference(real: Array) -> KernelReference:
    """The real side of the distance, computed once."""
    return KernelReference(real, float(_mean_within(real, everyone(len(real)))[0]))


def kernel_distance(real: Array, generated: Array) -> float:
    """Unbiased squared MMD between features (N, d) and (M, d); raises MetricError on unusable features."""
    real, generated = check_pair(real, generated)
    return float(_distances(kernel_reference(real), generated, everyone(len(generated)))[0])


def _distances(reference: KernelReference, generated: Array, members: Members) -> Array:
    """Squared MMD (B,) of each subset of the generated samples."""
    across = np.concatenate([polynomial_kernel(x, reference.values).mean(axis=1) for _, x in _blocks(generated)])
    return reference.within + _mean_within(generated, members) - 2.0 * (members @ across) / members.sum(axis=1)


def _mean_within(values: Array, members: Members) -> Array:
    """Mean kernel (B,) between two different samples of each subset."""
    chosen = members.astype(np.float64)
    total = np.zeros(len(members))
    diagonal = ((values * values).sum(axis=1) / values.shape[1] + 1.0) ** 3
    for rows, x in _blocks(values):
        total += ((chosen[:, rows] @ polynomial_kernel(x, values)) * chosen).sum(axis=1)
    count = chosen.sum(axis=1)
    return (total - chosen @ diagonal) / (count * (count - 1.0))


def _blocks(values: Array) -> Iterator[tuple[slice, Array]]:
    for start in range(0, len(values), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        yield rows, values[rows]


def _reference(reals: Reals, n: int) -> KernelReference:
    return kernel_reference(check_features(reals.held_out.values, "real"))


def _compute(reference: KernelReference, generated: Features, members: Members) -> Mapping[str, Array]:
    return {"kid": _distances(reference, check_features(generated.values, "generated"), members)}


def _limits(reference: KernelReference) -> Mapping[str, Limits]:
    return {"kid": (-np.inf, np.inf)}


KERNEL = Kind("kernel", _reference, _compute, _limits)
