"""The strategies a user can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from maestune.errors import SettingsError, did_you_mean
from maestune.search.grid import GridSampler
from maestune.search.guided import GuidedSampler
from maestune.search.halving import Halving
from maestune.search.samplers import RandomSampler
from maestune.search.start import StartFrom
from maestune.search.strategy import FullTraining, Sampler, Strategy
from maestune.types import Config

DEFAULT_STRATEGY = "halving"

STRATEGIES: Mapping[str, str] = {
    "halving": "many configs a little, the best promoted to the full training; guided by priors and by what worked",
    "halving-random": "the same with uniform draws",
    "halving-tpe": "the same with Optuna's TPE",
    "halving-gp": "the same with Optuna's Gaussian process",
    "random": "uniform draws, each trained in full",
    "grid": "every combination, coarse before fine, each trained in full",
    "sobol": "evenly spread points, each trained in full",
    "tpe": "Optuna's TPE, each config trained in full",
    "gp": "Optuna's Gaussian process, each config trained in full",
}
"""Name → what it does, in one line."""


def make_strategy(name: str, *, start: Config | None = None, seed: int = 0, eta: int = 3) -> Strategy:
    """A strategy by its name; `start` is trained in full before anything else.

    `eta`: one in how many goes on to the next rung, for those that halve. `seed` fixes what is not drawn from the
    generator given to `ask` (the scrambling of Sobol points). Raises SettingsError when there is no strategy of that name.
    """
    if name not in STRATEGIES:
        raise SettingsError(f"Unknown strategy {name!r}. {did_you_mean(name, STRATEGIES)}")
    schedule, _, sampler = name.rpartition("-") if name != "halving" else ("halving", "", "guided")
    made = _SAMPLERS[sampler](seed)
    strategy = Halving(made, eta) if schedule == "halving" else FullTraining(made)
    return strategy if start is None else StartFrom(start, strategy)


# Optuna and scipy.stats take up to a second to import, as long as several trials: only strategies that need them do.
def _optuna(kind: Literal["tpe", "gp"]) -> Sampler:
    from maestune.search.optuna_bridge import OptunaSampler

    return OptunaSampler(kind)


def _sobol(seed: int) -> Sampler:
    from maestune.search.sobol import SobolSampler

    return SobolSampler(seed)


_SAMPLERS: Mapping[str, Callable[[int], Sampler]] = {
    "guided": lambda seed: GuidedSampler(),
    "random": lambda seed: RandomSampler(),
    "grid": lambda seed: GridSampler(),
    "sobol": _sobol,
    "tpe": lambda seed: _optuna("tpe"),
    "gp": lambda seed: _optuna("gp"),
}
