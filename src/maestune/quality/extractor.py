"""The judge's eyes: a frozen network that turns images into features, with the scale that makes features comparable."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from maestune.data import to_float
from maestune.errors import MetricError
from maestune.quality.metric import Array, Features
from maestune.quality.networks import Shape

BATCH_SIZE = 256  # what still fits into a core's cache is fastest
# A feature that hardly varies among real images must not decide everything once divided by its spread.
SMALLEST_SPREAD = 0.1  # of the median spread over features


@dataclass(frozen=True)
class Extractor:
    """A feature space: scores are comparable between two extractors of the same `fingerprint`, and only then.

    `network`: images (N, C, H, W) float in [-1, 1] → features (N, d) and logits (N, K) or None; in evaluation mode.
    `mean`, `spread` (d,): features are standardised with them; they come from the training images.
    `classes`: number of classes it knows, 0 for none. `description` tells people how it was made. `accuracy`: share of the
    search images it classifies rightly, None without classes.
    """

    kind: str
    network: nn.Module
    mean: Array
    spread: Array
    shape: Shape
    classes: int
    fingerprint: str
    description: str
    accuracy: float | None = None

    @property
    def dimensions(self) -> int:
        """Number of features d."""
        return len(self.mean)

    def extract(self, images: Tensor) -> Features:
        """Standardised features of images (N, C, H, W): uint8 in 0…255, or float in [-1, 1].

        Raises MetricError for another shape and for images that are not finite: a training that made such images has
        diverged, and what it is given instead of a score is for the caller to say (`Judge.failure`).
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.shape:
            raise MetricError(
                f"Images of shape {tuple(images.shape)} were given to an extractor for (N, {', '.join(map(str, self.shape))})."
            )
        if not len(images):
            raise MetricError("No images were given to the extractor; at least one is needed.")
        features: list[Array] = []
        probabilities: list[Array] = []
        with torch.inference_mode():
            for batch in images.split(BATCH_SIZE):
                values, logits = self.network(_as_input(batch))
                features.append(values.numpy().astype(np.float64))
                if logits is not None:
                    probabilities.append(torch.softmax(logits.double(), dim=1).numpy())
        standard = (np.concatenate(features) - self.mean) / self.spread
        return Features(standard, np.concatenate(probabilities) if probabilities else None)


def make_extractor(
    kind: str, network: nn.Module, train: Tensor, classes: int, description: str, accuracy: float | None = None
) -> Extractor:
    """An extractor around a network, with features standardised over the training images (N, C, H, W).

    Any network will do that maps images to (features, logits or None): ours, or a pretrained one.
    """
    _, c, h, w = train.shape
    with torch.inference_mode():
        d = int(network(_as_input(train[:1]))[0].shape[1])
    raw = Extractor(
        kind, network, np.zeros(d), np.ones(d), (int(c), int(h), int(w)), classes, "", description, accuracy
    )
    values = raw.extract(train).values
    spread = values.std(axis=0)
    floor = SMALLEST_SPREAD * float(np.median(spread))
    spread = np.maximum(spread, floor if floor > 0 else 1.0)
    return rebuilt_extractor(kind, network, values.mean(axis=0), spread, raw.shape, classes, description, accuracy)


def rebuilt_extractor(
    kind: str,
    network: nn.Module,
    mean: Array,
    spread: Array,
    shape: Shape,
    classes: int,
    description: str,
    accuracy: float | None,
) -> Extractor:
    """An extractor from its parts, with the fingerprint of its weights and scale."""
    mark = hashlib.sha256(f"{kind} {shape} {classes}".encode())
    for name, tensor in sorted(network.state_dict().items()):
        mark.update(name.encode())
        mark.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    mark.update(mean.tobytes())
    mark.update(spread.tobytes())
    return Extractor(kind, network, mean, spread, shape, classes, mark.hexdigest()[:16], description, accuracy)


def _as_input(batch: Tensor) -> Tensor:
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
