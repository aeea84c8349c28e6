"""What a metric is: features in, value out, with its direction, unit and meaning.

Metrics that rest on the same intermediate values (k-nearest-neighbour distances, a class histogram) form one `Kind`
and are computed together. A kind is three pure functions; it knows nothing of images, networks or campaigns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from maestune.errors import MetricError

Array = NDArray[np.float64]
Members = NDArray[np.bool_]
Limits = tuple[float, float]
Extracted = TypeVar("Extracted")
Reference = TypeVar("Reference")


@dataclass(frozen=True)
class Features:
    """What an extractor sees in N images.

    `values` (N, d) float64, `probabilities` (N, K) of its classes, if any; `label` (N,): the class that each image was to
    show, where something was asked for. `places` (N, P, c): what it sees at each of P places of an image. `second` (N, e):
    features of another extractor, whose opinion is asked as well. `condition` (N,): equal numbers show, or were asked for,
    the same. `agreement` (N,): cosine between each image and its caption, and `rank` (N,): the place of that caption among
    others, 1 for the best, both as an encoder of images and texts sees them. `pictures` (N, C, H, W) uint8 and `captions` (N,):
    the images themselves and what they were to show, where a model can be asked whether they do; `yes` (N,): how surely it
    said so, once it was asked.
    """

    values: Array
    probabilities: Array | None = None
    label: NDArray[np.int64] | None = None
    places: Array | None = None
    second: Array | None = None
    condition: NDArray[np.int64] | None = None
    agreement: Array | None = None
    rank: NDArray[np.int64] | None = None
    pictures: NDArray[np.uint8] | None = None
    captions: NDArray[np.str_] | None = None
    yes: Array | None = None

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def repeated(self, n: int) -> Features:
        """The same images n times over."""
        return self.take(np.tile(np.arange(len(self)), n))

    def take(self, rows: NDArray[np.intp]) -> Features:
        """Some of the images, by their positions."""

        def taken(array: NDArray[Any] | None) -> Any:
            return None if array is None else array[rows]

        return Features(*(taken(getattr(self, field.name)) for field in fields(self)))


@dataclass(frozen=True)
class Reals:
    """What samples are held against: features of held-out images, and of the images that models learn from.

    `train`: the images that could have been copied (at most as many as are looked at, see `ImageEvaluator`); None where nobody
    wants to know.
    """

    held_out: Features
    train: Features | None = None


@dataclass(frozen=True)
class SampleKind(Generic[Extracted, Reference]):
    """Metrics of samples that are computed together: `Kind` of images, `TextKind` of texts.

    `reference`: what is kept of the real data, computed once.
    `compute(reference, seen, members)`: one value for each of B subsets of the N samples; `members` (B, N) says
    which sample belongs to which subset, so that intermediate values are shared between the whole set and the
    half-samples of its interval. Returns name → (B,).
    `limits(reference)`: the least and greatest value of each metric that can be measured against these real data.
    `intervals(reference, seen, values)`: least and greatest of the 95 % intervals of those metrics for which the spread
    over halves would tell a wrong one (see `interval`), from the values (1 + B,) of all samples and of the halves; None where
    it is right for all of them.
    `most`: samples beyond so many are not looked at.
    """

    name: str
    reference: Callable[..., Reference]
    compute: Callable[[Reference, Extracted, Members], Mapping[str, Array]]
    limits: Callable[[Reference], Mapping[str, Limits]]
    intervals: Callable[[Reference, Extracted, Mapping[str, Array]], Mapping[str, Limits]] | None = None
    most: int | None = None


@dataclass(frozen=True)
class Kind(SampleKind[Features, Reference]):
    """Metrics of images. `reference(reals, n)`: what is kept of the real features for comparisons with n samples."""

    reference: Callable[[Reals, int], Reference]


Axis = Literal["realism", "diversity", "coherence", "adherence", "novelty", "likelihood"]
"""What a measure looks at. `coherence`: whether the parts of a sample fit together; `novelty`: whether it is no copy."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that says how good a model is, in words that a person understands.

    `lower`, `upper`: the range of its values, whatever the data (on given data `SampleKind.limits` may be narrower); shares are
    in 0 … 1 and ratio scales above 0 without saying so. `goal`: whether it may be improved. What is best where real data have it, neither least nor greatest (diversity that noise
    has more of, distance from the training data), may be bounded and not improved. Which known failures it sees and which not
    is measured: docs/metrics.md.
    """

    name: str
    label: str
    higher_is_better: bool
    axis: Axis
    unit: str
    meaning: str
    citation: str
    ratio_scale: bool = False  # always positive, and differences are told as factors: noise grows with the value
    goal: bool = True
    within: str = ""  # the parameter that models must share for their values to be comparable
    lower: float | None = None
    upper: float | None = None

    @property
    def limits(self) -> Limits:
        """The range of its values, whatever the data."""
        share = self.unit == "share"
        lower = self.lower if self.lower is not None else 0.0 if share or self.ratio_scale else -math.inf
        upper = self.upper if self.upper is not None else 1.0 if share else math.inf
        return lower, upper


@dataclass(frozen=True, kw_only=True)
class SampleMetric(Measure):
    """A measure that is computed from samples: `Metric` of images, `TextMetric` of texts."""

    kind: SampleKind[Any, Any]
    sees_copies: bool = False  # training data are the worst of samples to it: its floor is other held-out data
    counts_samples: bool = False  # a share of the samples, each of which counts or does not: its interval is Wilson's
    costly: bool = False  # seconds, not milliseconds: measured for the verdict only, unless it is an objective


@dataclass(frozen=True, kw_only=True)
class Metric(SampleMetric):
    """A measure that is computed from images, and what there must be for it to be computed at all."""

    kind: Kind[Any]
    needs_labels: bool = False  # data that tell the class of each image
    needs_classes: bool = False  # an extractor that knows classes
    needs_conditions: bool = False  # samples that were asked for something
    needs_second: bool = False  # a second extractor
    needs_captions: bool = False  # an encoder of images and captions
    needs_answers: bool = False  # a model that is asked whether images show their captions
    needs_train: bool = False  # features of training images
    needs_places: bool = False  # features by place of the image
    least: int = 2  # held-out images, and samples in each half of an interval
    least_per_dimension: int = 0  # samples for each of d + 1 dimensions


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


def check_train(reals: Reals, what: str, at_least: int = 2) -> Array:
    """Features of the training images (N, d), checked; MetricError where there are none. `what`: who needs them."""
    if reals.train is None:
        raise MetricError(
            f"{what} needs features of the training images, and there are none. Give Reals(held_out, train=...), or choose "
            "another metric."
        )
    return check_features(reals.train.values, "training", at_least)


def everyone(n: int) -> Members:
    """The one subset (1, n) that holds all n samples."""
    return np.ones((1, n), dtype=np.bool_)


def chosen_from(values: Array, members: Members) -> Iterator[Array]:
    """The rows of each subset in turn; the whole set needs no copy of itself, which is the path without intervals."""
    return (values if chosen.all() else values[chosen] for chosen in members)


def counts_in(which: NDArray[np.intp], k: int, members: Members) -> Array:
    """How many samples of each subset are of each of k sorts (B, k); `which` (N,): of which sort each one is."""
    return members.astype(np.float64) @ np.eye(k)[which]


def shares_in(which: NDArray[np.intp], k: int, members: Members) -> Array:
    """The share of each subset that is of each of k sorts (B, k); `which` (N,): of which sort each sample is."""
    return counts_in(which, k, members) / members.sum(axis=1, keepdims=True)
