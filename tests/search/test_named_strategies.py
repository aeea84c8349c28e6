from __future__ import annotations

import numpy as np
import pytest

from maestune.errors import SettingsError, SpaceError
from maestune.search import DEFAULT_STRATEGY, STRATEGIES, make_strategy
from maestune.search.start import StartFrom
from maestune.space import Float, Int, Space
from maestune.types import Config, History, Objective, Proposal, Trial, TrialState

SPACE = Space((Float("lr", 1e-5, 1e-1, scale="log"), Int("width", 1, 64)))
START = Config.of(lr=1e-3, width=16)
EMPTY = History((), (Objective("fd"),), (10, 30, 90))


def running(*proposals: Proposal) -> History:
    trials = tuple(
        Trial(i, p.config, 0, "search", TrialState.RUNNING, p.until_steps, p.reason) for i, p in enumerate(proposals)
    )
    return History(trials, EMPTY.objectives, EMPTY.rungs)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_starts_with_the_recipe_in_full(name: str) -> None:
    strategy = make_strategy(name, start=START, seed=1)
    first, second = strategy.ask(SPACE, EMPTY, 2, np.random.default_rng(0))
    assert (first.config, first.until_steps, first.parent) == (START, 90, None)
    assert first.reason == "the starting recipe"
    assert second.config != START
    (third,) = strategy.ask(SPACE, running(first, second), 1, np.random.default_rng(0))
    assert third.config not in (first.config, second.config)


def test_asked_for_one_it_is_the_recipe_and_never_again() -> None:
    strategy = make_strategy("random", start=START)
    (first,) = strategy.ask(SPACE, EMPTY, 1, np.random.default_rng(0))
    assert first.config == START
    later = strategy.ask(SPACE, running(first), 20, np.random.default_rng(0))
    assert START not in [p.config for p in later]


def test_the_start_is_written_as_the_space_writes_it() -> None:
    loose = Config.of(width=16, lr=1e-3)  # another order
    (first,) = make_strategy("halving", start=loose).ask(SPACE, EMPTY, 1, np.random.default_rng(0))
    assert tuple(first.config) == ("lr", "width")


def test_a_start_outside_the_space_is_named() -> None:
    with pytest.raises(SpaceError, match="width: value 99 is outside 1:64"):
        make_strategy("halving", start=START.with_(width=99)).ask(SPACE, EMPTY, 1, np.random.default_rng(0))


def test_without_a_start_there_is_none() -> None:
    assert not isinstance(make_strategy(DEFAULT_STRATEGY), StartFrom)


def test_unknown_strategies_are_named_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"Unknown strategy 'halvin'.*Did you mean halving"):
        make_strategy("halvin")


def test_the_seed_moves_the_sobol_points() -> None:
    def first(seed: int) -> Config:
        return next(iter(make_strategy("sobol", seed=seed).ask(SPACE, EMPTY, 1, np.random.default_rng(0)))).config

    assert first(1) == first(1) != first(2)
