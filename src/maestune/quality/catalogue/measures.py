"""Scores that models tell of themselves on held-out data, by name: likelihoods and what goes with them."""

from __future__ import annotations

from collections.abc import Mapping

from maestune.quality.metric import Measure

_VAE = "Kingma & Welling 2014, arXiv:1312.6114"
_IWAE = "Burda et al. 2016, arXiv:1509.00519"
_SHANNON = "Shannon 1951, Prediction and Entropy of Printed English"

_ALL = (
    Measure(
        name="bpc",
        label="bits per character",
        higher_is_better=False,
        axis="likelihood",
        unit="bits",
        lower=0.0,
        meaning="How many bits the model needs for a character of held-out text; comparable between ways of cutting text "
        "into tokens.",
        citation=_SHANNON,
    ),
    Measure(
        name="val_loss",
        label="held-out loss",
        higher_is_better=False,
        axis="likelihood",
        unit="nats per token",
        lower=0.0,
        meaning="Mean cross-entropy of the next token of held-out text.",
        citation=_SHANNON,
    ),
    Measure(
        name="perplexity",
        label="perplexity",
        higher_is_better=False,
        axis="likelihood",
        unit="",
        lower=1.0,
        meaning="Among how many equally likely tokens the model would hesitate as much, on held-out text.",
        citation="Jelinek et al. 1977, Perplexity: a measure of the difficulty of speech recognition tasks",
        ratio_scale=True,
    ),
    Measure(
        name="elbo_nats",
        label="negative ELBO",
        higher_is_better=False,
        axis="likelihood",
        unit="nats per image",
        meaning="What held-out images cost by the evidence lower bound; comparable only between models of the same "
        "likelihood of pixels.",
        citation=_VAE,
        within="likelihood",
    ),
    Measure(
        name="elbo_bpd",
        label="bits per dimension (ELBO)",
        higher_is_better=False,
        axis="likelihood",
        unit="bits",
        meaning="The same for each value of a pixel, of 256 levels (uniformly dequantised for a Gaussian likelihood; no "
        "likelihood of grey levels for a Bernoulli one).",
        citation=_VAE,
        within="likelihood",
    ),
    Measure(
        name="iwae_nats",
        label="importance-weighted bound",
        higher_is_better=False,
        axis="likelihood",
        unit="nats per image",
        meaning="The cost by a tighter bound, of 64 weighted draws; the gap is measured on the first 128 held-out images.",
        citation=_IWAE,
        within="likelihood",
    ),
    Measure(
        name="kl_nats",
        label="KL of the latents",
        higher_is_better=False,
        axis="likelihood",
        unit="nats per image",
        lower=0.0,
        meaning="What the latents know of an image: 0 when they are ignored. A part of the bound, neither good nor bad alone.",
        citation=_VAE,
        goal=False,
    ),
    Measure(
        name="active_units",
        label="active latents",
        higher_is_better=True,
        axis="diversity",
        unit="latents",
        lower=0.0,
        meaning="How many latents have means that vary over held-out images; few of many is posterior collapse.",
        citation=_IWAE,
    ),
    Measure(
        name="flow_loss",
        label="held-out flow loss",
        higher_is_better=False,
        axis="likelihood",
        unit="",
        lower=0.0,
        meaning="Squared error of the velocity on held-out images, the same times and noise for all models; says little "
        "about how samples look.",
        citation="Lipman et al. 2023, arXiv:2210.02747",
    ),
)

MEASURES: Mapping[str, Measure] = {measure.name: measure for measure in _ALL}
