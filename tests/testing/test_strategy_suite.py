from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from maestune.search import STRATEGIES, Strategy, make_strategy
from maestune.search.halving import Halving
from maestune.search.samplers import RandomSampler
from maestune.testing.strategy import FUSIBLE, MIXED, StrategySuite, bowl


class TestEveryNamedStrategy(StrategySuite):
    @pytest.fixture(params=[name for name in STRATEGIES if name not in ("gp", "halving-gp")])
    def strategy(self, request: pytest.FixtureRequest) -> Strategy:
        return make_strategy(request.param, seed=5)


class TestGaussianProcess(StrategySuite):
    budget_full = 4.5  # each of its proposals takes a tenth of a second

    @pytest.fixture
    def strategy(self) -> Strategy:
        return make_strategy("halving-gp")


class TestGroups(StrategySuite):
    members = 4

    @pytest.fixture(params=["halving", "halving-random", "halving-tpe", "random", "tpe"])
    def strategy(self, request: pytest.FixtureRequest) -> Strategy:
        return make_strategy(request.param, fusible=FUSIBLE, members=4)


class TestGroupsOfGaussianProcess(StrategySuite):
    budget_full = 4.5
    members = 3

    @pytest.fixture
    def strategy(self) -> Strategy:
        return make_strategy("halving-gp", fusible=FUSIBLE, members=3)


class TestFromAStart(StrategySuite):
    @pytest.fixture(params=["halving", "random"])
    def strategy(self, request: pytest.FixtureRequest) -> Strategy:
        return _FromCentre(make_strategy(request.param))


@dataclass(frozen=True)
class _FromCentre:
    """Starts from the centre of whatever space it is asked about."""

    inner: Strategy

    def ask(self, space, history, n, rng):
        from maestune.search.start import StartFrom

        return StartFrom(space.centre(), self.inner).ask(space, history, n, rng)

    def judge(self, history, trial):
        return self.inner.judge(history, trial)

    def prune(self, history):
        return self.inner.prune(history)


@dataclass(frozen=True)
class _Faulty(Halving):
    fault: str = ""

    def ask(self, space, history, n, rng):
        proposals = list(super().ask(space, history, n, rng))
        if self.fault == "forgets what was tried" and history.trials:
            return [replace(proposals[0], config=history.trials[0].config, parent=None)]
        if self.fault == "too many":
            return [*proposals, *super().ask(space, history, 1, rng)]
        if self.fault == "no rung":
            return [replace(p, until_steps=p.until_steps + 1) for p in proposals]
        if self.fault == "own randomness":
            _Faulty.calls += 1
            return [replace(p, reason=f"call {_Faulty.calls}") for p in proposals]
        if self.fault == "no reason":
            return [replace(p, reason="") for p in proposals]
        return proposals

    def judge(self, history, trial):
        judgement = super().judge(history, trial)
        return replace(judgement, reason=" ") if self.fault == "silent judge" else judgement


_Faulty.calls = 0


@pytest.mark.parametrize(
    "fault", ["forgets what was tried", "too many", "no rung", "own randomness", "no reason", "silent judge"]
)
def test_the_suite_finds_a_fault(fault: str) -> None:
    with pytest.raises(AssertionError):
        StrategySuite().campaign(_Faulty(RandomSampler(), fault=fault), MIXED, bowl)
    StrategySuite().campaign(_Faulty(RandomSampler()), MIXED, bowl)


def test_the_suite_finds_a_strategy_that_does_not_propose_in_groups() -> None:
    suite = StrategySuite()
    suite.members = 4
    suite.test_new_configs_come_in_groups_once_enough_was_tried(make_strategy("random", fusible=FUSIBLE, members=4))
    with pytest.raises(AssertionError):
        suite.test_new_configs_come_in_groups_once_enough_was_tried(make_strategy("random"))
