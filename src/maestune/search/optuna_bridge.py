"""Optuna's samplers as ours: the history becomes a study in memory, one that lives as long as a question.

Numbers and ordered choices are coordinates in our unit cube, unordered choices are categories; a trial's value is its
estimate at the full training (see `estimate`), trials without results are running ones, so that samplers keep away from
them. This file alone of the search imports Optuna, and is itself imported only by the strategies that need it: the
import takes most of a second.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from maestune.search.estimate import Estimates, estimate_losses
from maestune.search.samplers import RandomSampler
from maestune.search.strategy import Candidate, propose_distinct
from maestune.search.surrogate import coordinate
from maestune.space import Choice, Float, Param, Space
from maestune.types import Config, History, Value

_UNIT = FloatDistribution(0.0, 1.0)
# Configs with results that a model needs before it is worth asking; until then draws come from the priors and at random.
_STARTUP = 10


@dataclass(frozen=True)
class OptunaSampler:
    """Proposes what an Optuna sampler would.

    "tpe": tree-structured Parzen estimator (Bergstra et al. 2011; multivariate: Falkner et al. 2018); inactive parameters
    are unknown to it. "gp": Gaussian process with log expected improvement (Ament et al. 2023); a Gaussian process
    needs all coordinates, so it sees inactive parameters at the centre of their prior. Confined to a part of the space,
    both choose all coordinates, of which those that the part fixes are then replaced.
    """

    kind: Literal["tpe", "gp"]
    startup: int = _STARTUP

    def propose(
        self, space: Space, history: History, n: int, rng: np.random.Generator, part: Space | None = None
    ) -> Sequence[Candidate]:
        """See `ConfinableSampler`."""
        asked_for = space if part is None else part
        estimates = estimate_losses(history)
        if len(estimates.trials) < self.startup or not np.ptp(estimates.losses, axis=0).any():
            return RandomSampler(from_prior=self.startup).propose(space, history, n, rng, part)
        with _quiet():
            study = self._study(space, history, estimates, seed=int(rng.integers(1 << 31)))
            reason = f"proposed by {'TPE' if self.kind == 'tpe' else 'a Gaussian process'} from {len(estimates.trials)} trials"

            def draw() -> Candidate:
                return Candidate(self._ask(study, space, asked_for, rng), reason)

            return propose_distinct(draw, asked_for, history, n, rng)

    def _study(self, space: Space, history: History, estimates: Estimates, seed: int) -> optuna.Study:
        if self.kind == "tpe":
            sampler: optuna.samplers.BaseSampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=1)
        else:
            sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=1)
        study = optuna.create_study(sampler=sampler, directions=[StudyDirection.MINIMIZE] * len(history.objectives))
        distributions = {param.name: _distribution(param) for param in space}
        losses = {t.number: row.tolist() for t, row in zip(estimates.trials, estimates.losses, strict=True)}
        study.add_trials(
            _frozen(self._seen(space, trial.config), distributions, losses.get(trial.number))
            for trial in history.trials
        )
        return study

    def _ask(self, study: optuna.Study, space: Space, part: Space, rng: np.random.Generator) -> Config:
        # The trial stays in the study as a running one, which keeps the next question away from it. What it is told to
        # be, it is: an enqueued trial (the sampler for partly fixed spaces is experimental, and no better informed).
        fixed = {p.name: p.values[0] for p in part if isinstance(p, Choice) and len(p.values) == 1}
        if part is not space:
            study.enqueue_trial({name: coordinate(space[name], fixed) for name in fixed})
        trial = study.ask()
        values: dict[str, Value] = {}
        for param, allowed in zip(space, part, strict=True):
            active = space.active(param, values)
            if active or self.kind == "gp":
                value = _suggest(trial, param)
                if active:
                    values[param.name] = fixed.get(param.name, _on(value, param, allowed, rng))
        return Config.of(values)

    def _seen(self, space: Space, config: Config) -> dict[str, float | int]:
        """The coordinates of a config that Optuna is told of."""
        return {param.name: coordinate(param, config) for param in space if param.name in config or self.kind == "gp"}


def _distribution(param: Param) -> BaseDistribution:
    if isinstance(param, Choice) and not param.ordered:
        return CategoricalDistribution(tuple(range(len(param.values))))
    return _UNIT


def _suggest(trial: optuna.Trial, param: Param) -> Value:
    if isinstance(param, Choice) and not param.ordered:
        return param.values[trial.suggest_categorical(param.name, tuple(range(len(param.values))))]
    return param.from_unit(trial.suggest_float(param.name, 0.0, 1.0))


def _on(value: Value, param: Param, allowed: Param, rng: np.random.Generator) -> Value:
    """The value; a uniform draw instead where it is the off value, which the part of the space does not allow."""
    if isinstance(param, Float) and isinstance(allowed, Float) and value == param.off != allowed.off:
        return allowed.from_unit(float(rng.random()))
    return value


def _frozen(
    params: dict[str, float | int],
    distributions: Mapping[str, BaseDistribution],
    losses: list[float] | None,
) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING if losses is None else TrialState.COMPLETE,
        values=losses,
        params=params,
        distributions={name: distributions[name] for name in params},
    )


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Optuna's messages (a study was created; a conditional parameter was drawn on its own) silenced meanwhile."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
