"""What a training is shown and what it draws, step by step: batches of images and the noise of every player.

A stream depends on its seed, the batch size and the shapes of the draws alone: trainings of equal seed and structure see
the same, which makes their comparison fair (common random numbers) and lets members of a group share one stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from maestune.data import to_float
from maestune.families.base import Noise, Player, drawer
from maestune.training.run import Run

# Images are turned to float once when that takes no more than this; a larger set costs more to turn, at the start of
# each segment of each trial, than its batches do one by one.
FLOAT_ONCE_BYTES = 64 * 2**20


def prepared(images: Tensor, device: str) -> Tensor:
    """Images (N, C, H, W) uint8 on the device, as float in [-1, 1] where that is worth its memory."""
    images = images.to(device)
    return to_float(images) if images.numel() * 4 <= FLOAT_ONCE_BYTES else images


class Stream:
    """Batches and noise of a run, in order. `images`: `prepared` ones, shared between streams."""

    def __init__(self, images: Tensor, batch_size: int, players: Sequence[Player], run: Run) -> None:
        self._images = images
        self._size = batch_size
        self._order_generator = run.generator("order")
        self._noise_generator = run.generator("noise")
        self._draws = {player.name: (player.every, drawer(player.noise)) for player in players}
        self._order = torch.empty(0, dtype=torch.int64, device=images.device)
        self._position = 0

    def next(self, step: int) -> tuple[Tensor, Mapping[str, Noise]]:
        """The batch (B, C, H, W), float in [-1, 1], and the noise of every player that moves in this step, by name."""
        batch = self._next_batch()
        turns = {name: draw for name, (every, draw) in self._draws.items() if step % every == 0}
        return batch, {name: draw(self._noise_generator) for name, draw in turns.items()}

    def _next_batch(self) -> Tensor:
        """The images shuffled, over and over: each is seen once before any is seen again."""
        end = self._position + self._size
        while end > len(self._order):
            n, device = len(self._images), self._images.device
            shuffled = torch.randperm(n, generator=self._order_generator, device=device)
            self._order = torch.cat((self._order[self._position :], shuffled))
            self._position, end = 0, end - self._position
        batch = self._images.index_select(0, self._order[self._position : end])
        self._position = end
        return to_float(batch) if batch.dtype == torch.uint8 else batch

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
        self._order, self._position = state["ahead"].to(self._images.device), 0
