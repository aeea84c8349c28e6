"""Who reads captions for the evaluator: an encoder of images and texts, and the captions that each one is told from.

`agreement` is the cosine between an image and its caption. `rank` is the place of that caption among `OTHERS` others of the
data, drawn once by a fixed seed, as Xu et al. 2018 (AttnGAN, arXiv:1711.10485) rank them; 1 is the best, and ties count
against it. Others may say the same in other words, or something else that is true of the image, so that real images do not
reach 1 either: the floor tells what they reach.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maestune.data import Batch, Images
from maestune.data.captions import PADDING
from maestune.errors import MetricError
from maestune.quality.features.extractor import as_input
from maestune.quality.features.networks import Shape
from maestune.quality.metric import Array, Features

OTHERS = 99  # captions that each one is told from, or as many as there are
MOST_CANDIDATES = 1000  # different captions that others are drawn from
SEED = 0  # of the draw: the same others for every trial
BATCH_SIZE = 256


class ImageTextNetwork(Protocol):
    """Images (N, C, H, W) in [-1, 1] and captions (N, L) as unit vectors (N, e) of one space."""

    def images(self, images: Tensor) -> Tensor:
        """Unit vectors of images."""
        ...

    def captions(self, captions: Tensor) -> Tensor:
        """Unit vectors of captions."""
        ...


@dataclass(frozen=True)
class CaptionEncoder:
    """An encoder of images and captions, with the captions (M, L) that each is told from and their vectors (M, e).

    Agreements are comparable between readers of the same `fingerprint`, and only then. `ranked_first`: share of the search
    images whose own caption ranks first; `chance`: what guessing would reach.
    """

    kind: str
    network: ImageTextNetwork
    shape: Shape
    candidates: Tensor
    vectors: Tensor
    fingerprint: str
    description: str
    ranked_first: float = 0.0
    chance: float = 0.0
    device: str = "cpu"

    def on(self, device: str) -> CaptionEncoder:
        """The same reader, on a device: agreements agree within rounding."""
        if device == self.device:
            return self
        network = copy.deepcopy(self.network)
        return replace(self, network=network.to(device) if isinstance(network, nn.Module) else network, device=device)

    @property
    def others(self) -> int:
        """How many other captions each one is told from."""
        return min(OTHERS, len(self.candidates) - 1)

    def read(self, images: Tensor, captions: Tensor) -> tuple[Array, NDArray[np.int64]]:
        """Agreement (N,) and rank (N,) of captions (N, L) with images (N, C, H, W), or all with one image (1, C, H, W).

        Raises MetricError for images of another shape, captions of another length, and other numbers of both.
        """
        length = self.candidates.shape[1]
        if tuple(images.shape[1:]) != self.shape or captions.ndim != 2 or captions.shape[1] != length:
            raise MetricError(
                f"Images {tuple(images.shape)} with captions {tuple(captions.shape)} were given to a reader of images "
                f"(N, {', '.join(map(str, self.shape))}) and captions (N, {length}). Give samples of the same data."
            )
        if len(images) not in (1, len(captions)):
            raise MetricError(f"{len(images)} images cannot show {len(captions)} captions; give one caption for each.")
        rng = np.random.default_rng(SEED)
        numbers = wordings(self.candidates)
        candidates = self.vectors.double().numpy().T
        agreement, rank = np.empty(len(captions)), np.empty(len(captions), np.int64)
        shown = self._unit(images) if len(images) == 1 else None
        for start in range(0, len(captions), BATCH_SIZE):
            rows = slice(start, start + BATCH_SIZE)
            told = captions[rows]
            features = self._unit(images[rows]) if shown is None else shown
            with torch.inference_mode():
                own = (features * self.network.captions(told.to(self.device)).double().cpu().numpy()).sum(axis=1)
            others = self._others(wordings(told), numbers, rng)
            compared = np.take_along_axis(
                np.broadcast_to(features @ candidates, others.shape[:1] + numbers.shape), others, axis=1
            )
            agreement[rows], rank[rows] = own, 1 + (compared >= own[:, None]).sum(axis=1)
        return agreement, rank

    def _unit(self, images: Tensor) -> Array:
        with torch.inference_mode():
            return self.network.images(as_input(images).to(self.device)).double().cpu().numpy()

    def _others(self, own: NDArray[np.int64], numbers: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.intp]:
        """Positions (N, others) of the captions that each is told from, never those of its own wording."""
        draws = rng.random((len(own), len(numbers)))
        draws[own[:, None] == numbers[None, :]] = np.inf
        return np.argpartition(draws, self.others - 1, axis=1)[:, : self.others]


def caption_reader(
    kind: str, network: ImageTextNetwork, shape: Shape, images: Images, mark: str, description: str
) -> CaptionEncoder:
    """A reader around a network, that tells captions from those of some images (mostly the training images).

    `mark`: what the network is known by. Raises MetricError where there are no two different captions.
    """
    if images.captions is None:
        raise MetricError("The images have no captions, so nothing can be read. Choose another metric.")
    different = torch.unique(images.captions, dim=0)
    if len(different) < 2:
        raise MetricError(
            "All images have the same caption, so that none can be told from another. Choose another metric."
        )
    order = torch.from_numpy(np.random.default_rng(SEED).permutation(len(different))[:MOST_CANDIDATES])
    candidates = different[order]
    with torch.inference_mode():
        vectors = torch.cat([network.captions(part) for part in candidates.split(BATCH_SIZE)])
    told = hashlib.sha256(f"{kind} {shape} {mark}".encode() + candidates.numpy().tobytes() + vectors.numpy().tobytes())
    return CaptionEncoder(kind, network, shape, candidates, vectors, told.hexdigest()[:16], description)


def tried(reader: CaptionEncoder, held_out: Images) -> CaptionEncoder:
    """The reader, with what it reaches on held-out images."""
    assert held_out.captions is not None
    ranks = reader.read(held_out.images, held_out.captions)[1]
    first, chance = float((ranks == 1).mean()), 1.0 / (1 + reader.others)
    description = (
        f"{reader.description}; of {len(held_out):,} search images {first:.1%} find their own caption among "
        f"{reader.others} others (by luck {chance:.1%})"
    )
    return replace(reader, ranked_first=first, chance=chance, description=description)


def with_conditions(
    features: Features, images: Tensor, conditions: Batch, reader: CaptionEncoder | None = None
) -> Features:
    """What an extractor saw in images, with what they show or were asked to show beside it.

    `conditions`: `label` (N,) and `caption` (N, L) where there are any, as `Images.conditions` and `ImageData.prompts` tell
    them. `images`: the N images, or the one that was seen N times. Equal labels are equal conditions, without labels equal
    captions.
    """
    label, caption = conditions.get("label"), conditions.get("caption")
    label = None if label is None else label.numpy().astype(np.int64)
    condition = label
    if condition is None and caption is not None:
        condition = wordings(caption)
    agreement, rank = None, None
    if reader is not None and caption is not None:
        agreement, rank = reader.read(images, caption)
    return replace(features, label=label, condition=condition, agreement=agreement, rank=rank)


def wordings(captions: Tensor) -> NDArray[np.int64]:
    """A number (N,) for each wording of captions (N, L), the same wherever it is met."""

    def number(row: list[int]) -> int:
        words = ",".join(str(word) for word in row if word != PADDING)
        return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big", signed=True)

    return np.array([number(row) for row in captions.tolist()], dtype=np.int64)
