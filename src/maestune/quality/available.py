"""Which metrics of images there can be: what they need, and what data, extractor and prompts have."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from maestune.data import ImageData
from maestune.quality.catalogue import METRICS
from maestune.quality.features.extractor import Extractor
from maestune.quality.metric import Metric


@dataclass(frozen=True)
class Availability:
    """The metrics that can be computed, in the order in which people should read them, and those for which there is too little.

    `left_out`: metric → how many images or samples it needs and how many there are, as a clause.
    """

    metrics: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])


def available_metrics(
    data: ImageData,
    extractor: Extractor | None = None,
    *,
    conditional: bool = False,
    second: bool = False,
    places: bool = True,
    captions: bool = False,
    answers: bool = False,
    n_samples: int | None = None,
) -> tuple[str, ...]:
    """Names of the metrics that can be computed for this data; see `metric_availability`."""
    given = {"conditional": conditional, "second": second, "places": places, "captions": captions, "answers": answers}
    return metric_availability(data, extractor, n_samples=n_samples, **given).metrics


def metric_availability(
    data: ImageData,
    extractor: Extractor | None = None,
    *,
    conditional: bool = False,
    second: bool = False,
    places: bool = True,
    captions: bool = False,
    answers: bool = False,
    n_samples: int | None = None,
) -> Availability:
    """The metrics that can be computed for this data.

    `conditional`: for samples that were asked for something. `second`: with a second extractor. `places`: whether the
    extractor tells what it sees in each place. `captions`: with an encoder of images and captions. `answers`: with a
    model that is asked about images. `n_samples`: how many samples will be scored; None where any number may be. What needs
    labels needs those of at least two classes, some of it an extractor that learnt them as well (where one is given); others
    need so many held-out images in each split, and so many samples in each half of an interval. Real images are scored in place
    of samples, too, for the floor, so that there must be as many of them.
    """
    labelled = data.train.labels is not None and len(torch.unique(data.train.labels)) >= 2
    there = {
        "labels": labelled,
        "classes": labelled if extractor is None else extractor.classes >= 2,
        "conditions": conditional,
        "second": second,
        "places": places,
        "captions": captions,
        "answers": answers,
    }
    suited = {
        name: metric
        for name, metric in METRICS.items()
        if all(there[what] for what in there if getattr(metric, f"needs_{what}"))
    }
    shortages = {name: _shortage(metric, data, extractor, n_samples) for name, metric in suited.items()}
    left_out = {name: shortage for name, shortage in shortages.items() if shortage}
    return Availability(tuple(name for name in suited if name not in left_out), left_out)


def _shortage(metric: Metric, data: ImageData, extractor: Extractor | None, n_samples: int | None) -> str:
    """What a metric has too little of; empty where there is enough."""
    held_out = min(len(data.search), len(data.report))
    samples = min_samples_of(metric, 0 if extractor is None else extractor.dimensions)
    in_place = held_out if metric.sees_copies else len(data.train)  # of samples, for the floor
    needs = [
        (metric.least, held_out, "held-out images in each part"),
        (metric.least if metric.needs_train else 0, len(data.train), "training images"),
    ]
    if n_samples is not None:
        floor_of = "held-out images in each part" if metric.sees_copies else "training images"
        needs += [(samples, n_samples, "samples"), (samples, in_place, floor_of)]
    return next((f"needs {least:,} {what}, there are {n:,}" for least, n, what in needs if n < least), "")


def min_samples_of(metric: Metric, dimensions: int) -> int:
    """How many samples a metric needs, with an interval over halves of them, in features of so many dimensions."""
    return max(2 * metric.least, metric.least_per_dimension * (dimensions + 1))
