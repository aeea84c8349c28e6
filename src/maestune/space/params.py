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
from typing import Literal, TypeGuard, cast

from maestune.errors import SpaceError, did_you_mean
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
    """What is believed to be good before anything was tried: a centre, how sure, and who says so.

    `steps`: the length of the trainings that it is known from, where what is best depends on that (learning rates).
    `practice`: what has been believed since, where that is something else. A search starts at the centre, and draws as
    practice (`with_current_priors`) and the length of its own trainings (`rescale_rates`) have it.
    """

    centre: Value
    confidence: Confidence = "medium"
    citation: str = ""
    steps: int | None = None
    practice: Prior | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise SpaceError(f"A prior's steps are {self.steps}; a whole number above 0 is needed.")


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
        for bound in ("low", "high", "off"):
            value = getattr(self, bound)
            if not _is_finite_number(value) and not (bound == "off" and value is None):
                raise SpaceError(f"{self.name}: {bound} is {value!r}; a finite number is needed.")
        _check_scale(self.name, self.scale, ("linear", "log", "logit"))
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
        _check_prior(self)

    def _warp(self, value: float) -> float:
        if self.scale == "log":
            return math.log(value)
        if self.scale == "logit":
            return math.log(value) - math.log1p(-value)
        return value

    def to_unit(self, value: Value) -> float:
        """Position of a value in [0, 1], of the nearest bound for a value outside."""
        number = float(value)
        if self.off is not None and number == self.off:
            return OFF_SHARE / 2
        # Values of a wider range (an earlier stage's) come here too; where they are clipped they may have no logarithm.
        low, high = self._warp(self.low), self._warp(self.high)
        position = (self._warp(min(max(number, self.low), self.high)) - low) / (high - low)
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
        if not _is_finite_number(value):
            raise SpaceError(
                f"{self.name}: {what} {value!r} is not a finite number; give one in {self.low:g}:{self.high:g}."
            )
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
        for bound in ("low", "high"):
            value = getattr(self, bound)
            if isinstance(value, bool) or not isinstance(value, int):
                raise SpaceError(f"{self.name}: {bound} is {value!r}; a whole number is needed.")
        _check_scale(self.name, self.scale, ("linear", "log"))
        if self.low > self.high:
            raise SpaceError(f"{self.name}: range {self.low}:{self.high} is upside down; low must not exceed high.")
        if self.scale == "log" and self.low < 1:
            raise SpaceError(f"{self.name}: low is {self.low} on a log scale; it must be at least 1.")
        _check_prior(self)

    def _edges(self) -> tuple[float, float]:
        # Each whole number owns an equal share of the (warped) line: [low - 1/2, high + 1/2].
        low, high = self.low - 0.5, self.high + 0.5
        return (math.log(low), math.log(high)) if self.scale == "log" else (low, high)

    def to_unit(self, value: Value) -> float:
        """Position of a value in [0, 1], of the nearest bound for a value outside."""
        low, high = self._edges()
        number = min(max(float(value), self.low), self.high)
        return ((math.log(number) if self.scale == "log" else number) - low) / (high - low)

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
            raise SpaceError(
                f"{self.name}: {what} {value!r} is not a whole number; give one in {self.low}:{self.high}."
            )
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
    """One of several values. `ordered=True` (numbers in growing order) lets samplers use that neighbours are alike.

    >>> Choice("batch_size", (16, 32, 64), ordered=True).from_unit(0.5)
    32
    """

    name: str
    values: tuple[Value, ...]
    ordered: bool = False
    prior: Prior | None = None
    role: Role = Role.ARCHITECTURE
    unit: str = ""
    when: When = field(default_factory=dict[str, tuple[Value, ...]])

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _as_tuple(self.name, self.values))
        if not self.values:
            raise SpaceError(f"{self.name}: a choice needs at least one value; none was given.")
        if len(set(self.values)) != len(self.values):
            raise SpaceError(f"{self.name}: the choices {list(self.values)!r} contain a value twice; give each once.")
        if self.ordered:
            numbers = [float(v) for v in self.values if _is_finite_number(v)]
            if len(numbers) < len(self.values) or numbers != sorted(numbers):
                raise SpaceError(
                    f"{self.name}: the ordered choices {list(self.values)!r} are not numbers in growing order; "
                    "sort them, or leave out ordered=True."
                )
        _check_prior(self)

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
        choices = [str(v) for v in self.values]
        raise SpaceError(
            f"{self.name}: {what} {value!r} is none of its choices ({', '.join(choices)}). "
            f"{did_you_mean(str(value), choices)}"
        )

    @property
    def points(self) -> int | None:
        """Number of different values."""
        return len(self.values)


Param = Float | Int | Choice


def _as_tuple(name: str, values: object) -> tuple[Value, ...]:
    # A lone string would pass for a tuple of its letters.
    if not isinstance(values, list | tuple):
        raise SpaceError(f"{name}: the choices are {values!r}; a tuple or list is needed, for example ({values!r},).")
    known: list[Value] = []
    for value in cast("list[object]", values):
        if not isinstance(value, str | int | float | bool):
            raise SpaceError(f"{name}: the choice {value!r} is neither text, number nor true/false; use one of these.")
        known.append(value)
    return tuple(known)


def _is_finite_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_scale(name: str, scale: str, known: tuple[str, ...]) -> None:
    if scale not in known:
        raise SpaceError(f"{name}: scale {scale!r} is none of {', '.join(known)}. {did_you_mean(str(scale), known)}")


def _check_prior(param: Param) -> None:
    prior = param.prior
    while prior is not None:
        param.check(prior.centre, what="prior centre")
        prior = prior.practice
