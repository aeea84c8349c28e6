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

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Kind, Limits, Members, check_features, check_pair, everyone

K = 5
MAX_SAMPLES = 5000
BLOCK_ROWS = 1024
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
    """Each metric (B,) for each subset of the generated samples."""
    sizes = members.sum(axis=1)
    if sizes.min() <= K:
        raise MetricError(
            f"A subset of {int(sizes.min())} samples has no {K}-th neighbour; precision, recall, density, coverage and "
            f"their intervals need at least {2 * (K + 1)} samples. Raise the number of samples."
        )
    generated = generated - reference.centre
    across = squared_distances(reference.values, generated)  # (Nr, N)
    in_ball = across <= reference.radii[:, None]
    chosen = members.astype(np.float32)
    # Sums of 0 and 1 below 2²⁴ are exact in float32.
    reached = (in_ball.astype(np.float32) @ chosen.T) > 0.5  # (Nr, B)
    return {
        "precision": members @ in_ball.any(axis=0) / sizes,
        "recall": _recall(across, generated, members),
        "density": members @ in_ball.sum(axis=0) / (K * sizes),
        "coverage": reached.mean(axis=0),
    }


def _recall(across: Array, generated: Array, members: Members) -> Array:
    """Share (B,) of real samples inside a ball of each subset; the balls depend on who else is in the subset."""
    within = squared_distances(generated, generated)
    np.fill_diagonal(within, np.inf)
    recall = np.empty(len(members))
    for b, subset in enumerate(members):
        rows = np.flatnonzero(subset)
        radii = np.partition(within[np.ix_(rows, rows)], K - 1, axis=1)[:, K - 1]
        recall[b] = (across[:, rows] <= radii).any(axis=1).mean()
    return recall


def _reference(real: Features, n: int) -> NeighbourReference:
    values = check_features(real.values, "real", K + 1)
    use = min(len(values), max(n, K + 1), MAX_SAMPLES)
    if use < len(values):
        values = values[np.sort(np.random.default_rng(0).permutation(len(values))[:use])]
    return neighbour_reference(values)


def _compute(reference: NeighbourReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated", K + 1)[:MAX_SAMPLES]
    return _all_four(reference, values, members[:, :MAX_SAMPLES])


def _limits(reference: NeighbourReference) -> Mapping[str, Limits]:
    share = (0.0, 1.0)
    return {"precision": share, "recall": share, "density": (0.0, float(len(reference.values)) / K), "coverage": share}


NEIGHBOURS = Kind("neighbours", _reference, _compute, _limits)
