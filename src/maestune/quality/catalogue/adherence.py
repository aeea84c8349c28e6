"""Metrics of adherence, in words: does a sample show what was asked for?"""

from __future__ import annotations

from maestune.quality.metric import Metric
from maestune.quality.metrics.adherence import ADHERENCE, CAPTIONS, CAS
from maestune.quality.metrics.answers import ANSWERS

ADHERENCE_METRICS = (
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
        needs_classes=True,
        needs_conditions=True,
    ),
    Metric(
        name="cas",
        label="classification accuracy score (linear)",
        higher_is_better=True,
        axis="adherence",
        unit="share",
        meaning="The share of real images that a linear classifier names rightly which learnt from samples and what they were "
        "asked for, on the evaluator's features; not comparable with published scores, which train deep networks.",
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
    Metric(
        name="vqa_score",
        label="said to show the caption (VQAScore)",
        higher_is_better=True,
        axis="adherence",
        unit="",
        meaning="Mean probability with which a model that answers questions about images (--vqa FOLDER) says Yes when asked "
        "whether a sample shows its caption. It minds how the words belong together, and is blind to variety: read it beside a "
        "score that is not. Comparable between equal models only.",
        citation="Lin et al. 2024, arXiv:2404.01291",
        kind=ANSWERS,
        needs_answers=True,
        costly=True,
    ),
)
