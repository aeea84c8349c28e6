"""A recipe meets a space: priors move to its values, ranges widen where sensible, and what cannot be said is told.

A recipe was made for other data and larger machines. What the space cannot hold is never silently dropped or
silently changed: each departure is one note, in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from maestune.recipes.recipe import SIZES, Recipe
from maestune.recipes.rules import RULES, Case
from maestune.space import Choice, Int, Param, Role, Space
from maestune.types import Config, Value

# How far a range may be widened to hold a published value: a decade; twofold for the sizes of networks, since cost and memory
# grow with them.
REACH = 10.0
REACH_OF_SIZES = 2.0
_ROUNDING = 1 + 1e-9
# To do without something that is not there is to be as published.
_WITHOUT: tuple[Value, ...] = ("none", 0.0, False)


@dataclass(frozen=True)
class Applied:
    """A space whose priors are a recipe's, the recipe as a config of it, and in words what could not be as published."""

    space: Space
    config: Config
    notes: tuple[str, ...]


def apply(recipe: Recipe, space: Space, case: Case | None = None) -> Applied:
    """The space with the recipe at its centre.

    Parameters of which the recipe does not speak keep their priors. A value outside a range widens it, by a decade at
    most, otherwise the nearest value that the space has is used; rules are worked out for the `case`.
    """
    params = {param.name: param for param in space}
    used: dict[str, Value] = {}
    notes: list[str] = []
    settings, left_out, said = _settings(recipe, params.get("network"))
    notes += said
    for name, value in settings.items():
        if name not in params:
            if value not in _WITHOUT:
                notes.append(
                    f"{name}: the recipe has {_say(value)}; there is no such parameter here{_why(recipe, name)}."
                )
            continue
        params[name], said = _placed(params[name], value, recipe)
        if said.value is not None:
            used[name] = said.value
        notes += [said.note] if said.note else []
    rules = {name: rule for name, rule in recipe.rules.items() if name not in settings and name not in left_out}
    for name, rule_name in rules.items():
        rule = RULES[rule_name]
        value = rule.value(case or Case(), _complete(params, used))
        if name not in params:
            notes.append(f"{name}: the recipe has a rule for it ({rule.formula}), but there is no such parameter here.")
        elif value is None:
            notes.append(f"{name}: the recipe's rule ({rule.formula}) needs what is not known here; its prior stays.")
        else:
            params[name], said = _placed(params[name], _rounded(params[name], value), recipe)
            if said.value is not None:
                used[name] = said.value
                notes.append(f"{name}: {_say(said.value)} by the rule {rule.formula} ({rule.citation}).")
            notes += [said.note] if said.note else []
    found = replace(space, params=tuple(params.values()))
    config = found.complete(used)
    idle = [name for name, value in used.items() if name not in config and value not in _WITHOUT]
    notes += [f"{name}: has no part in the rest of this configuration and is left out." for name in idle]
    spoken = {*settings, *rules}
    silent = [p for p in found.varying if p.name in config and p.name not in spoken and config[p.name] != _off(p)]
    if silent:
        said = ", ".join(f"{p.name} ({_say(config[p.name])})" for p in silent)
        notes.append(f"The recipe leaves open: {said}; there the model's own start is taken.")
    return Applied(found, config, tuple(notes))


def _settings(recipe: Recipe, network: Param | None) -> tuple[Config, tuple[str, ...], list[str]]:
    """The settings for the kind of networks that the space has, what is left out as of another kind, and a note."""
    if not isinstance(network, Choice) or len(network.values) > 1:
        return recipe.settings, (), []
    kind = str(next(iter(network.values)))
    settings, own = recipe.on(kind), recipe.settings.get("network", kind)
    if own == kind:
        return settings, (), []
    gone = tuple(name for name in SIZES if name in {*recipe.settings, *recipe.rules} and name not in settings)
    sizes = f"; its {' and '.join(gone)} {'are' if len(gone) > 1 else 'is'} left out" if gone else ""
    return settings, gone, [f"network: the recipe is for {own}, the networks here are {kind}{sizes}."]


@dataclass(frozen=True)
class _Said:
    """What became of a value: what is used in its place (None: nothing), and a note where it is not the value."""

    value: Value | None
    note: str = ""


def _placed(param: Param, value: Value, recipe: Recipe) -> tuple[Param, _Said]:
    if isinstance(param, Choice):
        return _chosen(param, value, recipe)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return param, _Said(
            None, f"{param.name}: the recipe has {_say(value)}, but a number is needed here; its prior stays."
        )
    if isinstance(param, Int):
        return _whole(param, value, recipe)
    if param.low <= value <= param.high or value == param.off:
        return replace(param, prior=recipe.prior(param.name, float(value))), _Said(float(value))
    low, high = min(param.low, value), max(param.high, value)
    holds_off = param.off is not None and low <= param.off <= high
    if _far(param.low, param.high, value, param.scale) <= _reach(param) and not holds_off:
        wider = replace(param, low=float(low), high=float(high), prior=recipe.prior(param.name, float(value)))
        return wider, _Said(float(value), _widened(param, value, low, high))
    nearest = param.low if value < param.low else param.high
    return replace(param, prior=recipe.prior(param.name, nearest)), _Said(nearest, _beyond(param, value, nearest))


def _whole(param: Int, value: float, recipe: Recipe) -> tuple[Param, _Said]:
    number = round(value)
    if param.low <= number <= param.high:
        return replace(param, prior=recipe.prior(param.name, number)), _Said(number)
    low, high = min(param.low, number), max(param.high, number)
    if _far(param.low, param.high, number, param.scale) <= _reach(param):
        wider = replace(param, low=low, high=high, prior=recipe.prior(param.name, number))
        return wider, _Said(number, _widened(param, number, low, high))
    nearest = param.low if number < param.low else param.high
    return replace(param, prior=recipe.prior(param.name, nearest)), _Said(nearest, _beyond(param, number, nearest))


def _chosen(param: Choice, value: Value, recipe: Recipe) -> tuple[Param, _Said]:
    for same in param.values:
        if same == value and isinstance(same, bool) == isinstance(value, bool):
            return replace(param, prior=recipe.prior(param.name, same)), _Said(same)
    if is_setting_of_sampling(param) and isinstance(value, int | float) and not isinstance(value, bool):
        return replace(param, values=(value,), prior=recipe.prior(param.name, value)), _Said(value)
    if len(param.values) == 1:
        return param, _Said(None, f"{param.name}: fixed at {_say(param.values[0])} here; the recipe has {_say(value)}.")
    if param.ordered and isinstance(value, int | float) and not isinstance(value, bool):
        nearest = min(param.values, key=lambda v: _distance(float(v), float(value)))
        return replace(param, prior=recipe.prior(param.name, nearest)), _Said(nearest, _beyond(param, value, nearest))
    known = ", ".join(map(_say, param.values))
    return param, _Said(None, f"{param.name}: the recipe has {_say(value)}, the space only {known}; its prior stays.")


def is_setting_of_sampling(param: Param) -> bool:
    """Whether it is a number that the search leaves alone since the score does not depend on it: how text is drawn."""
    if not isinstance(param, Choice) or len(param.values) > 1 or param.role != Role.SAMPLING:
        return False
    return not isinstance(next(iter(param.values)), str | bool)


def _far(low: float, high: float, value: float, scale: str) -> float:
    """How many times a value lies outside a range; of decays on a logit scale, how many times nearer to 1."""
    if value > high:
        if scale == "logit":
            return (1 - high) / (1 - value) / _ROUNDING if value < 1 else math.inf
        return value / high / _ROUNDING if high > 0 else math.inf
    return low / value / _ROUNDING if value > 0 else math.inf


def _distance(a: float, b: float) -> float:
    # Sizes are compared by their ratio.
    return abs(math.log(a / b)) if a > 0 and b > 0 else abs(a - b)


def _reach(param: Param) -> float:
    return REACH_OF_SIZES if param.role == Role.ARCHITECTURE else REACH


def _rounded(param: Param, value: float) -> Value:
    return round(value) if isinstance(param, Int) else float(f"{value:.4g}")


def _complete(params: Mapping[str, Param], used: Mapping[str, Value]) -> Config:
    return Space(tuple(params.values())).complete(used)


def _off(param: Param) -> Value:
    return "none" if isinstance(param, Choice) else getattr(param, "off", None)  # type: ignore[return-value]


def _widened(param: Param, value: float, low: float, high: float) -> str:
    return (
        f"{param.name}: the recipe's {_say(value)} lies outside {_say(param.low)}:{_say(param.high)}; "  # type: ignore[union-attr]
        f"the range is now {_say(low)}:{_say(high)}."
    )


def _beyond(param: Param, value: float, nearest: Value) -> str:
    if isinstance(param, Choice) and float(param.values[0]) < value < float(param.values[-1]):
        return f"{param.name}: {_say(value)} is none of {', '.join(map(_say, param.values))}; {_say(nearest)} is used."
    return f"{param.name}: {_say(value)} is beyond what the space has; {_say(nearest)} is used."


def _why(recipe: Recipe, name: str) -> str:
    return f" ({recipe.beyond[name]})" if name in recipe.beyond else ""


def _say(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
