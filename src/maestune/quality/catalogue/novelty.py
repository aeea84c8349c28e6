"""Metrics of novelty, in words: is a sample more than a copy?"""

from __future__ import annotations

from maestune.quality.metric import Metric
from maestune.quality.metrics.copies import COPIES

_MEEHAN = "Meehan et al. 2020, arXiv:2004.05675"

NOVELTY_METRICS = (
    Metric(
        name="novelty",
        label="novelty",
        higher_is_better=True,
        axis="novelty",
        unit="share",
        meaning="The share of samples that are no copies: farther from any training image than the nearest 1 in 100 new real ones.",
        citation=_MEEHAN,
        kind=COPIES,
        needs_train=True,
        sees_copies=True,
        counts_samples=True,
        least=4,
    ),
    Metric(
        name="copies",
        label="copies of training images",
        higher_is_better=False,
        axis="novelty",
        unit="share",
        meaning="The share of samples as near to a training image as only 1 in 100 new real images is; about 0.01 is by chance.",
        citation=_MEEHAN,
        kind=COPIES,
        needs_train=True,
        sees_copies=True,
        counts_samples=True,
        least=4,
    ),
    Metric(
        name="authenticity",
        label="authenticity",
        higher_is_better=True,
        axis="novelty",
        unit="share",
        meaning="The share of samples that are farther from the nearest training image than that one is from any other.",
        citation="Alaa et al. 2022, arXiv:2102.08921",
        kind=COPIES,
        needs_train=True,
        sees_copies=True,
        counts_samples=True,
        least=4,
        goal=False,
    ),
    Metric(
        name="c_t",
        label="distance from training images (C_T)",
        higher_is_better=True,
        axis="novelty",
        unit="standard errors",
        meaning="Whether samples keep as far from the training images as new real images do: 0 is right, below -2 points to "
        "copies, and far above 0 to samples unlike the data.",
        citation=_MEEHAN,
        kind=COPIES,
        needs_train=True,
        sees_copies=True,
        least=4,
        goal=False,
    ),
)
