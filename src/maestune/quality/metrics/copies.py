"""Novelty: whether samples are new, or training images over again.

All of it rests on the distance of an image to the nearest training image, held against that of held-out images, which are new
by definition:

- `authenticity` (AuthPct; Alaa et al. 2022, arXiv:2102.08921): the share of samples that are farther from their nearest training
  image than that one is from its own nearest other training image.
- `c_t` (Meehan et al. 2020, arXiv:2004.05675): whether samples are nearer to the training images than held-out images are, as
  the z of the Mann-Whitney test. 0 is right; far below are copies, far above are samples unlike the data. Over the whole
  space, without the paper's cells.
- `copies`: the share of samples that are as near to a training image as only `NEAREST` of the held-out images are (or the one
  nearest of them, where that is more). A model that copies nothing has about that share by chance. `novelty` is 1 - copies.

An interval's halves are held against the same distances, and `c_t` of a half is what all samples would have if they were as
those are, so that its spread is that of the value. Only the training images that were handed over can be found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, check_features, check_train
from maestune.quality.metrics.distances import nearest, neighbour_radii

NEAREST = 0.01


@dataclass(frozen=True)
class CopyReference:
    """Training images (Nt, d) as seen from `centre` (d,); all distances are squared ones.

    `own` (Nt,): distance of each to its nearest other one. `held_out` (Nh,): distances of held-out images to the nearest
    training image, ascending. `near`: what is no farther than this counts as a copy. `n`: number of samples, for `c_t`.
    """

    centre: Array
    train: Array
    own: Array
    held_out: Array
    near: float
    n: int


def copy_reference(train: Array, held_out: Array, n: int) -> CopyReference:
    """What n samples are held against: training (Nt, d) and held-out features (Nh, d)."""
    centre = train[0]
    values = train - centre
    distances = np.sort(nearest(held_out - centre, values)[1])
    near = distances[max(int(NEAREST * len(distances)), 1) - 1]
    return CopyReference(centre, values, neighbour_radii(values, 1), distances, float(near), n)


def nearest_training(reference: CopyReference, values: Array) -> tuple[NDArray[np.intp], Array]:
    """The training image that each sample (N, d) is nearest to, and the squared distance: both (N,)."""
    return nearest(values - reference.centre, reference.train)


def _reference(reals: Reals, n: int) -> CopyReference:
    train = check_train(reals, "novelty")
    return copy_reference(train, check_features(reals.held_out.values, "real"), n)


def _compute(reference: CopyReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = check_features(generated.values, "generated")
    sizes = members.sum(axis=1)
    which, distance = nearest_training(reference, values)
    copies = members @ (distance <= reference.near).astype(np.float64) / sizes
    return {
        "authenticity": members @ (distance > reference.own[which]).astype(np.float64) / sizes,
        "c_t": _z(members @ _farther(reference, distance) / sizes, len(values), len(reference.held_out)),
        "copies": copies,
        "novelty": 1.0 - copies,
    }


def _farther(reference: CopyReference, distance: Array) -> Array:
    """Share (N,) of held-out images that each sample is farther from the training images than; equal ones count half."""
    below = np.searchsorted(reference.held_out, distance, side="left")
    up_to = np.searchsorted(reference.held_out, distance, side="right")
    return (below + up_to) / (2.0 * len(reference.held_out))


def _z(farther: Array, n: int, m: int) -> Array:
    """Mann-Whitney's U of n samples and m held-out images, here as a share of all pairs, in its standard deviations."""
    return (farther - 0.5) / np.sqrt((n + m + 1) / (12.0 * n * m))


def _limits(reference: CopyReference) -> Mapping[str, Limits]:
    share = (0.0, 1.0)
    least, most = _z(np.array([0.0, 1.0]), reference.n, len(reference.held_out))
    return {"authenticity": share, "c_t": (float(least), float(most)), "copies": share, "novelty": share}


COPIES = Kind("copies", _reference, _compute, _limits)
