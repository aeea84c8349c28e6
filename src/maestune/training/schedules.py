"""Learning-rate schedules as pure functions of progress in (0, 1): the factor that multiplies the rate.

All of them know warm-up: linear from 0 over the first `warmup` of the full training. `floor` is the share of the peak to
which they fall. Every share is one of the full training, so that a rung is a prefix of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from maestune.errors import SettingsError, did_you_mean
from maestune.types import Config

Schedule = Callable[[float], float]


def constant(progress: float, warmup: float = 0.0) -> float:
    """Linear from 0 to 1 over the first `warmup` of the full training, then 1.

    >>> constant(0.05, warmup=0.1), constant(0.5)
    (0.5, 1.0)
    """
    return progress / warmup if progress < warmup else 1.0


def warmup_stable_decay(progress: float, warmup: float = 0.0, decay: float = 0.2, floor: float = 0.0) -> float:
    """Like `constant`, then linear to `floor` over the last `decay` of the full training (Hägele et al. 2024, arXiv 2405.18392).

    Where warm-up and decay overlap the smaller factor holds.

    >>> warmup_stable_decay(0.5), round(warmup_stable_decay(0.9, decay=0.2), 6)
    (1.0, 0.5)
    """
    left = max(0.0, 1.0 - progress) / decay if decay > 0 and progress > 1.0 - decay else 1.0
    return min(constant(progress, warmup), floor + (1.0 - floor) * left)


def cosine(progress: float, warmup: float = 0.0, floor: float = 0.0) -> float:
    """Half a cosine wave from 1 after the warm-up to `floor` at the end (Loshchilov & Hutter 2017, arXiv 1608.03983).

    >>> round(cosine(0.5), 6), round(cosine(1.0, floor=0.1), 6)
    (0.5, 0.1)
    """
    wave = 0.5 * (1.0 + math.cos(math.pi * _after(progress, warmup)))
    return constant(progress, warmup) * (floor + (1.0 - floor) * wave)


def step_decay(progress: float, warmup: float = 0.0, factor: float = 0.1, count: int = 2) -> float:
    """Multiplied by `factor` after each of `count` + 1 equal parts of what follows the warm-up but the last.

    He et al. 2016 (arXiv 1512.03385) drop twice by ten, after a half and three quarters.

    >>> [round(step_decay(p, count=2), 6) for p in (0.3, 0.5, 0.9)]
    [1.0, 0.1, 0.01]
    """
    drops = min(int(_after(progress, warmup) * (count + 1)), count)
    return constant(progress, warmup) * factor**drops


def cyclical(progress: float, warmup: float = 0.0, floor: float = 0.25, cycles: int = 4) -> float:
    """`cycles` triangles over the full training, each from `floor` to 1 and back (Smith 2017, arXiv 1506.01186).

    It ends low. A cycle rises by itself; where there is a warm-up as well the smaller factor holds.

    >>> [round(cyclical(p, floor=0.2, cycles=2), 6) for p in (0.125, 0.25, 0.5, 0.75, 1.0)]
    [0.6, 1.0, 0.2, 1.0, 0.2]
    """
    phase = progress * cycles % 1.0
    return min(constant(progress, warmup), floor + (1.0 - floor) * (1.0 - abs(2.0 * phase - 1.0)))


def _after(progress: float, warmup: float) -> float:
    """Progress in [0, 1] of what follows the warm-up."""
    return min(max((progress - warmup) / (1.0 - warmup), 0.0), 1.0) if warmup < 1.0 else 0.0


# Of each kind, the function and which of its arguments are read from which parameter.
SCHEDULES: Mapping[str, tuple[Callable[..., float], Mapping[str, str]]] = {
    "constant": (constant, {}),
    "wsd": (warmup_stable_decay, {"decay": "decay", "floor": "lr_floor"}),
    "cosine": (cosine, {"floor": "lr_floor"}),
    "step": (step_decay, {"factor": "step_factor", "count": "step_count"}),
    "cyclical": (cyclical, {"floor": "lr_floor", "cycles": "cycles"}),
}
_WHOLE = ("step_count", "cycles")


def schedule_of(config: Config) -> Schedule | None:
    """The schedule that a config asks for; None where the rate never changes.

    Reads `schedule` (a key of SCHEDULES), `warmup`, and of the others what the kind uses: `decay` and `lr_floor` (shares),
    `step_factor`, `step_count`, `cycles`; those that are absent have the values above. Raises SettingsError for a kind
    that is not known, and for numbers outside their range.
    """
    kind = config.text("schedule", "constant")
    if kind not in SCHEDULES:
        raise SettingsError(f"schedule: {kind!r} is not known. {did_you_mean(kind, SCHEDULES)}")
    function, names = SCHEDULES[kind]
    numbers = {"warmup": _checked("warmup", config.number("warmup", 0.0))}
    for argument, name in names.items():
        if name in config:
            number = _checked(name, config.number(name))
            numbers[argument] = int(number) if name in _WHOLE else number
    if kind == "constant" and numbers["warmup"] == 0:
        return None
    return partial(function, **numbers)


def _checked(name: str, number: float) -> float:
    """The number; SettingsError where it is none of its kind."""
    if name in _WHOLE:
        if number >= 1 and float(number).is_integer():
            return number
        raise SettingsError(f"{name}: {number:g} is no whole number from 1; give for example {name}=3.")
    if 0 <= number <= 1:
        return number
    raise SettingsError(f"{name}: {number:g} is outside 0:1; give a share between them, for example {name}=0.1.")
