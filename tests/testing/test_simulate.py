from __future__ import annotations

from collections.abc import Mapping

from maestune.search.halving import Halving
from maestune.search.samplers import RandomSampler
from maestune.search.strategy import FullTraining
from maestune.space import Float, Space
from maestune.testing.simulate import simulate
from maestune.types import Config, History, TrialState

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
