"""Does the judge see what people see? A test that every extractor takes before it may judge.

Real images made worse in known ways must score worse, and more so the worse they were made: blurred, noisy, or with
half of the classes left out. Untouched ones must score close to zero. (Recommended by evaluations of feature spaces:
features of a network that never saw such images can be blind to any of these.)
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from maestune.data import ImageData, Images, to_float
from maestune.errors import MetricError
from maestune.quality.extractor import Extractor
from maestune.quality.frechet import FrechetReference, frechet_reference, samples_distance

MOST_IMAGES = 500  # more would change the numbers little and cost time
NOISE = (0.25, 0.6)  # standard deviations in [-1, 1]: grain, and hard to recognise
GROWTH = 1.05  # damage that moves the distance by less than this is not seen
NEAR_ZERO = 0.25  # real against real, as a share of real against the strongest damage


@dataclass(frozen=True)
class SelfTest:
    """Fréchet distance from real images to real images made worse: damage → distance, and what follows from it.

    "real" is the untouched sample; "blur 1" < "blur 2" and "noise 1" < "noise 2" are damages of growing strength;
    "half the classes" exists for labelled data only, with "real, as many" as its counterpart of the same size.
    """

    distances: Mapping[str, float]
    passed: bool
    sentence: str


def self_test(extractor: Extractor, data: ImageData, seed: int = 0) -> SelfTest:
    """Test an extractor on the training images (made worse) against the search images (untouched)."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data.train), generator=generator)
    sample = data.train.take(order[:MOST_IMAGES])
    reference = frechet_reference(extractor.extract(data.search.images).values)
    clean = to_float(sample.images)
    distances = {"real": _distance(extractor, reference, clean)}
    for strength, width in enumerate(blur_widths_pixels(data.shape), start=1):
        distances[f"blur {strength}"] = _distance(extractor, reference, blurred(clean, width))
    for strength, deviation in enumerate(NOISE, start=1):
        noise = torch.empty_like(clean).normal_(0.0, deviation, generator=generator)
        distances[f"noise {strength}"] = _distance(extractor, reference, (clean + noise).clamp(-1.0, 1.0))
    if (dropped := _half_of_the_classes(data.train, order)) is not None:
        n = len(dropped)
        distances["real, as many"] = _distance(extractor, reference, to_float(data.train.take(order[:n]).images))
        distances["half the classes"] = _distance(extractor, reference, to_float(dropped.images))
    return judge_distances(distances)


def judge_distances(distances: Mapping[str, float]) -> SelfTest:
    """What the distances say about the extractor that they were measured with."""
    complaints: list[str] = []
    chains = [("real", "blur 1", "blur 2"), ("real", "noise 1", "noise 2"), ("real, as many", "half the classes")]
    for chain in chains:
        for better, worse in pairwise(chain):
            if worse in distances and not distances[worse] > GROWTH * distances[better]:
                complaints.append(
                    f"{worse} ({distances[worse]:.3g}) is hardly further than {better} ({distances[better]:.3g})"
                )
    strongest = max(distances.values())
    if not distances["real"] <= NEAR_ZERO * strongest:
        complaints.append(f"real against real ({distances['real']:.3g}) is not near zero beside {strongest:.3g}")
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in distances.items())
    if complaints:
        sentence = (
            f"The extractor failed its self-test: {'; '.join(complaints)}. Do not trust its distances ({numbers})."
        )
    else:
        sentence = f"The extractor passed its self-test: the Fréchet distance grows with damage ({numbers})."
    return SelfTest(dict(distances), not complaints, sentence)


def blur_widths_pixels(shape: tuple[int, int, int]) -> tuple[float, float]:
    """Standard deviations of a weak and a strong Gaussian blur, growing with the image."""
    weak = 0.25 + min(shape[1:]) / 32
    return weak, 2.0 * weak


def blurred(images: Tensor, width_pixels: float) -> Tensor:
    """Images (N, C, H, W) under a Gaussian blur of a standard deviation in pixels; borders repeated, range kept."""
    channels, height, width = images.shape[1:]
    reach = max(1, min(math.ceil(3.0 * width_pixels), height, width))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width_pixels) ** 2)
    weights = weights / weights.sum()
    padded = functional.pad(images, (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(padded, weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return functional.conv2d(rows, weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _distance(extractor: Extractor, reference: FrechetReference, images: Tensor) -> float:
    features = extractor.extract(images).values
    if len(features) < 2:
        raise MetricError(f"The self-test needs at least 2 training images, and there are {len(features)}.")
    return samples_distance(reference, features)


def _half_of_the_classes(train: Images, order: Tensor) -> Images | None:
    """Images of the first half of the classes only; None where there are fewer than two classes."""
    if train.labels is None:
        return None
    present = torch.unique(train.labels)
    if len(present) < 2:
        return None
    kept = order[torch.isin(train.labels[order], present[: len(present) // 2])]
    return train.take(kept[:MOST_IMAGES]) if len(kept) > 1 else None
