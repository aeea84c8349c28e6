"""What a metric is: features in, value out, with its direction, unit and meaning.

Metrics that rest on the same intermediate values (k-nearest-neighbour distances, a class histogram) form one `Kind`
and are computed together. A kind is three pure functions; it knows nothing of images, networks or campaigns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from maestune.errors import MetricError

Array = NDArray[np.float64]
Members = NDArray[np.bool_]
Limits = tuple[float, float]
Reference = TypeVar("Reference")


@dataclass(frozen=True)
class Features:
    """What an extractor sees in N images.

    `values` (N, d) float64, `probabilities` (N, K) of its classes, if any; `asked` (N,): the class that each image was to
    show, where something was asked for.
    """

    values: Array
    probabilities: Array | None = None
    asked: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True)
class Kind(Generic[Reference]):
    """Metrics that are computed together.

    `reference(real, n)`: what is kept of the real features, computed once, for comparisons with n samples.
    `compute(reference, generated, members)`: one value for each of B subsets of the N samples; `members` (B, N) says
    which sample belongs to which subset, so that intermediate values are shared between the whole set and the
    half-samples of its interval. Returns name → (B,).
    `limits(reference)`: the least and greatest value each metric can take.
    """

    name: str
    reference: Callable[[Features, int], Reference]
    compute: Callable[[Reference, Features, Members], Mapping[str, Array]]
    limits: Callable[[Reference], Mapping[str, Limits]]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that says how good a model is, in words that a person understands."""

    name: str
    label: str
    higher_is_better: bool
    unit: str
    meaning: str
    citation: str
    ratio_scale: bool = False  # always positive, and differences are told as factors: noise grows with the value


@dataclass(frozen=True, kw_only=True)
class Metric(Measure):
    """A measure that is computed from samples."""

    kind: Kind[Any]
    needs_labels: bool = False
    needs_conditions: bool = False  # samples must have been asked for something


def check_features(values: NDArray[Any], what: str, at_least: int = 2) -> Array:
    """The features as a float64 matrix (N, d).

    Raises MetricError unless they are two-dimensional, finite, and at least `at_least` in number.
    """
    if values.ndim != 2:
        raise MetricError(f"The {what} features have shape {values.shape}; a matrix (samples, dimensions) is needed.")
    if values.shape[0] < at_least:
        raise MetricError(
            f"There are {values.shape[0]} {what} samples; this metric needs at least {at_least}. Give it more of them."
        )
    matrix = np.asarray(values, dtype=np.float64)
    bad = int(np.count_nonzero(~np.isfinite(matrix).all(axis=1)))
    if bad:
        raise MetricError(
            f"{bad} of {matrix.shape[0]} {what} samples have features that are not finite numbers. "
            "Score only samples of a training that did not diverge."
        )
    return matrix


def check_pair(real: NDArray[Any], generated: NDArray[Any], at_least: int = 2) -> tuple[Array, Array]:
    """Both feature matrices, checked, and of the same dimension; raises MetricError otherwise."""
    a, b = check_features(real, "real", at_least), check_features(generated, "generated", at_least)
    if a.shape[1] != b.shape[1]:
        raise MetricError(
            f"Real features have {a.shape[1]} dimensions and generated ones {b.shape[1]}; "
            "both must come from the same extractor."
        )
    return a, b


def everyone(n: int) -> Members:
    """The one subset (1, n) that holds all n samples."""
    return np.ones((1, n), dtype=np.bool_)
