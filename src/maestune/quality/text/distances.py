"""Distances between sets of texts in the space of an embedder: Fréchet, over clusters, and MAUVE.

- `text_fd`: the Fréchet distance of the embeddings.
- `cluster_js`, `cluster_kl`: embeddings fall into k bins, found by k-means among pieces of the training text; what is compared
  are the shares of held-out text and of samples in them. Plain divergences of such shares may follow human judgement as well
  as the frontier of MAUVE does (Pimentel et al. 2023, arXiv:2205.16001).
- `mauve`: the area under the divergence frontier (Pillutla et al. 2021, arXiv:2102.01454) of shares in bins that are found
  among held-out text and samples together. Settings: embeddings scaled to length 1, principal components with 90 % of the
  variance, k-means with k = n / 10 and 5 starts, c = 5, 25 mixtures. Values at other settings are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maestune.quality.metric import Array, Features, Limits, Members, Reals, check_features, counts_in
from maestune.quality.metrics.bins import k_means
from maestune.quality.metrics.distances import nearest
from maestune.quality.metrics.frechet import FRECHET, FrechetReference
from maestune.quality.metrics.modes import js_divergence_bits
from maestune.quality.text.texts import RealTexts, TextKind, Texts

SAMPLES_PER_BIN = 10
STARTS = 5  # of k-means, the best of which counts
SEED = 0  # the same bins for every trial
SMOOTHING = 0.5  # added to every count before logarithms of ratios are taken (Krichevsky & Trofimov 1981)
SCALE = 5.0  # c of MAUVE
MIXTURES = 25
EXPLAINED = 0.9  # share of the variance that is kept


def centres_of(values: Array, k: int) -> Array:
    """Centres (up to k, d) of k-means among values (N, d), the best of some starts; never more than there are different values."""
    rng = np.random.default_rng(SEED)
    tries = [k_means(values, k, rng) for _ in range(STARTS)]
    return min(tries, key=lambda centres: float(nearest(values, centres)[1].sum()))


def kl_bits(p: Array, q: Array) -> Array:
    """Divergence of q from p in bits, along the last axis; infinite where q lacks what p has.

    >>> float(kl_bits(np.array([1.0, 0.0]), np.array([0.5, 0.5])))
    1.0
    """
    with np.errstate(divide="ignore"):
        ratio = np.where(p > 0, p, 1.0) / np.where(p > 0, q, 1.0)
        return np.where(p > 0, p * np.log2(ratio), 0.0).sum(axis=-1)


def frontier_area(p: Array, q: Array, scale: float = SCALE, mixtures: int = MIXTURES) -> float:
    """The area under the divergence frontier of two distributions (k,): 1 where they are equal, near 0 where disjoint.

    For mixtures r = w p + (1 - w) q the points are (exp(-c KL(q|r)), exp(-c KL(p|r))), in nats.

    >>> round(frontier_area(np.array([0.5, 0.5]), np.array([0.5, 0.5])), 6)
    1.0
    """
    weights = np.linspace(1e-6, 1.0 - 1e-6, mixtures)[:, None]
    mixed = weights * p + (1.0 - weights) * q
    x, y = (np.exp(-scale * np.log(2.0) * kl_bits(one, mixed)) for one in (q, p))
    # With w the points go from (1, small) to (small, 1); the frontier reaches both axes.
    x, y = np.concatenate(([1.0], x, [0.0])), np.concatenate(([0.0], y, [1.0]))
    return float(np.clip((np.diff(y) * (x[1:] + x[:-1]) / 2.0).sum(), 0.0, 1.0))


@dataclass(frozen=True)
class Bins:
    """Centres (k, d) of the bins, and how many pieces of held-out text fall into each (k,)."""

    centres: Array
    real: Array


def _bins_of(reals: RealTexts) -> Bins:
    centres = centres_of(reals.train.embedded, max(2, len(reals.held_out) // SAMPLES_PER_BIN))
    bins, _ = nearest(reals.held_out.embedded, centres)
    return Bins(centres, np.bincount(bins, minlength=len(centres)).astype(np.float64))


def _cluster_compute(bins: Bins, texts: Texts, members: Members) -> Mapping[str, Array]:
    k = len(bins.centres)
    counts = counts_in(nearest(texts.embedded, bins.centres)[0], k, members)
    shares, real = counts / counts.sum(axis=1, keepdims=True), bins.real / bins.real.sum()
    smooth = (counts + SMOOTHING) / (counts.sum(axis=1, keepdims=True) + SMOOTHING * k)
    smooth_real = (bins.real + SMOOTHING) / (bins.real.sum() + SMOOTHING * k)
    return {
        "cluster_js": js_divergence_bits(shares, real),
        "cluster_kl": np.maximum(kl_bits(smooth_real, smooth), 0.0),
    }


def _cluster_limits(_: Bins) -> Mapping[str, Limits]:
    return {"cluster_js": (0.0, 1.0), "cluster_kl": (0.0, np.inf)}


def _mauve_reference(reals: RealTexts) -> Array:
    return reals.held_out.embedded


def _mauve_compute(real: Array, texts: Texts, members: Members) -> Mapping[str, Array]:
    return {"mauve": mauve(real, texts.embedded, members)}


def _mauve_limits(_: Array) -> Mapping[str, Limits]:
    return {"mauve": (0.0, 1.0)}


def mauve(real: Array, generated: Array, members: Members) -> Array:
    """MAUVE of each subset (B,) of generated embeddings (N, d) against real ones (M, d), in bins found among all."""
    points = np.concatenate((real, generated))
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    centred = points - points.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    explained = np.cumsum(spread**2) / max(float((spread**2).sum()), 1e-300)
    kept = centred @ axes[: int(np.searchsorted(explained, EXPLAINED)) + 1].T
    centres = centres_of(kept, max(2, round(min(len(real), len(generated)) / SAMPLES_PER_BIN)))
    bins, k = nearest(kept, centres)[0], len(centres)
    p = np.bincount(bins[: len(real)], minlength=k) / len(real)
    counts = counts_in(bins[len(real) :], k, members)
    return np.array([frontier_area(p, one / one.sum()) for one in counts])


def _fd_reference(reals: RealTexts) -> FrechetReference:
    return FRECHET.reference(Reals(Features(reals.held_out.embedded)), len(reals.held_out))


def _fd_compute(reference: FrechetReference, texts: Texts, members: Members) -> Mapping[str, Array]:
    values = check_features(texts.embedded, "generated")
    return {"text_fd": FRECHET.compute(reference, Features(values), members)["fd"]}


def _fd_limits(_: FrechetReference) -> Mapping[str, Limits]:
    return {"text_fd": (0.0, np.inf)}


TEXT_FRECHET = TextKind("text Fréchet", _fd_reference, _fd_compute, _fd_limits)
CLUSTERS = TextKind("clusters", _bins_of, _cluster_compute, _cluster_limits)
MAUVE = TextKind("MAUVE", _mauve_reference, _mauve_compute, _mauve_limits)
