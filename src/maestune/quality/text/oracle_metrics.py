"""What an oracle and an embedder tell of texts one by one: their cost, whether they hang together, whether they are copied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maestune.quality.interval import share_bounds
from maestune.quality.metric import Array, Limits, Members, everyone
from maestune.quality.text.copying import Known
from maestune.quality.text.texts import RealTexts, TextKind, Texts, pooled

CLEAR = 3.0  # standard errors by which real pairs must be more alike than shuffled ones, for coherence to be measured


def bits_per_character(texts: Texts, members: Members) -> Array:
    """What a character costs the oracle in each subset (B,); 0 where nothing was written."""
    nats, lengths = texts.cost
    return pooled(nats, lengths, members) / math.log(2.0)


def _human_cost(reals: RealTexts) -> float:
    return float(bits_per_character(reals.held_out, everyone(len(reals.held_out)))[0])


def _cost_compute(human: float, texts: Texts, members: Members) -> Mapping[str, Array]:
    bits = bits_per_character(texts, members)
    return {"oracle_gap": np.abs(bits - human), "oracle_bpc": bits}


def _cost_limits(_: float) -> Mapping[str, Limits]:
    return {"oracle_gap": (0.0, math.inf), "oracle_bpc": (0.0, math.inf)}


def alikeness(one: Array, other: Array) -> Array:
    """Cosines (N, N) between each of (N, d) and each of the others (N, d); 0 with a vector of zeros."""

    def directions(values: Array) -> Array:
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        return values / np.where(lengths > 0, lengths, 1.0)

    return directions(one) @ directions(other).T


def pairing(cosines: Array, members: Members) -> Array:
    """By how much pairs that belong together (the diagonal) are more alike than pairs that do not, in each subset (B,)."""
    sizes = members.sum(axis=1)
    weights = members.astype(np.float64)
    own = weights @ np.diagonal(cosines)
    across = np.einsum("bi,ij,bj->b", weights, cosines, weights) - own
    return own / sizes - across / np.maximum(sizes * (sizes - 1), 1)


def is_clear(cosines: Array) -> bool:
    """Whether real pairs are more alike than shuffled ones by more than chance would make them."""
    n = len(cosines)
    if n < 3:
        return False
    own = np.diagonal(cosines) - (cosines.sum(axis=1) - np.diagonal(cosines)) / (n - 1)
    return float(own.mean()) > max(CLEAR * float(own.std(ddof=1)) / math.sqrt(n), 1e-9)  # rounding is no likeness


def likeness(value: Array, real: float) -> Array:
    """A pairing beside that of real text: 1 where they are equal, 0 where it is as of shuffled pairs, less beyond twice it."""
    return 1.0 - np.abs(1.0 - value / real)


@dataclass(frozen=True)
class Pairings:
    """The pairing of real text: of beginnings with what follows them, and of first with last thirds; None where unclear."""

    prompt: float | None
    long: float | None


def pairings_of(held_out: Texts) -> Pairings:
    """The pairings of held-out text."""

    def of(cosines: Array) -> float | None:
        return float(pairing(cosines, everyone(len(cosines)))[0]) if is_clear(cosines) else None

    return Pairings(of(alikeness(held_out.beginnings, held_out.embedded)), of(alikeness(*held_out.ends)))


def _pairings(reals: RealTexts) -> Pairings:
    return pairings_of(reals.held_out)


def _coherence_compute(real: Pairings, texts: Texts, members: Members) -> Mapping[str, Array]:
    found: dict[str, Array] = {}
    if real.prompt is not None:
        cosines = alikeness(texts.beginnings, texts.embedded)
        found["prompt_coherence"] = likeness(pairing(cosines, members), real.prompt)
    if real.long is not None:
        found["long_coherence"] = likeness(pairing(alikeness(*texts.ends), members), real.long)
    return found


def _coherence_limits(real: Pairings) -> Mapping[str, Limits]:
    clear = {"prompt_coherence": real.prompt is not None, "long_coherence": real.long is not None}
    return {name: (-math.inf, 1.0) for name, known in clear.items() if known}


@dataclass(frozen=True)
class Copies:
    """The training text, and the share of held-out text that stands in it."""

    known: Known
    usual: float


def copied_share(known: Known, texts: Texts, members: Members) -> Array:
    """The share of the characters of each subset (B,) that stand in copied passages."""
    lengths = np.array([len(text) for text in texts.made], dtype=np.float64)
    return pooled(known.copied(texts.made).astype(np.float64), lengths, members)


def _copies(reals: RealTexts) -> Copies:
    share = copied_share(reals.known, reals.held_out, everyone(len(reals.held_out)))
    return Copies(reals.known, float(share[0]))


def _novelty_compute(copies: Copies, texts: Texts, members: Members) -> Mapping[str, Array]:
    # Of what is not usual, how much is copied beyond the usual: 0 where all is.
    excess = (copied_share(copies.known, texts, members) - copies.usual) / max(1.0 - copies.usual, 1e-12)
    return {"text_novelty": 1.0 - np.clip(excess, 0.0, 1.0)}


def _novelty_limits(_: Copies) -> Mapping[str, Limits]:
    return {"text_novelty": (0.0, 1.0)}


def _novelty_intervals(_: Copies, texts: Texts, values: Mapping[str, Array]) -> Mapping[str, Limits]:
    """A share's: where hardly any text is copied, halves hardly vary, and what other texts would show is not in them."""
    novelty = values["text_novelty"]
    return {"text_novelty": share_bounds(float(novelty[0]), novelty[1:], len(texts))}


ORACLE = TextKind("oracle", _human_cost, _cost_compute, _cost_limits)
COHERENCE = TextKind("coherence", _pairings, _coherence_compute, _coherence_limits)
NOVELTY = TextKind("novelty", _copies, _novelty_compute, _novelty_limits, _novelty_intervals)
