"""Metrics of coherence, in words: do the parts of a sample fit together?"""

from __future__ import annotations

from maestune.quality.metric import Metric
from maestune.quality.metrics.spatial import SPATIAL

COHERENCE_METRICS = (
    Metric(
        name="spatial_fd",
        label="Fréchet distance by place",
        higher_is_better=False,
        axis="coherence",
        unit="",
        meaning="The Fréchet distance of what is seen in each part of an image, together: whether the parts fit each other.",
        citation="Nash et al. 2021, arXiv:2103.03841",
        kind=SPATIAL,
        ratio_scale=True,
        needs_places=True,
        costly=True,
    ),
)
