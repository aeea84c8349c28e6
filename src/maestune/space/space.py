"""A space: an ordered tuple of parameters, some of them active only when others have certain values.

A space holds definitions only; sampling takes a generator, and every config it makes is checked and complete: it has
exactly the active parameters, in the order of the space.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
from scipy.special import ndtri  # pyright: ignore[reportMissingTypeStubs]

from maestune.errors import SpaceError, did_you_mean
from maestune.space.params import PRIOR_MASS, PRIOR_SPREAD, Choice, Float, Int, Param, Prior, Role
from maestune.types import Config, Value

# Chance that one value is changed, and how far (in the unit interval), when a config is varied; PriorBand's setting
# (Mallik et al. 2023, arXiv 2306.12370).
MUTATION_RATE = 0.5
MUTATION_SPREAD = 0.25


@dataclass(frozen=True)
class Space:
    """What may vary.

    >>> space = Space((Float("lr", 1e-5, 1e-2, scale="log", prior=Prior(2e-4)), Choice("loss", ("ns", "hinge"))))
    >>> dict(space.centre())
    {'lr': 0.0002, 'loss': 'ns'}
    """

    params: tuple[Param, ...]

    def __post_init__(self) -> None:
        if not self.params:
            raise SpaceError("The space has no parameter, so there is nothing to tune; give at least one.")
        seen: dict[str, Param] = {}
        for param in self.params:
            if param.name in seen:
                raise SpaceError(f"{param.name}: defined twice; parameter names must differ.")
            for parent, allowed in param.when.items():
                if parent not in seen:
                    raise SpaceError(
                        f"{param.name}: its condition names {parent!r}, which does not come before it. "
                        f"{did_you_mean(parent, seen) if seen else 'Put the parent first.'}"
                    )
                _check_condition(param.name, parent, allowed)
            seen[param.name] = param

    def __iter__(self) -> Iterator[Param]:
        return iter(self.params)

    def __len__(self) -> int:
        return len(self.params)

    def __getitem__(self, name: str) -> Param:
        for param in self.params:
            if param.name == name:
                return param
        raise SpaceError(f"Unknown parameter {name!r}. {did_you_mean(name, [p.name for p in self.params])}")

    def active(self, param: Param, values: Mapping[str, Value]) -> bool:
        """Whether a parameter is active given the values of those before it."""
        return all(parent in values and values[parent] in allowed for parent, allowed in param.when.items())

    def decode(self, unit: Mapping[str, float]) -> Config:
        """The config at a point of the unit cube; coordinates of inactive parameters are not looked at."""
        values: dict[str, Value] = {}
        for param in self.params:
            if self.active(param, values):
                values[param.name] = param.from_unit(unit[param.name])
        return Config.of(values)

    def encode(self, config: Mapping[str, Value]) -> dict[str, float]:
        """Coordinates in the unit cube of the active parameters of a config."""
        return {p.name: p.to_unit(config[p.name]) for p in self.params if p.name in config}

    def check(self, config: Mapping[str, Value]) -> Config:
        """The config, values cast and in the order of the space; raises SpaceError when it is not a point of it."""
        for name in config:
            self[name]
        values: dict[str, Value] = {}
        for param in self.params:
            if not self.active(param, values):
                if param.name in config:
                    needs = " and ".join(f"{k} in {{{', '.join(map(str, v))}}}" for k, v in param.when.items())
                    raise SpaceError(f"{param.name}: given although it is only used with {needs}; leave it out.")
                continue
            if param.name not in config:
                raise SpaceError(f"{param.name}: missing from the config; it needs a value.")
            values[param.name] = param.check(config[param.name])
        return Config.of(values)

    def centre(self) -> Config:
        """The config at the centre of every prior (the middle of the range, or the first choice, where there is none)."""
        values: dict[str, Value] = {}
        for param in self.params:
            if self.active(param, values):
                values[param.name] = _centre(param)
        return Config.of(values)

    def complete(self, partial: Mapping[str, Value]) -> Config:
        """A config with the given values, the centre's where they are silent; values of inactive parameters are dropped."""
        for name in partial:
            self[name]
        values: dict[str, Value] = {}
        for param in self.params:
            if self.active(param, values):
                values[param.name] = param.check(partial[param.name]) if param.name in partial else _centre(param)
        return Config.of(values)

    def sample(self, rng: np.random.Generator) -> Config:
        """A config drawn uniformly (on each parameter's own scale)."""
        return self.decode({p.name: float(rng.random()) for p in self.params})

    def sample_prior(self, rng: np.random.Generator) -> Config:
        """A config drawn from the priors; uniform where a parameter has none."""
        values: dict[str, Value] = {}
        for param, draw in zip(self.params, _draws(rng, len(self.params)), strict=True):
            if self.active(param, values):
                values[param.name] = _draw_prior(param, draw)
        return Config.of(values)

    def mutate(self, config: Mapping[str, Value], rng: np.random.Generator, spread: float = MUTATION_SPREAD) -> Config:
        """A neighbour of a config: each value is kept or moved by a normal step.

        A choice that is moved becomes another one; where it has a prior, it is drawn from that.
        """
        values: dict[str, Value] = {}
        for param, draw in zip(self.params, _draws(rng, len(self.params)), strict=True):
            if not self.active(param, values):
                continue
            if param.name not in config:
                values[param.name] = _draw_prior(param, draw)
            elif draw.moved >= MUTATION_RATE:
                values[param.name] = config[param.name]
            elif isinstance(param, Choice) and not param.ordered and param.prior is not None:
                # Not simply another one: each of many structures that are rarely used would be in half of all configs.
                values[param.name] = _draw_prior(param, draw)
            elif isinstance(param, Choice) and not param.ordered:
                others = [v for v in param.values if v != config[param.name]]
                values[param.name] = others[int(draw.uniform * len(others))] if others else config[param.name]
            else:
                position = param.to_unit(config[param.name]) + spread * draw.step
                values[param.name] = param.from_unit(_reflect(position))
        return Config.of(values)

    def fix(self, name: str, value: Value) -> Space:
        """The space with one parameter fixed; a number outside its range is allowed, another kind of value is not."""
        param = self[name]
        if isinstance(param, Choice) and not (len(param.values) == 1 and _is_number(param.values[0], value)):
            value = param.check(value)
        elif isinstance(param, Choice):
            pass  # a number that is fixed already, to another
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SpaceError(f"{name}: {value!r} is not a finite number; give one, such as {param.low:g}.")
        elif isinstance(param, Int):
            if not float(value).is_integer():
                raise SpaceError(f"{name}: {value!r} is not a whole number; give one, such as {round(value)}.")
            value = int(value)
        else:
            value = float(value)
        fixed = Choice(name, (value,), role=param.role, unit=param.unit, when=param.when)
        return replace(self, params=tuple(fixed if p.name == name else p for p in self.params))

    def restrict(self, name: str, low: float, high: float) -> Space:
        """The space with another range for one parameter; a prior centre outside moves to the nearest bound."""
        param = self[name]
        if not (math.isfinite(low) and math.isfinite(high)):
            raise SpaceError(f"{name}: range {low:g}:{high:g} has a bound that is not a finite number.")
        if low > high:
            raise SpaceError(
                f"{name}: range {low:g}:{high:g} is upside down; low must not exceed high. Use {high:g}:{low:g}."
            )
        if isinstance(param, Choice):
            kept = tuple(v for v in param.values if not isinstance(v, str) and low <= v <= high)
            if not param.ordered or not kept:
                raise SpaceError(
                    f"{name}: a range {low:g}:{high:g} cannot be used; it is a choice of {', '.join(map(str, param.values))}. "
                    f"Fix it with --set {name}=VALUE."
                )
            prior = _moved(param.prior, min(kept), max(kept), None)  # type: ignore[type-var]
            changed: Param = replace(param, values=kept, prior=prior)
        elif isinstance(param, Int):
            if not (float(low).is_integer() and float(high).is_integer()):
                raise SpaceError(f"{name}: range {low:g}:{high:g} must have whole numbers for bounds.")
            changed = replace(param, low=int(low), high=int(high), prior=_moved(param.prior, int(low), int(high), None))
        else:
            # The range is checked before the prior is moved, so that it is the range which is named as wrong.
            changed = replace(param, low=float(low), high=float(high), prior=None)
            changed = replace(changed, prior=_moved(param.prior, float(low), float(high), param.off))
        return replace(self, params=tuple(changed if p.name == name else p for p in self.params))

    @property
    def varying(self) -> tuple[Param, ...]:
        """The parameters with more than one value."""
        return tuple(p for p in self.params if p.points != 1)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain data (for TOML): name → definition; `from_dict` reads it back."""
        return {p.name: _param_to_dict(p) for p in self.params}

    @staticmethod
    def from_dict(data: Mapping[str, Mapping[str, Any]]) -> Space:
        """A space from plain data, as `to_dict` writes it; unknown keys are errors."""
        return Space(tuple(_param_from_dict(name, definition) for name, definition in data.items()))


def _is_number(*values: Value) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)


def _check_condition(name: str, parent: str, allowed: object) -> None:
    if not isinstance(allowed, tuple):
        # A lone string would be searched for substrings.
        raise SpaceError(
            f"{name}: its condition on {parent!r} is {allowed!r}; a tuple is needed, such as ({allowed!r},)."
        )
    if not allowed:
        raise SpaceError(f"{name}: its condition on {parent!r} allows no value, so it is never active; name some.")


def _centre(param: Param) -> Value:
    if param.prior is not None:
        return param.check(param.prior.centre)
    if isinstance(param, Choice) and not param.ordered:
        return param.values[0]
    return param.from_unit(0.5)


def _reflect(position: float) -> float:
    # Folded back at the borders, so that mutations do not pile up there.
    position = abs(position) % 2.0
    return 2.0 - position if position > 1.0 else position


class _PriorDraw(NamedTuple):
    """Random numbers of one parameter: three uniform in [0, 1), two standard normal."""

    moved: float
    choice: float
    uniform: float
    normal: float
    step: float


def _draws(rng: np.random.Generator, n: int) -> Iterator[_PriorDraw]:
    """Numbers for n parameters, drawn at once: one at a time takes five times as long.

    Each parameter has its own, used or not, so that the same generator gives related configs in related spaces.
    """
    numbers = rng.random((n, len(_PriorDraw._fields)))
    # Moved off 0, where a normal is not finite.
    numbers[:, 3:] = ndtri(numbers[:, 3:] * (1 - 2**-52) + 2**-54)
    return map(_PriorDraw._make, numbers.tolist())


def _draw_prior(param: Param, draw: _PriorDraw) -> Value:
    prior = param.prior
    if prior is None:
        return param.from_unit(draw.uniform)
    at_centre = draw.choice < PRIOR_MASS[prior.confidence]
    if isinstance(param, Choice) and not param.ordered:
        return param.check(prior.centre) if at_centre else param.from_unit(draw.uniform)
    if isinstance(param, Float) and param.off is not None and prior.centre == param.off:
        return param.off if at_centre else param.from_unit(draw.uniform)
    return param.from_unit(_reflect(param.to_unit(prior.centre) + PRIOR_SPREAD[prior.confidence] * draw.normal))


def _moved(prior: Prior | None, low: float, high: float, off: float | None) -> Prior | None:
    if prior is None:
        return None
    centre = prior.centre if prior.centre == off else min(max(prior.centre, low), high)  # type: ignore[type-var]
    return replace(prior, centre=centre, practice=_moved(prior.practice, low, high, off))


def _param_to_dict(param: Param) -> dict[str, Any]:
    data: dict[str, Any] = {"type": type(param).__name__.lower()}
    if isinstance(param, Choice):
        data["values"] = list(param.values)
        if param.ordered:
            data["ordered"] = True
    else:
        data |= {"low": param.low, "high": param.high, "scale": param.scale}
    if isinstance(param, Float) and param.off is not None:
        data["off"] = param.off
    data["role"] = str(param.role)
    if param.unit:
        data["unit"] = param.unit
    if param.prior is not None:
        data["prior"] = _prior_to_dict(param.prior)
    if param.when:
        data["when"] = {parent: list(values) for parent, values in param.when.items()}
    return data


def _prior_to_dict(prior: Prior) -> dict[str, Any]:
    data: dict[str, Any] = {"centre": prior.centre, "confidence": prior.confidence}
    if prior.citation:
        data["citation"] = prior.citation
    if prior.steps is not None:
        data["steps"] = prior.steps
    if prior.practice is not None:
        data["practice"] = _prior_to_dict(prior.practice)
    return data


_KINDS: dict[str, type[Float] | type[Int] | type[Choice]] = {"float": Float, "int": Int, "choice": Choice}


def _param_from_dict(name: str, definition: object) -> Param:
    data = _table(name, "definition", definition)
    kind_name = str(data.pop("type", None))
    if kind_name not in _KINDS:
        raise SpaceError(f"{name}: type {kind_name!r} is not known; use float, int or choice.")
    kind = _KINDS[kind_name]
    known = [f for f in kind.__dataclass_fields__ if f != "name"]
    for key in data:
        if key not in known:
            raise SpaceError(f"{name}: unknown key {key!r} of a {kind_name}. {did_you_mean(key, known)}")
    if "role" in data:
        roles = [str(role) for role in Role]
        if data["role"] not in roles:
            raise SpaceError(f"{name}: unknown role {data['role']!r}. {did_you_mean(str(data['role']), roles)}")
        data["role"] = Role(data["role"])
    if "prior" in data:
        data["prior"] = _prior_from_dict(name, _table(name, "prior", data["prior"]))
    if "when" in data:
        when = _table(name, "when", data["when"])
        data["when"] = {parent: _allowed(values) for parent, values in when.items()}
    try:
        return kind(name, **data)
    except TypeError as error:
        raise SpaceError(f"{name}: incomplete definition of a {kind_name}: {error}") from error


def _prior_from_dict(name: str, prior: dict[str, Any]) -> Prior:
    if "centre" not in prior or set(prior) - {"centre", "confidence", "citation", "steps", "practice"}:
        raise SpaceError(f"{name}: a prior is {{centre, confidence, citation, steps, practice}}; got {sorted(prior)}.")
    if str(prior.get("confidence", "medium")) not in PRIOR_SPREAD:
        raise SpaceError(f"{name}: prior confidence {prior['confidence']!r} is none of low, medium, high.")
    steps = prior.get("steps")
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool)):
        raise SpaceError(f"{name}: the steps of a prior are {steps!r}; a whole number above 0 is needed.")
    if "practice" in prior:
        prior["practice"] = _prior_from_dict(name, _table(name, "practice", prior["practice"]))
    return Prior(**prior)


def _allowed(values: object) -> tuple[Value, ...]:
    # One value may be written without brackets.
    return tuple(cast("list[Value]", values)) if isinstance(values, list | tuple) else (cast("Value", values),)


def _table(name: str, what: str, data: object) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise SpaceError(f"{name}: its {what} is {data!r}; a table (key = value) is needed.")
    return {str(key): value for key, value in cast("Mapping[object, Any]", data).items()}
