"""How text is drawn from a language model: what is done to the logits, the draw itself, and one token after the other.

Everything is pure and without a branch on a tensor's value, so that it runs for many members at once. What is kept is found
by a threshold: the least that is still kept; equals of it are kept as well.

Symbols in shapes: n texts, V kinds of tokens, P tokens of the prompt, L tokens to be drawn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maestune.families.base import Hyper
from maestune.families.lm.networks import Cache, Transformer

Number = float | Tensor
COLDEST = 1e-6  # temperatures below it, 0 among them, take the likeliest token
NEARLY_ONE = 1.0 - 1e-6  # the draw must stay below the whole, whatever the rounding


def generate(network: Transformer, hyper: Hyper, prompt: Tensor, uniforms: Tensor) -> Tensor:
    """Prompts (n, P) and what follows them, (n, P + L): one token for each of the uniforms (n, L).

    Keys and values of tokens already read are kept. When the context is full, the network begins anew with its latest half:
    a token sees at least half a context (where there is so much text), and the cost of reading again is spread over many
    tokens. Of a prompt that is longer than the context only that half is read.
    """
    context = network.context
    text = prompt
    seen = counted(prompt, network.embedding.shape[0]) if "repetition_penalty" in hyper else None
    begin = 0 if prompt.shape[1] <= context else prompt.shape[1] - _kept(context)
    unread, caches = prompt[:, begin:], _empty(network)
    for uniform in uniforms.unbind(1):
        end = text.shape[1]
        if end - begin > context:
            begin = end - _kept(context)
            unread, caches = text[:, begin:], _empty(network)
        logits = network(unread, start=end - begin - unread.shape[1], caches=caches)[:, -1]
        token = drawn(shaped(logits, hyper, seen), uniform)[:, None]
        if seen is not None:
            seen = seen | counted(token, logits.shape[1])
        text, unread = torch.cat((text, token), 1), token
    return text


def _kept(context: int) -> int:
    return max(context // 2, 1)


def _empty(network: Transformer) -> list[Cache]:
    return [Cache() for _ in network.blocks]


def counted(tokens: Tensor, kinds: int) -> Tensor:
    """Which of V kinds of tokens occur in each text of tokens (n, T): (n, V) bool."""
    zeros = torch.zeros(tokens.shape[0], kinds, dtype=torch.bool, device=tokens.device)
    return zeros.scatter(1, tokens, True)


def shaped(logits: Tensor, hyper: Hyper, seen: Tensor | None = None) -> Tensor:
    """Logits (n, V) as the next token is drawn from: what is not to be drawn is -inf.

    By those of these numbers that `hyper` has, in this order: `repetition_penalty`, `temperature`, `top_k`, `top_p`, `min_p`,
    `typical_p`. `seen` (n, V): the tokens that the text already has.
    """
    if seen is not None and "repetition_penalty" in hyper:
        logits = penalised(logits, seen, hyper["repetition_penalty"])
    if "temperature" in hyper:
        warmth = torch.as_tensor(hyper["temperature"], dtype=logits.dtype, device=logits.device)
        logits = (logits - logits.amax(1, keepdim=True)) / warmth.clamp_min(COLDEST)
    for name, keep in (("top_k", top_k), ("top_p", top_p), ("min_p", min_p), ("typical_p", typical_p)):
        if name in hyper:
            logits = logits.masked_fill(~keep(logits, hyper[name]), -math.inf)
    return logits


def drawn(logits: Tensor, uniform: Tensor) -> Tensor:
    """One token (n,) from softmax(logits) (n, V), by the inverse of its distribution function at the uniform (n,)."""
    mass = torch.softmax(logits, 1).cumsum(1)
    return (mass <= (uniform * NEARLY_ONE)[:, None] * mass[:, -1:]).sum(1)


def penalised(logits: Tensor, seen: Tensor, penalty: Number) -> Tensor:
    """Logits of tokens already seen divided by the penalty where positive, multiplied where negative (Keskar et al. 2019)."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def top_k(logits: Tensor, k: Number) -> Tensor:
    """Which tokens (n, V) are among the k likeliest (Fan et al. 2018, arXiv 1805.04833)."""
    ordered = logits.sort(1, descending=True).values
    rank = torch.arange(logits.shape[1], device=logits.device)
    return logits >= _least(ordered, rank < k)


def top_p(logits: Tensor, p: Number) -> Tensor:
    """Which tokens (n, V) are the fewest that together have at least probability p (Holtzman et al. 2020, arXiv 1904.09751)."""
    chances = torch.softmax(logits, 1)
    ordered = chances.sort(1, descending=True).values
    return chances >= _least(ordered, ordered.cumsum(1) - ordered < p)


def min_p(logits: Tensor, share: Number) -> Tensor:
    """Which tokens (n, V) have at least this share of the likeliest's probability (Nguyen et al. 2024, arXiv 2407.01082)."""
    chances = torch.softmax(logits, 1)
    return chances >= share * chances.amax(1, keepdim=True)


def typical_p(logits: Tensor, p: Number) -> Tensor:
    """Which tokens (n, V) are the most typical that together have at least probability p (Meister et al. 2023, arXiv 2202.00666).

    The most typical are those whose surprise is nearest to the expected one, the entropy.
    """
    log_chances = torch.log_softmax(logits, 1)
    chances = log_chances.exp()
    surprise = torch.where(chances > 0, -log_chances, 0.0)
    entropy = (chances * surprise).sum(1, keepdim=True)
    oddness = torch.where(chances > 0, (surprise - entropy).abs(), math.inf)
    ordered, order = oddness.sort(1)
    mass = chances.gather(1, order)
    return -oddness >= _least(-ordered, mass.cumsum(1) - mass < p)


def _least(descending: Tensor, keep: Tensor) -> Tensor:
    """The least (n, 1) of those to keep; always of at least the first."""
    return torch.where(keep, descending, descending[:, :1]).amin(1, keepdim=True)
