"""What a model is asked for, as vectors: of captions by a small transformer that is trained with the rest, of labels by a table.

With no one's help captions of a few dozen words are learnt from scratch; nothing is downloaded.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.families.flow.attention import Attention, padding_bias
from maestune.families.layers import Filled

PADDING = 0  # number of a word that is none
HEADS = 4  # of the encoder
FEEDFORWARD = 2  # hidden units of the encoder's blocks, relative to its width
# Standard deviations of fresh vectors. Words have that of BERT and DiT. Labels and the places of patches have to be told
# apart from the start: with vectors as small as those of words, small networks take several times as long to learn what
# they are for.
WORD_SPREAD, LABEL_SPREAD, PLACE_SPREAD = 0.02, 1.0, 0.5


class Condition(NamedTuple):
    """What n samples are asked for: a vector (n, W) each and, where words are attended to, these and their bias.

    `words`: (n, L, W); `bias`: (n, L), 0 for words and very low for padding.
    """

    vector: Tensor
    words: Tensor | None = None
    bias: Tensor | None = None


class Table(Filled):
    """A learnt vector for each number, (rows, W); `spread`: their standard deviation before anything was learnt."""

    def __init__(self, rows: int, width: int, spread: float) -> None:
        super().__init__()
        self.spread = spread
        self.weight = nn.Parameter(torch.empty(rows, width))

    def forward(self, numbers: Tensor) -> Tensor:
        """Numbers (…) int64 → (…, W)."""
        return F.embedding(numbers, self.weight)

    def fill(self, generator: torch.Generator, spread: float | None) -> None:
        """Normal numbers."""
        self.weight.normal_(0.0, self.spread, generator=generator)


class EncoderBlock(nn.Module):
    """A transformer block with its norms in front (Xiong et al. 2020, arXiv 2002.04745)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_a, self.norm_f = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, FEEDFORWARD * width), nn.Linear(FEEDFORWARD * width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, L, W) → the same shape; `bias` (B, L) keeps padding from being attended to."""
        x = x + self.attention(self.norm_a(x), bias=bias)
        return x + self.down(F.gelu(self.up(self.norm_f(x)), approximate="tanh"))


class TextEncoder(nn.Module):
    """Captions (B, L) as numbers of words → a vector each, from the mean of its words after the blocks; padding has no say.

    `features`: width of the vector. `attended`: the words themselves are handed on as well. There is no dropout, because
    whole captions are dropped for guidance.
    """

    def __init__(self, words: int, length: int, width: int, depth: int, features: int, attended: bool) -> None:
        super().__init__()
        self.length, self.attended = length, attended
        self.words, self.positions = Table(words, width, WORD_SPREAD), Table(length, width, WORD_SPREAD)
        self.blocks = nn.ModuleList(EncoderBlock(width, HEADS) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, features)

    def forward(self, caption: Tensor) -> Condition:
        """(B, L) int64, padded with 0 → the condition."""
        is_word = caption != PADDING
        x = self.words(caption) + self.positions.weight[: caption.shape[1]]
        bias = padding_bias(is_word, x.dtype)
        for block in self.blocks:
            x = block(x, bias)
        x = self.norm(x)
        share = is_word.to(x.dtype)
        vector = self.out((x * share[..., None]).sum(1) / share.sum(1, keepdim=True).clamp_min(1.0))
        return Condition(vector, x, bias) if self.attended else Condition(vector)


class LabelTable(Table):
    """Labels (B,) → a vector each."""

    def __init__(self, labels: int, features: int) -> None:
        super().__init__(labels, features, LABEL_SPREAD)

    def forward(self, label: Tensor) -> Condition:  # type: ignore[override]
        """(B,) int64 → the condition."""
        return Condition(super().forward(label))


class Conditioner(Filled):
    """An encoder of captions or labels, and the learnt vectors that stand for "nothing asked" (Ho & Salimans 2022, arXiv
    2207.12598).
    """

    def __init__(self, encoder: TextEncoder | LabelTable, features: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.nothing = nn.Parameter(torch.empty(features))
        # Where words are attended to, one vector is at the place of each.
        words = encoder.words.weight.shape[1] if isinstance(encoder, TextEncoder) and encoder.attended else 0
        self.no_word = nn.Parameter(torch.empty(words)) if words else None

    def forward(self, asked: Tensor, dropped: Tensor | None = None) -> Condition:
        """What is asked for, (B, L) or (B,) → the condition; that of nothing where `dropped` (B,) is true."""
        found: Condition = self.encoder(asked)
        if dropped is None:
            return found
        vector = torch.where(dropped[:, None], self.nothing, found.vector)
        if self.no_word is None:
            return Condition(vector)
        assert found.words is not None
        assert found.bias is not None
        words = torch.where(dropped[:, None, None], self.no_word, found.words)
        return Condition(vector, words, torch.where(dropped[:, None], 0.0, found.bias))

    def of_nothing(self, n: int) -> Condition:
        """The condition of n samples that may be anything."""
        vector = self.nothing.expand(n, -1)
        if self.no_word is None or not isinstance(self.encoder, TextEncoder):
            return Condition(vector)
        words = self.no_word.expand(n, self.encoder.length, -1)
        return Condition(vector, words, torch.zeros_like(words[..., 0]))

    def fill(self, generator: torch.Generator, spread: float | None) -> None:
        """Normal numbers, as in the tables."""
        self.nothing.normal_(0.0, LABEL_SPREAD, generator=generator)
        if self.no_word is not None:
            self.no_word.normal_(0.0, WORD_SPREAD, generator=generator)


def joined(one: Condition, other: Condition) -> Condition:
    """The conditions of one batch, then those of the other."""
    return Condition(
        *(None if a is None or b is None else torch.cat((a, b)) for a, b in zip(one, other, strict=True))  # type: ignore[arg-type]
    )
