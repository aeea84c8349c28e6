"""Does the evaluator see what people see? A test that every extractor takes before it may be used.

Real images made worse in known ways must score worse, and more so the worse they were made: blurred, noisy, or with less
variety. Untouched ones, and near-copies that nobody could tell from them, must score close to zero. A second extractor is
asked as well: two that order the same damages in opposite ways cannot both be right. (Recommended by evaluations of feature
spaces: features of a network that never saw such images can be blind to any of these.)
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from maestune.data import ImageData
from maestune.errors import MetricError
from maestune.quality.features.damages import BLUR, GRAIN, GROWING, NEAR_COPIES, REAL, damaged
from maestune.quality.features.extractor import Extractor
from maestune.quality.metrics.frechet import frechet_reference, samples_distance

GROWTH = 1.05  # damage that moves the distance by less than this is not seen
NEAR_ZERO = 0.25  # real against real, as a share of real against the strongest damage
LEAST_IMAGES = 100  # held out: with fewer, distances are mostly those of so few images, whatever was done to them
SEEN = 0.02  # of the distance between two images: strong damage that moves features by less is not seen, however few there are
SMALLEST = 1e-12  # distance that is divided by
LEAST_AGREEMENT = 0.5  # rank correlation of two extractors below which they contradict each other


@dataclass(frozen=True)
class SelfTest:
    """Fréchet distance from real images to real images made worse: damage → distance, and what follows from it.

    `distances`: "real" is the untouched sample, "near-copies" what nobody could tell from it; see `damages`. `second`: the
    same by a second extractor, empty where none was asked. `agreement`: Spearman's rank correlation of the two over the
    damages, -1 … 1. `conclusive`: whether there are enough images to tell at all. `faintest`: how much further the least visible damage is than its undamaged counterpart, as a factor.
    """

    distances: Mapping[str, float]
    passed: bool
    sentence: str
    second: Mapping[str, float] = field(default_factory=dict[str, float])
    agreement: float | None = None
    faintest: float = 0.0
    conclusive: bool = True


def self_test(extractor: Extractor, data: ImageData, seed: int = 0, second: Extractor | None = None) -> SelfTest:
    """Test an extractor on the training images (made worse) against the search images (untouched).

    `second`: another extractor, mostly the one of random weights, whose order of the damages is compared.
    """
    distances: dict[str, float] = {}
    others: dict[str, float] = {}
    strong: dict[str, np.ndarray] = {}
    evaluators = [(extractor, distances), *([(second, others)] if second is not None else [])]
    references = [
        frechet_reference(evaluator.extract(data.search.images, places=False).values) for evaluator, _ in evaluators
    ]
    for name, images in damaged(data, torch.Generator().manual_seed(seed)):
        for (evaluator, told), reference in zip(evaluators, references, strict=True):
            features = _features(evaluator, images)
            told[name] = samples_distance(reference, features)
            if evaluator is extractor and name in (REAL, BLUR[-1], GRAIN[-1]):
                strong[name] = features
    found = check_distances(distances, others)
    held_out = len(data.search)
    blind = min(_move(strong[REAL], strong[name]) for name in (BLUR[-1], GRAIN[-1])) < SEEN
    if found.passed or blind or held_out >= LEAST_IMAGES:
        return found
    sentence = (
        f"The extractor's self-test cannot tell with {held_out} held-out images (from about {LEAST_IMAGES} on it can): distances are "
        f"mostly those of so few images ({_numbers(distances)}). Small differences of scores mean little; give more images to be sure."
    )
    return replace(found, sentence=sentence, conclusive=False)


def check_distances(distances: Mapping[str, float], second: Mapping[str, float] | None = None) -> SelfTest:
    """What the distances say about the extractor that they were measured with, and those of a second one beside them."""
    complaints: list[str] = []
    for chain in GROWING:
        for better, worse in pairwise(name for name in chain if name in distances):
            if not distances[worse] > GROWTH * distances[better]:
                complaints.append(
                    f"{worse} ({distances[worse]:.3g}) is hardly further than {better} ({distances[better]:.3g})"
                )
    strongest = max(distances.values())
    for name, what in ((REAL, "real against real"), (NEAR_COPIES, "a near-copy of real images")):
        if name in distances and not distances[name] <= NEAR_ZERO * strongest:
            complaints.append(f"{what} ({distances[name]:.3g}) is not near zero beside {strongest:.3g}")
    agreement = _agreement(distances, second) if second else None
    if agreement is not None and not agreement >= LEAST_AGREEMENT:
        complaints.append(f"a second extractor orders the damages otherwise (rank correlation {agreement:.2f})")
    numbers = _numbers(distances)
    if complaints:
        sentence = (
            f"The extractor failed its self-test: {'; '.join(complaints)}. Do not trust its distances ({numbers})."
        )
    else:
        agreed = (
            "" if agreement is None else f", and a second extractor orders it alike (rank correlation {agreement:.2f})"
        )
        sentence = f"The extractor passed its self-test: the Fréchet distance grows with damage{agreed} ({numbers})."
    return SelfTest(dict(distances), not complaints, sentence, dict(second or {}), agreement, _faintest(distances))


def refusal(test: SelfTest) -> str | None:
    """Why an extractor that nobody asked for by name must not evaluate, and what to do; None where it may."""
    if test.passed or not test.conclusive:
        return None
    return (
        f"{test.sentence} A campaign would be led by what it cannot see. Look with: maestune features check DATA; choose "
        "another extractor (--features ssl, random, or dinov2:PATH), give more images, or insist by naming it: --features NAME."
    )


def _numbers(distances: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {value:.3g}" for name, value in distances.items())


def _move(clean: np.ndarray, changed: np.ndarray) -> float:
    """Mean squared move (N, d) → (N, d) of each image's own features, in units of that between two images.

    It hardly depends on the number of images: strong blur moves features of our own extractors by 0.1 or more, features of
    brightness alone by at most 0.002.
    """
    usual = 2.0 * float(clean.var(axis=0, ddof=1).sum())
    return float(((changed - clean) ** 2).sum(axis=1).mean()) / usual if usual > 0 else 0.0


def _features(extractor: Extractor, images: Tensor) -> np.ndarray:
    features = extractor.extract(images, places=False).values
    if len(features) < 2:
        raise MetricError(f"The self-test needs at least 2 training images, and there are {len(features)}.")
    return features


def _faintest(distances: Mapping[str, float]) -> float:
    ratios = [
        distances[worse] / max(distances[chain[0]], SMALLEST)
        for chain in GROWING
        for worse in chain[1:]
        if worse in distances
    ]
    return min(ratios) if all(map(math.isfinite, ratios)) else 0.0


def _agreement(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    names = [name for name in first if name in second]
    a, b = ([told[name] for name in names] for told in (first, second))
    if not all(map(math.isfinite, (*a, *b))) or len(set(a)) < 2 or len(set(b)) < 2:
        return 0.0  # an order that does not exist agrees with none
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks (N,), equal values sharing the mean of theirs; scipy.stats has the same, and takes half a second to import."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2.0)[place]
