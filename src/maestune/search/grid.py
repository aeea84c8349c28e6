"""A grid over the space, coarse before fine, in an order that is useful wherever it is cut short."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from maestune.search.strategy import Candidate
from maestune.space import Choice, Int, Param, Space
from maestune.types import Config, History

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class GridSampler:
    """Every combination of every choice's values and `points` values of every number, at equal distances on its scale.

    First comes the grid with every number at the middle of its range, then the full one. Within a grid the order is a
    stride by the golden ratio, so that any beginning of it is spread over the whole. It ends when every point was tried.
    """

    points: int = 3

    def propose(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Sequence[Candidate]:
        """See `Sampler`; the generator is not used."""
        seen = {trial.config for trial in history.trials}
        total = grid_size(space, self.points)
        found: list[Candidate] = []
        if n < 1:
            return found
        for config in self._configs(space):
            if config in seen:
                continue
            seen.add(config)
            found.append(Candidate(config, f"a point of the grid of {_most(space)}{total}"))
            if len(found) == n:
                break
        return found

    def _configs(self, space: Space) -> Iterator[Config]:
        for points in dict.fromkeys((1, self.points)):
            axes = [_positions(param, points) for param in space]
            total = math.prod(len(axis) for axis in axes)
            stride = _coprime_stride(total)
            for index in range(total):
                rest = index * stride % total
                unit: dict[str, float] = {}
                for param, axis in zip(space, axes, strict=True):
                    rest, place = divmod(rest, len(axis))
                    unit[param.name] = axis[place]
                yield space.decode(unit)


def grid_size(space: Space, points: int) -> int:
    """Number of combinations; with conditions some of them are the same config."""
    return math.prod(len(_positions(param, points)) for param in space)


def _most(space: Space) -> str:
    return "at most " if any(param.when for param in space) else ""


def _positions(param: Param, points: int) -> list[float]:
    """Positions in the unit interval: all values of a choice or a short whole number, else equidistant ones.

    A number that can be switched off has the off value as one more.
    """
    if isinstance(param, Int):
        if param.high - param.low + 1 <= points:
            return [param.to_unit(value) for value in range(param.low, param.high + 1)]
    elif isinstance(param, Choice):
        return [(index + 0.5) / len(param.values) for index in range(len(param.values))]
    elif param.off is not None:
        off = param.to_unit(param.off)
        return [off, *(2 * off + (1 - 2 * off) * (index + 0.5) / points for index in range(points))]
    return [(index + 0.5) / points for index in range(points)]


def _coprime_stride(total: int) -> int:
    stride = max(1, round(total * _GOLDEN))
    while math.gcd(stride, total) != 1:
        stride += 1
    return stride
