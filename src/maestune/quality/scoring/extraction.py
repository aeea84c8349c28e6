"""Features of images that come in parts, so that only the parts under way are in memory: a stream for each, merged as they come."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from maestune.data import Images
from maestune.data.spec import Batch
from maestune.errors import MetricError
from maestune.quality.catalogue import METRICS
from maestune.quality.features.captions import with_conditions
from maestune.quality.features.extractor import Extractor
from maestune.quality.features.vqa import with_captions
from maestune.quality.image_evaluator import ImageEvaluator
from maestune.quality.metric import Features
from maestune.quality.scoring.pixels import part_size
from maestune.quality.scoring.working import one_thread_of_torch, ordered_map
from maestune.quality.streaming import Stream, stream_init, stream_merge, stream_update

NO_IMAGES = torch.empty(0)


def extract_parts(parts: Iterable[Tensor], extractor: Extractor, second: Extractor, workers: int) -> Features:
    """Features of images, with those of the second extractor beside them; they come in parts (n, C, H, W), in order.

    So many threads look at a part each; on a device one does. How many they are changes nothing, to the last bit. Raises
    MetricError where there are no images.
    """
    coming = iter(parts)
    first = next(coming, None)
    if first is None:
        raise MetricError("No images were given to look at; at least one is needed.")
    on_cpu = extractor.device == "cpu"
    threads = workers if on_cpu else 1
    with one_thread_of_torch() if on_cpu else nullcontext():
        features = _extract_part(
            extractor, second, first
        )  # by this thread: what is loaded on first use is then there for all
        nothing = stream_init(features.values.mean(axis=0))

        def extract(part: Tensor, number: int) -> Stream:
            return stream_update(nothing, _extract_part(extractor, second, part), number)

        merged = [stream_update(nothing, features, 0)]
        for stream in ordered_map(_numbered(coming, len(first), extract), threads, ahead=2 * threads):
            merged.append(stream)
            while len(merged) > 1 and len(merged[-2]) <= len(merged[-1]):  # like with like: none is copied often
                merged[-2:] = [stream_merge(*merged[-2:])]
    while len(merged) > 1:
        merged[-2:] = [stream_merge(*merged[-2:])]
    kept = merged[0].kept
    assert kept is not None  # the first part was seen
    return kept


def parts_of(images: Tensor, rows: Tensor | None = None) -> Iterator[Tensor]:
    """Images (N, C, H, W), or those in some rows, a few at a time, as `extract_parts` wants them."""
    for some in (torch.arange(len(images)) if rows is None else rows).split(part_size(images.shape[-1])):
        yield images[some]


def described(
    evaluator: ImageEvaluator, features: Features, images: Tensor, conditions: Batch, captions: Sequence[str] = ()
) -> Features:
    """What was seen in images, with what they were to show beside it; `images` may be empty where nobody reads or is asked."""
    features = with_conditions(features, images, conditions, evaluator.reader)
    return with_captions(features, images, conditions, evaluator.answerer, captions)


def floor_features(
    evaluator: ImageEvaluator, names: Sequence[str], generator: torch.Generator, workers: int
) -> Mapping[str, Features]:
    """What a perfect model would show, as the evaluator sees it, for each metric: real images, drawn as `ImageEvaluator.floor` does."""
    fresh = [name for name in names if METRICS[name].sees_copies]
    found: dict[str, Features] = {}
    for images, own in ((evaluator.train, [name for name in names if name not in fresh]), (evaluator.others, fresh)):
        if own:
            features = _floor_of(evaluator, images, generator, workers)
            found |= dict.fromkeys(own, features)
    return found


def _floor_of(evaluator: ImageEvaluator, images: Images, generator: torch.Generator, workers: int) -> Features:
    assert evaluator.second is not None
    rows = torch.randperm(len(images), generator=generator)[: evaluator.n_samples]
    features = extract_parts(parts_of(images.images, rows), evaluator.extractor, evaluator.second, workers)
    conditions = {name: values[rows] for name, values in images.conditions.items()}
    highlights = NO_IMAGES if evaluator.reader is None and evaluator.answerer is None else images.images[rows]
    return described(evaluator, features, highlights, conditions)


def _numbered(
    parts: Iterable[Tensor], number: int, extract: Callable[[Tensor, int], Stream]
) -> Iterator[Callable[[], Stream]]:
    for part in parts:
        yield partial(extract, part, number)
        number += len(part)


def _extract_part(extractor: Extractor, second: Extractor, images: Tensor) -> Features:
    return replace(extractor.extract(images), second=second.extract(images).values)
