"""Vendi score and RKE: how many samples, all unlike each other, would be as diverse as these.

Friedman & Dieng 2023, arXiv:2210.02410: the exponential of the entropy of the eigenvalues of K/n, with K the cosines between
features. RKE: the same with Rényi's entropy of order 2, 1/Σλ² (Jalali et al. 2023, arXiv:2306.11684, with a Gaussian kernel;
for the kernel of the Vendi score Pasarkar & Dieng 2024, arXiv:2310.12952). Order 2 needs fewer samples and hears less of
rare ones. Neither looks at real images: noise is diverse as well, so the number says something beside that of real images (the
floor), not by itself.

Cosines are of features as they come: standardised ones measure angles around the mean of the training images. With fewer
features than samples the eigenvalues are those of the d × d matrix XᵀX/n of the normalised features. Features that are all 0
have no direction: they are equal to each other and unlike everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, check_features, chosen_from


@dataclass(frozen=True)
class VendiReference:
    """The greatest number that there can be: of samples, or of dimensions and one more."""

    most: int


def vendi_scores(values: Array) -> tuple[float, float]:
    """Vendi score and RKE of features (N, d); raises MetricError on unusable features.

    >>> [round(score, 6) for score in vendi_scores(np.eye(3))]
    [3.0, 3.0]
    """
    return _scores(_directions(check_features(values, "generated", 1)))


def _directions(values: Array) -> Array:
    """Features of length 1; what has none points where nobody else does."""
    # Dividing by the largest first, so that squares neither vanish nor overflow.
    largest = np.abs(values).max(axis=1, keepdims=True)
    nothing = largest == 0
    scaled = values / np.where(nothing, 1.0, largest)
    lengths = np.sqrt((scaled**2).sum(axis=1, keepdims=True))
    unit = scaled / np.where(nothing, 1.0, lengths)
    return np.hstack([unit, nothing.astype(np.float64)]) if nothing.any() else unit


def _scores(unit: Array) -> tuple[float, float]:
    n, d = unit.shape
    gram = (unit.T @ unit if d <= n else unit @ unit.T) / n
    eigenvalues = np.linalg.eigvalsh(gram)
    positive = eigenvalues[eigenvalues > 0]
    vendi = float(np.exp(-(positive * np.log(positive)).sum()))
    most = float(min(n, d))
    # Rounding alone can leave what is possible.
    return min(max(vendi, 1.0), most), min(max(1.0 / float((gram * gram).sum()), 1.0), most)


def _reference(reals: Reals, n: int) -> VendiReference:
    return VendiReference(min(n, reals.held_out.values.shape[1] + 1))


def _compute(reference: VendiReference, generated: Features, members: Members) -> Mapping[str, Array]:
    unit = _directions(check_features(generated.values, "generated"))
    scores = np.array([_scores(subset) for subset in chosen_from(unit, members)])
    return {"vendi": scores[:, 0], "rke": scores[:, 1]}


def _limits(reference: VendiReference) -> Mapping[str, Limits]:
    return {"vendi": (1.0, float(reference.most)), "rke": (1.0, float(reference.most))}


VENDI = Kind("Vendi score", _reference, _compute, _limits)
