"""What a text is like, as a vector: by a reader of our own, or by a pretrained sentence embedder from a local folder."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from maestune.errors import MetricError
from maestune.quality.features.extractor import Scale
from maestune.quality.metric import Array
from maestune.quality.network_store import mark_of
from maestune.quality.text.byte_lm import Reader, mean_states

SAMPLE_CHARACTERS = 128  # length of the pieces of real text by which values are centred and scaled
MOST_PIECES = 1000
EMBEDDED_TOGETHER = 64


class Embedder(Protocol):
    """Turns texts into vectors that are alike where the texts are. Can be sent to other processes."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would."""
        ...

    @property
    def description(self) -> str:
        """How it was made, for people."""
        ...

    def embed(self, texts: Sequence[str]) -> Array:
        """Vectors (N, d) float64, with mean 0 and spread 1 of each value over pieces of real training text."""
        ...


@dataclass(frozen=True)
class OwnEmbedder:
    """The mean state of a reader that was trained on real training text, in units of a scale."""

    reader: Reader = field(repr=False)
    scale: Scale = field(repr=False)
    description: str = "an embedder trained on half of the training text (mean states of a recurrent network)"

    @staticmethod
    def of(reader: Reader, text: str) -> OwnEmbedder:
        """The embedder of a reader, scaled by pieces of a real text."""
        return OwnEmbedder(reader, Scale.of(mean_states(reader, pieces_of(text))))

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would."""
        return _mark(self.reader.fingerprint, self.scale)

    def embed(self, texts: Sequence[str]) -> Array:
        """Vectors (N, d)."""
        return self.scale(mean_states(self.reader, texts))


@dataclass(frozen=True)
class PretrainedEmbedder:
    """A pretrained network of the transformers library: the mean of its last states over a text's tokens, without padding."""

    tokenizer: Any = field(repr=False)
    network: Any = field(repr=False)
    scale: Scale = field(repr=False)
    description: str
    weights: str  # a mark of them
    device: str = "cpu"

    def on(self, device: str) -> PretrainedEmbedder:
        """The same embedder, on a device: vectors agree within rounding."""
        return replace(self, network=self.network.to(device), device=device)

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vectors would."""
        return _mark(self.weights, self.scale)

    def embed(self, texts: Sequence[str]) -> Array:
        """Vectors (N, d)."""
        found: list[Array] = []
        with torch.inference_mode():
            for start in range(0, len(texts), EMBEDDED_TOGETHER):
                part = [text or " " for text in texts[start : start + EMBEDDED_TOGETHER]]
                tokens = self.tokenizer(part, padding=True, truncation=True, return_tensors="pt").to(self.device)
                states = self.network(**tokens).last_hidden_state.double()
                mask = tokens["attention_mask"].double()[:, :, None]
                found.append(((states * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1.0)).cpu().numpy())
        return self.scale(np.concatenate(found))


def load_pretrained(folder: Path, text: str) -> PretrainedEmbedder:
    """The embedder in a local folder, scaled by pieces of a real text; nothing is fetched.

    Raises MetricError where the extra `hf` is not installed or the folder holds no such model.
    """
    try:
        library = importlib.import_module("transformers")
    except ImportError as error:
        raise MetricError(
            "A pretrained embedder needs the transformers library: pip install 'maestune[hf]'; or leave it out, and texts are "
            "looked at by a reader trained on your own text."
        ) from error
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        network = library.AutoModel.from_pretrained(str(folder), local_files_only=True).float().eval()
    except Exception as error:  # whatever the library has to say
        raise MetricError(
            f"{folder}: holds no model that transformers can load ({error}). Give the folder of a sentence embedder, with its "
            "config.json, weights and tokenizer."
        ) from error
    weights = mark_of(network)
    description = f"the pretrained embedder {folder.name} (weights {weights})"
    raw = PretrainedEmbedder(tokenizer, network, Scale.none(1), description, weights)
    return replace(raw, scale=Scale.of(raw.embed(pieces_of(text))))


def pieces_of(text: str) -> list[str]:
    """Pieces of a text, evenly spread over it; they begin anywhere, so that no beginning looks typical."""
    places = np.linspace(0, max(len(text) - SAMPLE_CHARACTERS, 0), MOST_PIECES).astype(int)
    return [text[place : place + SAMPLE_CHARACTERS] for place in np.unique(places)]


def _mark(weights: str, scale: Scale) -> str:
    return hashlib.sha256(weights.encode() + scale.mean.tobytes() + scale.spread.tobytes()).hexdigest()[:16]
