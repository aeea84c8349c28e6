"""Scoring models of texts: an embedder, which represents a text as a vector, and an oracle, which assigns it a probability.

Each learns from its own half of the training text (alternate blocks of it), so that what the one holds to be real is no echo of
the other. Neither sees the held-out parts. Both are kept on disk, so that later campaigns on the same
text use the same models.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maestune.data import TextData
from maestune.data.text import blocks
from maestune.quality.network_store import file_of, read, state, write
from maestune.quality.text.byte_lm import Reader, empty_reader, fit_reader, surprise
from maestune.quality.text.embedder import Embedder, OwnEmbedder, PretrainedEmbedder, load_pretrained
from maestune.quality.text.word_split import vocabulary

VERSION = 2  # of readers, their training and their file: raise it whenever one of them changes
MOST_READ = 8_000_000  # tokens of training text, evenly spread, that readers learn from
PARTS = 64  # in which they are taken where there are more
DECODED_TOGETHER = 2**20  # tokens, so that memory stays bounded


@dataclass(frozen=True)
class TextModels:
    """Embedder and oracle language model of texts: scores are comparable between two of the same `fingerprint`, and only then.

    `description` tells people how they were made.
    """

    embedder: Embedder
    oracle: Reader = field(repr=False)
    description: str = ""

    def on(self, device: str) -> TextModels:
        """The same models with a pretrained embedder on a device; our own readers are too small to gain by it."""
        if not isinstance(self.embedder, PretrainedEmbedder):
            return self
        return replace(self, embedder=self.embedder.on(device))

    @property
    def fingerprint(self) -> str:
        """Changes when any weight does."""
        return hashlib.sha256(f"{self.embedder.fingerprint} {self.oracle.fingerprint}".encode()).hexdigest()[:16]


def prepare_text_models(
    data: TextData,
    *,
    seed: int = 0,
    pretrained: Path | None = None,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> TextModels:
    """The models for a text: from the cache, or trained now and kept there.

    The default seed is fixed, so that scores of two campaigns on the same text can be compared. `pretrained`: the folder of a
    sentence embedder (MiniLM or its like) in the format of the transformers library, to look with in place of our own.
    Raises StoreError where the cache folder cannot be written, MetricError where `pretrained` cannot be used.
    """
    path = cache_file(data, seed, cache)
    readers = load_readers(path)
    if readers is None:
        if progress is not None:
            progress(
                f"training the scoring models: two small networks that learn to read {data.name} (once; then kept in {path})"
            )
        readers = fit_readers(data, torch.Generator().manual_seed(seed))
        save_readers(readers, path)
    reader, oracle = readers
    sample = "".join(_blocks_of(data)[::2])
    embedder: Embedder = OwnEmbedder.of(reader, sample) if pretrained is None else load_pretrained(pretrained, sample)
    bits = [_bits(each, data) for each in (reader, oracle)]
    description = (
        f"{embedder.description}; an oracle trained on the other half of the training text (held-out text costs it "
        f"{bits[1]:.2f} bits a character{'' if pretrained else f', the embedder {bits[0]:.2f}'})"
    )
    return TextModels(embedder, oracle, description)


def fit_readers(data: TextData, generator: torch.Generator) -> tuple[Reader, Reader]:
    """A reader for the embedder and one for the oracle, each of its own half of the training text."""
    parts = _blocks_of(data)
    one, other = "".join(parts[::2]), "".join(parts[1::2])
    return fit_reader(one, generator), fit_reader(other or one, generator)


def vocabulary_of(data: TextData) -> int:
    """How many different words there are in as much of the training text as readers learn from."""
    return vocabulary(_blocks_of(data))


def decoded(data: TextData, tokens: Tensor) -> str:
    """Tokens (N,) as text, a part at a time."""
    return "".join(data.tokenizer.decode(part) for part in tokens.split(DECODED_TOGETHER))


def _blocks_of(data: TextData) -> list[str]:
    """The training text, or as much of it as readers learn from, in blocks of some two thousand characters."""
    train = data.train
    if len(train) > MOST_READ:
        size = MOST_READ // PARTS
        starts = torch.linspace(0, len(train) - size, PARTS, dtype=torch.float64).long().tolist()
        text = "\n".join(decoded(data, train[start : start + size]) for start in starts)
    else:
        text = decoded(data, train)
    return blocks(text, min(2_000, max(len(text) // 8, 1)))


def _bits(reader: Reader, data: TextData) -> float:
    """Bits a character of the text to search with; of its first 20,000 tokens."""
    text = decoded(data, data.search[:20_000])
    parts = blocks(text, 500)
    return float(surprise(reader, [""] * len(parts), parts).sum()) / math.log(2.0) / max(len(text), 1)


def cache_file(data: TextData, seed: int, cache: Path | None = None) -> Path:
    """Where the readers of a text and seed lie."""
    return file_of("readers", [VERSION, data.fingerprint, seed], cache)


def save_readers(readers: Sequence[Reader], path: Path) -> None:
    """Write both readers whole or not at all; StoreError naming the folder and the repair when that fails."""
    tensors = {
        f"{place}.{name}": tensor
        for place, reader in enumerate(readers)
        for name, tensor in reader.state_dict().items()
    }
    write(path, "The readers", tensors, {"readers": [reader.fingerprint for reader in readers]})


def load_readers(path: Path) -> tuple[Reader, Reader] | None:
    """The readers in a file; None where there are none or where what is there is not whole."""
    return read(path, _readers)


def _readers(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> tuple[Reader, Reader] | None:
    found = (empty_reader(), empty_reader())
    for place, reader in enumerate(found):
        reader.load_state_dict(state(tensors, f"{place}."))
    return found if [reader.fingerprint for reader in found] == about["readers"] else None
