"""Texts as they are looked at, what they are held against, and what a kind of text metric is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from maestune.quality.metric import Array, Members, Reference, SampleKind, SampleMetric
from maestune.quality.text.byte_lm import surprise
from maestune.quality.text.copying import Known
from maestune.quality.text.ngrams import Grams, grams
from maestune.quality.text.text_models import TextModels
from maestune.quality.text.word_split import words

MOST_WORDS = 4  # in a sequence


@dataclass(frozen=True)
class Texts:
    """N texts: how each had `begun`, and what was `made` of it, which is what is scored.

    What there is to see in them is worked out when first asked for, and kept.
    """

    begun: tuple[str, ...]
    made: tuple[str, ...]
    models: TextModels = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.made)

    @cached_property
    def words(self) -> tuple[list[str], ...]:
        """The words of each."""
        return tuple(words(text) for text in self.made)

    @cached_property
    def word_grams(self) -> tuple[Grams, ...]:
        """Sequences of 1 … 4 words."""
        return grams(self.words, MOST_WORDS)

    @cached_property
    def embedded(self) -> Array:
        """What each is like, (N, d)."""
        return self.models.embedder.embed(self.made)

    @cached_property
    def beginnings(self) -> Array:
        """What that is like which each goes on from, (N, d)."""
        return self.models.embedder.embed(self.begun)

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """What the first and the last third of each is like, (N, d) both."""
        firsts = [text[: max(len(text) // 3, 1)] for text in self.made]
        lasts = [text[-max(len(text) // 3, 1) :] for text in self.made]
        return self.models.embedder.embed(firsts), self.models.embedder.embed(lasts)

    @cached_property
    def cost(self) -> tuple[Array, Array]:
        """Nats that each costs the oracle, and how many characters it has, (N,) both."""
        lengths = np.array([len(text) for text in self.made], dtype=np.float64)
        return surprise(self.models.oracle, self.begun, self.made), lengths


@dataclass(frozen=True)
class RealTexts:
    """What samples are held against.

    `held_out`: pieces of the held-out part, as many and as long as the samples, from the same beginnings. `train`: as many
    or more pieces of the training text. `known`: the training text, in which copies are looked for, with the length from
    which a passage counts as copied. `words`: how many different words the training text has.
    """

    held_out: Texts
    train: Texts
    known: Known = field(repr=False)
    words: int


@dataclass(frozen=True)
class TextKind(SampleKind[Texts, Reference]):
    """Metrics of texts. `reference(reals)`: what is kept of the real texts."""

    reference: Callable[[RealTexts], Reference]


@dataclass(frozen=True, kw_only=True)
class TextMetric(SampleMetric):
    """A measure that is computed from texts."""

    kind: TextKind[Any]


def pooled(sums: Array, counts: Array, members: Members) -> Array:
    """Sum over each subset divided by the count over it, (B,); 0 where nothing is counted."""
    total = members @ counts
    return np.where(total > 0, (members @ sums) / np.where(total > 0, total, 1.0), 0.0)
