"""A transformer token by token, in plain loops, and configs of tiny ones."""

from __future__ import annotations

import cmath
import math
from typing import Any

import torch
from torch import Tensor

from maestune.data import DataSpec
from maestune.families.lm import LM
from maestune.families.lm.networks import LanguageModel, Transformer
from maestune.types import Config

FAMILY = LM()
SPEC = DataSpec(tokens=11, characters_per_token=1.5)
TINY = {"layers": 2, "width": 16, "heads": 4, "context": 12, "batch_size": 3}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def config_of(**values: Any) -> Config:
    """A config of tiny networks; they are below the space's, so they are put in afterwards."""
    space = FAMILY.space(SPEC)
    inside = {name: value for name, value in values.items() if name in [p.name for p in space] and name not in TINY}
    for name in list(inside):
        try:
            space[name].check(inside[name])
        except Exception:
            del inside[name]
    return space.complete(inside).with_(**{**TINY, **{k: v for k, v in values.items() if k in TINY or k not in inside}})


def model_of(seed: int = 0, **values: Any) -> tuple[LanguageModel, Config]:
    config = config_of(**{"init": 0.3, **values})
    return FAMILY.build(config, SPEC, rng(seed)), config


def tokens_of(n: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(SPEC.tokens, (n, length), generator=rng(seed))


def reference(network: Transformer, config: Config, tokens: list[int]) -> Tensor:
    """Logits (T, V) of one text: every token by itself, every head by itself, one query against one key at a time."""
    width, heads = int(config.number("width")), int(config.number("heads"))
    channels = width // heads
    weights = {name: tensor.detach() for name, tensor in network.named_parameters()}

    def norm(x: Tensor, gain: Tensor, kind: str) -> Tensor:
        if kind == "layer":
            x = x - sum(x.tolist()) / len(x)
        size = math.sqrt(sum(value**2 for value in x.tolist()) / len(x) + 1e-5)
        return torch.stack([value / size * g for value, g in zip(x, gain, strict=True)])

    def turned(x: Tensor, position: int) -> Tensor:
        half = len(x) // 2
        pairs = [
            complex(float(x[i]), float(x[i + half])) * cmath.exp(1j * position * 10_000 ** (-2 * i / len(x)))
            for i in range(half)
        ]
        return torch.tensor([pair.real for pair in pairs] + [pair.imag for pair in pairs], dtype=x.dtype)

    def activated(x: Tensor) -> Tensor:
        kind = config.text("activation")
        if kind == "swiglu":
            gate, value = x[: len(x) // 2], x[len(x) // 2 :]
            return gate / (1 + torch.exp(-gate)) * value
        if kind == "silu":
            return x / (1 + torch.exp(-x))
        if kind == "gelu":
            return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        positive = torch.tensor([max(0.0, value) for value in x.tolist()], dtype=x.dtype)
        return positive**2 if kind == "relu2" else positive

    stream = [weights["embedding"][token] for token in tokens]
    if config.text("positions") == "learned":
        stream = [x + weights["positions"][t] for t, x in enumerate(stream)]
    for layer in range(int(config.number("layers"))):
        own = {n.removeprefix(f"blocks.{layer}."): w for n, w in weights.items() if n.startswith(f"blocks.{layer}.")}
        seen: list[tuple[list[Tensor], list[Tensor]]] = []
        for t, x in enumerate(stream):
            made = own["attention.inputs.weight"] @ norm(x, own["norm_1.gain"], config.text("norm"))
            queries, keys, values = (
                [part[h * channels : (h + 1) * channels] for h in range(heads)] for part in made.split(width)
            )
            if config.text("qk_norm") == "rms":
                queries = [norm(q, own["attention.norms.0.gain"], "rms") for q in queries]
                keys = [norm(k, own["attention.norms.1.gain"], "rms") for k in keys]
            if config.text("positions") == "rotary":
                queries, keys = [turned(q, t) for q in queries], [turned(k, t) for k in keys]
            seen.append((keys, values))
            found: list[Tensor] = []
            for h in range(heads):
                chances = [math.exp(float(queries[h] @ k[h]) / math.sqrt(channels)) for k, _ in seen]
                mixed = sum(
                    (c / sum(chances) * v[h] for c, (_, v) in zip(chances, seen, strict=True)), torch.zeros(channels)
                )
                found.append(mixed)
            x = x + own["attention.output.weight"] @ torch.cat(found)
            hidden = own["feedforward.inputs.weight"] @ norm(x, own["norm_2.gain"], config.text("norm"))
            stream[t] = x + own["feedforward.output.weight"] @ activated(hidden)
    head = weights["embedding"] if config.text("head") == "tied" else weights["head"]
    return torch.stack([head @ norm(x, weights["norm.gain"], config.text("norm")) for x in stream])
