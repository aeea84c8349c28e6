"""Precision, recall, density and coverage: which samples lie among the real ones, and which real ones are reached.

Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al. 2020,
arXiv:2002.09797. Each set is surrounded by balls that reach to the K-th nearest other member of the set.

- Balls are closed (distance ≤ radius): identical sets then score 1. The reference code of Naeem et al. compares with <,
  which gives 0 there; on features without ties both agree.
- At most as many real as generated samples are used (a fixed random choice): with equal numbers a perfect model covers
  1 - 2⁻ᴷ of the real samples, whatever the number. Both sides stop at `MAX_SAMPLES`, which bounds memory and time.
- Distances are float64; those below rounding error are exactly 0, so that duplicates count as duplicates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Kind, Limits, Members, check_features, check_pair, everyone

K = 5
MAX_SAMPLES = 5000
BLOCK_ROWS = 1024
SHORTLIST = 48
# ‖x‖² + ‖y‖² - 2xᵀy is exact to a few units in the last place of its terms; smaller results are rounding.
ROUNDING = 1e-13


@dataclass(frozen=True)
class NeighbourReference:
    """Real features (Nr, d) as seen from `centre` (d,), and the squared radius (Nr,) of the ball of each."""

    centre: Array
    values: Array
    radii: Array


def squared_distances(x: Array, y: Array) -> Array:
    """Squared Euclidean distances (N, M) between the rows of x (N, d) and y (M, d)."""
    scale = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)[None, :]
    distances = x @ y.T
    distances *= -2.0
    distances += scale
    scale *= ROUNDING
    distances[distances <= scale] = 0.0
    return distances


def neighbour_radii(values: Array, k: int = K) -> Array:
    """Squared distance (N,) of each row to its k-th nearest other row, in blocks of rows."""
    radii = np.empty(len(values))
    for start in range(0, len(values), BLOCK_ROWS):
        block = squared_distances(values[start : start + BLOCK_ROWS], values)
        here = np.arange(len(block))
        block[here, start + here] = np.inf  # nobody is its own neighbour
        radii[start : start + BLOCK_ROWS] = np.partition(block, k - 1, axis=1)[:, k - 1]
    return radii


def neighbour_reference(real: Array) -> NeighbourReference:
    """The real side of all four metrics, computed once."""
    # A common offset costs digits. One of the samples, not their mean: differences of whole numbers stay exact.
    centre = real[0]
    return NeighbourReference(centre, real - centre, neighbour_radii(real - centre))


def neighbour_metrics(real: Array, generated: Array) -> Mapping[str, float]:
    """Precision, recall, density and coverage of generated (M, d) against real features (N, d), K = 5.

    Raises MetricError on unusable features and where a set has no K-th neighbour.
    """
    real, generated = check_pair(real, generated, K + 1)
    computed = _all_four(neighbour_reference(real), generated, everyone(len(generated)))
    return {name: float(values[0]) for name, values in computed.items()}


def _all_four(reference: NeighbourReference, generated: Array, members: Members) -> Mapping[str, Array]:
    return {**_balls_of_real(reference, generated, members), **_balls_of_generated(reference, generated, members)}


def _balls_of_real(reference: NeighbourReference, generated: Array, members: Members) -> Mapping[str, Array]:
    """Precision, density and coverage (B,) of each subset: who lies in the balls around the real samples."""
    sizes = members.sum(axis=1)
    across = squared_distances(reference.values, generated - reference.centre)  # (Nr, N)
    # float32 for BLAS: sums of 0 and 1 below 2²⁴ are exact in it, where a product of two boolean arrays would not count.
    in_ball = (across <= reference.radii[:, None]).astype(np.float32)
    balls = in_ball.sum(axis=0, dtype=np.float64)  # (N,) that each sample lies in
    reached = in_ball @ members.T.astype(np.float32)  # (Nr, B)
    return {
        "precision": members @ np.minimum(balls, 1.0) / sizes,
        "density": members @ balls / (K * sizes),
        "coverage": (reached > 0.5).mean(axis=0),
    }


def _balls_of_generated(reference: NeighbourReference, generated: Array, members: Members) -> Mapping[str, Array]:
    """Recall (B,) of each subset: real samples inside its balls, which depend on who else is in the subset."""
    smallest = int(members.sum(axis=1).min())
    if smallest <= K:
        raise MetricError(
            f"A subset of {smallest} samples has no {K}-th neighbour; recall and its interval need at least "
            f"{2 * (K + 1)} samples. Raise the number of samples."
        )
    generated = generated - reference.centre
    across = squared_distances(reference.values, generated)  # (Nr, N)
    within = squared_distances(generated, generated)
    np.fill_diagonal(within, np.inf)
    nearest = np.argsort(within, axis=1)[:, :SHORTLIST] if len(members) > 1 else None
    recall = np.empty(len(members))
    for b, subset in enumerate(members):
        rows = np.flatnonzero(subset)
        recall[b] = (across[:, rows] <= _radii_within(within, nearest, subset)).any(axis=1).mean()
    return {"recall": recall}


def _radii_within(within: Array, nearest: NDArray[np.intp] | None, subset: NDArray[np.bool_]) -> Array:
    """Squared distance of each member of a subset to its K-th nearest other member, in the order of the members.

    A member's K nearest within half of the samples are all but surely among its `SHORTLIST` nearest of all, so that one
    sorting serves all subsets; the few rows where they are not are looked up in full.
    """
    rows = np.flatnonzero(subset)
    if nearest is None:
        return np.partition(within[np.ix_(rows, rows)], K - 1, axis=1)[:, K - 1]
    listed = nearest[rows]
    met = subset[listed].cumsum(axis=1)
    radii = within[rows, listed[np.arange(len(rows)), (met >= K).argmax(axis=1)]]
    for i in np.flatnonzero(met[:, -1] < K):
        radii[i] = np.partition(within[rows[i], rows], K - 1)[K - 1]
    return radii


def _reference(real: Features, n: int) -> NeighbourReference:
    values = check_features(real.values, "real", K + 1)
    use = min(len(values), max(n, K + 1), MAX_SAMPLES)
    if use < len(values):
        values = values[np.sort(np.random.default_rng(0).permutation(len(values))[:use])]
    return neighbour_reference(values)


def _precision_density_coverage(
    reference: NeighbourReference, generated: Features, members: Members
) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated")[:MAX_SAMPLES]
    return _balls_of_real(reference, values, members[:, :MAX_SAMPLES])


def _recall(reference: NeighbourReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated", K + 1)[:MAX_SAMPLES]
    return _balls_of_generated(reference, values, members[:, :MAX_SAMPLES])


def _limits(reference: NeighbourReference) -> Mapping[str, Limits]:
    share = (0.0, 1.0)
    return {"precision": share, "recall": share, "density": (0.0, len(reference.values) / K), "coverage": share}


# Two kinds: recall needs all distances between samples, the others do not, and coverage is measured at every rung.
REAL_BALLS = Kind("balls of real samples", _reference, _precision_density_coverage, _limits)
GENERATED_BALLS = Kind("balls of generated samples", _reference, _recall, _limits)
