"""What differs between two configs, the most important first, as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maestune.report import formats
from maestune.space import Choice, Float, Param
from maestune.types import Value

# Differences between two configs that are smaller than this share of a parameter's range are not worth a word.
NEGLIGIBLE_CHANGE = 0.02


@dataclass(frozen=True)
class Change:
    """A parameter that differs between recipe and best. `size` is in (0, 1] of the parameter's range."""

    name: str
    before: Value | None
    after: Value | None
    size: float
    text: str


def changes_between(
    params: Sequence[Param], before: Mapping[str, Value], after: Mapping[str, Value], weight: Mapping[str, float]
) -> tuple[Change, ...]:
    """What differs between two configs, the most important first: by weight × size where weights are known, else size.

    A weight is a parameter's importance; negative ones count as zero. Parameters that fell out of use are left out: the
    change that put them out of use is told.
    """
    changes: list[Change] = []
    for param in params:
        old, new = before.get(param.name), after.get(param.name)
        if new is not None and old != new and (size := _change_size(param, old, new)) >= NEGLIGIBLE_CHANGE:
            changes.append(Change(param.name, old, new, size, _change_text(param, old, new)))
    return tuple(sorted(changes, key=lambda c: (-max(weight.get(c.name, 0.0), 0.0) * c.size, -c.size)))


def _change_size(param: Param, old: Value | None, new: Value | None) -> float:
    if old is None or new is None or (isinstance(param, Choice) and not param.ordered):
        return 1.0
    return abs(param.to_unit(new) - param.to_unit(old))


def _change_text(param: Param, old: Value | None, new: Value | None) -> str:
    text = f"{param.name} {formats.setting(old)} → {formats.setting(new)}"
    is_rate = not isinstance(param, Choice) and param.scale == "log" and isinstance(param, Float)
    if is_rate and old and new:
        ratio = float(new) / float(old)
        text += f" (×{formats.number(ratio, 2)})" if ratio >= 1 else f" (÷{formats.number(1 / ratio, 2)})"
    return text
