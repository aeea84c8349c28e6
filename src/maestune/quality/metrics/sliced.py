"""MIND: the mean, over directions, of the squared Wasserstein distance between features seen along a direction.

Berthet et al. 2026, arXiv:2605.06797: along a unit direction u the distance W₂² between two sets of numbers is that between
their sorted values; MIND is 3 d times its mean over directions, with d the number of features. Neither means nor covariances
are estimated, and no Gaussian is assumed. Like the Fréchet distance it is too large for few samples.

With Q̄ᵢ the mean of the real quantile function between (i-1)/N and i/N, and x₍ᵢ₎ the sorted samples,

    W₂² = mean x² + mean y² - 2/N Σ x₍ᵢ₎ Q̄ᵢ

holds exactly for any two numbers of samples. The directions are fixed: random rotations of all axes, so that within each
rotation every direction is orthogonal to the others and means and total variances are seen without error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, check_features, check_pair, everyone

DIRECTIONS = 1024
SCALE = 3.0  # of the paper
MOST_REAL = 10_000  # real samples whose quantiles are kept
BLOCK = 64  # directions at a time
SEED = 0


@dataclass(frozen=True)
class SlicedReference:
    """Real features (Nr, d) along `directions` (M, d), as seen from `centre` (d,).

    `integrals` (M, Nr + 1): of the quantile function from 0 to i/Nr. `squares` (M,): mean square.
    """

    centre: Array
    directions: Array
    integrals: Array
    squares: Array


def unit_directions(d: int, count: int = DIRECTIONS) -> Array:
    """The fixed directions (count, d): rows of random rotations; the one direction there is for d = 1."""
    if d == 1:
        return np.ones((1, 1))
    rng = np.random.default_rng(SEED)
    rotations: list[Array] = []
    for _ in range(-(-count // d)):
        q, r = np.linalg.qr(rng.normal(size=(d, d)))
        rotations.append(q.T * np.sign(np.diag(r))[:, None])
    return np.concatenate(rotations)[:count]


def sliced_reference(real: Array) -> SlicedReference:
    """The real side of the distance, computed once."""
    if len(real) > MOST_REAL:
        real = real[np.sort(np.random.default_rng(SEED).permutation(len(real))[:MOST_REAL])]
    centre, directions = real.mean(axis=0), unit_directions(real.shape[1])
    seen = np.sort(directions @ (real - centre).T, axis=1)
    integrals = np.concatenate([np.zeros((len(seen), 1)), seen.cumsum(axis=1)], axis=1) / len(real)
    return SlicedReference(centre, directions, integrals, (seen**2).mean(axis=1))


def sliced_distance(real: Array, generated: Array) -> float:
    """MIND between features (M, d) and (N, d); raises MetricError on unusable features.

    >>> x = np.array([[0.0], [1.0]])
    >>> sliced_distance(x, x + 2.0)
    12.0
    """
    real, generated = check_pair(real, generated)
    return float(_distances(sliced_reference(real), generated, everyone(len(generated)))[0])


def _distances(reference: SlicedReference, generated: Array, members: Members) -> Array:
    """MIND (B,) of each subset."""
    sizes = members.sum(axis=1)
    centred = (generated - reference.centre).T
    total = np.zeros(len(members))
    for start in range(0, len(reference.directions), BLOCK):
        part = slice(start, start + BLOCK)
        seen = reference.directions[part] @ centred  # (BLOCK, N)
        order = np.argsort(seen, axis=1)
        seen = np.take_along_axis(seen, order, axis=1)
        squares = reference.squares[part].sum()
        quantiles = {int(size): _mean_quantiles(reference.integrals[part], int(size)) for size in np.unique(sizes)}
        for b, (chosen, size) in enumerate(zip(members, sizes, strict=True)):
            values = seen if chosen.all() else seen[chosen[order]].reshape(len(seen), size)
            across = np.vdot(values, quantiles[int(size)])
            # One direction's distance cannot be negative, but for rounding; the sum of them all is held above 0 below.
            total[b] += np.vdot(values, values) / size + squares - 2.0 * across / size
    return SCALE * centred.shape[0] * np.maximum(total, 0.0) / len(reference.directions)


def _mean_quantiles(integrals: Array, size: int) -> Array:
    """Mean of the real quantile function in each of `size` equal parts (M, size)."""
    n = integrals.shape[1] - 1
    at = np.arange(size + 1) * (n / size)
    below = np.minimum(at.astype(int), n - 1)
    ends = integrals[:, below] + (at - below) * (integrals[:, below + 1] - integrals[:, below])
    return np.diff(ends, axis=1) * size


def _reference(reals: Reals, n: int) -> SlicedReference:
    return sliced_reference(check_features(reals.held_out.values, "real"))


def _compute(reference: SlicedReference, generated: Features, members: Members) -> Mapping[str, Array]:
    return {"mind": _distances(reference, check_features(generated.values, "generated"), members)}


def _limits(reference: SlicedReference) -> Mapping[str, Limits]:
    return {"mind": (0.0, np.inf)}


SLICED = Kind("sliced distance", _reference, _compute, _limits)
