"""Learning-rate schedules as pure functions of progress in (0, 1): the factor that multiplies the rate."""

from __future__ import annotations

from collections.abc import Callable

from maestune.errors import SettingsError, did_you_mean
from maestune.types import Config

Schedule = Callable[[float], float]


def constant(progress: float, warmup: float = 0.0) -> float:
    """Linear from 0 to 1 over the first `warmup` of the full training, then 1.

    >>> constant(0.05, warmup=0.1), constant(0.5)
    (0.5, 1.0)
    """
    return progress / warmup if progress < warmup else 1.0


def warmup_stable_decay(progress: float, warmup: float = 0.0, decay: float = 0.2) -> float:
    """Like `constant`, then linear to 0 over the last `decay` of the full training (Hägele et al. 2024, arXiv 2405.18392).

    Where warm-up and decay overlap the smaller factor holds.

    >>> warmup_stable_decay(0.5), round(warmup_stable_decay(0.9, decay=0.2), 6)
    (1.0, 0.5)
    """
    falling = (1.0 - progress) / decay if decay > 0 and progress > 1.0 - decay else 1.0
    return max(0.0, min(constant(progress, warmup), falling))


def schedule_of(config: Config) -> Schedule | None:
    """The schedule that a config asks for; None where the rate never changes.

    Reads `schedule` ("constant" or "wsd"), `warmup` and `decay` (shares of the full training).
    """
    kind, warmup = config.text("schedule", "constant"), config.number("warmup", 0.0)
    if kind == "constant":
        return None if warmup <= 0 else lambda progress: constant(progress, warmup)
    if kind == "wsd":
        decay = config.number("decay")
        return lambda progress: warmup_stable_decay(progress, warmup, decay)
    raise SettingsError(f"schedule: {kind!r} is not known. {did_you_mean(kind, ('constant', 'wsd'))}")
