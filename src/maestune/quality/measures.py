"""Scores that models tell of themselves on held-out data, by name: likelihoods and what goes with them."""

from __future__ import annotations

from collections.abc import Mapping

from maestune.quality.metric import Measure

_SHANNON = "Shannon 1951, Prediction and Entropy of Printed English"

_ALL = (
    Measure(
        name="bpc",
        label="bits per character",
        higher_is_better=False,
        unit="bits",
        meaning="How many bits the model needs for a character of held-out text; comparable between ways of cutting text "
        "into tokens.",
        citation=_SHANNON,
    ),
    Measure(
        name="val_loss",
        label="held-out loss",
        higher_is_better=False,
        unit="nats per token",
        meaning="Mean cross-entropy of the next token of held-out text.",
        citation=_SHANNON,
    ),
    Measure(
        name="perplexity",
        label="perplexity",
        higher_is_better=False,
        unit="",
        meaning="Among how many equally likely tokens the model would hesitate as much, on held-out text.",
        citation="Jelinek et al. 1977, Perplexity: a measure of the difficulty of speech recognition tasks",
        ratio_scale=True,
    ),
)

MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _ALL}
