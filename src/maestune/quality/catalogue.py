"""The metrics by name, in the order in which people should read them."""

from __future__ import annotations

from collections.abc import Mapping

from maestune.errors import MetricError, did_you_mean
from maestune.quality.adherence import ADHERENCE
from maestune.quality.frechet import FRECHET
from maestune.quality.kernel import KERNEL
from maestune.quality.measures import MEASURES
from maestune.quality.metric import Measure, Metric
from maestune.quality.modes import MODES
from maestune.quality.neighbours import GENERATED_BALLS, REAL_BALLS

_NAEEM = "Naeem et al. 2020, arXiv:2002.09797"
_KYNKAANNIEMI = "Kynkäänniemi et al. 2019, arXiv:1904.06991"

_ALL = (
    Metric(
        name="fd",
        label="Fréchet distance",
        higher_is_better=False,
        unit="",
        meaning="How far the samples as a whole are from real images, in looks and in variety; 0 would be perfect.",
        citation="Heusel et al. 2017, arXiv:1706.08500",
        kind=FRECHET,
        ratio_scale=True,
    ),
    Metric(
        name="kid",
        label="kernel distance (KID)",
        higher_is_better=False,
        unit="",
        meaning="As the Fréchet distance, but without its bias for few samples; about 0 (or just below) is perfect.",
        citation="Bińkowski et al. 2018, arXiv:1801.01401",
        kind=KERNEL,
    ),
    Metric(
        name="coverage",
        label="coverage",
        higher_is_better=True,
        unit="share",
        meaning="The share of real images that have a sample nearby: how much of the variety is there.",
        citation=_NAEEM,
        kind=REAL_BALLS,
    ),
    Metric(
        name="density",
        label="density",
        higher_is_better=True,
        unit="",
        meaning="How crowded with real images the places of the samples are; about 1 for real images, and blind to "
        "missing variety.",
        citation=_NAEEM,
        kind=REAL_BALLS,
    ),
    Metric(
        name="precision",
        label="precision",
        higher_is_better=True,
        unit="share",
        meaning="The share of samples that lie among the real images: how believable they are, blind to variety.",
        citation=_KYNKAANNIEMI,
        kind=REAL_BALLS,
    ),
    Metric(
        name="recall",
        label="recall",
        higher_is_better=True,
        unit="share",
        meaning="The share of real images that lie among the samples: variety, easily flattered by stray samples.",
        citation=_KYNKAANNIEMI,
        kind=GENERATED_BALLS,
    ),
    Metric(
        name="modes",
        label="classes found",
        higher_is_better=True,
        unit="classes",
        meaning="How many classes of the data the samples show, each with at least a tenth of its real share.",
        citation="Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761",
        kind=MODES,
        needs_labels=True,
    ),
    Metric(
        name="modes_js",
        label="class imbalance (Jensen-Shannon)",
        higher_is_better=False,
        unit="bits",
        meaning="How differently samples and real images are spread over the classes; 0 is equal, 1 has none in common.",
        citation="Richardson & Weiss 2018, arXiv:1805.12462",
        kind=MODES,
        needs_labels=True,
    ),
    Metric(
        name="adherence",
        label="adherence to what was asked",
        higher_is_better=True,
        unit="share",
        meaning="The share of samples in which a classifier that learnt from real images sees the class that was asked for.",
        citation="Shmelkov et al. 2018, arXiv:1807.09499",
        kind=ADHERENCE,
        needs_labels=True,
        needs_conditions=True,
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}

DESCRIBED: Mapping[str, Measure] = {**MEASURES, **METRICS}
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
