"""What kinds of data and of use ask for: changes of ranges and priors, each with its reason and source.

A file in `domains/` holds `name`, `title`, `applies`, and [[changes]]: a parameter of named families, what becomes of it,
and why. [[advice]] says what no parameter can.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any, cast

from maestune.errors import SettingsError, SpaceError, did_you_mean
from maestune.recipes.applying import is_setting_of_sampling
from maestune.space import Choice, Float, Int, Param, Prior, Space
from maestune.space.params import Confidence
from maestune.types import Value


@dataclass(frozen=True)
class Change:
    """What becomes of one parameter: of all that is given here, in this order.

    `low`, `high`: its new range. `upper`: its upper end is multiplied by it. `values`: the choices that are kept. `centre`:
    where the prior moves; `factor`: its centre is multiplied by it, where it is not off.
    """

    parameter: str
    reason: str
    source: str
    families: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    upper: float | None = None
    values: tuple[Value, ...] = ()
    centre: Value | None = None
    factor: float | None = None
    confidence: Confidence = "medium"


@dataclass(frozen=True)
class Advice:
    """What a kind of data asks for that no parameter says."""

    text: str
    source: str = ""
    families: tuple[str, ...] = ()  # empty: all


@dataclass(frozen=True)
class Domain:
    """A kind of data or of use, and what it asks for."""

    name: str
    title: str
    applies: str
    changes: tuple[Change, ...]
    advice: tuple[Advice, ...] = field(default=())

    @property
    def families(self) -> tuple[str, ...]:
        """The families whose spaces it changes."""
        return tuple(dict.fromkeys(family for change in self.changes for family in change.families))

    @property
    def citations(self) -> tuple[str, ...]:
        """The sources of its changes and advice."""
        return tuple(dict.fromkeys([*(c.source for c in self.changes), *(a.source for a in self.advice if a.source)]))


@cache
def domains() -> Mapping[str, Domain]:
    """All domains that come with the package, by name."""
    found: dict[str, Domain] = {}
    for file in sorted((files("maestune.recipes") / "domains").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".toml"):
            domain = _domain(tomllib.loads(file.read_text(encoding="utf-8")))
            found[domain.name] = domain
    return found


def find_domain(name: str) -> Domain:
    """A domain by its name; SettingsError naming the nearest ones where there is none.

    >>> find_domain("medical").name
    'medical'
    """
    if name not in domains():
        raise SettingsError(f"There is no domain {name!r}. {did_you_mean(name, domains())}")
    return domains()[name]


def apply_domain(domain: Domain, space: Space, family: str) -> tuple[Space, tuple[str, ...]]:
    """The space as the domain asks for it, and each change in words with its reason and source.

    Parameters that the space does not have, or that are fixed, are left alone. Raises SettingsError where the domain says
    nothing of the family.
    """
    mine = [change for change in domain.changes if family in change.families]
    advice = [a for a in domain.advice if not a.families or family in a.families]
    if not mine:
        raise SettingsError(
            f"The domain {domain.name} changes nothing of {family}; it is for {', '.join(domain.families)}."
        )
    params = {param.name: param for param in space}
    notes: list[str] = []
    for change in mine:
        param = params.get(change.parameter)
        if param is None or (param.points == 1 and not is_setting_of_sampling(param)):
            continue
        found = _changed(param, change)
        if found != param:
            params[param.name] = found
            notes.append(f"{_difference(param, found)}: {change.reason} ({change.source}).")
    notes += [f"{a.text} ({a.source})." if a.source else f"{a.text}." for a in advice]
    return replace(space, params=tuple(params.values())), tuple(notes)


def _changed(param: Param, change: Change) -> Param:
    if isinstance(param, Choice) and is_setting_of_sampling(param):
        return param if change.centre is None else replace(param, values=(change.centre,), prior=None)
    space = Space((replace(param, when={}),))
    if isinstance(param, Choice):
        if change.values:
            space = Space((_kept(param, change.values),))
    elif change.low is not None or change.high is not None or change.upper is not None:
        high = param.high if change.high is None else change.high
        high = high if change.upper is None else _rounded(param, param.high * change.upper)
        space = space.restrict(param.name, param.low if change.low is None else change.low, high)
    found = space[param.name]
    centre = _new_centre(found, change)
    if centre is not None:
        # A multiple of what was believed rests on that belief too.
        before = found.prior.citation if change.factor is not None and found.prior is not None else ""
        cited = "; ".join(filter(None, (before, change.source)))
        steps = found.prior.steps if change.factor is not None and found.prior is not None else None
        found = replace(found, prior=Prior(centre, change.confidence, cited, steps))
    return replace(found, when=param.when)


def _kept(param: Choice, values: tuple[Value, ...]) -> Choice:
    kept = tuple(v for v in param.values if v in values) or param.values
    prior = param.prior if param.prior is not None and param.prior.centre in kept else None
    if prior is not None and prior.practice is not None and prior.practice.centre not in kept:
        prior = replace(prior, practice=None)
    return replace(param, values=kept, prior=prior, when={})


def _new_centre(param: Param, change: Change) -> Value | None:
    if change.factor is not None:
        off = param.off if isinstance(param, Float) else None
        if param.prior is None or isinstance(param.prior.centre, str | bool) or param.prior.centre == off:
            return None
        return _nearest(param, param.prior.centre * change.factor)
    return None if change.centre is None else _nearest(param, change.centre)


def _nearest(param: Param, value: Value) -> Value | None:
    """The value of the parameter that is nearest; None where it has nothing like it."""
    if isinstance(param, Choice):
        if value in param.values:
            return value
        if not param.ordered or isinstance(value, str | bool):
            return None
        return min(param.values, key=lambda v: abs(float(v) - value))
    if isinstance(value, str | bool):
        return None
    if isinstance(param, Float) and value == param.off:
        return float(value)
    return _rounded(param, min(max(value, param.low), param.high))


def _rounded(param: Param, value: float) -> float:
    return round(value) if isinstance(param, Int) else float(f"{value:.6g}")


def _difference(old: Param, new: Param) -> str:
    told = []
    if isinstance(new, Choice):
        if isinstance(old, Choice) and is_setting_of_sampling(new):
            return f"{new.name} {_said(new.values[0])} instead of {_said(old.values[0])}"
        if isinstance(old, Choice) and old.values != new.values:
            told.append(f"only {', '.join(map(str, new.values))}")
    elif not isinstance(old, Choice) and (old.low, old.high) != (new.low, new.high):
        told.append(f"range {new.low:g}:{new.high:g} instead of {old.low:g}:{old.high:g}")
    centres = [None if p.prior is None else p.prior.centre for p in (old, new)]
    if centres[1] is not None and centres[0] != centres[1]:
        told.append(f"around {_said(centres[1])}" + ("" if centres[0] is None else f" instead of {_said(centres[0])}"))
    elif not told:
        told.append(f"around {_said(centres[1])}, with {new.prior.confidence if new.prior else 'no'} confidence")
    return f"{new.name} {', '.join(told)}"


def _said(value: Value | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _domain(data: Mapping[str, Any]) -> Domain:
    made: dict[str, Any] = dict(data)
    made["changes"] = tuple(_made(Change, change) for change in data["changes"])
    made["advice"] = tuple(_made(Advice, advice) for advice in data.get("advice", []))
    return Domain(**made)


def _made(kind: Any, data: Mapping[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    if not set(data) <= known:
        raise SpaceError(f"A domain names {sorted(set(data) - known)}; known are {sorted(known)}.")
    return kind(**{name: tuple(cast("list[Any]", v)) if isinstance(v, list) else v for name, v in data.items()})
