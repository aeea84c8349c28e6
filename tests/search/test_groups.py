from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pytest

from maestune.search import make_strategy
from maestune.search.groups import ConfinableSampler, Grouped, first_group, group_key, side_by_side
from maestune.search.guided import GuidedSampler
from maestune.search.halving import Halving
from maestune.search.optuna_bridge import OptunaSampler
from maestune.search.samplers import RandomSampler
from maestune.search.strategy import Candidate
from maestune.search.surrogate import Surrogate
from maestune.space import Choice, Float, Fusible, Int, Prior, Space, structure, within
from maestune.types import Config, History, Objective, Proposal, Rung, Score, Trial, TrialState

SPACE = Space(
    (
        Float("lr", 1e-5, 1e-1, scale="log", prior=Prior(1e-3, "low")),
        Choice("loss", ("ns", "hinge", "wgan")),
        Float("gp", 0.1, 100.0, scale="log", when={"loss": ("wgan",)}),
        Int("width", 8, 64),
        Float("dropout", 0.05, 0.5, off=0.0, prior=Prior(0.0)),
        Float("noise", 0.01, 0.5, off=0.0),
    )
)
FUSIBLE = Fusible(frozenset({"lr", "gp"}), frozenset({"dropout", "noise"}))
RUNGS = (10, 30, 90)
SAMPLERS = [RandomSampler(), GuidedSampler(), OptunaSampler("tpe"), OptunaSampler("gp")]


def truth(config: Config) -> float:
    return (math.log10(config.number("lr")) + 2) ** 2 / 2 + config.number("dropout") + (config["loss"] == "wgan")


def past(n: int, state: TrialState = TrialState.PAUSED) -> History:
    rng = np.random.default_rng(7)
    configs = [SPACE.sample(rng) for _ in range(n)]
    trials = tuple(
        Trial(i, c, 0, "search", state, 10, "", (Rung(10, {"fd": Score(math.exp(truth(c)))}, 1.0),))
        for i, c in enumerate(configs)
    )
    return History(trials, (Objective("fd"),), RUNGS)


def shared(config: Config) -> Config:
    return structure(SPACE, config, FUSIBLE)


def name(value: object) -> str | None:
    return str(getattr(value, "kind", type(value).__name__))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=name)
@pytest.mark.parametrize("objectives", [1, 2])
def test_runs_share_a_structure_and_no_config_comes_twice(sampler: ConfinableSampler, objectives: int) -> None:
    history = past(40)
    if objectives == 2:
        history = History(history.trials, (Objective("fd"), Objective("kid")), RUNGS)
    grouped = Grouped(sampler, FUSIBLE, 5)
    found = list(grouped.propose(SPACE, history, 12, np.random.default_rng(1)))
    assert found == list(grouped.propose(SPACE, history, 12, np.random.default_rng(1)))
    assert len({c.config for c in found} | {t.config for t in history.trials}) == 52
    for run in (found[:5], found[5:10], found[10:]):
        assert len({shared(c.config) for c in run}) == 1
        assert "its group" not in run[0].reason
        assert all(c.reason.endswith(", sharing the architecture of its group") for c in run[1:])
    assert all(SPACE.check(c.config) == c.config for c in found)


def test_the_first_of_a_run_is_what_the_sampler_proposes_alone() -> None:
    history = past(40)
    alone = list(GuidedSampler().propose(SPACE, history, 1, np.random.default_rng(3)))
    assert [next(Grouped(GuidedSampler(), FUSIBLE, 8).propose(SPACE, history, 8, np.random.default_rng(3)))] == alone


@pytest.mark.parametrize(("tried", "lengths"), [(0, [1, 1, 1, 1, 2, 2, 3, 3, 4]), (8, [3, 3]), (40, [8, 8, 8])])
def test_runs_grow_with_what_was_tried(tried: int, lengths: list[int]) -> None:
    found = Grouped(RandomSampler(0), FUSIBLE, 8).propose(SPACE, past(tried), sum(lengths), np.random.default_rng(0))
    runs = [len(list(run)) for _, run in groupby(found, key=lambda c: shared(c.config))]
    assert runs == lengths


@pytest.mark.parametrize("sampler", SAMPLERS[1:3], ids=name)
def test_siblings_are_chosen_by_what_was_learnt_in_the_whole_space(sampler: ConfinableSampler) -> None:
    # No trial has this width, so all that is known of learning rates comes from other structures.
    history = past(60)
    width = min(set(range(8, 65)) - {t.config["width"] for t in history.trials})
    part = within(SPACE, SPACE.complete({"width": width, "lr": 1e-5, "loss": "ns"}), FUSIBLE)
    found = [
        truth(c.config)
        for seed in range(4)
        for c in sampler.propose(SPACE, history, 6, np.random.default_rng(seed), part)
    ]
    uniform = [truth(part.sample(np.random.default_rng(seed))) for seed in range(200)]
    assert np.median(found) < np.quantile(uniform, 0.4)


def test_one_fit_serves_all_siblings_and_each_knows_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    pending: list[int] = []
    fit, believing = Surrogate.fit, Surrogate.believing

    def counted_fit(points, losses, doubts, unordered):
        fits.append(len(points))
        return fit(points, losses, doubts, unordered)

    def counted_believing(self, points):
        pending.append(len(points))
        return believing(self, points)

    monkeypatch.setattr(Surrogate, "fit", staticmethod(counted_fit))
    monkeypatch.setattr(Surrogate, "believing", counted_believing)
    list(Grouped(GuidedSampler(plain=0.0), FUSIBLE, 6).propose(SPACE, past(40), 6, np.random.default_rng(0)))
    assert fits == [40, 40]  # for the first of the run, and for its siblings
    assert pending == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=name)
def test_a_switch_that_is_on_stays_on(sampler: ConfinableSampler) -> None:
    on = SPACE.complete({"dropout": 0.3, "noise": 0.0})
    found = list(sampler.propose(SPACE, past(40), 8, np.random.default_rng(0), within(SPACE, on, FUSIBLE)))
    assert len(found) == 8
    assert all(c.config.number("dropout") >= 0.05 and c.config["noise"] == 0.0 for c in found)


def test_a_structure_of_few_configs_is_exhausted_and_another_begun() -> None:
    space = Space((Choice("loss", ("ns", "hinge")), Int("depth", 1, 3)))
    fusible = Fusible(frozenset({"depth"}))
    old = tuple(Trial(i, Config.of(loss="old", depth=i), 0, "search", TrialState.STOPPED, 10, "") for i in range(40))
    history = History(old, (Objective("fd"),), RUNGS)
    found = Grouped(RandomSampler(0), fusible, 8).propose(space, history, 20, np.random.default_rng(0))
    losses = [c.config["loss"] for c in found]
    assert sorted([losses[:3], losses[3:]]) == [["hinge"] * 3, ["ns"] * 3]


@dataclass(frozen=True)
class Counting:
    """Fails when it is asked for siblings."""

    def propose(self, space, history, n, rng, part=None):
        assert part is None
        return [Candidate(space.sample(rng), "any")]


def test_a_structure_of_one_config_is_not_asked_for_siblings() -> None:
    found = list(Grouped(Counting(), Fusible(), 8).propose(SPACE, past(40), 3, np.random.default_rng(0)))
    assert len(found) == 3


def test_only_what_is_taken_is_thought_of(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    believing = Surrogate.believing
    monkeypatch.setattr(
        Surrogate, "believing", lambda self, points: asked.append(len(points)) or believing(self, points)
    )
    strategy = Halving(Grouped(GuidedSampler(plain=0.0), FUSIBLE, 4), fusible=FUSIBLE)
    proposals = strategy.ask(SPACE, past(40, TrialState.STOPPED), 16, np.random.default_rng(0))
    run = first_group(proposals, SPACE, past(40, TrialState.STOPPED), FUSIBLE)
    assert len(run) == 4
    assert asked == [1, 2, 3, 4]  # the last of them the first of the next run, from which this one is told apart


# Promotions


def paused(number: int, config: Config, fd: float, steps: int = 1) -> Trial:
    rungs = tuple(Rung(step, {"fd": Score(fd)}, 1.0) for step in RUNGS[:steps])
    return Trial(number, config, 0, "search", TrialState.PAUSED, rungs[-1].step, "", rungs)


def test_promotions_of_one_structure_stand_beside_the_best_of_them() -> None:
    narrow, wide = SPACE.complete({"width": 8}), SPACE.complete({"width": 64})
    configs = [(wide if i % 2 else narrow).with_(lr=10 ** -(2 + i / 10)) for i in range(18)]
    trials = tuple(paused(i, c, float(i), 2 if i < 3 else 1) for i, c in enumerate(configs))
    history = History(trials, (Objective("fd"),), RUNGS)

    def ask(n: int, fusible: Fusible) -> list[int | None]:
        halving = Halving(RandomSampler(), fusible=fusible)
        return [p.parent for p in halving.ask(SPACE, history, n, np.random.default_rng(0))]

    assert ask(5, Fusible()) == [0, 3, 4, 5]  # the top rung first, then by rank
    assert ask(5, FUSIBLE) == [0, 3, 5, 4]
    assert ask(3, FUSIBLE) == [0, 3, 5]
    assert [p.parent for p in make_strategy("halving").ask(SPACE, history, 4, np.random.default_rng(0))] == [0, 3, 4, 5]


def test_what_can_be_trained_as_one_has_one_key() -> None:
    one, other = SPACE.complete({"lr": 1e-3}), SPACE.complete({"lr": 1e-2})
    history = History((paused(0, one, 1.0), paused(1, other, 1.0, steps=2)), (Objective("fd"),), RUNGS)
    first, begun, further, longer, wide = (
        Proposal(one, 30, ""),
        Proposal(one, 30, "", parent=0),
        Proposal(other, 90, "", parent=1),
        Proposal(other, 90, ""),
        Proposal(SPACE.complete({"width": 9}), 30, ""),
    )
    proposals = [first, begun, further, longer, wide]
    assert len({group_key(SPACE, history, p, FUSIBLE) for p in proposals}) == 5
    again = Proposal(other, 30, "again")
    assert group_key(SPACE, history, first, FUSIBLE) == group_key(SPACE, history, again, FUSIBLE)
    assert side_by_side(SPACE, history, [*proposals, again], FUSIBLE) == [first, again, *proposals[1:]]


@pytest.mark.parametrize("strategy", ["grid", "sobol"])
def test_grid_and_sobol_keep_their_own_order(strategy: str) -> None:
    def ask(**groups) -> list[Config]:
        made = make_strategy(strategy, **groups)
        return [p.config for p in made.ask(SPACE, past(40), 9, np.random.default_rng(0))]

    assert ask(fusible=FUSIBLE, members=8) == ask()


def test_the_start_comes_first_and_asking_again_for_the_rest_goes_on() -> None:
    start = SPACE.centre()
    strategy = make_strategy("halving", start=start, fusible=FUSIBLE, members=8)
    history = past(40, TrialState.STOPPED)
    first, second, third = strategy.ask(SPACE, history, 3, np.random.default_rng(0))
    assert (first.config, first.until_steps) == (start, 90)
    assert shared(second.config) == shared(third.config)
