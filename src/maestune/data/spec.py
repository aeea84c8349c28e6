"""What a network must know of the data: shapes and counts, never the data themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

Modality = Literal["image", "text"]
Split = Literal["search", "report"]
"""The held-out parts: what the search is scored on, and what only the verdict sees."""

Batch = Mapping[str, Tensor]
"""What is learnt from in a step, by name; B items along the first axis of each.

Images: `image` (B, C, H, W) float in [-1, 1]; with labels `label` (B,) int64; with captions `caption` (B, L) int64, word
numbers padded with 0. Text: `tokens` (B, T + 1) int64, windows of consecutive tokens, of which the first T are to
predict the last T.
"""


@dataclass(frozen=True)
class DataSpec:
    """What networks are built for.

    `shape`: (C, H, W) of an image, () of text. `classes`: number of labels, 0 where there are none. `words`: size of the
    captions' vocabulary with padding and unknown, `caption_words`: length of the longest caption; 0 where there are no
    captions. `tokens`: size of a text's vocabulary, 0 for images; `characters_per_token`: how much text a token stands for.
    """

    shape: tuple[int, ...] = ()
    classes: int = 0
    words: int = 0
    caption_words: int = 0
    tokens: int = 0
    characters_per_token: float = 1.0

    @property
    def image(self) -> tuple[int, int, int]:
        """(C, H, W); ValueError for data that are no images."""
        c, h, w = self.shape
        return c, h, w

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> DataSpec:
        """What `to_dict` wrote."""
        return DataSpec(**{**data, "shape": tuple(data["shape"])})
