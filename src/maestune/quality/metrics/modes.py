"""Modes: which classes of the data the samples show, and in which shares, as the extractor's own classifier sees them.

Real and generated images go through the same classifier, so its errors fall on both sides. The divergence between two
class histograms follows the idea of NDB (Richardson & Weiss 2018, arXiv:1805.12462), with Jensen-Shannon in place of
counted tests, which depend on the number of samples. `modes_kl` is the divergence of the samples' histogram from the real one
that Srivastava et al. 2017 (arXiv:1705.07761) report beside the number of modes; a class that no real image of the split shows
counts as half an image there, so that it stays finite.

The score at the end is the Inception Score (Salimans et al. 2016, arXiv:1606.03498) of this classifier, exp E KL(p(y|x) ‖ p(y)),
and no Inception Score: other networks give other numbers (Barratt & Sharma 2018, arXiv:1801.01973).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy  # pyright: ignore[reportMissingTypeStubs]

from maestune.errors import MetricError
from maestune.quality.interval import share_interval
from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, everyone, shares_in

# A class counts as present when its share is at least this part of its share among real images
# (for K balanced classes: 1 / (10 K)); below that it is a handful of misread samples.
PRESENT = 0.1


@dataclass(frozen=True)
class ModeReference:
    """Share of each class among the real images (K,), and the same without zeros."""

    histogram: Array
    positive: Array


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


def inception_score(probabilities: Array) -> float:
    """exp of the mean divergence of each row's classes (N, K) from the mean row: 1 (all alike) … K (sure, and all classes).

    >>> round(inception_score(np.eye(4)), 9)
    4.0
    """
    return float(_scores(probabilities, everyone(len(probabilities)))[0])


def _probabilities(features: Features) -> Array:
    if features.probabilities is None:
        raise MetricError(
            "The data has no labels, so the extractor knows no classes; modes, modes_js, modes_kl and inception_score need "
            "them. Put the images into one folder per class, or choose another metric."
        )
    if not np.isfinite(features.probabilities).all():
        raise MetricError("Class probabilities are not finite numbers; score only samples of a finite model.")
    return features.probabilities


def _histograms(features: Features, members: Members) -> Array:
    """Class shares (B, K) of each subset."""
    probabilities = _probabilities(features)
    return shares_in(probabilities.argmax(axis=1), probabilities.shape[1], members)


def _scores(probabilities: Array, members: Members) -> Array:
    """Inception score (B,) of each subset."""
    sizes = members.sum(axis=1)
    surprise = members @ xlogy(probabilities, probabilities).sum(axis=1) / sizes
    shares = (members @ probabilities) / sizes[:, None]
    return np.clip(np.exp(surprise - xlogy(shares, shares).sum(axis=1)), 1.0, probabilities.shape[1])


def _reference(reals: Reals, n: int) -> ModeReference:
    histogram = class_histogram(reals.held_out)
    positive = np.where(histogram > 0, histogram, 0.5 / len(reals.held_out))
    return ModeReference(histogram, positive / positive.sum())


def _compute(reference: ModeReference, generated: Features, members: Members) -> Mapping[str, Array]:
    shares = _histograms(generated, members)
    real = reference.histogram
    present = (real > 0) & (shares > 0) & (shares >= PRESENT * real)
    relative = (xlogy(shares, shares) - xlogy(shares, reference.positive)).sum(axis=1) / np.log(2.0)
    return {
        "modes": present.sum(axis=1).astype(np.float64),
        "modes_js": js_divergence_bits(shares, real),
        "modes_kl": np.clip(relative, 0.0, _most_bits(reference)),
        "inception_score": _scores(_probabilities(generated), members),
    }


def _intervals(reference: ModeReference, generated: Features, values: Mapping[str, Array]) -> Mapping[str, Limits]:
    """From the classes that are surely there, by the intervals of their shares, to those that may be."""
    n = len(generated)
    shares, real = class_histogram(generated), reference.histogram
    sure, possible = 0, 0
    for share, of_real in zip(shares, real, strict=True):
        if of_real > 0:
            score = share_interval(float(share), n)
            sure += score.low > 0 and score.low >= PRESENT * of_real
            possible += score.high >= PRESENT * of_real
    count = float(values["modes"][0])
    return {"modes": (min(float(sure), count), max(float(possible), count))}


def _most_bits(reference: ModeReference) -> float:
    """Divergence of samples that are all of the rarest class."""
    return float(-np.log2(reference.positive.min()))


def _limits(reference: ModeReference) -> Mapping[str, Limits]:
    return {
        "modes": (0.0, float((reference.histogram > 0).sum())),
        "modes_js": (0.0, 1.0),
        "modes_kl": (0.0, _most_bits(reference)),
        "inception_score": (1.0, float(len(reference.histogram))),
    }


MODES = Kind("modes", _reference, _compute, _limits, _intervals)
