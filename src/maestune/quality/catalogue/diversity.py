"""Metrics of diversity, in words: is the variety of the data there?"""

from __future__ import annotations

from maestune.quality.metric import Metric
from maestune.quality.metrics.adherence import ASKED_DIVERSITY
from maestune.quality.metrics.bins import BINS, IMAGES_PER_BIN
from maestune.quality.metrics.modes import MODES
from maestune.quality.metrics.neighbours import GENERATED_BALLS, REAL_BALLS
from maestune.quality.metrics.neighbours import K as NEIGHBOURS
from maestune.quality.metrics.vendi import VENDI

_NAEEM = "Naeem et al. 2020, arXiv:2002.09797"
_KYNKAANNIEMI = "Kynkäänniemi et al. 2019, arXiv:1904.06991"
_SALVY = "Salvy et al. 2025, arXiv:2507.01761"
_RICHARDSON = "Richardson & Weiss 2018, arXiv:1805.12462"

DIVERSITY_METRICS = (
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
        needs_classes=True,
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
        needs_classes=True,
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
        goal=False,
    ),
    Metric(
        name="clipped_coverage",
        label="clipped coverage",
        higher_is_better=True,
        axis="diversity",
        unit="share",
        meaning="The share of good and varied samples that would cover the real images as well: 0.7 is as if 3 in 10 were lost.",
        citation=_SALVY,
        kind=REAL_BALLS,
        least=NEIGHBOURS + 1,
    ),
    Metric(
        name="vendi",
        label="Vendi score",
        higher_is_better=True,
        axis="diversity",
        unit="samples",
        meaning="How many samples, all unlike each other, would be as diverse. Noise is diverse too: read it beside the floor.",
        citation="Friedman & Dieng 2023, arXiv:2210.02410",
        kind=VENDI,
        goal=False,
    ),
    Metric(
        name="rke",
        label="Vendi score of order 2 (RKE)",
        higher_is_better=True,
        axis="diversity",
        unit="samples",
        meaning="As the Vendi score, but counting only what is common among the samples, and steadier for few of them.",
        citation="Jalali et al. 2023, arXiv:2306.11684",
        kind=VENDI,
        goal=False,
    ),
    Metric(
        name="modes_kl",
        label="class imbalance (KL)",
        higher_is_better=False,
        axis="diversity",
        unit="bits",
        meaning="How far the samples' shares of the classes are from the real ones; severe with classes that are rare in the data.",
        citation="Srivastava et al. 2017, arXiv:1705.07761",
        kind=MODES,
        needs_classes=True,
    ),
    Metric(
        name="bins_js",
        label="imbalance over bins (Jensen-Shannon)",
        higher_is_better=False,
        axis="diversity",
        unit="bits",
        meaning="How differently samples and real images fall into bins of similar images; 0 is equal, 1 has none in common.",
        citation=_RICHARDSON,
        kind=BINS,
        needs_train=True,
        least=2 * IMAGES_PER_BIN,
    ),
    Metric(
        name="ndb",
        label="statistically different bins",
        higher_is_better=False,
        axis="diversity",
        unit="share",
        meaning="The share of bins with clearly too many or too few samples; about 0.05 is perfect. More samples find more.",
        citation=_RICHARDSON,
        kind=BINS,
        needs_train=True,
        least=2 * IMAGES_PER_BIN,
        goal=False,
    ),
)
