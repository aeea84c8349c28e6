from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from maestune.search.guided import GuidedSampler
from maestune.search.halving import Halving
from maestune.search.samplers import FROM_PRIOR, RandomSampler
from maestune.search.strategy import FullTraining, Sampler
from maestune.space import Choice, Float, Prior, Space
from maestune.testing.simulate import simulate
from maestune.types import Config, Constraint, History, Objective, Rung, Score, Trial, TrialState

SPACE = Space(
    (
        *(Float(f"x{i}", 0.0, 1.0, prior=Prior(0.5, "low")) for i in range(6)),
        Choice("loss", ("ns", "hinge", "ls"), prior=Prior("ns", "low")),
    )
)
RUNGS = (10, 30, 90)


def truth(config: Config) -> float:
    distance = sum((config.number(f"x{i}") - 0.2) ** 2 for i in range(3))
    return 5 * distance + {"ns": 0.5, "hinge": 0.0, "ls": 0.8}[config.text("loss")]


def curve(config: Config, seed: int, step: int) -> Mapping[str, float]:
    noise = np.random.default_rng((seed, step)).normal(0, 0.1)
    return {"fd": math.exp(truth(config) + noise + 3 / math.sqrt(step)), "kid": math.exp(5 - truth(config))}


def regret(sampler: Sampler, seed: int) -> float:
    history = simulate(Halving(sampler), SPACE, curve, rungs=RUNGS, budget_full=10, workers=2, seed=seed)
    done = [t for t in history.trials if t.state is TrialState.COMPLETE]
    return truth(min(done, key=lambda t: t.rungs[-1].scores["fd"].value).config)


def test_it_beats_uniform_draws_and_its_model_helps() -> None:
    def mean(sampler: Sampler) -> float:
        return float(np.mean([regret(sampler, seed) for seed in range(12)]))

    guided = mean(GuidedSampler())
    assert guided < 0.8 * mean(GuidedSampler(model_after=10**6))
    assert guided < 0.8 * mean(RandomSampler())


def past(n: int, state: TrialState = TrialState.PAUSED) -> History:
    rng = np.random.default_rng(7)
    trials: list[Trial] = []
    for number in range(n):
        config = SPACE.sample(rng)
        rungs = (Rung(10, {k: Score(v) for k, v in curve(config, number, 10).items()}, 1.0),)
        trials.append(Trial(number, config, 0, "search", state, 10, "", rungs if not state.failed else ()))
    return History(tuple(trials), (Objective("fd"),), RUNGS)


def test_the_first_are_drawn_from_the_priors() -> None:
    candidates = list(GuidedSampler().propose(SPACE, past(1), 5, np.random.default_rng(0)))
    assert [c.reason for c in candidates[: FROM_PRIOR - 1]] == ["drawn from the priors"] * (FROM_PRIOR - 1)


def test_no_source_is_ever_dropped() -> None:
    history = past(40)
    reasons = Counter(
        " ".join(
            next(GuidedSampler().propose(SPACE, history, 1, np.random.default_rng(seed)))
            .reason.replace(",", "")
            .split()[:2]
        )
        for seed in range(150)
    )
    assert set(reasons) == {"drawn uniformly", "drawn from", "a variation"}
    assert reasons["a variation"] > 50


def test_variations_are_of_the_best() -> None:
    history = past(40)
    best = sorted(history.trials, key=lambda t: truth(t.config))[:12]
    for seed in range(20):
        reason = next(GuidedSampler().propose(SPACE, history, 1, np.random.default_rng(seed))).reason
        if reason.startswith("a variation of trial"):
            assert int(reason.split(",")[0].split()[-1]) in [t.number for t in best]


def test_after_failures_only_it_goes_on_and_varies_none_of_them() -> None:
    history = past(12, TrialState.DIVERGED)
    for seed in range(20):
        (candidate,) = GuidedSampler().propose(SPACE, history, 1, np.random.default_rng(seed))
        assert "variation" not in candidate.reason


@pytest.mark.parametrize("names", [("fd", "kid")])
def test_with_two_objectives_proposals_spread_over_both(names: tuple[str, str]) -> None:
    history = past(40)
    history = History(history.trials, tuple(Objective(name) for name in names), RUNGS)
    sampler = GuidedSampler(plain=0.0, uniform=0.0, prior=0.1)
    found = [
        truth(c.config) for seed in range(30) for c in sampler.propose(SPACE, history, 1, np.random.default_rng(seed))
    ]
    known = [truth(t.config) for t in history.trials]
    assert min(found) < np.quantile(known, 0.2)  # good for fd
    assert max(found) > np.quantile(known, 0.8)  # good for kid, which is opposed


def test_model_and_pending_trials_of_a_full_schedule() -> None:
    history = simulate(FullTraining(GuidedSampler()), SPACE, curve, rungs=RUNGS, budget_full=14, workers=4, seed=1)
    assert len({t.config for t in history.trials}) == 14


def test_of_equally_promising_configs_the_faster_ones_are_preferred_where_time_counts() -> None:
    space = Space((Choice("width", (16, 32, 64), ordered=True), Float("lr", 1e-5, 1e-1, scale="log")))
    rng = np.random.default_rng(0)
    trials: list[Trial] = []
    for number in range(24):
        config = space.sample(rng)
        loss = 1 + abs(math.log10(config.number("lr")) + 3)  # the width does not matter for the loss
        seconds = config.number("width") / 16
        rung = Rung(10, {"fd": Score(loss)}, seconds)
        trials.append(Trial(number, config, 0, "search", TrialState.PAUSED, 10, "", (rung,), seconds=seconds))
    history = History(tuple(trials), (Objective("fd"),), (10, 30))

    def widths(sampler: GuidedSampler) -> Counter[float]:
        return Counter(
            next(sampler.propose(space, history, 1, np.random.default_rng(seed))).config.number("width")
            for seed in range(120)
        )

    free, timed = widths(GuidedSampler()), widths(GuidedSampler(per_second=True))
    assert timed[16] > free[16] + 12
    assert timed[64] < free[64]
    assert timed[64] > 0  # preferred, not exclusive


# Bounds ---------------------------------------------------------------------------------------------------------------

LEAST = 1.0  # the true loss that a config must have at least to keep kid below its bound
BOUND = Constraint("kid", "<=", math.exp(5 - LEAST))


def test_within_bounds_it_finds_the_best_there_is_within_them() -> None:
    """The unbounded optimum is outside; fd and kid pull against each other, and the best lies on the bound."""

    def found(constraints: tuple[Constraint, ...], seed: int) -> tuple[float, float]:
        """True loss of the best full training within the bounds, and the share of late proposals within them."""
        history = simulate(
            Halving(GuidedSampler()),
            SPACE,
            curve,
            rungs=RUNGS,
            budget_full=10,
            workers=2,
            seed=seed,
            constraints=constraints,
        )
        losses = [truth(t.config) for t in history.trials if t.state is TrialState.COMPLETE]
        late = [truth(t.config) >= LEAST for t in history.trials[len(history.trials) // 2 :]]
        return min((x for x in losses if x >= LEAST), default=math.inf), float(np.mean(late))

    bounded = np.array([found((BOUND,), seed) for seed in range(8)])
    free = np.array([found((), seed) for seed in range(8)])
    assert bounded[:, 0].max() < LEAST + 0.5
    assert bounded[:, 0].mean() < min(free[:, 0].mean(), LEAST + 0.25)
    assert bounded[:, 1].mean() > free[:, 1].mean() + 0.2


def test_outside_the_bounds_it_first_finds_its_way_in() -> None:
    """All but a twentieth of the space breaks the bound, and nothing but the violation tells where that is."""
    bound = Constraint("far", "<=", 0.15)

    def told(config: Config, seed: int, step: int) -> Mapping[str, float]:
        return {**curve(config, seed, step), "far": abs(config.number("x4") - 0.9) + abs(config.number("x5") - 0.1)}

    def share(sampler: Sampler) -> float:
        history = simulate(
            Halving(sampler), SPACE, told, rungs=RUNGS, budget_full=8, workers=2, seed=1, constraints=(bound,)
        )
        late = history.trials[2 * len(history.trials) // 3 :]
        return float(np.mean([bound.met(t.rungs[0].scores["far"].value) for t in late if t.rungs]))

    assert share(GuidedSampler()) > 0.3
    assert share(RandomSampler()) < 0.1
