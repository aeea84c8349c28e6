"""The short course in which every network of ours learns to see: bounded multiply-adds, all chance from one generator."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from maestune.data import Images, to_float

BATCH_SIZE = 64
EPOCHS = 25  # small sets: enough to converge
MULTIPLY_ADDS = 6e10  # large sets: what two CPU cores do forward and backward in some 10 seconds
LEAST_SHOWN, MOST_SHOWN = 10_000, 240_000  # images, whatever the two bounds above say
LEARNING_RATE = 1e-2  # at the top of the cycle; batch norm and the short course want it high
WEIGHT_DECAY = 1e-4

Loss = Callable[[Tensor, Images], Tensor]  # of a batch as float in [-1, 1], and as it is in the data


def learn(
    networks: Sequence[nn.Module],
    loss: Loss,
    images: Images,
    cost: float,
    generator: torch.Generator,
    *,
    batch_size: int = BATCH_SIZE,
    epochs: int = EPOCHS,
    rate: float = LEARNING_RATE,
) -> None:
    """Fit the networks with AdamW on a one-cycle schedule (Smith & Topin 2018), over a bounded number of images.

    The rate ends at 0 at a length known beforehand: time is predictable, and no images are spent on telling when to stop.
    `cost`: multiply-adds of one image. `rate`: at the top of the cycle.
    """
    affordable = min(MULTIPLY_ADDS / cost, epochs * len(images))
    shown = min(max(affordable, LEAST_SHOWN), MOST_SHOWN)
    batch_size = min(batch_size, len(images))
    steps = math.ceil(shown / batch_size)
    parameters = [p for network in networks for p in network.train().parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=WEIGHT_DECAY, fused=True)
    for step, index in enumerate(islice(_batches(len(images), batch_size, generator), steps), start=1):
        for group in optimiser.param_groups:
            group["lr"] = rate * one_cycle(step / steps)
        batch = images.take(index)
        optimiser.zero_grad()
        loss(to_float(batch.images), batch).backward()
        optimiser.step()


def shifted(batch: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by a few pixels, the border repeated; one move a batch is random enough over many batches."""
    height, width = batch.shape[-2:]
    reach = max(1, min(height, width) // 14)
    top, left = (int(v) for v in torch.randint(0, 2 * reach + 1, (2,), generator=generator))
    padded = functional.pad(batch, (reach, reach, reach, reach), mode="replicate")
    return padded[..., top : top + height, left : left + width]


def one_cycle(progress: float) -> float:
    """Share of the highest rate after a share of the course: up over the first tenth, then a half cosine down to 0.

    Smith & Topin 2018, arXiv:1708.07120.
    """
    return min(progress / 0.1, 0.5 * (1.0 + math.cos(math.pi * max(0.0, progress - 0.1) / 0.9)))


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Positions of batch after batch, each epoch in a new order; the rest of an epoch that fills no batch is left out."""
    while True:
        order = torch.randperm(n, generator=generator)
        for start in range(0, n - size + 1, size):
            yield order[start : start + size]
