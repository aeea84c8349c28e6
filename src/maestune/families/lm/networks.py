"""A decoder-only transformer with its norms before the layers (GPT-2: Radford et al. 2019).

Nothing has a bias, as in the setting that the space is centred on (nanoGPT). Attention is written as products of matrices:
PyTorch's fused kernel is no faster for short contexts on a CPU and has no rule for many members at once.

Symbols in shapes: B texts, T tokens, W the width, H heads of W / H channels each, V kinds of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.data import DataSpec
from maestune.errors import SettingsError
from maestune.types import Config

NORM_EPS = 1e-5
ROTARY_BASE = 10_000.0  # Su et al. 2021
HIDDEN = 4  # width of the hidden layer relative to the network's
GATED_HIDDEN = 8 / 3  # with a gate there are three matrices instead of two: no more parameters (Shazeer 2020)

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),  # So et al. 2021 (Primer)
    "silu": F.silu,
    "swiglu": F.silu,  # of the gate
}
NORMS = ("layer", "rms")


@dataclass(frozen=True)
class Passing:
    """What all blocks are handed in one pass.

    `start`: position of the first of the tokens. `turns`: (cos, sin) of their rotary angles. `mask`: (T, start + T), -inf
    where a token must not look. `masks`: uniforms of the dropouts still to come. `rate`: the share dropped. `logits`: where
    the largest attention logit of each block is noted, if somewhere.
    """

    start: int
    turns: tuple[Tensor, Tensor] | None
    mask: Tensor | None
    masks: list[Tensor]
    rate: float | Tensor
    logits: list[Tensor] | None = None

    def dropped(self, x: Tensor) -> Tensor:
        """x (B, T, W) after the next dropout, scaled so that the mean stays; x itself where there is none."""
        if not self.masks:
            return x
        return x * (self.masks.pop(0) >= self.rate) / (1.0 - self.rate)


@dataclass
class Cache:
    """Keys and values (B, H, context, W/H) that one block has seen, filled from the left."""

    seen: list[Tensor] = field(default_factory=list)

    def extended(self, fresh: Sequence[Tensor], start: int, context: int) -> list[Tensor]:
        """Keys and values of all positions so far, with those from `start` on."""
        end = start + fresh[0].shape[2]
        if start == 0:
            self.seen = [F.pad(tensor, (0, 0, 0, context - end)) for tensor in fresh]
        for kept, tensor in zip(self.seen, fresh, strict=True):
            kept[:, :, start:end] = tensor
        return [kept[:, :, :end] for kept in self.seen]


class Norm(nn.Module):
    """Layer norm (Ba et al. 2016) or root-mean-square norm (Zhang & Sennrich 2019) of the last axis, without bias."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.width = width
        self.gain = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """(…, W) → the same shape."""
        if self.kind == "layer":
            return F.layer_norm(x, (self.width,), self.gain, None, NORM_EPS)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_EPS) * self.gain


class Attention(nn.Module):
    """Causal self-attention of several heads."""

    def __init__(self, width: int, heads: int, context: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.context = context
        self.inputs = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        # Dehghani et al. 2023 (arXiv 2302.05442): the logits cannot grow without limit.
        self.norms = nn.ModuleList(Norm("rms", width // heads) for _ in range(2 if qk_norm else 0))

    def forward(self, x: Tensor, passing: Passing, cache: Cache | None) -> Tensor:
        """(B, T, W) → the same shape; with a cache the tokens also look at those seen before."""
        queries, keys, values = self.inputs(x).unflatten(2, (3, self.heads, -1)).unbind(2)  # each (B, T, H, W/H)
        if self.norms:
            queries, keys = self.norms[0](queries), self.norms[1](keys)
        if passing.turns is not None:
            queries, keys = rotated(queries, *passing.turns), rotated(keys, *passing.turns)
        queries, keys, values = (tensor.transpose(1, 2) for tensor in (queries, keys, values))
        if cache is not None:
            keys, values = cache.extended((keys, values), passing.start, self.context)
        logits = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(2, 3)  # (B, H, T, start + T)
        if passing.logits is not None:
            passing.logits.append(logits.amax())
        if passing.mask is not None:
            logits = logits + passing.mask
        return self.output((torch.softmax(logits, 3) @ values).transpose(1, 2).flatten(2))


class Feedforward(nn.Module):
    """Two dense layers with an activation between them; "swiglu" with a gate (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.gated = activation == "swiglu"
        hidden = int(GATED_HIDDEN * width) // 4 * 4 if self.gated else HIDDEN * width
        self.inputs = nn.Linear(width, 2 * hidden if self.gated else hidden, bias=False)
        self.output = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) → the same shape."""
        hidden = self.inputs(x)
        if not self.gated:
            return self.output(self.activation(hidden))
        gate, value = hidden.chunk(2, -1)
        return self.output(self.activation(gate) * value)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feedforward(norm(x)), with dropout before each sum."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, norm = int(config.number("width")), config.text("norm")
        heads, context = int(config.number("heads")), int(config.number("context"))
        self.norm_1 = Norm(norm, width)
        self.attention = Attention(width, heads, context, config.text("qk_norm") == "rms")
        self.norm_2 = Norm(norm, width)
        self.feedforward = Feedforward(width, config.text("activation"))

    def forward(self, x: Tensor, passing: Passing, cache: Cache | None) -> Tensor:
        """(B, T, W) → the same shape."""
        x = x + passing.dropped(self.attention(self.norm_1(x), passing, cache))
        return x + passing.dropped(self.feedforward(self.norm_2(x)))


class Transformer(nn.Module):
    """Tokens (B, T) → logits (B, T, V) of the token that follows each, from those up to it alone."""

    positions: nn.Parameter | None
    head: nn.Parameter | None

    def __init__(self, config: Config, tokens: int) -> None:
        super().__init__()
        width = int(config.number("width"))
        self.context = int(config.number("context"))
        self.rotary = config.text("positions") == "rotary"
        self.turning = width // int(config.number("heads"))
        self.embedding = nn.Parameter(torch.empty(tokens, width))
        self.positions = None if self.rotary else nn.Parameter(torch.empty(self.context, width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(int(config.number("layers"))))
        self.norm = Norm(config.text("norm"), width)
        # Where it is tied there is no second parameter: the embedding is used twice (Press & Wolf 2017).
        self.head = None if config.text("head") == "tied" else nn.Parameter(torch.empty(tokens, width))

    def forward(
        self,
        tokens: Tensor,
        uniforms: Sequence[Tensor] = (),
        rate: float | Tensor = 0.0,
        *,
        start: int = 0,
        caches: Sequence[Cache] | None = None,
        attention_logits: list[Tensor] | None = None,
    ) -> Tensor:
        """Logits (B, T, V).

        `uniforms`: (B, T, W) each, for `dropouts` of them; none switches dropout off. With `caches`, one a block, the tokens
        stand at positions from `start` on, behind those that the caches have seen. `attention_logits`: a list that is given
        the largest attention logit of each block.
        """
        length = tokens.shape[1]
        passing = Passing(
            start=start,
            turns=rotary_turns(start, length, self.turning, self.embedding) if self.rotary else None,
            mask=causal_mask(start, length, self.embedding) if length > 1 else None,
            masks=list(uniforms),
            rate=rate,
            logits=attention_logits,
        )
        x = F.embedding(tokens, self.embedding)
        if self.positions is not None:
            x = x + self.positions[start : start + length]
        x = passing.dropped(x)
        for i, block in enumerate(self.blocks):
            x = block(x, passing, None if caches is None else caches[i])
        return F.linear(self.norm(x), self.embedding if self.head is None else self.head)

    @property
    def dropouts(self) -> int:
        """How many dropouts there are: behind the embedding, and two a block."""
        return 1 + 2 * len(self.blocks)


class LanguageModel(nn.Module):
    """The network and the moving average of its weights, if any; `characters_per_token` turns nats per token into bits."""

    average: Transformer | None

    def __init__(self, network: Transformer, average: Transformer | None, characters_per_token: float) -> None:
        super().__init__()
        self.network = network
        self.average = average
        self.characters_per_token = characters_per_token

    @property
    def sampler(self) -> Transformer:
        """The network that is scored and sampled from: the average where there is one."""
        return self.network if self.average is None else self.average


def build_model(config: Config, spec: DataSpec, generator: torch.Generator) -> LanguageModel:
    """A model with fresh weights, drawn from the generator alone, on its device. SettingsError where heads do not fit."""
    width, heads = int(config.number("width")), int(config.number("heads"))
    rotary = config.text("positions") == "rotary"
    if width % heads or (rotary and width // heads % 2):
        even = " an even number of channels each, as rotary positions need," if rotary else ""
        raise SettingsError(
            f"heads: {heads} do not divide a width of {width} into{even} equal parts; give for example --set heads=4 with a "
            "width that is a multiple of 8."
        )
    with torch.device("meta"):  # layers are made without values, so that no global random state is touched
        networks = [Transformer(config, spec.tokens) for _ in range(2 if config.number("ema", 0.0) > 0 else 1)]
    for network in networks:
        network.to_empty(device=generator.device)
    initialise(networks[0], generator, config.number("init"))
    average = None
    if len(networks) == 2:
        average = networks[1].requires_grad_(False)
        average.load_state_dict(networks[0].state_dict())
    return LanguageModel(networks[0], average, spec.characters_per_token)


@torch.no_grad()
def initialise(network: Transformer, generator: torch.Generator, spread: float) -> None:
    """Normal weights of a standard deviation (GPT-2 has 0.02), gains 1.

    Matrices that add to the stream between blocks have 1/√(number of them) of it, so that the stream's variance does not grow
    with the number of layers (Radford et al. 2019).
    """
    added = math.sqrt(2 * len(network.blocks))
    for name, parameter in network.named_parameters():
        if name.endswith("gain"):
            parameter.fill_(1.0)
        else:
            scale = spread / added if name.endswith("output.weight") else spread
            parameter.normal_(0.0, scale, generator=generator)


def causal_mask(start: int, length: int, like: Tensor) -> Tensor:
    """(length, start + length): 0 where a token stands not behind the one that looks, else -inf."""
    row = torch.arange(start, start + length, device=like.device)[:, None]
    column = torch.arange(start + length, device=like.device)
    return torch.zeros(length, start + length, dtype=like.dtype, device=like.device).masked_fill(
        column > row, -math.inf
    )


def rotary_turns(start: int, length: int, channels: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin (length, 1, channels / 2) of the rotary angles (Su et al. 2021, arXiv 2104.09864)."""
    rates = ROTARY_BASE ** -(torch.arange(0, channels, 2, dtype=like.dtype, device=like.device) / channels)
    angles = torch.arange(start, start + length, dtype=like.dtype, device=like.device)[:, None, None] * rates
    return angles.cos(), angles.sin()


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, T, H, channels), the pair of channels (i, i + channels / 2) turned by the i-th angle of its position."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)
