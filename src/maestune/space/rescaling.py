"""Priors that depend on how long a training is: rates were published for other lengths than those of a search."""

from __future__ import annotations

from dataclasses import replace

from maestune.space.params import Choice, Param, Prior
from maestune.space.space import Space

# The best learning rate of a training of D tokens is proportional to D^-0.32, whatever the size of the network (Bjorck et al.
# 2024, arXiv 2409.19913, for language models of 25 to 800 billion tokens). A published rate is moved as far as for
# trainings a hundred times as long or short, and no farther, since nobody has measured how far that goes.
EXPONENT = 0.32
FARTHEST = 100.0
CITATION = "Bjorck et al. 2024, arXiv 2409.19913"


def rescale_rates(space: Space, steps: int) -> tuple[Space, tuple[str, ...]]:
    """The space for full trainings of so many steps: priors known from longer ones move up, from shorter ones down.

    With a note for each that moved. Parameters keep their ranges, and priors that do not say from what trainings they are
    known, or are off, stay.
    """
    params: list[Param] = []
    notes: list[str] = []
    for param in space:
        moved = _moved(param, steps)
        if moved != param.prior and param.prior is not None and moved is not None:
            notes.append(
                f"{param.name}: draws are centred on {moved.centre:.2g} in place of {param.prior.centre:g}, which is known from "
                f"trainings of {param.prior.steps:,} steps; one has {steps:,} here ({CITATION})."
            )
            param = replace(param, prior=moved)
        params.append(param)
    return replace(space, params=tuple(params)), tuple(notes)


def _moved(param: Param, steps: int) -> Prior | None:
    prior = param.prior
    if prior is None or prior.steps is None or prior.steps == steps or isinstance(param, Choice):
        return prior
    centre = float(prior.centre)
    if not param.low <= centre <= param.high:  # its off value
        return prior
    ratio = min(max(prior.steps / steps, 1 / FARTHEST), FARTHEST)
    there = param.from_unit(param.to_unit(min(max(centre * ratio**EXPONENT, param.low), param.high)))
    return replace(prior, centre=there)
