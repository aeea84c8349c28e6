"""FD∞: what the Fréchet distance would be with infinitely many samples (Chong & Forsyth 2020, arXiv:1911.07023).

The distance of N samples is too large by about a constant over N, and that constant depends on the model, so that ranks can
flip even at equal N. The distances of 15 numbers of samples, spread evenly between a quarter of N and N, are drawn as a line
over 1/N; where it meets 1/N = 0 is FD∞.

- What the real images are too few of stays in it: it is the distance to *these* real images, and the floor is not 0.
- The line is one only where samples are more than dimensions. Below `LEAST_PER_DIMENSION` samples for each of d + 1
  dimensions there is no value: halves of an interval then still have twice as many samples as dimensions, and their
  smallest subsets about half. `Extrapolation.misfit` says how far the points are from the line.
- A line through noisy points can end below 0; the value is left as it is.
- Subsets are the first samples in an order that depends on what they are, not on how they came (see `content_order`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

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
from maestune.quality.metrics.frechet import FrechetReference, frechet_reference, samples_distance
from maestune.quality.metrics.order import content_order

POINTS = 15
SMALLEST = 0.25  # of the samples
LEAST_PER_DIMENSION = 4


@dataclass(frozen=True)
class Extrapolation:
    """The line through distances over 1/N: `value` where 1/N is 0, `slope`, and `misfit`.

    `misfit`: root mean square of what the line leaves, as a share of the distance at N. Large: too few samples for a line.
    """

    value: float
    slope: float
    misfit: float


def extrapolated_distance(real: Array, generated: Array) -> Extrapolation:
    """FD∞ between features (M, d) and (N, d); MetricError on unusable features, and where N < 2 (d + 1)."""
    real, generated = check_pair(real, generated)
    return _extrapolated(frechet_reference(real), generated)


def _extrapolated(reference: FrechetReference, generated: Array) -> Extrapolation:
    n, d = generated.shape
    if n < LEAST_PER_DIMENSION // 2 * (d + 1):
        raise MetricError(
            f"fd_inf cannot be extrapolated from {n} samples of {d} features: it needs at least "
            f"{LEAST_PER_DIMENSION // 2 * (d + 1)}, and twice as many with an interval. Raise the number of samples."
        )
    ordered = generated[content_order(generated)]
    sizes = [round(n * (SMALLEST + (1.0 - SMALLEST) * i / (POINTS - 1))) for i in range(POINTS)]
    distances = np.array([samples_distance(reference, ordered[:size]) for size in sizes])
    x = 1.0 / np.array(sizes)
    off = x - x.mean()
    slope = float(off @ distances / (off @ off))
    value = float(distances.mean() - slope * x.mean())
    misfit = float(np.sqrt(np.mean((distances - value - slope * x) ** 2)))
    return Extrapolation(value, slope, misfit / float(distances[-1]) if distances[-1] > 0 else 0.0)


def _reference(reals: Reals, n: int) -> FrechetReference:
    return frechet_reference(check_features(reals.held_out.values, "real"))


def _compute(reference: FrechetReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated")
    return {"fd_inf": np.array([_extrapolated(reference, subset).value for subset in chosen_from(values, members)])}


def _limits(reference: FrechetReference) -> Mapping[str, Limits]:
    return {"fd_inf": (-np.inf, np.inf)}


EXTRAPOLATED = Kind("extrapolated Fréchet distance", _reference, _compute, _limits)
