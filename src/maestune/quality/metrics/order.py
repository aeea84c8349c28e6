"""Orders of samples that are as good as random and yet the same for everyone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maestune.quality.metric import Array


def mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers of 64 bits, well mixed and one to one: SplitMix64 (Steele et al. 2014, doi 10.1145/2660193.2660195)."""
    z = bits + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def content_order(values: Array) -> NDArray[np.intp]:
    """An order (N,) of rows that depends on what they are, and not on how rows and columns were arranged.

    Rows are sorted by a number made of their bits; equal rows get different ones, so that copies are spread out.
    """
    keys = mixed(mixed(np.ascontiguousarray(values).view(np.uint64)).sum(axis=1, dtype=np.uint64))
    first = np.argsort(keys, kind="stable")
    keys = keys[first]
    new = np.concatenate([[True], keys[1:] != keys[:-1]])
    place = np.arange(len(keys))
    occurrence = place - np.maximum.accumulate(np.where(new, place, 0))
    return first[np.argsort(mixed(keys + occurrence.astype(np.uint64)), kind="stable")]
