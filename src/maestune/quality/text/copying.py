"""Copies of the training text: which passages of a text stand in it letter by letter, exactly, in bounded memory.

Of the training text every window of w characters at a multiple of w is kept as a hash with its place, sorted. A passage of
2w - 1 characters or more that stands in the training text holds one of these windows whole; from there it is followed in both
directions, comparing characters. Nothing rests on hashes being different. Where a window stands in the training text more
often than `MOST_PLACES` times, as many of its places are followed, evenly spread.

Short passages are in every text by chance and by custom. What counts as copied is therefore told by held-out text: passages
of at least L characters, L being the least length of which held-out text is covered to no more than `HELD_OUT_RATE`, or half
the length of a text where that is less (documentation repeats whole paragraphs).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maestune.quality.text.ngrams import Integers

HELD_OUT_RATE = 0.05  # of its characters
MOST_PLACES = 64
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd: of the polynomial, modulo 2⁶⁴
HASHED_TOGETHER = 2**18  # windows, so that memory stays bounded
FOLLOWED_TOGETHER = 2**18  # pairs of places, so that memory stays bounded


@dataclass(frozen=True)
class Passage:
    """A copied passage: of which text (its row), from which character on, and how many characters."""

    row: int
    start: int
    length: int


@dataclass(frozen=True)
class Known:
    """A training text in which copies are looked for.

    `signs` (n,): its characters. `keys`, `places` (m,): hashes of the windows of `width` characters, sorted, and where they
    stand. `shortest`: how long a passage must be to count as copied. `usual`: the share of the characters of held-out text that
    stand in such passages.
    """

    signs: NDArray[Any] = field(repr=False)
    width: int
    keys: NDArray[np.uint64] = field(repr=False)
    places: NDArray[Any] = field(repr=False)
    shortest: int
    usual: float = 0.0

    @staticmethod
    def of(text: str | Iterable[str]) -> Known:
        """A text to look in; `shortest` is what can be found at all until `with_reference` has said more."""
        signs = _signs([text] if isinstance(text, str) else text)
        width = max(8, round(2.0 * np.log10(max(len(signs), 1))))  # rare enough in a text of so many characters
        whole = signs[: len(signs) // width * width].reshape(-1, width)
        hashes = np.concatenate(
            [_hashes(whole[start : start + HASHED_TOGETHER]) for start in range(0, len(whole) or 1, HASHED_TOGETHER)]
        )
        order = np.argsort(hashes, kind="stable")
        places = (order * width).astype(np.int32 if len(signs) < 2**31 else np.int64)
        return Known(signs, width, hashes[order], places, 2 * width)

    def with_reference(self, held_out: Sequence[str]) -> Known:
        """With the length from which a passage counts as copied, as held-out texts tell; at most half of their length."""
        if not any(held_out):
            return self
        reach = np.concatenate(self.reaches(held_out))
        most = max(2 * self.width, int(np.median([len(text) for text in held_out])) // 2)
        lengths = range(2 * self.width, most)
        rare = (length for length in lengths if float(np.mean(reach >= length)) <= HELD_OUT_RATE)
        shortest = next(rare, most)
        return replace(self, shortest=shortest, usual=float(np.mean(reach >= shortest)))

    def reaches(self, texts: Sequence[str]) -> list[Integers]:
        """For each character of each text the length of the longest copied passage that it stands in; 0 for none."""
        found = [np.zeros(len(text), dtype=np.int64) for text in texts]
        for passage in sorted(self.passages(texts), key=lambda p: p.length):  # the longest has the last word
            found[passage.row][passage.start : passage.start + passage.length] = passage.length
        return found

    def copied(self, texts: Sequence[str]) -> Integers:
        """How many characters of each text (N,) stand in copied passages that are long enough to count."""
        return np.array([int((reach >= self.shortest).sum()) for reach in self.reaches(texts)], dtype=np.int64)

    def longest(self, texts: Sequence[str]) -> list[Passage]:
        """The longest copied passage of each text that has one that counts, the longest of all first."""
        best: dict[int, Passage] = {}
        for passage in self.passages(texts):
            if passage.length >= self.shortest and (
                passage.row not in best or best[passage.row].length < passage.length
            ):
                best[passage.row] = passage
        return sorted(best.values(), key=lambda passage: (-passage.length, passage.row))

    def passages(self, texts: Sequence[str]) -> list[Passage]:
        """Copied passages, all of at least 2w - 1 characters among them: from each character on, the longest that was found."""
        lengths = [len(text) for text in texts]
        signs = _signs(texts)
        if len(signs) < self.width or not len(self.keys):
            return []
        ends = np.cumsum(np.array(lengths, dtype=np.int64))
        begins = ends - lengths
        row = np.repeat(np.arange(len(texts)), lengths)
        starts = np.flatnonzero(np.arange(len(signs)) + self.width <= ends[row])
        windows = np.lib.stride_tricks.sliding_window_view(signs, self.width)[starts]
        hashes = _hashes(windows)
        low, high = np.searchsorted(self.keys, hashes, "left"), np.searchsorted(self.keys, hashes, "right")
        longest = np.zeros(len(signs), dtype=np.int64)
        for at, place in _pairs(starts, low, high):
            there = self.places[place].astype(np.int64)
            left = _agreement(signs, at - 1, begins[row[at]], self.signs, there - 1, -1)
            right = _agreement(signs, at, ends[row[at]] - 1, self.signs, there, 1)
            same = right >= self.width  # else only the hash was the same
            np.maximum.at(longest, (at - left)[same], (left + right)[same])
        found = np.flatnonzero(longest)
        return [Passage(int(row[i]), int(i - begins[row[i]]), int(longest[i])) for i in found]


def _pairs(starts: Integers, low: Integers, high: Integers) -> Iterable[tuple[Integers, Integers]]:
    """Places of windows in the texts, and in the table of the training text, that have the same hash; some at a time."""
    hit = high > low
    starts, low, many = starts[hit], low[hit], (high - low)[hit]
    taken = np.minimum(many, MOST_PLACES)
    for part in np.array_split(np.arange(len(starts)), max(1, -(-int(taken.sum()) // FOLLOWED_TOGETHER))):
        repeated = np.repeat(part, taken[part])
        if len(repeated):
            nth = np.arange(len(repeated)) - np.repeat(np.cumsum(taken[part]) - taken[part], taken[part])
            yield starts[repeated], low[repeated] + nth * many[repeated] // taken[repeated]


def _agreement(
    signs: NDArray[Any], at: Integers, last: Integers, known: NDArray[Any], there: Integers, step: int
) -> Integers:
    """How many characters agree (P,) from `at` in the texts and `there` in the training text on, up to `last`, in steps of ±1."""
    length = np.zeros(len(at), dtype=np.int64)
    going = np.arange(len(at))
    while len(going):
        a, b = at[going] + step * length[going], there[going] + step * length[going]
        inside = (step * (last[going] - a) >= 0) & (b >= 0) & (b < len(known))
        going, a, b = going[inside], a[inside], b[inside]
        same = signs[a] == known[b]
        going = going[same]
        length[going] += 1
    return length


def _hashes(windows: NDArray[Any]) -> NDArray[np.uint64]:
    """A hash of each window (m, w) of characters, (m,)."""
    powers = np.cumprod(np.full(windows.shape[1], MULTIPLIER, dtype=np.uint64), dtype=np.uint64)
    return windows.astype(np.uint64) @ powers


def _signs(texts: Iterable[str]) -> NDArray[Any]:
    """The code points of texts one after the other, in the smallest type that holds them."""
    parts = [_code_points(text) for text in texts]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint8)


def _code_points(text: str) -> NDArray[Any]:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    largest = int(codes.max()) if len(codes) else 0
    return codes.astype(np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.uint32)
