"""Adherence: whether samples show what was asked for, as a classifier sees it that learnt from real images.

For class labels this is the accuracy that Shmelkov et al. 2018 (arXiv:1807.09499) call GAN-test, and Ravuri & Vinyals 2019
(arXiv:1905.10887) look at from the other side. The classifier's own errors on real images bound it from above: the floor
tells them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Kind, Limits, Members


def _reference(real: Features, n: int) -> None:
    return None


def _compute(reference: None, generated: Features, members: Members) -> Mapping[str, Array]:
    if generated.probabilities is None or generated.asked is None:
        raise MetricError(
            "Adherence needs data with labels, and samples that were asked to show one; choose another objective, or a "
            "conditional model (gan with --set condition=projection, or flow)."
        )
    right = (generated.probabilities.argmax(axis=1) == generated.asked).astype(np.float64)
    return {"adherence": (members @ right) / members.sum(axis=1)}


def _limits(reference: None) -> Mapping[str, Limits]:
    return {"adherence": (0.0, 1.0)}


ADHERENCE: Kind[None] = Kind("adherence", _reference, _compute, _limits)
