"""Which weights of a training are its result, and when it may end before its time: pure decisions.

Of a full training of S steps a score on held-out data is looked at after every S / 8 steps, always on as much data and
as many samples, since most scores depend on their number. With `keep` "best" the weights of the best look are the
model; with a `patience` of n the training ends after n looks in a row that brought no improvement (Prechelt 1998, Early
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

LOOKS = 8
Keep = Literal["last", "best"]
_KEPT = ("last", "best")


def look_steps(full_steps: int, looks: int = LOOKS) -> tuple[int, ...]:
    """The steps of a full training after which it is looked at, the last of them its end.

    >>> look_steps(100, looks=3)
    (33, 67, 100)
    """
    return tuple(sorted({max(1, round(full_steps * k / looks)) for k in range(1, looks + 1)}))


@dataclass(frozen=True)
class Seen:
    """What the looks so far have shown: the step and value of the best, and how many looks there were since.

    `step` is 0 before the first that had a value.
    """

    step: int = 0
    value: float = math.nan
    since: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for a checkpoint."""
        return {"step": self.step, "value": self.value if self.step else None, "since": self.since}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Seen:
        """What `to_dict` wrote."""
        value = data["value"]
        return Seen(int(data["step"]), math.nan if value is None else float(value), int(data["since"]))


@dataclass(frozen=True)
class Watch:
    """How a training is watched: by which score, which weights are kept, and after how many looks in vain it ends (0: never).

    >>> watch, seen = Watch(Objective("fd"), keep="best", patience=2), Seen()
    >>> for step, fd in ((10, 5.0), (20, 3.0), (30, 4.0), (40, 3.5)):
    ...     seen = watch.looked(seen, step, fd)
    >>> seen, watch.stops(seen)
    (Seen(step=20, value=3.0, since=2), True)
    """

    objective: Objective
    keep: Keep = "last"
    patience: int = 0

    def looked(self, seen: Seen, step: int, value: float) -> Seen:
        """What is known after one more look. A value that is not finite, or no better than the best, is no improvement."""
        if math.isfinite(value) and (not seen.step or self.objective.loss(value) < self.objective.loss(seen.value)):
            return Seen(step, value)
        return Seen(seen.step, seen.value, seen.since + 1)

    def stops(self, seen: Seen) -> bool:
        """Whether the training ends here."""
        return 0 < self.patience <= seen.since

    def keeps(self, seen: Seen, step: int) -> bool:
        """Whether the weights of this step must be kept for now: those of the best look so far."""
        return self.keep == "best" and seen.step == step


def watch_of(config: Config, objective: Objective) -> Watch | None:
    """How a config wants to be watched by its `keep` and `patience`; None where all of it is trained and the last is kept.

    Raises SettingsError for values that they cannot have.
    """
    kept, patience = config.text("keep", "last"), config.number("patience", 0)
    if kept not in _KEPT:
        raise SettingsError(f"keep: {kept!r} is not known. {did_you_mean(kept, _KEPT)}")
    if patience < 0 or not float(patience).is_integer():
        raise SettingsError(
            f"patience: {patience:g} is no number of looks; give a whole number, 0 for a training that never ends early."
        )
    if kept == "last" and patience == 0:
        return None
    return Watch(objective, "best" if kept == "best" else "last", int(patience))
