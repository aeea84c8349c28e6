"""The samples that people should look at: the worst, the best, those nearest to training images, and real ones among them."""

from __future__ import annotations

import numpy as np
import torch

from maestune.data import Images
from maestune.data.collection import Part, content_keys
from maestune.quality.copied import NearImage, copied_images, relative
from maestune.quality.image_evaluator import MOST_KNOWN, ImageEvaluator
from maestune.quality.metric import Features
from maestune.quality.metrics.distances import nearest, neighbour_radii
from maestune.quality.scoring.fakes import Fakes
from maestune.quality.scoring.result import Highlights, Picture

WORST, BEST = 12, 6  # pictures shown


def image_highlights(evaluator: ImageEvaluator, features: Features, fakes: Fakes, train: Images) -> Highlights:
    """The samples farthest from held-out images, the nearest, and those nearest to a training image; see `Highlights`."""
    held_out = evaluator.real.held_out.values
    far = relative(nearest(features.values, held_out)[1], neighbour_radii(held_out, 1))
    order = np.argsort(far, kind="stable")

    found = copied_images(evaluator, features)
    copies = () if found is None else found.nearest
    worst, best = order[::-1][:WORST].tolist(), order[:BEST].tolist()
    rows = list(dict.fromkeys([*worst, *best, *(near.row for near in copies)]))
    images = dict(zip(rows, fakes.pictures(rows), strict=True))

    def picture(i: int) -> Picture:
        return Picture(fakes.names[i], float(far[i]), images[i])

    def copied(near: NearImage) -> Picture:
        image, beside = images[near.row], train.images[near.nearest]
        counts = "nearer than all but 1 % of held-out images" if near.counts else ""
        note = "the same, pixel for pixel" if torch.equal(image, beside) else counts
        return Picture(fakes.names[near.row], near.distance, image, beside.clone(), note)

    return Highlights(tuple(map(picture, worst)), tuple(map(picture, best)), tuple(map(copied, copies)))


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
