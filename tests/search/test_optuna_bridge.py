from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import numpy as np
import optuna
import pytest

from maestune.search.optuna_bridge import OptunaSampler
from maestune.search.samplers import RandomSampler
from maestune.search.strategy import FullTraining
from maestune.space import Choice, Float, Space
from maestune.testing.simulate import simulate
from maestune.types import Config, History, Objective, Rung, Score, Trial, TrialState

SPACE = Space(
    (
        Choice("kind", (True, False)),
        Float("lr", 1e-5, 1e-1, scale="log"),
        Float("beta", 0.0, 1.0, when={"kind": (True,)}),
    )
)
RUNGS = (10, 30, 90)


def truth(config: Config) -> float:
    return abs(math.log10(config.number("lr")) + 2) + config.number("beta", 0.5)


def past(n: int, diverging_above: float = 1.0, pending: int = 0) -> History:
    rng = np.random.default_rng(3)
    trials: list[Trial] = []
    for number in range(n):
        config = SPACE.sample(rng)
        failed = config.number("lr") > diverging_above
        state = TrialState.RUNNING if number >= n - pending else TrialState.PAUSED
        rungs = () if failed or number >= n - pending else (Rung(10, {"fd": Score(truth(config))}, 1.0),)
        trials.append(Trial(number, config, 0, "search", TrialState.DIVERGED if failed else state, 10, "", rungs))
    return History(tuple(trials), (Objective("fd"),), RUNGS)


@pytest.mark.parametrize("kind", ["tpe", "gp"])
def test_it_learns_where_it_is_good(kind: str) -> None:
    sampler = OptunaSampler("tpe" if kind == "tpe" else "gp")
    candidates = [
        c for seed in range(4) for c in sampler.propose(SPACE, past(30, pending=2), 2, np.random.default_rng(seed))
    ]
    tried = [truth(t.config) for t in past(30).trials]
    assert np.median([truth(c.config) for c in candidates]) < np.quantile(tried, 0.4)
    assert all(c.reason.endswith("from 28 trials") for c in candidates)
    assert all(SPACE.check(c.config) == c.config for c in candidates)


def test_it_learns_where_training_diverges() -> None:
    # Everything learns equally well except that rates above 1e-3 diverge.
    history = past(40, diverging_above=1e-3)
    flat = tuple(
        t.with_(rungs=tuple(Rung(10, {"fd": Score(1.0 + 0.01 * (t.number % 7))}, 1.0) for _ in t.rungs))
        for t in history.trials
    )
    lrs = [
        c.config.number("lr")
        for seed in range(10)
        for c in OptunaSampler("tpe").propose(
            SPACE, History(flat, history.objectives, RUNGS), 2, np.random.default_rng(seed)
        )
    ]
    assert np.mean([lr > 1e-3 for lr in lrs]) < 0.25  # half of the space


def test_before_there_is_enough_to_learn_from_it_asks_the_priors() -> None:
    rng, other = np.random.default_rng(0), np.random.default_rng(0)
    assert OptunaSampler("tpe").propose(SPACE, past(9), 3, rng) == RandomSampler(from_prior=10).propose(
        SPACE, past(9), 3, other
    )


def test_tpe_is_better_than_random_with_the_same_budget() -> None:
    def curve(config: Config, seed: int, step: int) -> Mapping[str, float]:
        return {"fd": truth(config) + 1}

    def best(strategy: FullTraining, seed: int) -> float:
        history = simulate(strategy, SPACE, curve, rungs=RUNGS, budget_full=40, workers=2, seed=seed)
        return min(truth(t.config) for t in history.trials)

    tpe = np.mean([best(FullTraining(OptunaSampler("tpe")), seed) for seed in range(5)])
    random = np.mean([best(FullTraining(RandomSampler(from_prior=0)), seed) for seed in range(5)])
    assert tpe < 0.8 * random


def test_optuna_is_silent_meanwhile_and_as_before_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    logging.getLogger("optuna").addHandler(caplog.handler)
    try:
        OptunaSampler("tpe").propose(SPACE, past(20), 2, np.random.default_rng(0))
    finally:
        logging.getLogger("optuna").removeHandler(caplog.handler)
    assert caplog.records == []
    assert optuna.logging.get_verbosity() == before
