"""What every strategy must do, as tests to run on your own: subclass `StrategySuite` and give it your strategy.

```python
class TestMine(StrategySuite):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return Mine()
```

A strategy made for groups of several trainings (`make_strategy(…, fusible=FUSIBLE, members=4)`) is tested in groups when
the subclass also says `members = 4`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from maestune.search.strategy import Strategy
from maestune.space import Choice, Float, Fusible, Int, Prior, Space, structure
from maestune.testing.simulate import Curve, simulate
from maestune.types import (
    Config,
    Constraint,
    Decision,
    History,
    Judgement,
    Objective,
    Proposal,
    Rung,
    Score,
    Trial,
    TrialState,
)

RUNGS = (10, 30, 90)
FD = (Objective("fd"),)

MIXED = Space(
    (
        Float("lr", 1e-5, 1e-1, scale="log", prior=Prior(1e-3)),
        Choice("loss", ("ns", "hinge", "wgan"), prior=Prior("ns", "low")),
        Float("penalty", 0.1, 10, scale="log", off=0.0),
        Choice("batch", (32, 64, 128), ordered=True),
        Int("width", 4, 64, scale="log"),
        Choice("average", (True, False)),
    )
)
CONDITIONAL = Space(
    (
        Choice("kind", ("adam", "sgd")),
        Float("lr", 1e-4, 1e-1, scale="log"),
        Float("beta1", 0.0, 0.95, when={"kind": ("adam",)}),
        Int("warmup", 1, 5, when={"kind": ("sgd",)}),
        Choice("nesterov", ("yes", "no"), when={"kind": ("sgd",), "warmup": (1, 2, 3)}),
    )
)
FUSIBLE = Fusible(frozenset({"lr", "beta1"}), frozenset({"penalty"}))  # in these spaces
SINGLE = Space((Choice("loss", ("ns",)), Int("width", 8, 8)))
SMALL = Space((Choice("loss", ("ns", "hinge")), Int("width", 1, 3)))


def bowl(config: Config, seed: int, step: int) -> Mapping[str, float]:
    """A Fréchet distance with its minimum near a learning rate of 0.01, falling with training."""
    distance = abs(math.log10(config.number("lr", 1e-2)) + 2)
    wiggle = np.random.default_rng((seed, step)).normal(0, 0.05)
    return {"fd": math.exp(1 + distance + 2 / math.sqrt(step) + wiggle), "coverage": 1 / (1 + distance)}


def cliff(config: Config, seed: int, step: int) -> Mapping[str, float] | None:
    """The bowl, where every learning rate above 0.003 diverges."""
    return None if config.number("lr", 0.0) > 3e-3 else bowl(config, seed, step)


@dataclass(frozen=True)
class Checked:
    """A strategy of which every answer is checked: what it may propose, promote, judge and give up."""

    inner: Strategy

    def ask(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Sequence[Proposal]:
        """The inner strategy's proposals, asked for twice."""
        state = rng.bit_generator.state
        proposals = list(self.inner.ask(space, history, n, rng))
        rng.bit_generator.state = state
        again = list(self.inner.ask(space, history, n, rng))
        assert proposals == again, "the same history and generator must give the same proposals"
        assert len(proposals) <= n, f"{n} proposals asked for, {len(proposals)} given"
        tried = {trial.config for trial in history.trials}
        parents: set[int] = set()
        for proposal in proposals:
            assert space.check(proposal.config) == proposal.config, "a proposal must be a point of the space"
            assert proposal.until_steps in history.rungs, f"{proposal.until_steps} steps is no rung"
            assert proposal.reason.strip(), "a proposal needs a reason"
            if proposal.parent is None:
                assert proposal.config not in tried, f"{dict(proposal.config)} was tried already"
                tried.add(proposal.config)
                continue
            parent = next(t for t in history.trials if t.number == proposal.parent)
            assert parent.state is TrialState.PAUSED, f"trial {parent.number} is {parent.state}, only paused ones go on"
            assert parent.number not in parents, f"trial {parent.number} is promoted twice"
            assert parent.config == proposal.config, "a promoted trial keeps its config"
            assert proposal.until_steps > parent.step, "a promoted trial goes on"
            parents.add(parent.number)
        return proposals

    def judge(self, history: History, trial: Trial) -> Judgement:
        """The inner strategy's judgement."""
        judgement = self.inner.judge(history, trial)
        assert judgement == self.inner.judge(history, trial), "judging must have no memory"
        assert judgement.reason.strip(), "a judgement needs a reason"
        complete = trial.step >= history.full_steps
        assert (judgement.decision is Decision.COMPLETE) == complete, "complete is what reached the full training"
        return judgement

    def prune(self, history: History) -> Mapping[int, str]:
        """The inner strategy's choice."""
        given_up = self.inner.prune(history)
        for number, reason in given_up.items():
            trial = next(t for t in history.trials if t.number == number)
            assert trial.state is TrialState.PAUSED, f"trial {number} is {trial.state}, only paused ones are given up"
            assert reason.strip(), "giving up needs a reason"
        return given_up


class StrategySuite:
    """Laws of strategies; override the fixture `strategy`."""

    budget_full = 12.0  # full trainings of each simulated campaign
    members = 1  # up to how many trainings that differ in what is FUSIBLE a worker trains as one

    @pytest.fixture
    def strategy(self) -> Strategy:
        """The strategy under test."""
        raise NotImplementedError("override the fixture `strategy` with the strategy under test")

    def campaign(
        self,
        strategy: Strategy,
        space: Space,
        curve: Curve,
        objectives: tuple[Objective, ...] = FD,
        workers: int = 2,
        constraints: tuple[Constraint, ...] = (),
    ) -> History:
        """A simulated campaign in which every answer of the strategy is checked."""
        return simulate(
            Checked(strategy),
            space,
            curve,
            rungs=RUNGS,
            budget_full=self.budget_full,
            objectives=objectives,
            constraints=constraints,
            workers=workers,
            seed=3,
            fusible=FUSIBLE,
            members=self.members,
        )

    def test_campaign_on_a_mixed_space_trains_something_in_full(self, strategy: Strategy) -> None:  # noqa: D102
        history = self.campaign(strategy, MIXED, bowl)
        assert any(trial.step == RUNGS[-1] for trial in history.trials)
        assert not any(trial.state is TrialState.RUNNING for trial in history.trials)

    def test_conditional_space(self, strategy: Strategy) -> None:  # noqa: D102
        assert len(self.campaign(strategy, CONDITIONAL, bowl).trials) > 1

    def test_diverging_trials(self, strategy: Strategy) -> None:  # noqa: D102
        history = self.campaign(strategy, MIXED, cliff)
        assert any(trial.state is TrialState.COMPLETE for trial in history.trials)

    def test_nothing_but_failures(self, strategy: Strategy) -> None:  # noqa: D102
        history = self.campaign(strategy, MIXED, lambda config, seed, step: None)
        assert len(history.trials) > 1
        assert all(trial.state is TrialState.DIVERGED for trial in history.trials)

    def test_scores_that_are_no_numbers(self, strategy: Strategy) -> None:  # noqa: D102
        def broken(config: Config, seed: int, step: int) -> Mapping[str, float]:
            return {"fd": math.nan} if seed % 3 == 0 else {} if seed % 3 == 1 else {"fd": math.inf}

        assert len(self.campaign(strategy, MIXED, broken).trials) > 1

    def test_several_objectives(self, strategy: Strategy) -> None:  # noqa: D102
        objectives = (Objective("fd"), Objective("coverage", higher_is_better=True))
        assert len(self.campaign(strategy, MIXED, cliff, objectives).trials) > 1

    @pytest.mark.parametrize("bound", [0.6, 2.0])  # the second is out of reach
    def test_bounds(self, strategy: Strategy, bound: float) -> None:  # noqa: D102
        constraints = (Constraint("coverage", ">=", bound),)
        history = self.campaign(strategy, MIXED, cliff, constraints=constraints)
        assert any(trial.state is TrialState.COMPLETE for trial in history.trials)

    def test_a_bound_on_what_is_never_measured(self, strategy: Strategy) -> None:  # noqa: D102
        history = self.campaign(strategy, MIXED, bowl, constraints=(Constraint("novelty", ">=", 0.4),))
        assert len(history.trials) > 1

    def test_space_with_a_single_point_is_trained_once(self, strategy: Strategy) -> None:  # noqa: D102
        history = self.campaign(strategy, SINGLE, bowl, workers=1)
        assert [trial.state for trial in history.trials] == [TrialState.COMPLETE]

    def test_small_space_is_tried_in_full_and_then_ends(self, strategy: Strategy) -> None:  # noqa: D102
        history = self.campaign(strategy, SMALL, bowl)
        assert len({trial.config for trial in history.trials}) == len(history.trials) == 6

    @pytest.mark.parametrize("n", [0, 1, 2, 5])
    def test_asked_for_several_while_others_run(self, strategy: Strategy, n: int) -> None:  # noqa: D102
        rng = np.random.default_rng(0)
        running = [MIXED.centre(), *(MIXED.sample(rng) for _ in range(2))]
        trials = tuple(
            Trial(number, config, 0, "search", TrialState.RUNNING, RUNGS[0], "started")
            for number, config in enumerate(running)
        )
        proposals = Checked(strategy).ask(MIXED, History(trials, FD, RUNGS), n, rng)
        assert len(proposals) == n

    def test_new_configs_come_in_groups_once_enough_was_tried(self, strategy: Strategy) -> None:  # noqa: D102
        rng = np.random.default_rng(1)
        trials: list[Trial] = []
        for number in range(8 * self.members):
            config = MIXED.sample(rng)
            rung = Rung(RUNGS[0], {k: Score(v) for k, v in bowl(config, number, RUNGS[0]).items()}, 1.0)
            trials.append(Trial(number, config, 0, "search", TrialState.STOPPED, RUNGS[0], "", (rung,)))
        n = 2 * self.members + 1
        proposals = Checked(strategy).ask(MIXED, History(tuple(trials), FD, RUNGS), n, rng)
        assert len(proposals) == n
        for begin in range(0, n, self.members):
            group = proposals[begin : begin + self.members]
            assert len({structure(MIXED, p.config, FUSIBLE) for p in group}) == 1
