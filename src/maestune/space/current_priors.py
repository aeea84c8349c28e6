"""Priors that practice has moved on from: a search starts at a published setting, and draws as it is done today."""

from __future__ import annotations

from dataclasses import replace

from maestune.space.params import Param
from maestune.space.space import Space
from maestune.types import Value


def with_current_priors(space: Space) -> tuple[Space, tuple[str, ...]]:
    """The space in which every prior is what has been believed since, where that is something else.

    With a note that names what moved, and who says so. Of fixed parameters nothing is drawn.
    """
    params: list[Param] = []
    moved: list[str] = []
    for param in space:
        if param.prior is not None and param.prior.practice is not None and param.points != 1:
            since = param.prior.practice
            moved.append(
                f"{param.name} {_said(since.centre)} in place of {_said(param.prior.centre)} ({since.citation})"
            )
            param = replace(param, prior=since)
        params.append(param)
    notes = (f"Draws are centred on what has become practice since: {'; '.join(moved)}.",) if moved else ()
    return replace(space, params=tuple(params)), notes


def _said(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
