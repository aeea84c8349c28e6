"""Pieces of real text beside samples: what really follows held-out beginnings, and pieces of the text that models learn from."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import torch
from torch import Tensor

from maestune.data import TextData
from maestune.data.spec import Split
from maestune.errors import MetricError
from maestune.quality.text.text_models import TextModels
from maestune.quality.text.texts import Texts


def texts_of(data: TextData, tokens: Tensor, begun: int, models: TextModels) -> Texts:
    """Rows of tokens (N, T) as texts, of which the first `begun` tokens are the beginning."""
    decode = data.tokenizer.decode
    return Texts(tuple(decode(row[:begun]) for row in tokens), tuple(decode(row[begun:]) for row in tokens), models)


def held_out_pieces(data: TextData, split: Split, n: int, length: int) -> Tensor:
    """What really stands behind the prompts of a held-out part: tokens (n, P + length) int64.

    Pieces that would reach beyond the end of the part begin as much earlier. Raises MetricError where the part is shorter.
    """
    part, prompts = data.part(split), data.prompts(split, n)["prompt"]
    whole = prompts.shape[1] + length
    if len(part) < whole:
        raise MetricError(
            f"{data.name}: the {split} part has {len(part)} tokens, and texts of {whole} are to be held against it. Give more text."
        )
    starts = torch.tensor(_places(part, prompts)).clamp_max(len(part) - whole)
    return part.unfold(0, whole, 1)[starts].long()


def train_pieces(data: TextData, n: int, whole: int, generator: torch.Generator) -> Tensor:
    """Up to n different pieces (n, whole) int64 of the text that models learn from, beginning where lines do if they can.

    Fewer where there are not as many places to begin.
    """
    train = data.train
    if len(train) < whole:
        raise MetricError(f"{data.name}: {len(train)} tokens to learn from hold no text of {whole}. Give more text.")
    newline = data.tokenizer.encode("\n")
    ends = train[: len(train) - whole] == newline.to(train.dtype) if len(newline) == 1 else train[:0].bool()
    places = ends.nonzero().squeeze(1) + 1
    if len(places) < n:
        places = torch.arange(len(train) - whole + 1)
    chosen = places[torch.randperm(len(places), generator=generator)[:n]]
    return train.unfold(0, whole, 1)[chosen].long()


def _places(part: Tensor, prompts: Tensor) -> list[int]:
    """Where prompts, in the order of their places, stand in a part: of each the first place not before the one before it."""
    size = part.element_size()
    text = part.numpy().tobytes()
    found: list[int] = []
    place = 0
    for prompt in prompts.to(part.dtype):
        wanted = prompt.numpy().tobytes()
        at = text.find(wanted, place * size)
        while at % size:  # bytes of two tokens
            at = text.find(wanted, at + 1)
        place = at // size
        found.append(place)
    return found
