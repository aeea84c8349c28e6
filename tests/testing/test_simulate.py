from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from maestune.search import make_strategy
from maestune.search.halving import Halving
from maestune.search.samplers import RandomSampler
from maestune.search.strategy import FullTraining
from maestune.space import Choice, Float, Fusible, Space, structure
from maestune.testing.simulate import simulate
from maestune.types import Config, Decision, History, Judgement, Proposal, TrialState

SPACE = Space((Float("x", 0.0, 1.0),))
RUNGS = (10, 30, 90)


def curve(config: Config, seed: int, step: int) -> Mapping[str, float] | None:
    return None if config.number("x") > 0.9 and step > 10 else {"fd": 1 + config.number("x") + 1 / step}


def run(workers: int, budget: float = 8, seed: int = 0) -> History:
    return simulate(Halving(RandomSampler()), SPACE, curve, rungs=RUNGS, budget_full=budget, workers=workers, seed=seed)


def steps(history: History) -> int:
    return sum(t.step for t in history.trials)


def test_the_budget_is_spent_and_not_exceeded() -> None:
    for workers in (1, 2, 5):
        history = run(workers)
        assert 8 * 90 - 60 <= steps(history) + 20 * sum(t.state.failed for t in history.trials) <= 8 * 90
        assert not any(t.state is TrialState.RUNNING for t in history.trials)


def test_it_is_repeatable_and_depends_on_the_seed() -> None:
    assert run(3) == run(3) != run(3, seed=1)


def test_rungs_on_the_way_are_recorded_and_divergence_ends_a_trial() -> None:
    history = simulate(FullTraining(RandomSampler(0)), SPACE, curve, rungs=RUNGS, budget_full=30, workers=2)
    for trial in history.trials:
        if trial.config.number("x") > 0.9:
            assert trial.state is TrialState.DIVERGED
            assert [r.step for r in trial.rungs] == [10]
        else:
            assert trial.state is TrialState.COMPLETE
            assert [r.step for r in trial.rungs] == [10, 30, 90]
    assert any(t.state is TrialState.DIVERGED for t in history.trials)


def test_what_is_paused_or_given_up_has_its_reason() -> None:
    history = run(2, budget=20)
    assert {t.state for t in history.trials} >= {TrialState.PAUSED, TrialState.STOPPED, TrialState.COMPLETE}
    assert all(t.decision for t in history.trials)


# Groups

NETWORKS = Space((Float("x", 0.0, 1.0), Choice("network", ("small", "large"))))
FUSIBLE = Fusible(frozenset({"x"}))


@dataclass(frozen=True)
class Listed:
    """Trains listed configs in full, and writes down in which order they are judged and how often it is asked."""

    configs: Sequence[Config]
    judged: list[int]
    asked: list[int]

    def ask(self, space, history, n, rng) -> list[Proposal]:
        tried = {t.config for t in history.trials}
        self.asked.append(len(tried))
        return [Proposal(c, RUNGS[-1], "listed") for c in self.configs if c not in tried][:n]

    def judge(self, history, trial) -> Judgement:
        self.judged.append(trial.number)
        return Judgement(Decision.COMPLETE, "done")

    def prune(self, history) -> Mapping[int, str]:
        return {}


def listed(*networks: str) -> Listed:
    return Listed([Config.of(x=i / 20, network=n) for i, n in enumerate(networks)], [], [])


def grouped(strategy: Listed, members: int, budget: float, speed: float = 2.0, workers: int = 1) -> History:
    return simulate(
        strategy,
        NETWORKS,
        curve,
        rungs=RUNGS,
        budget_full=budget,
        workers=workers,
        fusible=FUSIBLE,
        members=members,
        speedup=lambda size: speed if size > 1 else 1.0,
    )


def test_a_worker_takes_the_first_run_of_one_structure() -> None:
    strategy = listed("small", "small", "small", "large", "large", "small")
    history = grouped(strategy, members=5, budget=99)
    assert strategy.asked == [0, 3, 5, 6]
    assert strategy.judged == [0, 1, 2, 3, 4, 5]
    assert [t.seconds for t in history.trials] == [45, 45, 45, 45, 45, 90]  # the last one was alone


def test_no_group_is_larger_than_members() -> None:
    strategy = listed(*["small"] * 5)
    grouped(strategy, members=2, budget=99)
    assert strategy.asked == [0, 2, 4, 5]


@pytest.mark.parametrize(("budget", "trained"), [(0.9, 0), (1, 2), (1.6, 3), (2, 4), (3, 6)])
def test_the_budget_pays_seconds_of_workers_and_groups_are_cut_to_it(budget: float, trained: int) -> None:
    # Two or more cost half a full training each; one alone a whole one.
    history = grouped(listed(*["small"] * 6), members=4, budget=budget)
    assert len(history.trials) == trained
    assert sum(t.seconds for t in history.trials) <= budget * 90


def test_a_group_is_judged_together_and_meanwhile_the_other_worker_asks() -> None:
    strategy = listed("small", "small", "small", "large", "small")
    grouped(strategy, members=3, budget=99, workers=2)
    # The three are done after 135 s; meanwhile the other worker had trained the two others, 90 s each.
    assert strategy.asked[:3] == [0, 3, 4]
    assert strategy.judged == [3, 0, 1, 2, 4]


def test_members_that_diverge_leave_the_others_training() -> None:
    configs = [Config.of(x=x, network="small") for x in (0.95, 0.1, 0.2)]
    history = grouped(Listed(configs, [], []), members=3, budget=99)
    assert [t.state for t in history.trials] == [TrialState.DIVERGED, TrialState.COMPLETE, TrialState.COMPLETE]
    assert [t.step for t in history.trials] == [10, 90, 90]


def test_more_is_trained_where_groups_are_faster() -> None:
    def total(members: int) -> int:
        strategy = make_strategy("halving-random", fusible=FUSIBLE, members=members)
        history = simulate(
            strategy,
            NETWORKS,
            curve,
            rungs=RUNGS,
            budget_full=12,
            fusible=FUSIBLE,
            members=members,
            speedup=lambda size: min(size, 3),
        )
        assert {len(structure(NETWORKS, t.config, FUSIBLE)) for t in history.trials} == {1}
        return len(history.trials)

    # Promotions, which are few at a time, make small groups.
    assert total(4) > 1.4 * total(1)
