"""Sequences of n parts (words or characters) in texts, and what their counts tell: likeness to real text, variety, repetition.

Everything is computed for B subsets of the N texts at once (`members` (B, N)), from counts that are made once. Texts shorter
than n have no sequence of n parts: they repeat nothing, and add nothing to any count.

- `js`: Jensen-Shannon divergence, in bits, between the shares of the sequences of two sets of texts; 1 where one set has none.
- `repetition`: rep-n, the share of a text's sequences of n words that it has had before (Welleck et al. 2020,
  arXiv:1908.04319); `variety`: the product of 1 - rep-n for n = 2, 3, 4 (Su et al. 2022, arXiv:2202.06417).
- `expected_distinct`: distinct sequences divided by how many there would be if as many were drawn evenly from a vocabulary
  (EAD, Liu et al. 2022, arXiv:2202.13587): unlike the bare ratio it does not fall with the length of the texts.
- `entropy`: of the shares of single words, in bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.quality.metric import Array, Members
from maestune.quality.metrics.modes import js_divergence_bits

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Grams:
    """All sequences of n parts in N texts: `which` (M,) of `kinds` kinds each one is, and `owner` (M,) whose text it stands in."""

    which: Integers
    owner: Integers
    kinds: int
    texts: int

    def counts(self, members: Members) -> Array:
        """How often each kind occurs in each subset, (B, kinds)."""
        rows = [np.bincount(self.which, weights=one[self.owner], minlength=self.kinds) for one in members]
        return np.stack(rows).astype(np.float64)

    @property
    def totals(self) -> Array:
        """How many sequences each text has, (N,)."""
        return np.bincount(self.owner, minlength=self.texts).astype(np.float64)

    @property
    def entries(self) -> tuple[Integers, Integers, Integers]:
        """Each kind in each text that has it, in the order of kinds: kind, text and how often, (E,) each."""
        pairs, often = np.unique(self.which * max(self.texts, 1) + self.owner, return_counts=True)
        return pairs // max(self.texts, 1), pairs % max(self.texts, 1), often.astype(np.int64)


def grams(texts: Sequence[Sequence[str]], most: int) -> tuple[Grams, ...]:
    """Sequences of 1 … `most` parts in texts of parts; a text may be a list of words, or a string of characters."""
    numbers: dict[str, int] = {}
    parts = np.array([numbers.setdefault(part, len(numbers)) for text in texts for part in text], dtype=np.int64)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    found = [Grams(parts, owner, len(numbers), len(texts))]
    for n in range(2, most + 1):
        shorter = found[-1]
        # A sequence of n is one of n - 1 and the part behind it, of the same text.
        whole = np.flatnonzero(owner[: max(len(owner) - n + 1, 0)] == owner[n - 1 :])
        before = shorter.which[np.searchsorted(_starts(owner, n - 1), whole)]
        kinds, which = np.unique(before * max(len(numbers), 1) + parts[whole + n - 1], return_inverse=True)
        found.append(Grams(which.astype(np.int64), owner[whole], len(kinds), len(texts)))
    return tuple(found)


def _starts(owner: Integers, n: int) -> Integers:
    """Where sequences of n parts begin."""
    return np.flatnonzero(owner[: max(len(owner) - n + 1, 0)] == owner[n - 1 :])


def js(real: Array, generated: Array) -> Array:
    """Divergence in bits (B,) between counts of real texts (K,) and of subsets of generated ones (B, K).

    >>> js(np.array([1.0, 1.0, 0.0]), np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 5.0], [0.0, 0.0, 0.0]])).tolist()
    [0.0, 1.0, 1.0]
    """
    totals = generated.sum(axis=1)
    shares = generated / np.maximum(totals, 1.0)[:, None]
    divergence = js_divergence_bits(shares, real / max(float(real.sum()), 1.0))
    if real.sum() == 0:
        return np.where(totals > 0, 1.0, 0.0)
    return np.where(totals > 0, divergence, 1.0)


def repetition(found: Grams) -> Array:
    """rep-n of each text, (N,)."""
    _, owner, _ = found.entries
    distinct = np.bincount(owner, minlength=found.texts)
    totals = found.totals
    return np.where(totals > 0, 1.0 - distinct / np.maximum(totals, 1.0), 0.0)


def variety(found: Sequence[Grams]) -> Array:
    """The product of 1 - rep-n for n = 2, 3, 4, of each text (N,); `found`: sequences of 1 … 4 words."""
    return np.prod([1.0 - repetition(found[n - 1]) for n in (2, 3, 4)], axis=0)


def expected_distinct(found: Grams, n: int, words: int, members: Members) -> Array:
    """EAD of sequences of n words in each subset (B,), with a vocabulary of so many words; 0 where there is none."""
    counts = found.counts(members)
    total, distinct = counts.sum(axis=1), (counts > 0).sum(axis=1)
    kinds = float(words) ** n
    with np.errstate(divide="ignore", invalid="ignore"):  # one word alone: its logarithm is -inf, and one is expected
        expected = -kinds * np.expm1(total * np.log1p(-1.0 / kinds))
    return np.where(total > 0, distinct / np.where(total > 0, expected, 1.0), 0.0)


def entropy(counts: Array) -> Array:
    """Entropy in bits (B,) of the shares of counts (B, K); 0 where nothing was counted."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return (shares * np.log2(1.0 / np.where(shares > 0, shares, 1.0))).sum(axis=1)


def mean_over(values: Array, members: Members) -> Array:
    """Mean (B,) of one value a text (N,) over each subset."""
    return (members @ values) / members.sum(axis=1)
