"""Parameters: what may vary, in which range and on which scale, each a frozen value.

Every parameter maps to the unit interval and back (`to_unit`, `from_unit`), so that samplers need to know nothing of
scales. The numeric value that switches a parameter off (`off`: no dropout, no penalty) takes the first
`OFF_SHARE` of the interval: "not used" is then a real possibility for a sampler, not a point of measure zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from maestune.errors import SpaceError
from maestune.types import Value

OFF_SHARE = 0.25
When = Mapping[str, tuple[Value, ...]]


class Role(StrEnum):
    """What kind of hyperparameter it is; strategies and reports group by it."""

    OPTIMIZER = "optimizer"
    REGULARISATION = "regularisation"
    ARCHITECTURE = "architecture"
    LOSS = "loss"
    DATA = "data"
    SAMPLING = "sampling"


Confidence = Literal["low", "medium", "high"]

# Standard deviation of the prior in the unit interval, and the mass of the centre among choices.
PRIOR_SPREAD: Mapping[Confidence, float] = {"low": 0.25, "medium": 0.15, "high": 0.08}
PRIOR_MASS: Mapping[Confidence, float] = {"low": 0.4, "medium": 0.6, "high": 0.8}


@dataclass(frozen=True)
class Prior:
    """What is believed to be good before anything was tried: a centre, how sure, and who says so."""

    centre: Value
    confidence: Confidence = "medium"
    citation: str = ""


@dataclass(frozen=True)
class Float:
    """A real parameter in [low, high]; scale "log" for rates and weights, "logit" for decays close to 1.

    >>> lr = Float("lr", 1e-5, 1e-2, scale="log", prior=Prior(2e-4))
    >>> round(lr.to_unit(1e-3), 3), round(lr.from_unit(0.5), 6)
    (0.667, 0.000316)
    """

    name: str
    low: float
    high: float
    scale: Literal["linear", "log", "logit"] = "linear"
    prior: Prior | None = None
    role: Role = Role.OPTIMIZER
    off: float | None = None
    unit: str = ""
    when: When = field(default_factory=dict[str, tuple[Value, ...]])

    def __post_init__(self) -> None:
        for bound in ("low", "high"):
            if not math.isfinite(getattr(self, bound)):
                raise SpaceError(f"{self.name}: {bound} is {getattr(self, bound)}; a finite number is needed.")
        if self.low >= self.high:
            raise SpaceError(
                f"{self.name}: range {self.low:g}:{self.high:g} is upside down or empty; low must be smaller than high. "
                f"To fix the value use --set {self.name}={self.low:g}."
            )
        if self.scale == "log" and self.low <= 0:
            raise SpaceError(f"{self.name}: low is {self.low:g} on a log scale; it must be above 0 (for example 1e-6).")
        if self.scale == "logit" and not (self.low > 0 and self.high < 1):
            raise SpaceError(f"{self.name}: range {self.low:g}:{self.high:g} on a logit scale must lie inside (0, 1).")
        if self.off is not None and self.low <= self.off <= self.high:
            raise SpaceError(
                f"{self.name}: the off value {self.off:g} lies inside the range {self.low:g}:{self.high:g}; "
                "it must lie outside (for example low=0.01, off=0)."
            )
        if self.prior is not None:
            self.check(self.prior.centre, what="prior centre")

    def _warp(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        if self.scale == "logit":
            return math.log(value) - math.log1p(-value)
        return value

    def to_unit(self, value: Value) -> float:
        """Position of a value in [0, 1]."""
        number = float(value)
        if self.off is not None and number == self.off:
            return OFF_SHARE / 2
        low, high = self._warp(self.low), self._warp(self.high)
        position = min(max((self._warp(number) - low) / (high - low), 0.0), 1.0)
        return position if self.off is None else OFF_SHARE + (1 - OFF_SHARE) * position

    def from_unit(self, position: float) -> float:
        """The value at a position in [0, 1], rounded to six significant digits (what a person would write down)."""
        position = min(max(position, 0.0), 1.0)
        if self.off is not None:
            if position < OFF_SHARE:
                return self.off
            position = (position - OFF_SHARE) / (1 - OFF_SHARE)
        low, high = self._warp(self.low), self._warp(self.high)
        warped = low + position * (high - low)
        if self.scale == "log":
            value = math.exp(warped)
        elif self.scale == "logit":
            value = 1 / (1 + math.exp(-warped))
        else:
            value = warped
        return min(max(float(f"{value:.6g}"), self.low), self.high)

    def check(self, value: Value, what: str = "value") -> float:
        """The value as a float; raises SpaceError when it is not a number in the range (or the off value)."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SpaceError(f"{self.name}: {what} {value!r} is not a finite number.")
        if (self.off is not None and value == self.off) or self.low <= value <= self.high:
            return float(value)
        off = "" if self.off is None else f" (or {self.off:g} for off)"
        raise SpaceError(
            f"{self.name}: {what} {value:g} is outside {self.low:g}:{self.high:g}{off}. "
            f"Widen the range (--range {self.name}={min(value, self.low):g}:{max(value, self.high):g}) or choose a value inside."
        )

    @property
    def points(self) -> int | None:
        """Number of different values; None when infinite."""
        return None


@dataclass(frozen=True)
class Int:
    """A whole-number parameter in [low, high], both included."""

    name: str
    low: int
    high: int
    scale: Literal["linear", "log"] = "linear"
    prior: Prior | None = None
    role: Role = Role.ARCHITECTURE
    unit: str = ""
    when: When = field(default_factory=dict[str, tuple[Value, ...]])

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise SpaceError(f"{self.name}: range {self.low}:{self.high} is upside down; low must not exceed high.")
        if self.scale == "log" and self.low < 1:
            raise SpaceError(f"{self.name}: low is {self.low} on a log scale; it must be at least 1.")
        if self.prior is not None:
            self.check(self.prior.centre, what="prior centre")

    def _edges(self) -> tuple[float, float]:
        # Each whole number owns an equal share of the (warped) line: [low - 1/2, high + 1/2].
        low, high = self.low - 0.5, self.high + 0.5
        return (math.log(low), math.log(high)) if self.scale == "log" else (low, high)

    def to_unit(self, value: Value) -> float:
        """Position of a value in [0, 1]."""
        low, high = self._edges()
        number = math.log(float(value)) if self.scale == "log" else float(value)
        return min(max((number - low) / (high - low), 0.0), 1.0)

    def from_unit(self, position: float) -> int:
        """The value at a position in [0, 1]."""
        low, high = self._edges()
        warped = low + min(max(position, 0.0), 1.0) * (high - low)
        number = math.exp(warped) if self.scale == "log" else warped
        return min(max(round(number), self.low), self.high)

    def check(self, value: Value, what: str = "value") -> int:
        """The value as an int; raises SpaceError when it is not a whole number in the range."""
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole:
            raise SpaceError(f"{self.name}: {what} {value!r} is not a whole number.")
        number = int(value)
        if not self.low <= number <= self.high:
            raise SpaceError(
                f"{self.name}: {what} {number} is outside {self.low}:{self.high}. Widen the range "
                f"(--range {self.name}={min(number, self.low)}:{max(number, self.high)}) or choose a value inside."
            )
        return number

    @property
    def points(self) -> int | None:
        """Number of different values."""
        return self.high - self.low + 1


@dataclass(frozen=True)
class Choice:
    """One of several values. `ordered=True` (numbers in growing order) lets samplers use that neighbours are alike."""

    name: str
    values: tuple[Value, ...]
    ordered: bool = False
    prior: Prior | None = None
    role: Role = Role.ARCHITECTURE
    unit: str = ""
    when: When = field(default_factory=dict[str, tuple[Value, ...]])

    def __post_init__(self) -> None:
        if not self.values:
            raise SpaceError(f"{self.name}: a choice needs at least one value; none was given.")
        if len(set(self.values)) != len(self.values):
            raise SpaceError(f"{self.name}: the choices {list(self.values)!r} contain a value twice.")
        if self.prior is not None:
            self.check(self.prior.centre, what="prior centre")

    def to_unit(self, value: Value) -> float:
        """The middle of the value's share of [0, 1]."""
        return (self.values.index(self.check(value)) + 0.5) / len(self.values)

    def from_unit(self, position: float) -> Value:
        """The value at a position in [0, 1]."""
        return self.values[min(int(max(position, 0.0) * len(self.values)), len(self.values) - 1)]

    def check(self, value: Value, what: str = "value") -> Value:
        """The value; raises SpaceError when it is none of the choices."""
        for known in self.values:
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return known
        raise SpaceError(f"{self.name}: {what} {value!r} is none of {', '.join(map(str, self.values))}.")

    @property
    def points(self) -> int | None:
        """Number of different values."""
        return len(self.values)


Param = Float | Int | Choice
