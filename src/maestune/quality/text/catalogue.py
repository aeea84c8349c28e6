"""The metrics of texts by name, in the order in which people should read them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from maestune.errors import MetricError, did_you_mean
from maestune.quality.text.distances import CLUSTERS, MAUVE, TEXT_FRECHET
from maestune.quality.text.oracle_metrics import COHERENCE, NOVELTY, ORACLE, pairings_of
from maestune.quality.text.statistics import NGRAMS, SELF_BLEU, WORDS
from maestune.quality.text.texts import TextMetric, Texts

_PIMENTEL = "Pimentel et al. 2023, On the Usefulness of Embeddings, Clusters and Strings for Text Generator Evaluation, arXiv:2205.16001"
_HOLTZMAN = "Holtzman et al. 2020, arXiv:1904.09751"

_ALL = (
    TextMetric(
        name="cluster_js",
        label="cluster divergence (Jensen-Shannon)",
        higher_is_better=False,
        axis="realism",
        unit="bits",
        meaning="How differently samples and held-out text are spread over clusters of real text; 0 is equal, 1 has none in "
        "common.",
        citation=_PIMENTEL,
        kind=CLUSTERS,
    ),
    TextMetric(
        name="cluster_kl",
        label="cluster divergence (Kullback-Leibler)",
        higher_is_better=False,
        axis="diversity",
        unit="bits",
        meaning="The same, counting above all clusters of held-out text that the samples leave out; 0 is equal.",
        citation=_PIMENTEL,
        kind=CLUSTERS,
    ),
    TextMetric(
        name="text_fd",
        label="Fréchet distance of texts",
        higher_is_better=False,
        axis="realism",
        unit="",
        meaning="How far the samples as a whole are from held-out text, as an embedder that learnt from real text sees both; 0 "
        "would be perfect.",
        citation="Semeniuta et al. 2018, arXiv:1806.04936",
        kind=TEXT_FRECHET,
        ratio_scale=True,
    ),
    TextMetric(
        name="mauve",
        label="MAUVE",
        higher_is_better=True,
        axis="realism",
        unit="",
        meaning="How well samples and held-out text cover each other, in clusters of both; 1 is equal. Only comparable between "
        "equal numbers of texts and settings.",
        citation="Pillutla et al. 2021, arXiv:2102.01454",
        kind=MAUVE,
    ),
    TextMetric(
        name="word_js",
        label="word sequences (Jensen-Shannon)",
        higher_is_better=False,
        axis="realism",
        unit="bits",
        meaning="How differently sequences of one to four words are spread in samples and in held-out text, on average over "
        "their lengths; far from 0 for two real texts as well, since long sequences seldom recur.",
        citation=_PIMENTEL,
        kind=NGRAMS,
    ),
    TextMetric(
        name="char_js",
        label="character sequences (Jensen-Shannon)",
        higher_is_better=False,
        axis="realism",
        unit="bits",
        meaning="The same of sequences of one to four characters: spelling, white space, signs.",
        citation=_PIMENTEL,
        kind=NGRAMS,
    ),
    TextMetric(
        name="oracle_gap",
        label="gap to human text in the oracle's cost",
        higher_is_better=False,
        axis="realism",
        unit="bits",
        meaning="By how many bits a character the samples cost an independent language model more or less than held-out text "
        "does; text that is too easy is as wrong as text that is too hard.",
        citation=_HOLTZMAN,
        kind=ORACLE,
    ),
    TextMetric(
        name="oracle_bpc",
        label="oracle's cost",
        higher_is_better=False,
        axis="realism",
        unit="bits",
        meaning="What a character of the samples costs a language model that learnt from a part of the training text; dull text "
        "costs least, so read it beside the entropy of words.",
        citation=_HOLTZMAN,
        kind=ORACLE,
        goal=False,
    ),
    TextMetric(
        name="text_entropy",
        label="entropy of words",
        higher_is_better=True,
        axis="diversity",
        unit="bits",
        meaning="How varied the words of all samples together are; good is what human text has, neither less nor more.",
        citation="Shannon 1951, Prediction and Entropy of Printed English",
        kind=WORDS,
        goal=False,
    ),
    TextMetric(
        name="entropy_gap",
        label="gap to human text in the entropy of words",
        higher_is_better=False,
        axis="diversity",
        unit="bits",
        meaning="By how much the entropy of the samples' words differs from that of as much held-out text.",
        citation="Zhang et al. 2021, Trading Off Diversity and Quality in Natural Language Generation, arXiv:2004.10450",
        kind=WORDS,
    ),
    TextMetric(
        name="text_variety",
        label="variety within a text",
        higher_is_better=True,
        axis="diversity",
        unit="share",
        meaning="How few sequences of two to four words a text repeats; good is what human text has.",
        citation="Su et al. 2022, arXiv:2202.06417",
        kind=WORDS,
        goal=False,
    ),
    TextMetric(
        name="rep_gap",
        label="gap to human text in repetition",
        higher_is_better=False,
        axis="diversity",
        unit="share",
        meaning="By how much the samples repeat themselves more or less than held-out text does.",
        citation="Welleck et al. 2020, arXiv:1908.04319",
        kind=WORDS,
    ),
    TextMetric(
        name="ead",
        label="distinct word sequences (EAD)",
        higher_is_better=True,
        axis="diversity",
        unit="share",
        upper=math.inf,
        meaning="How many different sequences of one to three words there are, of as many as even draws from the vocabulary "
        "would bring; good is what human text has.",
        citation="Liu et al. 2022, arXiv:2202.13587",
        kind=WORDS,
        goal=False,
    ),
    TextMetric(
        name="self_bleu",
        label="self-BLEU",
        higher_is_better=False,
        axis="diversity",
        unit="",
        meaning="How well each sample could pass for a copy of the others; good is what human text has.",
        citation="Zhu et al. 2018, arXiv:1802.01886",
        kind=SELF_BLEU,
        goal=False,
    ),
    TextMetric(
        name="prompt_coherence",
        label="coherence with the beginning",
        higher_is_better=True,
        axis="coherence",
        unit="",
        meaning="Whether samples go on from what had begun them: 1 as real text does, 0 as if beginnings had been shuffled (or "
        "clinging to them twice as much).",
        citation="Su et al. 2022, arXiv:2202.06417",
        kind=COHERENCE,
    ),
    TextMetric(
        name="long_coherence",
        label="coherence from first to last",
        higher_is_better=True,
        axis="coherence",
        unit="",
        meaning="Whether the last third of a sample belongs to its first: 1 as in real text, 0 as if ends had been shuffled (or "
        "twice as alike).",
        citation="Su et al. 2022, arXiv:2202.06417",
        kind=COHERENCE,
    ),
    TextMetric(
        name="text_novelty",
        label="novelty",
        higher_is_better=True,
        axis="novelty",
        unit="share",
        meaning="How little of the samples stands in the training text letter by letter, in long passages: 1 as of held-out text, "
        "0 if all of it.",
        citation="McCoy et al. 2021, arXiv:2111.09509; Carlini et al. 2023, arXiv:2202.07646",
        kind=NOVELTY,
        sees_copies=True,
    ),
)

TEXT_METRICS: Mapping[str, TextMetric] = {metric.name: metric for metric in _ALL}


def find_text_metric(name: str) -> TextMetric:
    """The metric of a name; MetricError naming the nearest ones when there is none.

    >>> find_text_metric("cluster_js").unit
    'bits'
    """
    if name not in TEXT_METRICS:
        raise MetricError(f"There is no metric of texts {name!r}. {did_you_mean(name, TEXT_METRICS)}")
    return TEXT_METRICS[name]


def available_text_metrics(held_out: Texts, prompted: bool = True) -> tuple[str, ...]:
    """Names of the metrics that can be measured against held-out text, in the order in which people should read them.

    `prompted`: whether it is known how samples had begun. Coherence can be measured where real text shows any.
    """
    clear = pairings_of(held_out)
    unclear = {"prompt_coherence": clear.prompt is None or not prompted, "long_coherence": clear.long is None}
    return tuple(name for name in TEXT_METRICS if not unclear.get(name, False))
