"""What may vary in the training of any family, for a family's space to be put together from.

Every function gives parameters that the trainer reads from any config. A family says where the centre of its priors
lies, how sure that is and who says so, and narrows or widens a range where its kind of model asks for it; a parameter
whose condition no remaining choice can meet is left out.
"""

from __future__ import annotations

from dataclasses import replace

from maestune.space import Choice, Float, Int, Param, Prior, Role
from maestune.types import Value

Range = tuple[float, float]

ADAM = "Kingma & Ba 2015, arXiv 1412.6980"
ADAMW = "Loshchilov & Hutter 2019, arXiv 1711.05101"
BROWN = "Brown et al. 2020, arXiv 2005.14165"
HE = "He et al. 2016, arXiv 1512.03385"
MCCANDLISH = "McCandlish et al. 2018, arXiv 1812.06162"
PASCANU = "Pascanu et al. 2013, arXiv 1211.5063"
PRECHELT = "Prechelt 1998, doi 10.1007/3-540-49430-8_3"
SGDR = "Loshchilov & Hutter 2017, arXiv 1608.03983"
SMITH = "Smith 2017, arXiv 1506.01186"
SUTSKEVER = "Sutskever et al. 2013, Proceedings of Machine Learning Research 28"
TIBSHIRANI = "Tibshirani 1996, doi 10.1111/j.2517-6161.1996.tb02080.x"
WSD = "Hägele et al. 2024, arXiv 2405.18392"
YAZICI = "Yazıcı et al. 2019, arXiv 1806.04498"

# For a family's Fusible: what enters the training as a number, or not at all, whatever the networks. Kinds of schedule
# are among them, because a schedule tells a number a step.
NUMBERS = frozenset(
    (
        "lr",
        "beta1",
        "beta2",
        "momentum",
        "weight_decay",
        "l1",
        "clip",
        "schedule",
        "warmup",
        "decay",
        "lr_floor",
        "step_factor",
        "step_count",
        "cycles",
        "keep",
        "patience",
    )
)
SWITCHES = frozenset(("ema",))


def optimiser(
    lr: Prior,
    *,
    lr_range: Range = (1e-5, 1e-2),
    kinds: tuple[str, ...] = ("adam", "rmsprop", "sgd"),
    kind: Prior = Prior("adam", "high", ADAM),
    beta1: Prior = Prior(0.9, "medium", ADAM),
    beta1_range: Range = (0.0, 0.95),
    beta2: Prior = Prior(0.999, "low", ADAM),
    beta2_range: Range = (0.9, 0.9999),
    momentum: Prior = Prior(0.9, "low", SUTSKEVER),
    momentum_range: Range = (0.0, 0.95),
) -> tuple[Param, ...]:
    """`optimizer`, `lr`, `beta1` and `beta2` of Adam, `momentum` of the others.

    The rate has the range of Lucic et al. 2018 (arXiv 1711.10337) where none is given.
    """
    adam, others = {"optimizer": ("adam",)}, {"optimizer": ("rmsprop", "sgd")}
    return _possible(
        Choice("optimizer", kinds, prior=kind, role=Role.OPTIMIZER),
        Float("lr", *lr_range, scale="log", prior=lr),
        Float("beta1", *beta1_range, prior=beta1, when=adam),
        Float("beta2", *beta2_range, scale="logit", prior=beta2, when=adam),
        Float("momentum", *momentum_range, prior=momentum, when=others),
    )


def batch_size(
    prior: Prior = Prior(64, "medium", MCCANDLISH),
    values: tuple[int, ...] = (16, 32, 64, 128),
    unit: str = "images",
) -> tuple[Param, ...]:
    """`batch_size`: what is shown in a step. It is a part of the structure, since it changes shapes."""
    return (Choice("batch_size", values, ordered=True, prior=prior, role=Role.OPTIMIZER, unit=unit),)


def regularisation(
    weight_decay: Prior = Prior(0.0, "medium", ADAMW),
    l1: Prior = Prior(0.0, "high", TIBSHIRANI),
    clip: Prior = Prior(0.0, "medium", PASCANU),
    *,
    weight_decay_range: Range = (1e-4, 0.3),
    l1_range: Range = (1e-4, 0.1),
    clip_range: Range = (0.1, 10.0),
) -> tuple[Param, ...]:
    """`weight_decay`, `l1` and `clip` (norm of a player's gradient), each off with 0.

    A weight w without a gradient becomes 0 in w / (lr · l1) steps. Of weights of 0.1 (a layer of 100 units) 1,000 steps
    at 1e-3 take a thousandth at the lower end of the range of `l1`, and all at the upper.
    """
    role = Role.REGULARISATION
    return (
        Float("weight_decay", *weight_decay_range, scale="log", prior=weight_decay, role=role, off=0.0),
        Float("l1", *l1_range, scale="log", prior=l1, role=role, off=0.0),
        Float("clip", *clip_range, scale="log", prior=clip, role=role, off=0.0, unit="gradient norm"),
    )


def schedule(
    kind: Prior = Prior("constant", "medium", WSD),
    *,
    kinds: tuple[str, ...] = ("constant", "wsd", "cosine", "step", "cyclical"),
    warmup: Prior = Prior(0.0, "medium", BROWN),
    warmup_range: Range = (0.005, 0.1),
    decay: Prior = Prior(0.2, "medium", WSD),
    decay_range: Range = (0.1, 0.5),
    floor: Prior = Prior(0.1, "medium", BROWN),
    floor_range: Range = (0.0, 0.5),
    step_factor: Prior = Prior(0.1, "low", HE),
    step_factor_range: Range = (0.05, 0.7),
    step_count: Prior = Prior(2, "medium", HE),
    step_count_range: tuple[int, int] = (1, 5),
    cycles: Prior = Prior(4, "low", SMITH),
    cycles_range: tuple[int, int] = (1, 8),
) -> tuple[Param, ...]:
    """`schedule` and `warmup` (0: none), then what only some kinds have.

    `decay` (of wsd), `lr_floor` (share of the peak that wsd, cosine and cyclical fall to; SGDR, SMITH), `step_factor` and
    `step_count` (of step), `cycles` (of cyclical). Shares are of the full training.
    """

    def of(*some: str) -> dict[str, tuple[Value, ...]]:
        return {"schedule": some}

    whole = "of the full training"
    return _possible(
        Choice("schedule", kinds, prior=kind, role=Role.OPTIMIZER),
        Float("warmup", *warmup_range, scale="log", prior=warmup, off=0.0, unit=whole),
        Float("decay", *decay_range, prior=decay, when=of("wsd"), unit=whole),
        Float("lr_floor", *floor_range, prior=floor, when=of("wsd", "cosine", "cyclical"), unit="of the peak"),
        Float("step_factor", *step_factor_range, scale="log", prior=step_factor, when=of("step")),
        Int("step_count", *step_count_range, prior=step_count, role=Role.OPTIMIZER, when=of("step"), unit="drops"),
        Int("cycles", *cycles_range, prior=cycles, role=Role.OPTIMIZER, when=of("cyclical")),
    )


def ema(prior: Prior = Prior(0.0, "medium", YAZICI), range_: Range = (0.9, 0.9999)) -> tuple[Param, ...]:
    """`ema`: decay a step of the weights' moving average, from which samples are drawn; 0 for none.

    0.9 to 0.9999 are half-lives of 7 to 7,000 steps: the upper end should lie well below a full training.
    """
    return (Float("ema", *range_, scale="logit", prior=prior, role=Role.SAMPLING, off=0.0),)


def ending(
    keep: Prior = Prior("last", "medium", PRECHELT),
    patience: Prior = Prior(0, "medium", PRECHELT),
    patiences: tuple[int, ...] = (0, 2, 4),
) -> tuple[Param, ...]:
    """`keep` ("last" or "best" of the looks at a full training) and `patience` (validations without improvement; 0: to the end)."""
    return (
        Choice("keep", ("last", "best"), prior=keep, role=Role.OPTIMIZER),
        Choice("patience", patiences, ordered=True, prior=patience, role=Role.OPTIMIZER, unit="validations"),
    )


def _possible(choice: Choice, *params: Param) -> tuple[Param, ...]:
    """The choice and those of the parameters that one of its values activates, conditions cut down to these."""
    found: list[Param] = [choice]
    for param in params:
        allowed = param.when.get(choice.name)
        if allowed is None:
            found.append(param)
        elif remaining := tuple(value for value in allowed if value in choice.values):
            found.append(replace(param, when={**param.when, choice.name: remaining}))
    return tuple(found)
