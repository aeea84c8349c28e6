"""What may differ among trainings that run as one: the rest is their common structure.

Many trainings can run as one step over stacked parameters when they share everything that changes shapes or code and
differ in plain numbers only: learning rates, the weights of penalties, a dropout rate. Which parameters are of which
kind is declared by whoever builds the training, as a `Fusible`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeGuard

from maestune.errors import SpaceError
from maestune.space.params import Float, Param
from maestune.space.space import Space
from maestune.types import Config, Value


@dataclass(frozen=True)
class Fusible:
    """Which parameters may differ between the members of one group.

    `numbers` differ freely. `switches` are numbers with an `off` value that takes code away: a group's members have it
    all on, each with its own value, or all off. Names that a space does not have are ignored; a switch whose parameter
    has no `off` value there (it was fixed, for example) must have one value in the group, as everything else must.
    """

    numbers: frozenset[str] = frozenset()
    switches: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in sorted(self.numbers & self.switches):
            raise SpaceError(f"{name}: declared both a number that differs freely and a switch; it can be only one.")


def structure(space: Space, config: Config, fusible: Fusible) -> Config:
    """What the members of a group have in common; trainings can run as one when theirs are equal.

    Switches are True (on) or False (off), numbers are left out, everything else has its value; inactive parameters are
    absent, as they are from the config. In the order of the space.

    >>> space = Space((Float("lr", 1e-5, 1e-2), Float("dropout", 0.1, 0.5, off=0.0)))
    >>> dict(structure(space, Config.of(lr=1e-3, dropout=0.2), Fusible(frozenset({"lr"}), frozenset({"dropout"}))))
    {'dropout': True}
    """
    shared: dict[str, Value] = {}
    for param in space:
        if param.name in config and param.name not in fusible.numbers:
            value = config[param.name]
            shared[param.name] = value != param.off if _is_switch(param, fusible) else value
    return Config.of(shared)


def within(space: Space, config: Config, fusible: Fusible) -> Space:
    """The part of the space around a config that has its structure: what is shared is fixed, switches stay on or off.

    Every point of it is a point of the space with the structure of the config. Whether something shared is active may
    depend on a number or a switch (a schedule whose kinds differ in code): that one is fixed too, so that it is the
    same for all; a number that depends on a number may be present in one member and absent from another.
    """
    part = space
    deciding = _deciding(space, fusible)
    for param in space:
        name = param.name
        # What the config does not have, no config of this structure has, unless a free number activates it: as it was.
        if name not in config or (name in fusible.numbers and name not in deciding):
            continue
        if _is_switch(param, fusible) and config[name] != param.off and name not in deciding:
            part = replace(part, params=tuple(_always_on(p) if p.name == name else p for p in part.params))
        else:
            part = part.fix(name, config[name])
    return part


def _is_switch(param: Param, fusible: Fusible) -> TypeGuard[Float]:
    return param.name in fusible.switches and isinstance(param, Float) and param.off is not None


def _deciding(space: Space, fusible: Fusible) -> set[str]:
    """Parameters on whose values it depends what members have in common."""
    deciding: set[str] = set()
    for param in reversed(space.params):  # children before their parents: what decides about a decider decides as well
        if param.name not in fusible.numbers or param.name in deciding:
            deciding.update(param.when)
    return deciding


def _always_on(param: Param) -> Param:
    assert isinstance(param, Float)
    # "Probably not used" says nothing about how strong it should be where it is used.
    prior = None if param.prior is not None and param.prior.centre == param.off else param.prior
    return replace(param, off=None, prior=prior)
