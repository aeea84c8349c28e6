"""C2ST: how well a classifier tells samples from real images that it has not seen. 0.5 is guessing, 1 is always.

Lopez-Paz & Oquab 2017, arXiv:1610.06545. The classifier is the vote of the K nearest neighbours, each image being left out when
it is its turn (Xu et al. 2018, arXiv:1806.07755, find it among the best for evaluation GANs): nothing is trained, nothing is drawn,
and every image is tested. It sees what a linear classifier does not, missing variety among others.

Real images and samples need not be equal in number: a vote counts by the share of its side that it is of, and the two sides'
accuracies are averaged. Even votes count one half. Left out itself, an image has one neighbour less of its own side, so that
guessing is a little below 0.5 where there are few. An exact copy of a held-out image makes both of them wrong, so that values
below 0.5 are a sign of copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, check_features, check_pair, everyone
from maestune.quality.metrics.distances import nearest_others, squared_distances
from maestune.quality.metrics.neighbours import MAX_SAMPLES, SHORTLIST, as_many

K = 5


@dataclass(frozen=True)
class TwoSampleReference:
    """Real features (Nr, d)."""

    values: Array


def two_sample_accuracy(real: Array, generated: Array) -> float:
    """Mean of both sides' accuracy of a vote of 5 neighbours between features (M, d) and (N, d), each left out in turn.

    Raises MetricError on unusable features and where a side has no 5 others.
    """
    real, generated = check_pair(real, generated, K + 1)
    return float(_accuracies(real, generated, everyone(len(generated)))[0])


def _accuracies(real: Array, generated: Array, members: Members) -> Array:
    """Accuracy (B,) between all real images and each subset of the samples."""
    centre = real[0]
    values = np.concatenate([real - centre, generated - centre])
    everywhere = np.hstack([np.ones((len(members), len(real)), dtype=np.bool_), members])
    is_real = np.arange(len(values)) < len(real)
    nearest, _ = nearest_others(values, K if members.all() else SHORTLIST)
    found = np.empty(len(members))
    for b, subset in enumerate(everywhere):
        votes = _real_votes(values, nearest, subset, is_real)
        own = is_real[subset]
        # Shares of both sides, over a common denominator, so that even votes are exactly even.
        for_real, for_generated = votes * np.count_nonzero(~own), (K - votes) * len(real)
        right = np.where(for_real == for_generated, 0.5, (for_real > for_generated) == own)
        found[b] = (right[own].mean() + right[~own].mean()) / 2.0
    return found


def _real_votes(
    values: Array, nearest: NDArray[np.intp], subset: NDArray[np.bool_], is_real: NDArray[np.bool_]
) -> NDArray[np.int_]:
    """How many of the K nearest members of each member of a subset are real, in the order of the members."""
    rows = np.flatnonzero(subset)
    listed = nearest[rows]
    met = subset[listed]
    order = met.cumsum(axis=1, dtype=np.int16)
    votes = (is_real[listed] & met & (order <= K)).sum(axis=1)
    for i in np.flatnonzero(order[:, -1] < K):  # rare: fewer than K members on the short list
        others = rows[rows != rows[i]]
        distance = squared_distances(values[rows[i]][None], values[others])[0]
        votes[i] = is_real[others[np.argsort(distance, kind="stable")[:K]]].sum()
    return votes


def _reference(reals: Reals, n: int) -> TwoSampleReference:
    return TwoSampleReference(as_many(check_features(reals.held_out.values, "real", K + 1), MAX_SAMPLES))


def _compute(reference: TwoSampleReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated", K + 1)[:MAX_SAMPLES]
    return {"c2st": _accuracies(reference.values, values, members[:, :MAX_SAMPLES])}


def _limits(reference: TwoSampleReference) -> Mapping[str, Limits]:
    return {"c2st": (0.0, 1.0)}


TWO_SAMPLE = Kind("two samples", _reference, _compute, _limits, None, MAX_SAMPLES)
