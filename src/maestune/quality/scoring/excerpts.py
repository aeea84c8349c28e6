"""The texts that people should look at: the least like real ones, the longest copied passages, the most repetitive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maestune.quality.metric import Array
from maestune.quality.metrics.distances import nearest, neighbour_radii
from maestune.quality.scoring.result import Excerpt, Shown
from maestune.quality.text.judge import TextJudge
from maestune.quality.text.ngrams import variety
from maestune.quality.text.texts import Texts

SHOWN = 4  # texts of each kind
LETTERS, CONTEXT = 600, 160  # characters shown of a text, and on either side of what is meant


def shown_texts(judge: TextJudge, seen: Texts, names: Sequence[str]) -> Shown:
    """The texts least like held-out ones, the longest copied passages, and the most repetitive texts; see `Shown`."""
    held_out = judge.real.held_out.embedded
    usual = float(np.sqrt(np.median(neighbour_radii(held_out, 1)))) or 1.0
    far = np.sqrt(np.maximum(nearest(seen.embedded, held_out)[1], 0.0)) / usual
    repeated = 1.0 - variety(seen.word_grams)

    def begin(i: int, value: float) -> Excerpt:
        text = seen.made[i]
        return Excerpt(names[i], value, text[:LETTERS] + ("…" if len(text) > LETTERS else ""))

    def most(values: Array, least: float) -> list[int]:
        order = np.argsort(-values, kind="stable")
        return [int(i) for i in order[:SHOWN] if values[i] > least]

    copied: list[Excerpt] = []
    for passage in judge.copied(seen)[:SHOWN]:
        text, end = seen.made[passage.row], passage.start + passage.length
        before, after = text[: passage.start], text[end:]
        copied.append(
            Excerpt(
                names[passage.row],
                float(passage.length),
                ("…" if len(before) > CONTEXT else "") + before[-CONTEXT:],
                text[passage.start : end][:LETTERS] + ("…" if passage.length > LETTERS else ""),
                after[:CONTEXT] + ("…" if len(after) > CONTEXT else ""),
            )
        )
    return Shown(
        worst=tuple(begin(i, float(far[i])) for i in most(far, -1.0)),
        copied=tuple(copied),
        repetitive=tuple(begin(i, float(repeated[i])) for i in most(repeated, 0.0)),
    )
