"""Spatial Fréchet distance: whether the parts of an image fit together.

Nash et al. 2021, arXiv:2103.03841 (sFID): the Fréchet distance of features that still know where in the image they are. Here
what is seen in each place, side by side: one vector of P · c numbers for an image. Its covariance holds how one part goes with
another, which features of the whole image, being means over places, cannot see. Images of sound parts that do not belong
together are near in the ordinary distance and far in this one; so are images whose parts are poor, to be sure: it adds to the
ordinary distance and does not replace it.

Above `MOST_DIMENSIONS` numbers the c features of each place are projected onto fewer, by the same fixed random directions in
all places (orthonormal, and scaled so that squared lengths are kept on average): a covariance of more numbers than samples
would be mostly noise, and leading directions of the real images would hide what only samples show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, check_features, chosen_from
from maestune.quality.metrics.frechet import FrechetReference, frechet_reference, samples_distance

MOST_DIMENSIONS = 128
SEED = 0


@dataclass(frozen=True)
class SpatialReference:
    """Moments of the real images by place, and the number of places and of features in each."""

    moments: FrechetReference
    places: tuple[int, int]


def by_place(features: Features, what: str) -> Array:
    """What is seen in all places of each image, side by side (N, ≤ MOST_DIMENSIONS, or P); MetricError where nothing is."""
    places = features.places
    if places is None:
        raise MetricError(
            f"spatial_fd needs what the extractor sees in each place of the {what} images, and it tells none. Use an "
            "extractor that does, or choose another metric."
        )
    if places.ndim != 3:
        raise MetricError(f"Features by place have shape {places.shape}; (images, places, features) is needed.")
    n, p, c = places.shape
    kept = max(1, MOST_DIMENSIONS // p)
    values = check_features(places.reshape(n, p * c), what)
    if c <= kept:
        return values
    q, _ = np.linalg.qr(np.random.default_rng(SEED).normal(size=(c, kept)))
    return (values.reshape(n, p, c) @ q * np.sqrt(c / kept)).reshape(n, p * kept)


def _reference(reals: Reals, n: int) -> SpatialReference:
    values = by_place(reals.held_out, "real")
    assert reals.held_out.places is not None
    _, p, c = reals.held_out.places.shape
    return SpatialReference(frechet_reference(values), (p, c))


def _compute(reference: SpatialReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = by_place(generated, "generated")
    assert generated.places is not None
    if generated.places.shape[1:] != reference.places:
        raise MetricError(
            f"Real images were seen in {reference.places[0]} places with {reference.places[1]} features each, samples in "
            f"{generated.places.shape[1]} with {generated.places.shape[2]}; both must come from the same extractor."
        )
    return {"spatial_fd": np.array([samples_distance(reference.moments, s) for s in chosen_from(values, members)])}


def _limits(reference: SpatialReference) -> Mapping[str, Limits]:
    return {"spatial_fd": (0.0, np.inf)}


SPATIAL = Kind("spatial Fréchet distance", _reference, _compute, _limits)
