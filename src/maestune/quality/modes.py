"""Modes: which classes of the data the samples show, and in which shares, as the extractor's own classifier sees them.

Real and generated images go through the same classifier, so its errors fall on both sides. The divergence between two
class histograms follows the idea of NDB (Richardson & Weiss 2018, arXiv:1805.12462), with Jensen-Shannon in place of
counted tests, which depend on the number of samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Kind, Limits, Members, everyone

# A class counts as present when its share is at least this part of its share among real images
# (for K balanced classes: 1 / (10 K)); below that it is a handful of misread samples.
PRESENT = 0.1


@dataclass(frozen=True)
class ModeReference:
    """Share of each class among the real images (K,)."""

    histogram: Array


def class_histogram(features: Features) -> Array:
    """Share (K,) of the samples that the classifier gives to each class; MetricError where there are no classes."""
    return _histograms(features, everyone(len(features)))[0]


def js_divergence_bits(p: Array, q: Array) -> Array:
    """Jensen-Shannon divergence in bits between distributions along the last axis; 0 (equal) … 1 (disjoint).

    >>> float(js_divergence_bits(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    1.0
    """
    middle = (p + q) / 2.0

    def relative(a: Array) -> Array:
        # Where a is 0 the term is 0; where a > 0, middle ≥ a/2 > 0.
        return np.where(a > 0, a * np.log2(np.where(a > 0, a, 1.0) / np.where(a > 0, middle, 1.0)), 0.0).sum(axis=-1)

    return np.clip((relative(p) + relative(q)) / 2.0, 0.0, 1.0)


def _histograms(features: Features, members: Members) -> Array:
    """Class shares (B, K) of each subset."""
    if features.probabilities is None:
        raise MetricError(
            "The data has no labels, so the extractor knows no classes; modes and modes_js need them. "
            "Put the images into one folder per class, or choose another metric."
        )
    probabilities = features.probabilities
    if not np.isfinite(probabilities).all():
        raise MetricError("Class probabilities are not finite numbers; score only samples of a finite model.")
    shown = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]  # (N, K)
    return (members @ shown) / members.sum(axis=1, keepdims=True)


def _reference(real: Features, n: int) -> ModeReference:
    return ModeReference(class_histogram(real))


def _compute(reference: ModeReference, generated: Features, members: Members) -> Mapping[str, Array]:
    shares = _histograms(generated, members)
    real = reference.histogram
    present = (real > 0) & (shares > 0) & (shares >= PRESENT * real)
    return {"modes": present.sum(axis=1).astype(np.float64), "modes_js": js_divergence_bits(shares, real)}


def _limits(reference: ModeReference) -> Mapping[str, Limits]:
    return {"modes": (0.0, float((reference.histogram > 0).sum())), "modes_js": (0.0, 1.0)}


MODES = Kind("modes", _reference, _compute, _limits)
