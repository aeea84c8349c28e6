"""The samples that people should look at: the worst, the best, those nearest to training images, and real ones among them."""

from __future__ import annotations

import numpy as np
import torch

from maestune.data import Images
from maestune.data.collection import Part, content_keys
from maestune.quality.image_judge import ImageJudge
from maestune.quality.metric import Array, Features
from maestune.quality.metrics.copies import copy_reference, nearest_training
from maestune.quality.metrics.distances import nearest, neighbour_radii
from maestune.quality.scoring.fakes import Fakes
from maestune.quality.scoring.result import Picture, Shown

WORST, BEST, COPIED = 12, 6, 8  # pictures shown
MOST_KNOWN = 10_000  # training images among which equal ones are looked for


def shown_images(judge: ImageJudge, seen: Features, fakes: Fakes, train: Images) -> Shown:
    """The samples farthest from held-out images, the nearest, and those nearest to a training image; see `Shown`."""
    held_out = judge.real.held_out.values
    far = _relative(nearest(seen.values, held_out)[1], neighbour_radii(held_out, 1))
    order = np.argsort(far, kind="stable")

    def picture(i: int) -> Picture:
        return Picture(fakes.names[i], float(far[i]), fakes.images[i].clone())

    worst = tuple(picture(i) for i in order[::-1][:WORST])
    best = tuple(picture(i) for i in order[:BEST])
    if judge.real.train is None:
        return Shown(worst, best)
    reference = copy_reference(judge.real.train.values, held_out, len(seen))
    which, distance = nearest_training(reference, seen.values)
    near = _relative(distance, reference.held_out)

    def copied(i: int) -> Picture:
        beside = train.images[int(which[i])]
        identical = torch.equal(fakes.images[i], beside)
        counts = "nearer than all but 1 % of held-out images" if distance[i] <= reference.near else ""
        note = "the same, pixel for pixel" if identical else counts
        return Picture(fakes.names[i], float(near[i]), fakes.images[i].clone(), beside.clone(), note)

    return Shown(worst, best, tuple(copied(i) for i in np.argsort(near, kind="stable")[:COPIED]))


def not_new(fakes: Fakes, held_out: Images, train: Images) -> list[str]:
    """Warnings of samples that are real images, pixel for pixel."""
    warnings: list[str] = []
    known = train.images[:MOST_KNOWN]
    for images, what in (
        (held_out.images, "held-out real images, which no model has seen: they are real images, not samples"),
        (known, "training images: they are copies"),
    ):
        same = int(np.isin(fakes.keys, content_keys(Part(images.numpy()))).sum())
        if same:
            warnings.append(f"{same:,} of {len(fakes):,} samples are, pixel for pixel, {what}.")
    return warnings


def _relative(squared: Array, usual: Array) -> Array:
    """Distances in parts of the median of usual ones; both squared."""
    middle = float(np.sqrt(np.median(usual)))
    return np.sqrt(np.maximum(squared, 0.0)) / (middle if middle > 0 else 1.0)
