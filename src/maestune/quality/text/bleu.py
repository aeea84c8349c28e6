"""Self-BLEU: how well each text could pass for a copy of the others (Zhu et al. 2018, Texygen, arXiv:1802.01886).

BLEU (Papineni et al. 2002) of every text with all others as its references, up to sequences of four words, averaged. A count
of no match becomes 0.1 and a text is given at least one sequence of each length (Chen & Cherry 2014, method 1), as in Texygen.

The best of all references for a sequence is the largest count of it among the others, which is the largest or the second
largest of all: the work grows with the number of words, not with its square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maestune.quality.metric import Array, Members
from maestune.quality.text.ngrams import Grams, Integers, mean_over

NO_MATCH = 0.1


def self_bleu(found: Sequence[Grams], members: Members) -> Array:
    """Self-BLEU of each subset (B,); `found`: sequences of 1 … 4 words. 0 where there is nobody to be compared with."""
    tables = [_table(one) for one in found]
    return np.array([_of_subset(found, tables, chosen) for chosen in members])


Table = tuple[Integers, Integers, Integers]


def _table(found: Grams) -> Table:
    """Entries (kind, text, how often) with the texts of each kind in the order of how often they have it, most often first."""
    kind, owner, often = found.entries
    order = np.lexsort((-often, kind))
    return kind[order], owner[order], often[order]


def _of_subset(found: Sequence[Grams], tables: Sequence[Table], chosen: Members) -> float:
    if chosen.sum() < 2:
        return 0.0
    logs = np.zeros((found[0].texts,))
    none = np.zeros((found[0].texts,), dtype=np.bool_)
    for n, (one, table) in enumerate(zip(found, tables, strict=True)):
        matches = _matches(table, chosen, one.texts)
        if n == 0:
            none = matches == 0  # not one word in common
        logs += np.log(np.where(matches > 0, matches, NO_MATCH) / np.maximum(one.totals, 1.0))
    scores = np.where(none, 0.0, _brevity(found[0].totals, chosen) * np.exp(logs / len(found)))
    return float(np.clip(mean_over(scores, chosen[None])[0], 0.0, 1.0))


def _matches(table: Table, chosen: Members, texts: int) -> Array:
    """Sequences of each text (N,) that some one of the others in the subset has as well, each as often as that one has it."""
    kept = chosen[table[1]]
    kind, owner, often = (column[kept] for column in table)
    if not len(kind):
        return np.zeros((texts,))
    first = np.flatnonzero(np.concatenate(([True], kind[1:] != kind[:-1])))
    group = np.cumsum(np.concatenate(([True], kind[1:] != kind[:-1]))) - 1
    second = first + 1
    exists = second < np.append(first[1:], len(kind))
    runner_up = np.where(exists, often[np.minimum(second, len(kind) - 1)], 0)
    best = np.where(np.arange(len(kind)) == first[group], runner_up[group], often[first][group])
    weights = np.minimum(often, best).astype(np.float64)
    return np.bincount(owner, weights=weights, minlength=texts).astype(np.float64)


def _brevity(lengths: Array, chosen: Members) -> Array:
    """The penalty (N,) of texts that are shorter than the nearest in length of the others; of two, the shorter counts."""
    places = np.flatnonzero(chosen)
    order = places[np.argsort(lengths[places], kind="stable")]
    sorted_lengths = lengths[order]
    below = np.concatenate(([-np.inf], sorted_lengths[:-1]))
    above = np.concatenate((sorted_lengths[1:], [np.inf]))
    nearest = np.where(sorted_lengths - below <= above - sorted_lengths, below, above)
    penalty = np.where(
        sorted_lengths > nearest, 1.0, np.exp(1.0 - nearest / np.where(sorted_lengths > 0, sorted_lengths, 1.0))
    )
    found = np.zeros_like(lengths)
    found[order] = np.where(sorted_lengths > 0, penalty, 0.0)
    return found
