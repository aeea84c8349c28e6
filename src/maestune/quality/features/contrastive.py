"""An encoder of images and captions, trained on the captions of the real images: does an image show what was asked for?

As CLIP (Radford et al. 2021, arXiv:2103.00020): both sides end in unit vectors, and in every batch an image must find its own
caption among all, and a caption its image (InfoNCE, van den Oord et al. 2018, arXiv:1807.03748). Small enough to be trained
beside a campaign, on nothing but its data: it knows no word and no thing that they do not show.

Captions that say the same in a batch count as right for each other's images. A caption is read as its words with their
neighbours, so that "red bird" and "blue bird, red sky" differ; how words far apart belong together escapes it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from maestune.data import ImageData, Images
from maestune.data.captions import PADDING
from maestune.errors import MetricError
from maestune.quality.features.cache import cache_file
from maestune.quality.features.captions import CaptionEncoder, caption_reader, tried
from maestune.quality.features.learning import learn, shifted
from maestune.quality.features.networks import FEATURES, Encoder, Shape, empty, folded, initialised, multiply_adds
from maestune.quality.network_store import mark_of, read, write

BATCH_SIZE = 128  # captions that an image is told from at a time
EPOCHS = 60
LEARNING_RATE = 5e-3
WIDTH = 64  # of words, and of the vectors that images and captions meet in
NEIGHBOURS = 3  # words that are read together
FIRST_TEMPERATURE, LEAST_TEMPERATURE = 0.1, 0.02


class Words(nn.Module):
    """Captions (N, L) int64 → (N, 64): words with their neighbours, averaged over what is no padding."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, WIDTH)
        self.together = nn.Linear(NEIGHBOURS * WIDTH, WIDTH)
        self.out = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, captions: Tensor) -> Tensor:
        """Vectors of captions, not normalised."""
        there = (captions != PADDING).unsqueeze(-1)
        words = self.embedding(captions) * there
        reach = NEIGHBOURS // 2
        padded = functional.pad(words, (0, 0, reach, reach))
        joined = torch.cat([padded[:, i : i + words.shape[1]] for i in range(NEIGHBOURS)], dim=-1)
        read = torch.cat([words, functional.relu(self.together(joined)) * there], dim=-1)
        return self.out(read.sum(dim=1) / there.sum(dim=1).clamp(min=1))


class Contrastive(nn.Module):
    """Images (N, C, H, W) in [-1, 1] and captions (N, L) as unit vectors (N, 64) of one space."""

    def __init__(self, shape: Shape, words: int, normalised: bool) -> None:
        super().__init__()
        self.eyes = Encoder(shape, 0, normalised)
        self.projection = nn.Linear(FEATURES, WIDTH)
        self.words = Words(words)
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def images(self, images: Tensor) -> Tensor:
        """Unit vectors (N, 64) of images."""
        return functional.normalize(self.projection(functional.relu(self.eyes(images)[0])), dim=1)

    def captions(self, captions: Tensor) -> Tensor:
        """Unit vectors (N, 64) of captions."""
        return functional.normalize(self.words(captions), dim=1)

    @property
    def temperature(self) -> Tensor:
        """What cosines are divided by."""
        return self.log_temperature.exp().clamp(min=LEAST_TEMPERATURE)


def fit_contrastive(data: ImageData, generator: torch.Generator) -> Contrastive:
    """The encoder of a data set, in evaluation mode; MetricError where its images have no captions."""
    if data.vocabulary is None or data.train.captions is None:
        raise MetricError(
            f"{data.name} has no captions, so no encoder can learn what they say. Write captions (captions.csv, or a text "
            "file beside each image), or choose another metric."
        )
    words = len(data.vocabulary.words)
    network = initialised(Contrastive, generator, data.shape, words, normalised=True)
    with torch.no_grad():
        network.log_temperature.fill_(math.log(FIRST_TEMPERATURE))
        network.words.embedding.weight.normal_(0.0, WIDTH**-0.5, generator=generator)

    def loss(batch: Tensor, raw: Images) -> Tensor:
        assert raw.captions is not None  # checked above
        seen = network.images(shifted(batch, generator))
        return info_nce(seen, network.captions(raw.captions), same_caption(raw.captions), network.temperature)

    cost = multiply_adds(data.shape) + data.vocabulary.length * NEIGHBOURS * WIDTH * WIDTH
    learn(
        [network], loss, data.train, cost, generator,
        batch_size=BATCH_SIZE, epochs=EPOCHS, rate=LEARNING_RATE,
    )  # fmt: skip
    plain = empty_contrastive(data.shape, words)
    kept = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("eyes.")}
    eyes = folded(network.eyes, data.shape, 0).state_dict(prefix="eyes.")
    plain.load_state_dict(kept | eyes)
    return plain


def prepare_reader(
    data: ImageData, *, seed: int = 0, cache: Path | None = None, progress: Callable[[str], None] | None = None
) -> CaptionEncoder:
    """The reader of a data set's captions: its encoder from the cache, or trained now and kept there.

    `progress` is told before training begins. Raises MetricError where there are no captions, StoreError where the cache
    folder cannot be written.
    """
    words = 0 if data.vocabulary is None else len(data.vocabulary.words)
    path = cache_file(data, "captions", seed, cache)

    def kept(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Contrastive | None:
        network = empty_contrastive(data.shape, words)
        network.load_state_dict(dict(tensors))
        return network if mark_of(network) == about["mark"] else None

    network = read(path, kept)
    if network is None:
        if progress is not None:
            progress(f"training an encoder of images and captions on {data.name} (once; then kept in {path})")
        network = fit_contrastive(data, torch.Generator().manual_seed(seed))
        write(path, "The encoder of captions", network.state_dict(), {"mark": mark_of(network)})
    description = f"an encoder of images and captions trained on {len(data.train):,} training images"
    reader = caption_reader("contrastive", network, data.shape, data.train, mark_of(network), description)
    return tried(reader, data.search)


def empty_contrastive(shape: Shape, words: int) -> Contrastive:
    """An encoder with undefined weights and no batch norms, to be filled from a state."""
    return empty(Contrastive, shape, words, normalised=False)


def same_caption(captions: Tensor) -> Tensor:
    """Which of N captions (N, L) say the same word by word: (N, N) bool."""
    number = torch.unique(captions, dim=0, return_inverse=True)[1]
    return number[:, None] == number[None, :]


def info_nce(images: Tensor, captions: Tensor, same: Tensor, temperature: Tensor) -> Tensor:
    """Mean of both directions' cross-entropy (scalar) for unit vectors (N, e); `same` (N, N): which pairs are right."""
    logits = images @ captions.T / temperature
    target = same / same.sum(dim=1, keepdim=True)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
