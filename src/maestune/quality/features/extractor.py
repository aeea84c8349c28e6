"""The evaluator's feature extractor: a frozen network that turns images into features, with the scale that makes features comparable."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from maestune.data import to_float
from maestune.errors import MetricError
from maestune.quality.features.networks import Encoder, Shape
from maestune.quality.metric import Array, Features
from maestune.quality.network_store import mark_of

BATCH_SIZE = 256  # what still fits into a core's cache is fastest
# A feature that hardly varies among real data must not decide everything once divided by its spread.
SMALLEST_SPREAD = 0.1  # of the median spread over features
MOST_FOR_PLACES = 10_000  # training images that the scale of places is taken from: bounds memory


@dataclass(frozen=True)
class Scale:
    """What features are standardised with: `mean` and `spread` over real training data, each of a feature's shape."""

    mean: Array
    spread: Array

    @staticmethod
    def of(values: Array) -> Scale:
        """The scale of features (N, …) of training data; what hardly varies is hardly blown up."""
        spread = values.std(axis=0)
        floor = SMALLEST_SPREAD * float(np.median(spread))
        return Scale(values.mean(axis=0), np.maximum(spread, floor if floor > 0 else 1.0))

    @staticmethod
    def none(dimensions: int) -> Scale:
        """The scale that leaves features as they are."""
        return Scale(np.zeros(dimensions), np.ones(dimensions))

    def __call__(self, values: Array) -> Array:
        """Features (N, …) in units of this scale."""
        return (values - self.mean) / self.spread


@dataclass(frozen=True)
class Extractor:
    """A feature space: scores are comparable between two extractors of the same `fingerprint`, and only then.

    `network`: images (N, C, H, W) float in [-1, 1] → features (N, d) and logits (N, K) or None; in evaluation mode.
    `scale`: of the features (d,); `place_scale`: of what is seen in each place (P, c), None where the network tells
    none. `classes`: number of classes it knows, 0 for none. `description` tells people how it was made. `accuracy`: share
    of the search images it classifies rightly, None without classes. `device`: where the network looks.
    """

    kind: str
    network: nn.Module
    scale: Scale
    shape: Shape
    classes: int
    fingerprint: str
    description: str
    accuracy: float | None = None
    place_scale: Scale | None = None
    device: str = "cpu"

    def on(self, device: str) -> Extractor:
        """The same way of looking, on a device: features agree within rounding."""
        if device == self.device:
            return self
        return replace(self, network=copy.deepcopy(self.network).to(device), device=device)

    @property
    def dimensions(self) -> int:
        """Number of features d."""
        return len(self.scale.mean)

    def extract(self, images: Tensor, *, places: bool = True) -> Features:
        """Standardised features of images (N, C, H, W): uint8 in 0…255, or float in [-1, 1].

        `places`: also what is seen in each place (N, P, c), where the network tells. Raises MetricError for another shape
        and for images that are not finite: a training that made such images has diverged, and what it is given instead of
        a score is for the caller to say (`Evaluator.failure`).
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            raise MetricError(
                f"Images of shape {tuple(images.shape)} were given to an extractor for (N, {', '.join(map(str, self.shape))})."
            )
        if not len(images):
            raise MetricError("No images were given to the extractor; at least one is needed.")
        raw = extract_features(self.network, images, places=places and self.place_scale is not None, device=self.device)
        located = None if raw.places is None or self.place_scale is None else self.place_scale(raw.places)
        return Features(self.scale(raw.values), raw.probabilities, places=located)


def extract_features(network: nn.Module, images: Tensor, *, places: bool, device: str = "cpu") -> Features:
    """What a network sees in images (N, C, H, W), unscaled, batch by batch, on the device that it is on."""
    features: list[Array] = []
    probabilities: list[Array] = []
    located: list[Array] = []
    # A GPU's convolutions would round to ten bits otherwise (TF32).
    exact = nullcontext() if device == "cpu" else torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.inference_mode(), exact:
        for batch in images.split(BATCH_SIZE):
            shown = as_input(batch).to(device)
            if places and isinstance(network, Encoder):
                values, logits, quarters = network.extract_features(shown)
                located.append(quarters.cpu().numpy().astype(np.float64))
            else:
                values, logits = network(shown)
            features.append(values.cpu().numpy().astype(np.float64))
            if logits is not None:
                probabilities.append(torch.softmax(logits.cpu().double(), dim=1).numpy())
    return Features(
        np.concatenate(features),
        np.concatenate(probabilities) if probabilities else None,
        places=np.concatenate(located) if located else None,
    )


def make_extractor(
    kind: str, network: nn.Module, train: Tensor, classes: int, description: str, accuracy: float | None = None
) -> Extractor:
    """An extractor around a network, with features standardised over the training images (N, C, H, W).

    Any network will do that maps images to (features, logits or None); ours also tell what is seen in each place.
    """
    _, c, h, w = train.shape
    scale = Scale.of(extract_features(network, train, places=False).values)
    located = extract_features(network, train[:MOST_FOR_PLACES], places=True).places
    place_scale = None if located is None else Scale.of(located)
    shape = (int(c), int(h), int(w))
    return rebuilt_extractor(kind, network, scale, place_scale, shape, classes, description, accuracy)


def rebuilt_extractor(
    kind: str,
    network: nn.Module,
    scale: Scale,
    place_scale: Scale | None,
    shape: Shape,
    classes: int,
    description: str,
    accuracy: float | None,
) -> Extractor:
    """An extractor from its parts, with the fingerprint of its weights and scales.

    A network with a `mark` is known by it instead of by its weights, which then need not be in memory.
    """
    named = f"{kind} {shape} {classes} {getattr(network, 'mark', '')}"
    arrays = [array for one in (scale, place_scale) if one is not None for array in (one.mean, one.spread)]
    fingerprint = mark_of(network, named, arrays)
    return Extractor(kind, network, scale, shape, classes, fingerprint, description, accuracy, place_scale)


def as_input(batch: Tensor) -> Tensor:
    """uint8 or float images as the network takes them: float32 in [-1, 1]; raises MetricError when not finite."""
    if batch.dtype == torch.uint8:
        return to_float(batch)
    # The sum is finite exactly when every value is (images lie in [-1, 1]); ten times cheaper than looking at each.
    if not bool(torch.isfinite(batch.sum(dtype=torch.float64))):
        raise MetricError(
            "Some images hold values that are not finite numbers (NaN or infinity): the training that made them has "
            "diverged. Give such a trial the scores of a failure instead of scoring its images."
        )
    return batch.to(torch.float32).clamp(-1.0, 1.0)
