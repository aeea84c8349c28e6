"""Scores of samples that come in batches, or from several workers: nothing but what is needed is kept.

Four pure functions: `stream_init`, `stream_update`, `stream_merge`, `stream_compute`. Every sample has a number, given by
whoever makes the samples, under which it is known wherever it is seen. Neither the order of batches, nor their size, nor who
saw which of them changes what comes out: merging is associative and commutative (sums of moments within rounding). So
`maestune score` looks at folders of images (`scoring.looking`).

- The Fréchet distance needs moments only: every sample counts, and none is kept.
- Everything else needs features: those of at most `limit` samples are kept (all of them without a limit), a choice at random
  that depends on the samples' numbers alone. Memory is bounded by the limit, and so is what these metrics rest on: their
  values are those of `limit` samples, to be compared with values of as many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maestune.errors import MetricError
from maestune.quality.interval import scores
from maestune.quality.metric import Array, Features, Kind, Metric, check_features
from maestune.quality.metrics.frechet import (
    FRECHET,
    Moments,
    moments_distance,
    moments_init,
    moments_merge,
    moments_update,
)
from maestune.quality.metrics.order import mixed
from maestune.types import Score


@dataclass(frozen=True)
class Stream:
    """What is known of the samples seen so far.

    `moments` of all of them; `numbers` (K,), ascending, and `kept`, features of those that are kept (None before the first).
    """

    limit: int | None
    moments: Moments
    numbers: NDArray[np.int64]
    kept: Features | None

    def __len__(self) -> int:
        """How many samples were seen."""
        return self.moments.count


def stream_init(centre: Array, limit: int | None = None) -> Stream:
    """A stream that has seen nothing. `centre` (d,): a point near the data, the same for all that are to be merged.

    `limit`: how many samples' features are kept; None for all.
    """
    if limit is not None and limit < 4:
        raise MetricError(f"A stream that keeps {limit} samples can score nothing; keep at least 4, better 1000.")
    return Stream(limit, moments_init(centre), np.empty(0, dtype=np.int64), None)


def stream_update(stream: Stream, features: Features, first: int) -> Stream:
    """The stream with a batch of samples whose numbers are `first`, `first` + 1, …

    Raises MetricError for features that are not finite or of other dimensions, and for numbers that were seen already (of
    those that are kept).
    """
    values = check_features(features.values, "generated", 1)
    if values.shape[1] != len(stream.moments.centre):
        raise MetricError(
            f"A batch of {values.shape[1]} features came to a stream of {len(stream.moments.centre)}; all must come from "
            "the same extractor."
        )
    numbers = np.arange(first, first + len(values), dtype=np.int64)
    batch = Stream(stream.limit, moments_update(moments_init(stream.moments.centre), values), numbers, features)
    return stream_merge(stream, batch)


def stream_merge(a: Stream, b: Stream) -> Stream:
    """The stream that has seen what either has; MetricError where they differ in limit or centre, or share a sample."""
    if a.limit != b.limit:
        raise MetricError(
            f"Streams that keep {a.limit} and {b.limit} samples cannot be merged; start them with equal limits."
        )
    moments = moments_merge(a.moments, b.moments)
    numbers = np.concatenate([a.numbers, b.numbers])
    kept = _joined(a.kept, b.kept)
    order = np.argsort(numbers, kind="stable")
    twice = np.flatnonzero(np.diff(numbers[order]) == 0)
    if len(twice):
        raise MetricError(
            f"Sample {numbers[order][twice[0]]} is in both streams; give every sample a number of its own."
        )
    if a.limit is not None and len(order) > a.limit:
        drawn = mixed(numbers[order].astype(np.uint64))
        order = order[np.sort(np.argsort(drawn)[: a.limit])]
    return Stream(a.limit, moments, numbers[order], None if kept is None else kept.take(order))


def stream_compute(
    stream: Stream, reference: Callable[[Kind[Any]], Any], metrics: Sequence[Metric], intervals: bool = False
) -> dict[str, Score]:
    """Scores of the samples seen so far, by name; `reference` as in `interval.scores`.

    With more samples than are kept, the Fréchet distance is that of all of them, and its interval the one of those that are
    kept, narrower by the root of their share. Raises MetricError where nothing has been seen.
    """
    if stream.kept is None:
        raise MetricError("No samples have been seen; update the stream before computing scores.")
    found = scores(metrics, reference, stream.kept, intervals)
    if "fd" in found and len(stream) > len(stream.kept):
        known, value = found["fd"], moments_distance(reference(FRECHET), stream.moments)
        share = np.sqrt(len(stream.kept) / len(stream))
        low, high = value - share * (known.value - known.low), value + share * (known.high - known.value)
        found["fd"] = Score(value, max(low, 0.0) if intervals else low, high)
    return found


def _joined(a: Features | None, b: Features | None) -> Features | None:
    if a is None or b is None:
        return b if a is None else a

    def joined(name: str) -> Any:
        one, other = getattr(a, name), getattr(b, name)
        if (one is None) != (other is None):
            raise MetricError(
                f"One batch of samples has {name} and another has none; all must come from the same extractor."
            )
        return None if one is None else np.concatenate([one, other])

    return Features(*(joined(field.name) for field in fields(Features)))
