"""Rules: values that follow from the data and from other values, as functions with their source.

A number such as an R1 weight of 10 is right for one resolution and batch size; the rule it comes from is right for more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from maestune.types import Value


@dataclass(frozen=True)
class Case:
    """What a recipe is applied to, as far as it is known; None where it is not.

    `side`: larger side of the images in pixels; `n_train`: images or tokens to learn from; `tokens`: size of a text's
    vocabulary; `parameters`: of the model.
    """

    side: int | None = None
    n_train: int | None = None
    tokens: int | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Rule:
    """A rule: its formula in words, where it comes from, and the value for a case and a configuration.

    `value` gives None where the case or the configuration does not tell what it needs.
    """

    name: str
    formula: str
    citation: str
    value: Callable[[Case, Mapping[str, Value]], float | None]


def r1_gamma(side: float, batch: float) -> float:
    """Weight γ of an R1 penalty γ/2 ‖∇D‖²: 0.0002 · pixels / batch size (Karras et al. 2020, arXiv 2006.06676).

    A starting point: the authors advise to try a quarter to four times of it.

    >>> r1_gamma(256, 16)
    0.8192
    """
    return 0.0002 * side**2 / batch


def lr_of_parameters(parameters: float) -> float:
    """Adam's learning rate of a transformer language model by its number of parameters: 0.458 · N^-0.365.

    Least squares in logarithms to the rates of GPT-3 (Brown et al. 2020, arXiv 2005.14165) and OPT (Zhang et al. 2022,
    arXiv 2205.01068) from 8 million to 13 billion parameters; residual 0.04 decades.

    >>> f"{lr_of_parameters(125e6):.1e}"
    '5.1e-04'
    """
    return 0.458 * parameters**-0.365


def ema_decay(half_life: float) -> float:
    """Decay a step of a moving average that forgets half within so many steps."""
    return 0.5 ** (1.0 / half_life)


def ema_of_batch(batch: float) -> float:
    """Decay a step where the half-life is batch · 10 / 32 thousand images (Karras et al. 2020, arXiv 2006.06676).

    With the batch size the images of a step grow as the half-life does: it is 312.5 steps for every batch size.

    >>> round(ema_of_batch(32), 5)
    0.99778
    """
    images = batch * 10_000 / 32
    return ema_decay(images / batch)


def dcgan_width(side: float) -> int:
    """Channels at the image in DCGAN's networks: 64 from 64 pixels on (Radford et al. 2016, arXiv 1511.06434), half below.

    >>> dcgan_width(64), dcgan_width(28)
    (64, 32)
    """
    return 64 if side >= 64 else 32


def transformer_parameters(layers: float, width: float, tokens: float) -> float:
    """Parameters of a transformer language model: 12 · layers · width² in its blocks, tokens · width in the embedding."""
    return 12 * layers * width**2 + tokens * width


def _r1_gamma(case: Case, config: Mapping[str, Value]) -> float | None:
    return None if case.side is None or "batch_size" not in config else r1_gamma(case.side, float(config["batch_size"]))


def _dcgan_width(case: Case, config: Mapping[str, Value]) -> float | None:
    return None if case.side is None else dcgan_width(case.side)


def _lr_of_parameters(case: Case, config: Mapping[str, Value]) -> float | None:
    if case.parameters is not None:
        return lr_of_parameters(case.parameters)
    if "layers" not in config or "width" not in config:
        return None
    return lr_of_parameters(
        transformer_parameters(float(config["layers"]), float(config["width"]), float(case.tokens or 0))
    )


def _ema_of_batch(case: Case, config: Mapping[str, Value]) -> float | None:
    return None if "batch_size" not in config else ema_of_batch(float(config["batch_size"]))


_ALL = (
    Rule("r1_gamma", "0.0002 · pixels / batch size", "Karras et al. 2020, arXiv 2006.06676", _r1_gamma),
    Rule(
        "dcgan_width",
        "64 channels from 64 pixels on, half of it below",
        "Radford et al. 2016, arXiv 1511.06434",
        _dcgan_width,
    ),
    Rule(
        "lr_of_parameters",
        "0.458 · parameters^-0.365",
        "fitted to the rates of Brown et al. 2020, arXiv 2005.14165; Zhang et al. 2022, arXiv 2205.01068",
        _lr_of_parameters,
    ),
    Rule(
        "ema_of_batch",
        "a half-life of batch size · 10 / 32 thousand images",
        "Karras et al. 2020, arXiv 2006.06676",
        _ema_of_batch,
    ),
)

RULES: Mapping[str, Rule] = {rule.name: rule for rule in _ALL}
