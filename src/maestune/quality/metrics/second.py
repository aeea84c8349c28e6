"""A second opinion: the Fréchet distance as another extractor sees it.

Every extractor is blind to something, and what is tuned finds what the evaluator is blind to. A distance in the features of a
network that shares no training with the evaluator (one of random weights, as Naeem et al. 2020, arXiv:2002.09797, propose, or a
pretrained one) says whether an improvement is there for others as well. Stein et al. 2023 (arXiv:2306.04675) show how far
rankings by two extractors can be apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, check_features, chosen_from
from maestune.quality.metrics.frechet import FrechetReference, frechet_reference, samples_distance


def _second(features: Features, what: str) -> Array:
    if features.second is None:
        raise MetricError(
            f"fd_second needs the {what} features of a second extractor, and there are none. Make the evaluator with one, or "
            "choose another metric."
        )
    return check_features(features.second, what)


def _reference(reals: Reals, n: int) -> FrechetReference:
    return frechet_reference(_second(reals.held_out, "real"))


def _compute(reference: FrechetReference, generated: Features, members: Members) -> Mapping[str, Array]:
    values = _second(generated, "generated")
    return {"fd_second": np.array([samples_distance(reference, subset) for subset in chosen_from(values, members)])}


def _limits(reference: FrechetReference) -> Mapping[str, Limits]:
    return {"fd_second": (0.0, np.inf)}


SECOND = Kind("second opinion", _reference, _compute, _limits)
