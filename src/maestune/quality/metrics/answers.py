"""VQAScore: how surely a model that answers questions says that a sample shows its caption (Lin et al. 2024, arXiv:2404.01291).

The mean over samples of what `features.vqa` reads off the model. As every score of adherence it is blind to variety, and means
something only beside one that is not.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals


def _nothing(reals: Reals, n: int) -> None:
    return None


def _answers(reference: None, generated: Features, members: Members) -> Mapping[str, Array]:
    if generated.yes is None:
        raise MetricError(
            "vqa_score needs samples that were asked for captions, and a model that is asked whether they show them (--vqa "
            "FOLDER); choose another metric."
        )
    if not np.isfinite(generated.yes).all():
        raise MetricError("Answers about samples are not finite numbers; ask a model whose weights are whole.")
    return {"vqa_score": (members @ generated.yes) / members.sum(axis=1)}


def _limits(reference: None) -> Mapping[str, Limits]:
    return {"vqa_score": (0.0, 1.0)}


ANSWERS: Kind[None] = Kind("answers about samples", _nothing, _answers, _limits)
