"""CLIP as the reader of captions: agreement is then the cosine of CLIPScore (Hessel et al. 2021, arXiv:2104.08718).

CLIP reads about the words of a caption and little of how they belong together (Lin et al. 2024, arXiv:2404.01291); it was
trained on photographs of 224 pixels and English sentences. Captions are given to it as the data's vocabulary spells them, in
lower case; words beyond the vocabulary are not among them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and transformers publish partly unknown types; our own signatures stay strict.

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from maestune.data import ImageData
from maestune.data.captions import Vocabulary
from maestune.errors import MetricError
from maestune.quality.features.captions import CaptionEncoder, caption_reader, tried
from maestune.quality.features.pretrained import BATCH_SIZE, Source
from maestune.quality.features.weights import read_tokenizer


@dataclass(frozen=True)
class Clip:
    """CLIP in a folder, for captions in the words of a data set; sent to other processes as the path."""

    source: Source
    vocabulary: Vocabulary

    def images(self, images: Tensor) -> Tensor:
        """Unit vectors (N, e) of images (N, C, H, W) in [-1, 1]."""
        model = self.source.load(str(images.device))
        parts = [
            model.visual_projection(model.vision_model(pixel_values=self.source.preprocessing(part)).pooler_output)
            for part in images.split(BATCH_SIZE)
        ]
        return functional.normalize(torch.cat(parts), dim=1)

    def captions(self, captions: Tensor) -> Tensor:
        """Unit vectors (N, e) of captions (N, L)."""
        model, tokenizer = self.source.load(str(captions.device)), _tokenizer(self.source.path)
        texts = [self.vocabulary.decode(caption) for caption in captions]
        length = model.config.text_config.max_position_embeddings
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        tokens = tokens.to(captions.device)
        told = model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return functional.normalize(model.text_projection(told.pooler_output), dim=1)


def clip_reader(path: Path, data: ImageData) -> CaptionEncoder:
    """CLIP in a folder as the reader of a data set's captions.

    Raises SettingsError where it cannot be read, MetricError where the images have no captions.
    """
    if data.vocabulary is None:
        raise MetricError(
            f"{data.name} has no captions that CLIP could read. Write captions, or choose another metric."
        )
    source = Source.of("clip", path)
    network = Clip(source, data.vocabulary)
    description = f"CLIP from {path} (sha256 {source.sha256[:12]}); images {source.preprocessing.text}"
    return tried(caption_reader("clip", network, data.shape, data.train, source.mark, description), data.search)


@lru_cache(maxsize=2)
def _tokenizer(path: str) -> Any:
    return read_tokenizer(Path(path))
