"""What samples have copied from the training data, for people to look at: passages of texts, and the nearest training images.

How many samples copy stands beside how many held-out texts or images would be said to: short passages recur, and of new
images too some are near to known ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maestune.quality.image_evaluator import ImageEvaluator
from maestune.quality.metric import Array, Features
from maestune.quality.metrics.copies import copy_reference, nearest_training
from maestune.quality.text.text_evaluator import TextEvaluator
from maestune.quality.text.texts import Texts

PASSAGES, PICTURES = 4, 8  # shown where nobody says how many
LETTERS, CONTEXT = 600, 160  # characters shown of a passage, and on either side of it


@dataclass(frozen=True)
class CopiedPassage:
    """A passage of `length` characters of a text (its `row`) that stands in the training text, in its surroundings."""

    row: int
    length: int
    before: str
    marked: str  # the passage, cut where it is long
    after: str


@dataclass(frozen=True)
class CopiedTexts:
    """What `texts` texts have copied: `copying` of them hold a passage of at least `shortest` characters.

    `usual`: the share of held-out texts that do. `longest`: the longest of all, of each text at most one.
    """

    texts: int
    copying: int
    usual: float
    shortest: int
    longest: tuple[CopiedPassage, ...]


@dataclass(frozen=True)
class NearImage:
    """A sample (its `row`) and the training image (its number) that is `nearest`, with their distance.

    In parts of the usual distance of held-out images from theirs. `counts`: whether that is near enough for a copy.
    """

    row: int
    nearest: int
    distance: float
    counts: bool


@dataclass(frozen=True)
class CopiedImages:
    """What `images` images have copied: `copying` of them are as near to a training image as few held-out ones.

    `usual`: the share of held-out images that are. `nearest`: the nearest of all.
    """

    images: int
    copying: int
    usual: float
    nearest: tuple[NearImage, ...]


def copied_texts(evaluator: TextEvaluator, features: Texts, most: int = PASSAGES) -> CopiedTexts:
    """What the texts that an evaluator saw have copied, with the longest passages, `most` at most."""
    passages, held_out = evaluator.copied(features), evaluator.real.held_out
    longest: list[CopiedPassage] = []
    for passage in passages[:most]:
        text, end = features.made[passage.row], passage.start + passage.length
        before, marked, after = text[: passage.start], text[passage.start : end], text[end:]
        longest.append(
            CopiedPassage(
                passage.row,
                passage.length,
                ("…" if len(before) > CONTEXT else "") + before[-CONTEXT:],
                marked[:LETTERS] + ("…" if len(marked) > LETTERS else ""),
                after[:CONTEXT] + ("…" if len(after) > CONTEXT else ""),
            )
        )
    usual = len(evaluator.copied(held_out)) / len(held_out)
    return CopiedTexts(len(features), len(passages), usual, evaluator.real.known.shortest, tuple(longest))


def copied_images(evaluator: ImageEvaluator, features: Features, most: int = PICTURES) -> CopiedImages | None:
    """What the images that an evaluator saw have copied, with the nearest, `most` at most; None where it knows no training images."""
    if evaluator.real.train is None:
        return None
    reference = copy_reference(evaluator.real.train.values, evaluator.real.held_out.values, len(features))
    which, distance = nearest_training(reference, features.values)
    copies = distance <= reference.near
    near = relative(distance, reference.held_out)
    nearest = tuple(
        NearImage(int(i), int(which[i]), float(near[i]), bool(copies[i]))
        for i in np.argsort(near, kind="stable")[:most]
    )
    return CopiedImages(len(features), int(copies.sum()), float(np.mean(reference.held_out <= reference.near)), nearest)


def relative(squared: Array, usual: Array) -> Array:
    """Distances in parts of the median of usual ones; both squared."""
    middle = float(np.sqrt(np.median(usual)))
    return np.sqrt(np.maximum(squared, 0.0)) / (middle if middle > 0 else 1.0)
