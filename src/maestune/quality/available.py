"""Which metrics of images there can be: what they need, and what data, extractor and prompts have."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import torch

from maestune.data import ImageData
from maestune.quality.catalogue import METRICS
from maestune.quality.features.extractor import Extractor
from maestune.quality.metric import Metric


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
    """Names of the metrics that can be computed for this data, in the order in which people should read them.

    `conditional`: for samples that were asked for something. `second`: with a second extractor. `places`: whether the
    extractor tells what it sees in each place. `captions`: with an encoder of images and captions. `answers`: with a
    model that is asked about images. `n_samples`: how many samples will be scored; None where any number may be. What needs
    labels needs those of at least two classes, some of it an extractor that learnt them as well (where one is given); others
    need so many held-out images in each split, and so many samples in each half of an interval.
    """
    labelled = data.train.labels is not None and len(torch.unique(data.train.labels)) >= 2
    classes = labelled if extractor is None else extractor.classes >= 2
    held_out = min(len(data.search), len(data.report))

    def possible(metric: Metric) -> bool:
        there = {
            "labels": labelled,
            "classes": classes,
            "conditions": conditional,
            "second": second,
            "places": places,
            "captions": captions,
            "answers": answers,
            "train": len(data.train) >= metric.least,
        }
        if not all(there[what] for what in there if getattr(metric, f"needs_{what}")):
            return False
        if held_out < metric.least:
            return False
        if n_samples is None:
            return True
        return n_samples >= fewest_samples(metric, 0 if extractor is None else extractor.dimensions)

    return tuple(name for name, metric in METRICS.items() if possible(metric))


def fewest_samples(metric: Metric, dimensions: int) -> int:
    """How many samples a metric needs, with an interval over halves of them, in features of so many dimensions."""
    return max(2 * metric.least, metric.least_per_dimension * (dimensions + 1))
