"""PyTorch's optimisers, as a config asks for them, in their fastest form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from maestune.errors import SettingsError, did_you_mean
from maestune.types import Config


def _adam(parameters: Sequence[nn.Parameter], config: Config, lr: float) -> Optimizer:
    betas = (config.number("beta1"), config.number("beta2"))
    weight_decay = config.number("weight_decay", 0.0)
    if weight_decay > 0:
        return AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
    return Adam(parameters, lr=lr, betas=betas, fused=True)


def _rmsprop(parameters: Sequence[nn.Parameter], config: Config, lr: float) -> Optimizer:
    return RMSprop(parameters, lr=lr, weight_decay=config.number("weight_decay", 0.0), foreach=True)


def _sgd(parameters: Sequence[nn.Parameter], config: Config, lr: float) -> Optimizer:
    return SGD(
        parameters,
        lr=lr,
        momentum=config.number("momentum", 0.0),
        weight_decay=config.number("weight_decay", 0.0),
        fused=True,
    )


OPTIMISERS: Mapping[str, Callable[[Sequence[nn.Parameter], Config, float], Optimizer]] = {
    "adam": _adam,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}


def make_optimiser(parameters: Sequence[nn.Parameter], config: Config, lr: float) -> Optimizer:
    """The optimiser of one player at a rate `lr`.

    Reads `optimizer` (adam, rmsprop, sgd), `beta1`, `beta2` (adam), `momentum` (sgd) and `weight_decay`, which is
    decoupled for Adam (Loshchilov & Hutter 2019, arXiv 1711.05101) and an L2 penalty for the other two, as in PyTorch.
    """
    kind = config.text("optimizer")
    if kind not in OPTIMISERS:
        raise SettingsError(f"optimizer: {kind!r} is not known. {did_you_mean(kind, OPTIMISERS)}")
    return OPTIMISERS[kind](parameters, config, lr)
