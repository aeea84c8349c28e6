"""What a training is shown and what it draws, step by step: batches and the noise of every player.

A stream depends on its seed, the batch size and the shapes of the draws alone: trainings of equal seed and structure see
the same, which makes their comparison fair (common random numbers) and lets members of a group share one stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from maestune.data import Batch, Data, TextData, to_float
from maestune.data.image_cache import MappedTensor
from maestune.errors import SettingsError
from maestune.families.base import Noise, Player, drawer
from maestune.training.run import Run
from maestune.types import Config

# Images are turned to float once when that takes no more than this; a larger set costs more to turn, at the start of
# each segment of each trial, than its batches do one by one.
FLOAT_ONCE_BYTES = 64 * 2**20
WINDOWS = 4096  # of a text, whose places are drawn in one call


class Source(Protocol):
    """Training data on a device, item by item."""

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        ...

    def order(self, generator: torch.Generator) -> Tensor:
        """Numbers of the next items (n,), in an order drawn from the generator."""
        ...

    def take(self, items: Tensor) -> Batch:
        """The items of these numbers."""
        ...


@dataclass(frozen=True)
class Pictures:
    """Images with their labels and captions. All are seen once, shuffled, before any is seen again."""

    images: Tensor  # (N, C, H, W), uint8 or float in [-1, 1]
    conditions: Batch
    device: torch.device

    def order(self, generator: torch.Generator) -> Tensor:
        """All of them, shuffled."""
        return torch.randperm(len(self.images), generator=generator, device=self.device)

    def take(self, items: Tensor) -> Batch:
        """Images as float in [-1, 1], and their conditions."""
        images = self.images.index_select(0, items.to(self.images.device)).to(self.device)
        images = to_float(images) if images.dtype == torch.uint8 else images
        return {"image": images, **{name: tensor[items] for name, tensor in self.conditions.items()}}


@dataclass(frozen=True)
class Windows:
    """Windows of a text, anywhere in it: `context` tokens and the next one."""

    tokens: Tensor  # (N,)
    context: int

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.tokens.device

    def order(self, generator: torch.Generator) -> Tensor:
        """Places where windows begin, drawn with replacement."""
        places = len(self.tokens) - self.context
        return torch.randint(places, (WINDOWS,), generator=generator, device=self.device)

    def take(self, items: Tensor) -> Batch:
        """Windows (B, T + 1) that begin there."""
        return {"tokens": self.tokens.unfold(0, self.context + 1, 1)[items].long()}


def source_of(data: Data, config: Config, device: str) -> Source:
    """The training data on a device, as a config wants to see them: text in windows of its `context`.

    Raises SettingsError where the text is shorter than one.
    """
    if isinstance(data, TextData):
        context = int(config.number("context"))
        if data.size <= context:
            raise SettingsError(
                f"context: windows of {context} tokens need more text than the {data.size} tokens of {data.name}; give more "
                "text, or --set context to less."
            )
        return Windows(data.train.to(device), context)
    images = data.train.images
    if not isinstance(images, MappedTensor):  # one that is larger than memory stays where it is: its batches are moved
        images = images.to(device)
    images = to_float(images) if images.numel() * 4 <= FLOAT_ONCE_BYTES else images
    conditions = {name: tensor.to(device) for name, tensor in data.train.conditions.items()}
    return Pictures(images, conditions, torch.device(device))


class Stream:
    """Batches and noise of a run, in order. The source is shared between streams."""

    def __init__(self, source: Source, batch_size: int, players: Sequence[Player], run: Run) -> None:
        self._source = source
        self._size = batch_size
        self._order_generator = run.generator("order")
        self._noise_generator = run.generator("noise")
        self._draws = {player.name: (player.every, drawer(player.noise)) for player in players}
        self._order = torch.empty(0, dtype=torch.int64, device=source.device)
        self._position = 0

    def next(self, step: int) -> tuple[Batch, Mapping[str, Noise]]:
        """The batch, and the noise of every player that moves in this step, by name."""
        batch = self._next_batch()
        turns = {name: draw for name, (every, draw) in self._draws.items() if step % every == 0}
        return batch, {name: draw(self._noise_generator) for name, draw in turns.items()}

    def _next_batch(self) -> Batch:
        end = self._position + self._size
        while end > len(self._order):
            ahead = self._order[self._position :]
            self._order = torch.cat((ahead, self._source.order(self._order_generator)))
            self._position, end = 0, self._size
        items = self._order[self._position : end]
        self._position = end
        return self._source.take(items)

    def state(self) -> dict[str, Any]:
        """Everything from which the stream goes on exactly."""
        return {
            "order": self._order_generator.get_state(),
            "ahead": self._order[self._position :].clone(),
            "noise": self._noise_generator.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._order_generator.set_state(state["order"])
        self._noise_generator.set_state(state["noise"])
        self._order, self._position = state["ahead"].to(self._source.device), 0
