"""The metrics by name, in the order in which people should read them."""

from __future__ import annotations

from collections.abc import Mapping

from maestune.errors import MetricError, did_you_mean
from maestune.quality.further import FURTHER
from maestune.quality.measures import MEASURES
from maestune.quality.metric import Measure, Metric
from maestune.quality.metrics.adherence import ADHERENCE, ASKED_DIVERSITY, CAPTIONS, CAS
from maestune.quality.metrics.frechet import FRECHET
from maestune.quality.metrics.kernel import KERNEL
from maestune.quality.metrics.modes import MODES
from maestune.quality.metrics.neighbours import GENERATED_BALLS, REAL_BALLS
from maestune.quality.metrics.neighbours import K as NEIGHBOURS
from maestune.quality.metrics.second import SECOND
from maestune.quality.text.catalogue import TEXT_METRICS

_NAEEM = "Naeem et al. 2020, arXiv:2002.09797"
_KYNKAANNIEMI = "Kynkäänniemi et al. 2019, arXiv:1904.06991"

_ALL = (
    Metric(
        name="fd",
        label="Fréchet distance",
        higher_is_better=False,
        axis="realism",
        unit="",
        meaning="How far the samples as a whole are from real images, in looks and in variety; 0 would be perfect.",
        citation="Heusel et al. 2017, arXiv:1706.08500",
        kind=FRECHET,
        ratio_scale=True,
    ),
    Metric(
        name="fd_second",
        label="Fréchet distance, second opinion",
        higher_is_better=False,
        axis="realism",
        unit="",
        meaning="The Fréchet distance as another network sees it, which shares no training with the judge; what only the "
        "judge finds better is not to be believed.",
        citation="Naeem et al. 2020, arXiv:2002.09797",
        kind=SECOND,
        ratio_scale=True,
        needs_second=True,
    ),
    Metric(
        name="kid",
        label="kernel distance (KID)",
        higher_is_better=False,
        axis="realism",
        unit="",
        meaning="As the Fréchet distance, but without its bias for few samples; about 0 (or just below) is perfect.",
        citation="Bińkowski et al. 2018, arXiv:1801.01401",
        kind=KERNEL,
    ),
    Metric(
        name="coverage",
        label="coverage",
        higher_is_better=True,
        axis="diversity",
        unit="share",
        meaning="The share of real images that have a sample nearby: how much of the variety is there.",
        citation=_NAEEM,
        kind=REAL_BALLS,
        least=NEIGHBOURS + 1,
    ),
    Metric(
        name="density",
        label="density",
        higher_is_better=True,
        axis="realism",
        unit="",
        meaning="How crowded with real images the places of the samples are; about 1 for real images, and blind to "
        "missing variety.",
        citation=_NAEEM,
        kind=REAL_BALLS,
        least=NEIGHBOURS + 1,
    ),
    Metric(
        name="precision",
        label="precision",
        higher_is_better=True,
        axis="realism",
        unit="share",
        meaning="The share of samples that lie among the real images: how believable they are, blind to variety.",
        citation=_KYNKAANNIEMI,
        kind=REAL_BALLS,
        counts_samples=True,
        least=NEIGHBOURS + 1,
    ),
    Metric(
        name="recall",
        label="recall",
        higher_is_better=True,
        axis="diversity",
        unit="share",
        meaning="The share of real images that lie among the samples: variety, easily flattered by stray samples.",
        citation=_KYNKAANNIEMI,
        kind=GENERATED_BALLS,
        least=NEIGHBOURS + 1,
    ),
    Metric(
        name="modes",
        label="classes found",
        higher_is_better=True,
        axis="diversity",
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
        axis="diversity",
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
        axis="adherence",
        unit="share",
        meaning="The share of samples in which a classifier that learnt from real images sees the class that was asked for.",
        citation="Shmelkov et al. 2018, arXiv:1807.09499",
        kind=ADHERENCE,
        counts_samples=True,
        needs_labels=True,
        needs_conditions=True,
    ),
    Metric(
        name="asked_diversity",
        label="variety of what was asked for",
        higher_is_better=True,
        axis="diversity",
        unit="",
        meaning="How far apart samples are that were asked for the same, as a factor of how far apart real images of it are: 1 is "
        "as varied, 0 the same picture each time. Adherence says little without it.",
        citation="Zhu et al. 2017 (BicycleGAN), arXiv:1711.11586",
        kind=ASKED_DIVERSITY,
        needs_labels=True,
        needs_conditions=True,
    ),
    Metric(
        name="cas",
        label="classification accuracy score (linear)",
        higher_is_better=True,
        axis="adherence",
        unit="share",
        meaning="The share of real images that a linear classifier names rightly which learnt from samples and what they were "
        "asked for, on the judge's features; not comparable with published scores, which train deep networks.",
        citation="Ravuri & Vinyals 2019, arXiv:1905.10887",
        kind=CAS,
        needs_labels=True,
        needs_conditions=True,
        costly=True,
    ),
    Metric(
        name="r_precision",
        label="own caption ranked first (R-precision)",
        higher_is_better=True,
        axis="adherence",
        unit="share",
        meaning="The share of samples that an encoder of images and texts finds nearer to their own caption than to 99 others; "
        "others may be true of a sample as well, so the floor tells what real images reach.",
        citation="Xu et al. 2018 (AttnGAN), arXiv:1711.10485",
        kind=CAPTIONS,
        counts_samples=True,
        needs_captions=True,
        sees_copies=True,  # captions of training images are what its encoder has learnt
    ),
    Metric(
        name="clip_like",
        label="likeness to the caption",
        higher_is_better=True,
        axis="adherence",
        unit="",
        meaning="Mean cosine between a sample and its caption, times 100, negative ones as 0, by an encoder of images and texts: "
        "CLIPScore where that is CLIP, else comparable on the same data only.",
        citation="Hessel et al. 2021, arXiv:2104.08718",
        kind=CAPTIONS,
        needs_captions=True,
        sees_copies=True,  # captions of training images are what its encoder has learnt
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (*_ALL, *FURTHER)}

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
