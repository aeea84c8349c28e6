"""Which weights of a training are its result, and when it may end before its time: pure decisions.

Of a full training of S steps a score on held-out data is computed after every S / 8 steps, always on as much data and
as many samples, since most scores depend on their number. With `keep` "best" the weights of the best validation are the
model; with a `patience` of n the training ends after n validations in a row without improvement (Prechelt 1998, Early
stopping — but when?, doi 10.1007/3-540-49430-8_3). Choosing flatters: what was chosen by the search split is scored for
the verdict on the report split, which had no part in it.

A schedule knows the length of the full training alone: who ends early ends at the rate of that moment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from maestune.errors import SettingsError, did_you_mean
from maestune.types import Config, Objective

VALIDATIONS = 8
Keep = Literal["last", "best"]
_KEPT = ("last", "best")


def validation_steps(full_steps: int, validations: int = VALIDATIONS) -> tuple[int, ...]:
    """The validation steps of a full training, the last of them its end.

    >>> validation_steps(100, validations=3)
    (33, 67, 100)
    """
    return tuple(sorted({max(1, round(full_steps * k / validations)) for k in range(1, validations + 1)}))


@dataclass(frozen=True)
class BestSoFar:
    """Step and value of the best validation so far, and the number of validations since.

    `step` is 0 before the first that had a value.
    """

    step: int = 0
    value: float = math.nan
    since: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for a checkpoint."""
        return {"step": self.step, "value": self.value if self.step else None, "since": self.since}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> BestSoFar:
        """What `to_dict` wrote."""
        value = data["value"]
        return BestSoFar(int(data["step"]), math.nan if value is None else float(value), int(data["since"]))


@dataclass(frozen=True)
class EarlyStopping:
    """Early stopping: the score, which weights are kept, and after how many validations without improvement training ends (0: never).

    >>> stopping, best = EarlyStopping(Objective("fd"), keep="best", patience=2), BestSoFar()
    >>> for step, fd in ((10, 5.0), (20, 3.0), (30, 4.0), (40, 3.5)):
    ...     best = stopping.update(best, step, fd)
    >>> best, stopping.stops(best)
    (BestSoFar(step=20, value=3.0, since=2), True)
    """

    objective: Objective
    keep: Keep = "last"
    patience: int = 0

    def update(self, best: BestSoFar, step: int, value: float) -> BestSoFar:
        """The state after one more validation. A value that is not finite, or no better than the best, is no improvement."""
        if math.isfinite(value) and (not best.step or self.objective.loss(value) < self.objective.loss(best.value)):
            return BestSoFar(step, value)
        return BestSoFar(best.step, best.value, best.since + 1)

    def stops(self, best: BestSoFar) -> bool:
        """Whether the training ends here."""
        return 0 < self.patience <= best.since

    def is_best(self, best: BestSoFar, step: int) -> bool:
        """Whether the weights of this step must be kept for now: those of the best validation so far."""
        return self.keep == "best" and best.step == step


def early_stopping_of(config: Config, objective: Objective) -> EarlyStopping | None:
    """Early stopping as a config wants it by its `keep` and `patience`; None where all of it is trained and the last is kept.

    Raises SettingsError for values that they cannot have.
    """
    kept, patience = config.text("keep", "last"), config.number("patience", 0)
    if kept not in _KEPT:
        raise SettingsError(f"keep: {kept!r} is not known. {did_you_mean(kept, _KEPT)}")
    if patience < 0 or not float(patience).is_integer():
        raise SettingsError(
            f"patience: {patience:g} is no number of validations; give a whole number, 0 for a training that never ends early."
        )
    if kept == "last" and patience == 0:
        return None
    return EarlyStopping(objective, "best" if kept == "best" else "last", int(patience))
