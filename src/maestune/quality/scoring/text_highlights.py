"""The texts that people should look at: the least like real ones, the longest copied passages, the most repetitive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maestune.quality.copied import LETTERS, copied_texts
from maestune.quality.metric import Array
from maestune.quality.metrics.distances import nearest, neighbour_radii
from maestune.quality.scoring.result import Excerpt, Highlights
from maestune.quality.text.ngrams import variety
from maestune.quality.text.text_evaluator import TextEvaluator
from maestune.quality.text.texts import Texts

SHOWN = 4  # texts of each kind


def text_highlights(evaluator: TextEvaluator, features: Texts, names: Sequence[str]) -> Highlights:
    """The texts least like held-out ones, the longest copied passages, and the most repetitive texts; see `Highlights`."""
    held_out = evaluator.real.held_out.embedded
    usual = float(np.sqrt(np.median(neighbour_radii(held_out, 1)))) or 1.0
    far = np.sqrt(np.maximum(nearest(features.embedded, held_out)[1], 0.0)) / usual
    repeated = 1.0 - variety(features.word_grams)

    def begin(i: int, value: float) -> Excerpt:
        text = features.made[i]
        return Excerpt(names[i], value, text[:LETTERS] + ("…" if len(text) > LETTERS else ""))

    def most(values: Array, least: float) -> list[int]:
        order = np.argsort(-values, kind="stable")
        return [int(i) for i in order[:SHOWN] if values[i] > least]

    return Highlights(
        worst=tuple(begin(i, float(far[i])) for i in most(far, -1.0)),
        copied=tuple(
            Excerpt(names[one.row], float(one.length), one.before, one.marked, one.after)
            for one in copied_texts(evaluator, features, SHOWN).longest
        ),
        repetitive=tuple(begin(i, float(repeated[i])) for i in most(repeated, 0.0)),
    )
