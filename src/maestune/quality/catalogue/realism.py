"""Metrics of realism, in words: does a sample look real?"""

from __future__ import annotations

from maestune.quality.metric import Metric
from maestune.quality.metrics.extrapolated import EXTRAPOLATED, LEAST_PER_DIMENSION
from maestune.quality.metrics.frechet import FRECHET
from maestune.quality.metrics.kernel import KERNEL
from maestune.quality.metrics.likelihood import LIKELIHOOD
from maestune.quality.metrics.modes import MODES
from maestune.quality.metrics.neighbours import REAL_BALLS
from maestune.quality.metrics.neighbours import K as NEIGHBOURS
from maestune.quality.metrics.second import SECOND
from maestune.quality.metrics.sliced import SLICED
from maestune.quality.metrics.two_sample import TWO_SAMPLE
from maestune.quality.metrics.two_sample import K as VOTES

_NAEEM = "Naeem et al. 2020, arXiv:2002.09797"
_KYNKAANNIEMI = "Kynkäänniemi et al. 2019, arXiv:1904.06991"
_SALVY = "Salvy et al. 2025, arXiv:2507.01761"

REALISM_METRICS = (
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
        meaning="The Fréchet distance as another network sees it, which shares no training with the evaluator; what only the "
        "evaluator finds better is not to be believed.",
        citation=_NAEEM,
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
        name="fd_inf",
        label="Fréchet distance, extrapolated",
        higher_is_better=False,
        axis="realism",
        unit="",
        meaning="What the Fréchet distance would be with infinitely many samples, read off a line; it may fall a little below 0.",
        citation="Chong & Forsyth 2020, arXiv:1911.07023",
        kind=EXTRAPOLATED,
        least_per_dimension=LEAST_PER_DIMENSION,
        costly=True,
    ),
    Metric(
        name="mind",
        label="sliced distance (MIND)",
        higher_is_better=False,
        axis="realism",
        unit="",
        meaning="How far samples and real images are apart along a direction of the features, on average over many; no Gaussian "
        "is assumed, and 0 would be perfect.",
        citation="Berthet et al. 2026, arXiv:2605.06797",
        kind=SLICED,
        ratio_scale=True,
        costly=True,
    ),
    Metric(
        name="clipped_density",
        label="clipped density",
        higher_is_better=True,
        axis="realism",
        unit="share",
        meaning="The share of samples as believable as real images, with no stray real image deciding; blind to variety.",
        citation=_SALVY,
        kind=REAL_BALLS,
        least=NEIGHBOURS + 1,
    ),
    Metric(
        name="inception_score",
        label="score of the classifier (in the manner of IS)",
        higher_is_better=True,
        axis="realism",
        unit="classes",
        meaning="How sure the data's own classifier is of each sample, and how evenly it sees all classes; blind to poor variety "
        "within a class. Not comparable with published Inception Scores.",
        citation="Salimans et al. 2016, arXiv:1606.03498",
        kind=MODES,
        needs_classes=True,
    ),
    Metric(
        name="c2st",
        label="told from real images",
        higher_is_better=False,
        axis="realism",
        unit="share",
        meaning="How often a classifier tells samples from real images that it has not seen; 0.5 is guessing and perfect.",
        citation="Lopez-Paz & Oquab 2017, arXiv:1610.06545",
        kind=TWO_SAMPLE,
        least=VOTES + 1,
        costly=True,
        goal=False,
    ),
    Metric(
        name="fld",
        label="feature likelihood divergence",
        higher_is_better=False,
        axis="realism",
        unit="",
        meaning="How unlikely new real images are beside the samples; 0 is as good as other real images. Poor samples, missing "
        "variety and copies all raise it.",
        citation="Jiralerspong et al. 2023, arXiv:2302.04440",
        kind=LIKELIHOOD,
        needs_train=True,
        sees_copies=True,
        least=4,
        costly=True,
    ),
)
