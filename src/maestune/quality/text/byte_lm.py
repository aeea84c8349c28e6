"""A small reader: a language model of bytes that learns from real training text, in a bounded number of multiply-adds.

It reads texts for the evaluator in two ways: the mean of its states over a text is what the text is like (an embedding), and its
surprise at the bytes is what they cost (bits per character). Bytes, because every text has them, whatever the tokens of the
models that are evaluated; a recurrent network (Cho et al. 2014, arXiv:1406.1078), because its states are its memory of the text.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from maestune.errors import MetricError
from maestune.quality.features.learning import one_cycle
from maestune.quality.metric import Array
from maestune.quality.network_store import mark_of

BYTES = 256
BEGIN = "\n"  # stands before every text: the reader knows that something begins
EMBEDDING = 32
STATE = 128  # dimensions of what a text is like
WINDOW = 64  # bytes behind each other that it learns from
BATCH_SIZE = 8  # many small steps learn most from so few bytes
MULTIPLY_ADDS = 3e10  # forward, of all that is learnt from: some seven seconds of one core
EPOCHS = 30  # of short texts
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2
READ_TOGETHER = 2**16  # bytes read at once, so that memory stays bounded


class Reader(nn.Module):
    """Bytes (B, T) → states (B, T, d), and from each the logits (B, T, 256) of the byte that follows."""

    def __init__(self, state: int = STATE) -> None:
        super().__init__()
        self.embedding = nn.Embedding(BYTES, EMBEDDING)
        self.memory = nn.GRU(EMBEDDING, state, batch_first=True)
        self.head = nn.Linear(state, BYTES)

    def forward(self, signs: Tensor) -> Tensor:
        """States (B, T, d); those at a byte have seen it and all before it."""
        return self.memory(self.embedding(signs))[0]

    @property
    def dimensions(self) -> int:
        """Size d of a state."""
        return self.memory.hidden_size

    @property
    def fingerprint(self) -> str:
        """Changes when any weight does."""
        return mark_of(self)


def empty_reader() -> Reader:
    """A reader without values, to be loaded."""
    with torch.device("meta"):  # layers are made without values, so that no global random state is touched
        reader = Reader()
    return reader.to_empty(device="cpu").requires_grad_(False).eval()


def fit_reader(text: str, generator: torch.Generator, multiply_adds: float = MULTIPLY_ADDS) -> Reader:
    """A reader that has learnt from windows of a text, wherever they begin, with AdamW on a one-cycle schedule.

    Raises MetricError for a text of fewer than two bytes.
    """
    signs = _bytes_of(text)
    if len(signs) < 2:
        raise MetricError(f"A reader cannot learn from {len(signs)} bytes of text; give it more.")
    reader = empty_reader().requires_grad_(True).train()
    _initialise(reader, generator)
    window = min(WINDOW, len(signs) - 1)
    shown = min(multiply_adds / _cost(reader), EPOCHS * len(signs))
    steps = max(1, math.ceil(shown / (BATCH_SIZE * window)))
    parameters = list(reader.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    for step, batch in enumerate(_windows(signs, window, steps, generator), start=1):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * one_cycle(step / steps)
        logits = reader.head(reader(batch[:, :-1]))
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    return reader.requires_grad_(False).eval()


def mean_states(reader: Reader, texts: Sequence[str]) -> Array:
    """The mean state of the reader over each text (N, d), float64; of an empty text, that at the beginning."""
    found = np.zeros((len(texts), reader.dimensions))
    for rows, signs, mask in _batches([_bytes_of(BEGIN + text) for text in texts]):
        states = reader(signs).double() * mask[:, :, None]
        found[rows] = (states.sum(dim=1) / mask.sum(dim=1, keepdim=True)).numpy()
    return found


def surprise(reader: Reader, begun: Sequence[str], made: Sequence[str]) -> Array:
    """What each text `made` costs behind what had `begun` it, in nats in all (N,), float64."""
    whole = [_bytes_of(BEGIN + before + after) for before, after in zip(begun, made, strict=True)]
    costly = [len(_bytes_of(after)) for after in made]
    found = np.zeros((len(made),))
    for rows, signs, mask in _batches(whole):
        if signs.shape[1] < 2:  # nothing behind the beginning
            continue
        logits = reader.head(reader(signs[:, :-1]))
        nats = functional.cross_entropy(logits.flatten(0, 1).double(), signs[:, 1:].flatten(), reduction="none")
        places = torch.arange(1, signs.shape[1])
        lengths = mask.sum(dim=1).long()
        first = lengths - torch.tensor([costly[row] for row in rows])
        counted = (places >= first[:, None]) & (places < lengths[:, None])
        found[rows] = (nats.view(len(rows), -1) * counted).sum(dim=1).numpy()
    return found


def _bytes_of(text: str) -> Tensor:
    # What a model of bytes makes is decoded with U+FFFD for what is no UTF-8; lone surrogates have no bytes either.
    data = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    return torch.from_numpy(data.copy())


def _batches(texts: Sequence[Tensor]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Texts of like length together: their rows, bytes (n, T) padded with 0, and where there is no padding (n, T) float64."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    start = 0
    with torch.inference_mode():
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * len(texts[order[end]]) <= READ_TOGETHER:
                end += 1
            rows = order[start:end]
            signs = nn.utils.rnn.pad_sequence([texts[row].long() for row in rows], batch_first=True)
            lengths = torch.tensor([len(texts[row]) for row in rows])
            yield rows, signs, (torch.arange(signs.shape[1]) < lengths[:, None]).double()
            start = end


def _windows(signs: Tensor, window: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Windows (BATCH_SIZE, window + 1) of the bytes, from anywhere, with replacement; step after step."""
    every = signs.unfold(0, window + 1, 1)
    for _ in range(steps):
        yield every[torch.randint(len(every), (BATCH_SIZE,), generator=generator)].long()


def _initialise(reader: Reader, generator: torch.Generator) -> None:
    """Fresh weights from the generator alone: uniform as PyTorch's own for the memory, orthogonal where it feeds itself."""
    reach = reader.dimensions**-0.5
    with torch.no_grad():
        for name, parameter in reader.named_parameters():
            if name == "embedding.weight":
                parameter.normal_(0.0, 1.0, generator=generator)
            elif "weight_hh" in name:
                for gate in parameter.chunk(3):
                    nn.init.orthogonal_(gate, generator=generator)
            elif parameter.ndim == 1:
                parameter.zero_()
            else:
                parameter.uniform_(-reach, reach, generator=generator)


def _cost(reader: Reader) -> float:
    """Multiply-adds of one byte, forward."""
    d = reader.dimensions
    return float(3 * d * (EMBEDDING + d) + d * BYTES)
