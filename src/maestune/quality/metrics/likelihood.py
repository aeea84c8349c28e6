"""Feature Likelihood Divergence: how likely held-out images are under a density made of the samples.

Jiralerspong et al. 2023, arXiv:2302.04440. Around each sample stands a Gaussian with a variance of its own; the variances are
those under which the training images are most likely. What the density then says of held-out images, as negative log-likelihood
for each dimension, minus the same of a density around real images (half of the training images, fitted to the other half),
times 100, is the FLD: 0 is as good as other real images. Poor samples and missing variety make held-out images unlikely; so do
copies, whose Gaussians shrink onto the training images. Samples that are a little too alike are forgiven: their Gaussians
become wide.

Where we depart from the published code: variances come from expectation and maximisation, which needs no step size; the wide
Gaussian that keeps single training images from deciding the fit has the variance of the training features, instead of a
fitted one; no variance falls below `LEAST` of what is usual between real images, so that copies score badly and finitely.
Features are taken as they come (the extractor has standardised them). Fitted to at most `MOST_FITTED` training images.

For the halves of an interval the variances are those that were fitted with all samples.
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
)
from maestune.quality.metrics.distances import blocks, nearest, squared_distances

MOST_FITTED = 2000
LEAST = 1e-3
ROUNDS = 30
SETTLED = 1e-5  # nats for each dimension that a round still gains
BLOCK_ROWS = 256
SEED = 0


@dataclass(frozen=True)
class LikelihoodReference:
    """Training images that variances are fitted to (≤ MOST_FITTED, d), held-out ones (Nh, d), both as seen from `centre`.

    `least`: no variance is smaller. `baseline`: nats for each dimension of held-out images under real ones.
    """

    centre: Array
    fitted: Array
    held_out: Array
    least: float
    baseline: float


def likelihood_reference(train: Array, held_out: Array, n: int) -> LikelihoodReference:
    """The real side of the divergence for n samples; MetricError where the training images do not differ."""
    order = np.random.default_rng(SEED).permutation(len(train))
    centre = train[0]
    train, held_out = train - centre, held_out - centre
    half = len(train) // 2
    around, other = train[order[:half][:n]], train[order[half:][:MOST_FITTED]]
    usual = float(np.median(nearest(other, around)[1])) / train.shape[1]
    least = LEAST * (usual or float(train.var()))
    if not least > 0:
        raise MetricError(
            "All training images have the same features; fld has nothing to compare by. Check the extractor."
        )
    baseline = _nats(around, fitted_variances(around, other, least), held_out, everyone(len(around)))[0]
    return LikelihoodReference(centre, train[order[:MOST_FITTED]], held_out, least, float(baseline))


def fitted_variances(around: Array, data: Array, least: float) -> Array:
    """Variances (M,) of Gaussians around rows (M, d) under which the data (N, d) are most likely; none below `least`.

    Expectation and maximisation from the variance that suits the nearest of the data; it ends after `ROUNDS`, or when a round
    gains less than `SETTLED`.
    """
    d = data.shape[1]
    variances: Array = np.maximum(nearest(around, data)[1] / d, least)
    wide = max(float(data.var(axis=0).mean()), least)
    background = -0.5 * (((data - data.mean(axis=0)) ** 2).sum(axis=1) / wide + d * np.log(2.0 * np.pi * wide))
    before = -np.inf
    for _ in range(ROUNDS):
        total, weights, squares = 0.0, np.zeros(len(around)), np.zeros(len(around))
        for rows in blocks(len(data), BLOCK_ROWS):
            distances = squared_distances(data[rows], around)
            logs = _log_densities(distances, variances, d) - np.log(len(around))
            most = np.maximum(logs.max(axis=1), background[rows])[:, None]
            share = np.exp(logs - most)
            density = share.sum(axis=1) + np.exp(background[rows] - most[:, 0])
            share /= density[:, None]
            total += float((np.log(density) + most[:, 0]).sum())
            weights += share.sum(axis=0)
            squares += (share * distances).sum(axis=0)
        fitted = weights > 1e-12  # a sample that explains nothing keeps its variance
        variances = np.where(fitted, np.maximum(squares / (d * np.maximum(weights, 1e-12)), least), variances)
        likelihood = total / (len(data) * d)
        if likelihood - before < SETTLED:
            break
        before = likelihood
    return variances


def _log_densities(distances: Array, variances: Array, d: int) -> Array:
    """Log-densities of Gaussians (M,) at squared distances (N, M) from their centres."""
    constants: Array = -0.5 * d * np.log(2.0 * np.pi * variances)
    return distances * (-0.5 / variances) + constants


def _nats(around: Array, variances: Array, data: Array, members: Members) -> Array:
    """Mean negative log-likelihood (B,) of the data for each dimension, under the Gaussians of each subset."""
    d = data.shape[1]
    chosen = members.T.astype(np.float64)
    total = np.zeros(len(members))
    for rows in blocks(len(data), BLOCK_ROWS):
        logs = _log_densities(squared_distances(data[rows], around), variances, d)
        most = logs.max(axis=1, keepdims=True)
        density = np.exp(logs - most) @ chosen
        with np.errstate(divide="ignore"):
            likelihood = np.log(density) + most
        for i, b in zip(*np.nonzero(density == 0.0), strict=True):  # all that is near is outside the subset
            here = logs[i, members[b]]
            likelihood[i, b] = np.log(np.exp(here - here.max()).sum()) + here.max()
        total += likelihood.sum(axis=0)
    return (np.log(members.sum(axis=1)) - total / len(data)) / d


def _reference(reals: Reals, n: int) -> LikelihoodReference:
    train = check_train(reals, "fld", 4)
    return likelihood_reference(train, check_features(reals.held_out.values, "real"), n)


def _compute(reference: LikelihoodReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated") - reference.centre
    variances = fitted_variances(values, reference.fitted, reference.least)
    return {"fld": 100.0 * (_nats(values, variances, reference.held_out, members) - reference.baseline)}


def _limits(reference: LikelihoodReference) -> Mapping[str, Limits]:
    return {"fld": (-np.inf, np.inf)}


LIKELIHOOD = Kind("feature likelihood", _reference, _compute, _limits)
