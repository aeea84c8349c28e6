"""Bins: whether samples fall into the parts of the data in the right shares, without labels.

Richardson & Weiss 2018, arXiv:1805.12462: the training images are cut into bins by k-means; a bin is *different* when the
shares of samples and of real images in it differ by more than chance explains (two proportions, z test at 5 %). `ndb` is the
share of different bins: about 0.05 for a perfect model, and larger the more samples there are to find a difference with.
`bins_js` is the Jensen-Shannon divergence between the same two histograms, which hardly depends on the number of samples.

The bins are those of the training images, the shares those of held-out images, as of all other metrics. There are as many bins
as leave `IMAGES_PER_BIN` held-out images to a bin on average, 100 at most.
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
    check_train,
    everyone,
    shares_in,
)
from maestune.quality.metrics.distances import nearest, squared_distances
from maestune.quality.metrics.modes import js_divergence_bits

MOST_BINS = 100
IMAGES_PER_BIN = 10
DIFFERENT = 1.959963984540054  # standard errors: 5 % by chance
ROUNDS = 50
SEED = 0


@dataclass(frozen=True)
class BinReference:
    """Centres (K, d) of the bins, and the share of `count` held-out images in each (K,)."""

    centres: Array
    shares: Array
    count: int


def k_means(values: Array, k: int, rng: np.random.Generator) -> Array:
    """Centres (≤ k, d) of a clustering: Lloyd's rounds from k-means++ (Arthur & Vassilvitskii 2007). Fewer, if all are alike.

    Of a few candidates for each first centre the one is taken that leaves the least distance.
    """
    centres = values[rng.integers(len(values))][None]
    distance = nearest(values, centres)[1]
    tries = 2 + int(np.log(k))
    while len(centres) < k and distance.sum() > 0:
        drawn = values[rng.choice(len(values), size=tries, p=distance / distance.sum())]
        left = np.minimum(distance[:, None], squared_distances(values, drawn))
        best = int(left.sum(axis=0).argmin())
        centres, distance = np.vstack([centres, drawn[best]]), left[:, best]
    bins = np.full(len(values), -1)
    for _ in range(ROUNDS):
        before, bins = bins, nearest(values, centres)[0]
        if np.array_equal(before, bins):
            break
        counts = np.bincount(bins, minlength=len(centres))
        sums = np.zeros_like(centres)
        np.add.at(sums, bins, values)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres


def _histograms(centres: Array, values: Array, members: Members) -> Array:
    """Share of each subset in each bin (B, K)."""
    return shares_in(nearest(values, centres)[0], len(centres), members)


def _reference(reals: Reals, n: int) -> BinReference:
    train = check_train(reals, "bins_js")
    held_out = check_features(reals.held_out.values, "real")
    k = min(MOST_BINS, len(held_out) // IMAGES_PER_BIN, len(train) // IMAGES_PER_BIN)
    if k < 2:
        raise MetricError(
            f"Two bins need {2 * IMAGES_PER_BIN} held-out and as many training images, and there are {len(held_out)} and "
            f"{len(train)}. Give more images, or choose another metric than bins_js and ndb."
        )
    centres = k_means(train, k, np.random.default_rng(SEED))
    return BinReference(centres, _histograms(centres, held_out, everyone(len(held_out)))[0], len(held_out))


def _compute(reference: BinReference, generated: Features, members: Members) -> Mapping[str, Array]:
    shares = _histograms(reference.centres, check_features(generated.values, "generated"), members)
    # Of a half, too, it is asked what as many samples as there are would show: its shares are as far from those of all
    # samples as these are from the model's, and so the spread over halves is that of the value.
    n = members.shape[1]
    pooled = (shares * n + reference.shares * reference.count) / (n + reference.count)
    error = np.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / reference.count))
    different = np.abs(shares - reference.shares) > DIFFERENT * error
    return {"bins_js": js_divergence_bits(shares, reference.shares), "ndb": different.mean(axis=1)}


def _limits(reference: BinReference) -> Mapping[str, Limits]:
    return {"bins_js": (0.0, 1.0), "ndb": (0.0, 1.0)}


BINS = Kind("bins", _reference, _compute, _limits)
