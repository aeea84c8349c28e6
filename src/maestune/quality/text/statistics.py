"""Statistics of words and characters, held against human text: likeness of sequences, variety, repetition, entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maestune.quality.metric import Array, Limits, Members, everyone
from maestune.quality.text.bleu import self_bleu
from maestune.quality.text.ngrams import entropy, expected_distinct, grams, js, mean_over, variety
from maestune.quality.text.texts import MOST_WORDS, RealTexts, TextKind, Texts

DISTINCT = (1, 2, 3)  # lengths of the sequences whose EAD is averaged


def ngram_js(real: Sequence[Sequence[str]], generated: Sequence[Sequence[str]], members: Members) -> Array:
    """Divergence in bits (4, B) of sequences of 1 … 4 parts between real texts and subsets of generated ones."""
    together = np.concatenate((np.zeros((len(members), len(real)), dtype=np.bool_), members), axis=1)
    truth = np.arange(len(real) + len(generated))[None] < len(real)
    found = grams([*real, *generated], MOST_WORDS)
    return np.stack([js(one.counts(truth)[0], one.counts(together)) for one in found])


def _js_reference(reals: RealTexts) -> Texts:
    return reals.held_out


def _js_compute(real: Texts, texts: Texts, members: Members) -> Mapping[str, Array]:
    return {
        "word_js": ngram_js(real.words, texts.words, members).mean(axis=0),
        "char_js": ngram_js(real.made, texts.made, members).mean(axis=0),
    }


def _js_limits(_: Texts) -> Mapping[str, Limits]:
    return {"word_js": (0.0, 1.0), "char_js": (0.0, 1.0)}


@dataclass(frozen=True)
class Human:
    """What human text of the same number and length has: mean `variety` of a text, `entropy` of its words in bits.

    `words`: how many different words the training text has.
    """

    variety: float
    entropy: float
    words: int


def _human(reals: RealTexts) -> Human:
    found = reals.held_out.word_grams
    counts = found[0].counts(everyone(len(reals.held_out)))
    return Human(float(variety(found).mean()), float(entropy(counts)[0]), reals.words)


def _word_compute(human: Human, texts: Texts, members: Members) -> Mapping[str, Array]:
    found = texts.word_grams
    varied = mean_over(variety(found), members)
    bits = entropy(found[0].counts(members))
    ead = [expected_distinct(found[n - 1], n, max(human.words, 1), members) for n in DISTINCT]
    return {
        "rep_gap": np.abs(varied - human.variety),
        "entropy_gap": np.abs(bits - human.entropy),
        "text_variety": varied,
        "text_entropy": bits,
        "ead": np.mean(ead, axis=0),
    }


def _word_limits(_: Human) -> Mapping[str, Limits]:
    return {
        "rep_gap": (0.0, 1.0),
        "entropy_gap": (0.0, np.inf),
        "text_variety": (0.0, 1.0),
        "text_entropy": (0.0, np.inf),
        "ead": (0.0, np.inf),  # above 1 where there are more kinds of words than the training text has
    }


def _bleu_reference(_: RealTexts) -> None:
    return None


def _bleu_compute(_: None, texts: Texts, members: Members) -> Mapping[str, Array]:
    return {"self_bleu": self_bleu(texts.word_grams, members)}


def _bleu_limits(_: None) -> Mapping[str, Limits]:
    return {"self_bleu": (0.0, 1.0)}


NGRAMS = TextKind("n-grams", _js_reference, _js_compute, _js_limits)
WORDS = TextKind("words", _human, _word_compute, _word_limits)
SELF_BLEU = TextKind("self-BLEU", _bleu_reference, _bleu_compute, _bleu_limits)
