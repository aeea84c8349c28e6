"""The strategies a user can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from maestune.errors import SettingsError, did_you_mean
from maestune.search.grid import GridSampler
from maestune.search.groups import ConfinableSampler, Grouped
from maestune.search.guided import GuidedSampler
from maestune.search.halving import Halving
from maestune.search.samplers import RandomSampler
from maestune.search.start import StartFrom
from maestune.search.strategy import FullTraining, Sampler, Strategy
from maestune.space import Fusible
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


def make_strategy(
    name: str,
    *,
    start: Config | None = None,
    seed: int = 0,
    eta: int = 3,
    fusible: Fusible = Fusible(),
    members: int = 1,
    per_second: bool = False,
) -> Strategy:
    """A strategy by its name; `start` is trained in full before anything else.

    `eta`: one in how many goes on to the next rung, for those that halve. `seed` fixes what is not drawn from the
    generator given to `ask` (the scrambling of Sobol points). Raises SettingsError when there is no strategy of that name.

    `per_second`: the time that trials take counts, for those that learn it; what they propose then depends on the clock.

    With `members` above 1, new configs come in runs of up to as many that differ only in what is `fusible`, and
    promotions that do stand side by side. Early runs are short (see `Grouped`). Grid and Sobol points keep their own
    order, which is what they are for: of them, only neighbours that happen to share a structure can be trained as one.
    """
    if name not in STRATEGIES:
        raise SettingsError(f"Unknown strategy {name!r}. {did_you_mean(name, STRATEGIES)}")
    schedule, _, sampler = name.rpartition("-") if name != "halving" else ("halving", "", "guided")
    made = (
        _IN_ORDER[sampler](seed)
        if sampler in _IN_ORDER
        else _grouped(_CONFINABLE[sampler](per_second), fusible, members)
    )
    together = fusible if members > 1 else Fusible()
    strategy = Halving(made, eta, fusible=together) if schedule == "halving" else FullTraining(made)
    return strategy if start is None else StartFrom(start, strategy)


def _grouped(sampler: ConfinableSampler, fusible: Fusible, members: int) -> Sampler:
    return sampler if members == 1 else Grouped(sampler, fusible, members)


# Optuna and scipy.stats take up to a second to import, as long as several trials: only strategies that need them do.
def _optuna(kind: Literal["tpe", "gp"]) -> ConfinableSampler:
    from maestune.search.optuna_bridge import OptunaSampler

    return OptunaSampler(kind)


def _sobol(seed: int) -> Sampler:
    from maestune.search.sobol import SobolSampler

    return SobolSampler(seed)


_IN_ORDER: Mapping[str, Callable[[int], Sampler]] = {"grid": lambda seed: GridSampler(), "sobol": _sobol}
_CONFINABLE: Mapping[str, Callable[[bool], ConfinableSampler]] = {
    "guided": lambda per_second: GuidedSampler(per_second=per_second),
    "random": lambda per_second: RandomSampler(),
    "tpe": lambda per_second: _optuna("tpe"),
    "gp": lambda per_second: _optuna("gp"),
}
