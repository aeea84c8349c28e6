"""Precision, recall, density and coverage: which samples lie among the real ones, and which real ones are reached.

Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991. Density and coverage: Naeem et al. 2020,
arXiv:2002.09797. Clipped density and coverage: Salvy et al. 2025, arXiv:2507.01761 (see `clipped`). Each set is surrounded
by balls that reach to the K-th nearest other member of the set.

- Balls are closed (distance ≤ radius): identical sets then score 1. The reference code of Naeem et al. compares with <,
  which gives 0 there; on features without ties both agree.
- At most as many real as generated samples are used (a fixed random choice): with equal numbers a perfect model covers
  1 - 2⁻ᴷ of the real samples, whatever the number. Both sides stop at `MAX_SAMPLES`, which bounds time.
- Distances are float64 and made in blocks: memory grows with the number of samples, not with its square. Those below
  rounding error are exactly 0, so that duplicates count as duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.errors import MetricError
from maestune.quality.interval import error_bounds, share_bounds, union_bounds
from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, check_features, check_pair, everyone
from maestune.quality.metrics.clipped import (
    calibrated_coverage,
    clipped_coverage_error,
    typical_crowding,
)
from maestune.quality.metrics.distances import blocks, nearest_others, neighbour_radii, squared_distances

K = 5
MAX_SAMPLES = 10_000
SHORTLIST = 48


@dataclass(frozen=True)
class NeighbourReference:
    """Real features (Nr, d) as seen from `centre` (d,), and the squared radius (Nr,) of the ball of each.

    `crowding`: what the clipped density of a real sample is before it is divided by this very number.
    """

    centre: Array
    values: Array
    radii: Array
    crowding: float

    @property
    def clipped(self) -> Array:
        """Squared radii (Nr,), none larger than the median: a stray real sample then makes no large ball."""
        return _clipped(self.radii)


def neighbour_reference(real: Array) -> NeighbourReference:
    """The real side of all metrics of neighbours, computed once."""
    # A common offset costs digits. One of the samples, not their mean: differences of whole numbers stay exact.
    centre = real[0]
    values = real - centre
    radii = neighbour_radii(values, K)
    return NeighbourReference(centre, values, radii, typical_crowding(values, _clipped(radii), K))


def _clipped(radii: Array) -> Array:
    # The median of radii, not of their squares: of an even number it is the mean of two.
    return np.minimum(radii, np.median(np.sqrt(radii)) ** 2)


def neighbour_metrics(real: Array, generated: Array) -> Mapping[str, float]:
    """Precision, recall, density, coverage and both clipped forms of generated (M, d) against real features (N, d), K = 5.

    Raises MetricError on unusable features and where a set has no K-th neighbour.
    """
    real, generated = check_pair(real, generated, K + 1)
    reference, members = neighbour_reference(real), everyone(len(generated))
    generated = generated - reference.centre
    radii = _radii_within(generated, members)
    return {name: float(value[0]) for name, value in _balls_of_real(reference, generated, members, radii).items()}


def _across(reference: NeighbourReference, generated: Array) -> Iterator[tuple[slice, Array]]:
    """Squared distances from real samples (a block of them at a time) to generated ones, seen from the same centre."""
    for rows in blocks(len(reference.values)):
        yield rows, squared_distances(reference.values[rows], generated)


def _balls_of_real(
    reference: NeighbourReference, generated: Array, members: Members, radii: Array | None = None
) -> Mapping[str, Array]:
    """Precision, density, coverage and clipped forms (B,) of each subset: who lies in the balls around real samples.

    `radii` (B, N): squared radii of the samples' own balls; with them, recall as well, from the same distances.
    """
    n_real, sizes, small = len(reference.values), members.sum(axis=1), reference.clipped
    balls, small_balls = np.zeros(len(generated)), np.zeros(len(generated))  # that each sample lies in
    covered, reached, recalled = np.zeros((3, len(members)))
    # float32 for BLAS: sums of 0 and 1 below 2²⁴ are exact in it, where a product of two boolean arrays would not count.
    chosen = members.T.astype(np.float32)
    for rows, across in _across(reference, generated):
        in_ball = (across <= reference.radii[rows, None]).astype(np.float32)
        balls += in_ball.sum(axis=0)
        small_balls += np.count_nonzero(across <= small[rows, None], axis=0)
        samples = in_ball @ chosen  # (rows, B): of each subset in each ball
        covered += np.minimum(samples, 1.0).sum(axis=0, dtype=np.float64)
        reached += np.minimum(samples, K).sum(axis=0, dtype=np.float64)
        if radii is not None:
            recalled += _reached_by(radii, across)
    clipped_density = members @ np.minimum(small_balls / K, 1.0) / (sizes * reference.crowding)
    found = {
        "precision": members @ np.minimum(balls, 1.0) / sizes,
        "density": members @ balls / (K * sizes),
        "coverage": covered / n_real,
        "clipped_density": np.minimum(clipped_density, 1.0),
        "clipped_coverage": calibrated_coverage(reached / (K * n_real), n_real, sizes, K),
    }
    return found if radii is None else {**found, "recall": recalled / n_real}


def _reached_by(radii: Array, across: Array) -> Array:
    """How many of these real samples lie in any ball (B, N squared radii) of each subset: (B,)."""
    return np.array([np.count_nonzero((across <= radius).any(axis=1)) for radius in radii], dtype=np.float64)


def _radii_within(values: Array, members: Members) -> Array:
    """Squared distance (B, N) of each member of each subset to its K-th nearest other member; -1 for who is no member.

    A member's K nearest within half of the samples are all but surely among its `SHORTLIST` nearest of all, so that one
    sorting serves all subsets; the few rows where they are not are looked up in full.
    """
    smallest = int(members.sum(axis=1).min())
    if smallest <= K:
        raise MetricError(
            f"A subset of {smallest} samples has no {K}-th neighbour; recall and its interval need at least "
            f"{2 * (K + 1)} samples. Raise the number of samples."
        )
    radii = np.full(members.shape, -1.0)
    if members.all():
        radii[:] = neighbour_radii(values, K)
        return radii
    nearest, distance = nearest_others(values, SHORTLIST)
    for b, subset in enumerate(members):
        rows = np.flatnonzero(subset)
        met = subset[nearest[rows]].cumsum(axis=1, dtype=np.int16)
        radii[b, rows] = distance[rows, (met >= K).argmax(axis=1)]
        for i in rows[met[:, -1] < K]:
            row = squared_distances(values[i : i + 1], values[rows[rows != i]])[0]
            radii[b, i] = np.partition(row, K - 1)[K - 1]
    return radii


def _reference(reals: Reals, n: int) -> NeighbourReference:
    return neighbour_reference(as_many(check_features(reals.held_out.values, "real", K + 1), n))


def as_many(values: Array, n: int) -> Array:
    """At most n of the real features (and at most MAX_SAMPLES, at least K + 1): a fixed random choice, in their order."""
    use = min(len(values), max(n, K + 1), MAX_SAMPLES)
    if use == len(values):
        return values
    return values[np.sort(np.random.default_rng(0).permutation(len(values))[:use])]


def _real_balls(reference: NeighbourReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated")[:MAX_SAMPLES] - reference.centre
    return _balls_of_real(reference, values, members[:, :MAX_SAMPLES])


def _generated_balls(reference: NeighbourReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated", K + 1)[:MAX_SAMPLES] - reference.centre
    radii = _radii_within(values, members[:, :MAX_SAMPLES])
    recalled = sum((_reached_by(radii, across) for _, across in _across(reference, values)), np.zeros(len(members)))
    return {"recall": recalled / len(reference.values)}


def _real_balls_intervals(
    reference: NeighbourReference, generated: Features, values: Mapping[str, Array]
) -> Mapping[str, Limits]:
    features = check_features(generated.values, "generated")[:MAX_SAMPLES] - reference.centre
    small = reference.clipped
    inside: list[NDArray[np.bool_]] = []
    small_balls = np.zeros(len(features))
    for rows, across in _across(reference, features):
        inside.append(across <= reference.radii[rows, None])
        small_balls += np.count_nonzero(across <= small[rows, None], axis=0)
    clipped = float(values["clipped_coverage"][0])
    # What a sample adds to clipped density does not depend on others, but the mean of all is cut off at 1: so are those of halves.
    density_error = float(np.minimum(small_balls / K, 1.0).std(ddof=1)) / np.sqrt(len(features)) / reference.crowding
    return {
        "coverage": union_bounds(float(values["coverage"][0]), values["coverage"][1:], len(features)),
        "clipped_coverage": error_bounds(clipped, clipped_coverage_error(np.concatenate(inside), clipped, K)),
        "clipped_density": error_bounds(float(values["clipped_density"][0]), density_error),
    }


def _recall_intervals(
    reference: NeighbourReference, generated: Features, values: Mapping[str, Array]
) -> Mapping[str, Limits]:
    n = min(len(generated), MAX_SAMPLES)
    return {"recall": share_bounds(float(values["recall"][0]), values["recall"][1:], n)}


def _limits(reference: NeighbourReference) -> Mapping[str, Limits]:
    share = (0.0, 1.0)
    return {
        "precision": share,
        "density": (0.0, len(reference.values) / K),
        "coverage": share,
        "clipped_density": share,
        "clipped_coverage": share,
    }


def _recall_limits(reference: NeighbourReference) -> Mapping[str, Limits]:
    return {"recall": (0.0, 1.0)}


# Two kinds: recall needs all distances between samples, the others do not, and coverage is measured at every rung.
REAL_BALLS = Kind("balls of real samples", _reference, _real_balls, _limits, _real_balls_intervals, MAX_SAMPLES)
GENERATED_BALLS = Kind(
    "balls of generated samples", _reference, _generated_balls, _recall_limits, _recall_intervals, MAX_SAMPLES
)
