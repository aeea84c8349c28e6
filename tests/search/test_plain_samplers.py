from __future__ import annotations

import numpy as np
import pytest

from maestune.search.grid import GridSampler, grid_size
from maestune.search.samplers import FROM_PRIOR, RandomSampler
from maestune.search.sobol import SobolSampler
from maestune.search.strategy import Candidate, FullTraining, propose_distinct
from maestune.space import Choice, Float, Int, Prior, Space
from maestune.types import Config, Decision, History, Objective, Rung, Score, Trial, TrialState

EMPTY = History((), (Objective("fd"),), (10, 30, 90))


def after(configs: list[Config], state: TrialState = TrialState.COMPLETE) -> History:
    trials = tuple(Trial(i, c, 0, "search", state, 90, "") for i, c in enumerate(configs))
    return History(trials, EMPTY.objectives, EMPTY.rungs)


def test_random_takes_the_priors_first() -> None:
    space = Space((Float("lr", 1e-6, 1.0, scale="log", prior=Prior(1e-3, "high")),))
    candidates = RandomSampler().propose(space, EMPTY, 200, np.random.default_rng(0))
    unit = np.array([space.encode(c.config)["lr"] for c in candidates])
    assert np.abs(unit[:FROM_PRIOR] - 0.5).max() < 0.3
    assert unit[FROM_PRIOR:].min() < 0.05
    assert unit[FROM_PRIOR:].max() > 0.95
    assert {c.reason for c in candidates[:FROM_PRIOR]} == {"drawn from the priors"}
    assert "priors" not in candidates[FROM_PRIOR].reason


def test_sobol_puts_one_point_into_each_stratum_even_when_asked_one_by_one() -> None:
    space = Space(tuple(Float(name, 0.0, 1.0) for name in "abc"))
    sampler, configs = SobolSampler(seed=3), list[Config]()
    for _ in range(32):
        configs += [c.config for c in sampler.propose(space, after(configs), 1, np.random.default_rng(0))]
    for name in "abc":
        strata = {int(c.number(name) * 32) for c in configs}
        assert len(strata) == 32
    together = [c.config for c in sampler.propose(space, EMPTY, 32, np.random.default_rng(9))]
    assert together == configs
    assert SobolSampler(seed=4).propose(space, EMPTY, 1, np.random.default_rng(0))[0].config != configs[0]


GRID = Space(
    (
        Choice("loss", ("ns", "hinge")),
        Float("lr", 1e-4, 1e-1, scale="log"),
        Int("depth", 1, 2),
        Float("r1", 0.1, 10, scale="log", off=0.0),
    )
)


def test_grid_is_complete_and_then_ends() -> None:
    configs: list[Config] = []
    while new := GridSampler().propose(GRID, after(configs), 7, np.random.default_rng(0)):
        configs += [c.config for c in new]
        assert f"{grid_size(GRID, 3)}" in new[0].reason
    assert len(set(configs)) == len(configs) == grid_size(GRID, 3) == 2 * 3 * 2 * 4
    assert len({c["lr"] for c in configs}) == 3
    assert {c["r1"] for c in configs} >= {0.0}


def test_grid_goes_from_coarse_to_fine_and_any_beginning_is_spread() -> None:
    configs = [c.config for c in GridSampler().propose(GRID, EMPTY, 20, np.random.default_rng(0))]
    coarse = configs[: 2 * 2]
    assert [c["lr"] for c in coarse] == [pytest.approx(10**-2.5, rel=1e-4)] * 4
    assert {c["loss"] for c in coarse} == {"ns", "hinge"}
    assert len({c["lr"] for c in configs}) == 3
    assert len({c["r1"] for c in configs}) == 4


def test_grid_tries_a_conditional_config_once() -> None:
    space = Space((Choice("kind", ("a", "b")), Choice("x", (1, 2, 3), when={"kind": ("a",)})))
    candidates = GridSampler().propose(space, EMPTY, 99, np.random.default_rng(0))
    assert len(candidates) == 4
    assert candidates[0].reason == "a point of the grid of at most 6"


def test_distinct_falls_back_to_what_is_left() -> None:
    space = Space((Int("width", 1, 300, scale="log"),))
    stuck = Candidate(Config.of(width=7), "always the same")
    tried = [Config.of(width=w) for w in range(1, 301) if w not in (5, 7, 299)]
    found = propose_distinct(lambda: stuck, space, after(tried), 9, np.random.default_rng(0))
    assert sorted(int(c.config.number("width")) for c in found) == [5, 7, 299]
    assert found[0] == stuck


def test_full_training_continues_what_was_paused() -> None:
    paused = Trial(4, Config.of(x=0.5), 0, "search", TrialState.PAUSED, 10, "", (Rung(10, {"fd": Score(1.0)}, 1.0),))
    history = History((paused,), EMPTY.objectives, EMPTY.rungs)
    strategy = FullTraining(RandomSampler())
    space = Space((Float("x", 0.0, 1.0),))
    first, second = strategy.ask(space, history, 2, np.random.default_rng(0))
    assert (first.parent, first.until_steps, second.parent, second.until_steps) == (4, 90, None, 90)
    assert strategy.judge(history, paused).decision is Decision.PAUSE
