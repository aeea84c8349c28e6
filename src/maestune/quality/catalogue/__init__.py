"""The metrics by name: images' by what they look at, one file an axis, and those of texts and of models beside them."""

from __future__ import annotations

from collections.abc import Mapping

from maestune.errors import MetricError, did_you_mean
from maestune.quality.catalogue.adherence import ADHERENCE_METRICS
from maestune.quality.catalogue.coherence import COHERENCE_METRICS
from maestune.quality.catalogue.diversity import DIVERSITY_METRICS
from maestune.quality.catalogue.measures import MEASURES
from maestune.quality.catalogue.novelty import NOVELTY_METRICS
from maestune.quality.catalogue.realism import REALISM_METRICS
from maestune.quality.metric import Measure, Metric
from maestune.quality.text.catalogue import TEXT_METRICS

READ_FIRST = (
    "fd",
    "fd_second",
    "kid",
    "coverage",
    "density",
    "precision",
    "recall",
    "modes",
    "modes_js",
    "adherence",
    "asked_diversity",
    "cas",
    "r_precision",
    "clip_like",
    "vqa_score",
)
"""What people should read before all others, in this order."""

_BY_NAME = {
    metric.name: metric
    for metric in (
        *REALISM_METRICS,
        *DIVERSITY_METRICS,
        *COHERENCE_METRICS,
        *ADHERENCE_METRICS,
        *NOVELTY_METRICS,
    )
}

METRICS: Mapping[str, Metric] = {name: _BY_NAME[name] for name in READ_FIRST} | _BY_NAME
"""The metrics of images, in the order in which people should read them."""

DESCRIBED: Mapping[str, Measure] = {**MEASURES, **METRICS, **TEXT_METRICS}
"""Every score that we know in words, whoever computes it."""


def find_metric(name: str) -> Metric:
    """The metric of a name; MetricError naming the nearest ones when there is none.

    >>> find_metric("fd").label
    'Fréchet distance'
    >>> find_metric("fid")
    Traceback (most recent call last):
        ...
    maestune.errors.MetricError: There is no metric 'fid'. Did you mean fd or kid?
    """
    if name not in METRICS:
        raise MetricError(f"There is no metric {name!r}. {did_you_mean(name, METRICS)}")
    return METRICS[name]
