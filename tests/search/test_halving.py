from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from maestune.search.halving import Halving
from maestune.search.samplers import RandomSampler
from maestune.space import Choice, Float, Space
from maestune.testing.simulate import simulate
from maestune.types import Config, Decision, History, Objective, Rung, Score, Trial, TrialState

RUNGS = (10, 30, 90)
SPACE = Space((Float("x", 0.0, 1.0),))
HALVING = Halving(RandomSampler(from_prior=0))


def trial(number: int, *fds: float, state: TrialState = TrialState.PAUSED) -> Trial:
    rungs = tuple(Rung(step, {"fd": Score(fd)}, 1.0) for step, fd in zip(RUNGS, fds, strict=False))
    until = rungs[-1].step if rungs else RUNGS[0]
    return Trial(number, Config.of(x=number / 100), 0, "search", state, until, "", rungs)


def history(*trials: Trial) -> History:
    return History(trials, (Objective("fd"),), RUNGS)


def ask(past: History, n: int = 1) -> list[tuple[int | None, int]]:
    return [(p.parent, p.until_steps) for p in HALVING.ask(SPACE, past, n, np.random.default_rng(0))]


def test_a_third_of_a_rung_is_promoted_best_first() -> None:
    two = [trial(0, 5.0), trial(1, 3.0)]
    assert ask(history(*two)) == [(None, 10)]
    assert ask(history(*two, trial(2, 4.0))) == [(1, 30)]
    six = [trial(i, 9.0 - i) for i in range(6)]
    assert ask(history(*six), n=4) == [(5, 30), (4, 30)]  # new ones when those are under way


def test_the_top_rung_comes_first() -> None:
    upper = [trial(i, 1.0 + i, 1.0 + i) for i in range(3)]
    lower = [trial(3 + i, 0.5 + 9 * i) for i in range(9)]
    assert ask(history(*upper, *lower), n=3) == [(0, 90), (3, 30)]


def test_no_more_than_a_third_of_a_rung_is_promoted_in_all() -> None:
    promoted = [
        trial(i, 5.0, 5.0, state=TrialState.STOPPED) for i in range(2)
    ]  # they were among the best when they were few
    better = [trial(2 + i, 1.0 + i) for i in range(4)]
    assert ask(history(*promoted, *better)) == [(None, 10)]
    assert ask(history(*promoted, *better, *(trial(6 + i, 9.0) for i in range(3))), n=2) == [(2, 30)]


def test_those_promoted_already_keep_their_rank() -> None:
    past = history(trial(0, 1.0, 1.0, state=TrialState.COMPLETE), trial(1, 2.0), trial(2, 3.0))
    assert ask(past) == [(None, 10)]
    assert ask(history(*past.trials, *(trial(3 + i, 9.0) for i in range(3)))) == [(1, 30)]


def test_failures_make_room_for_the_others() -> None:
    past = history(trial(0, 5.0), trial(1, state=TrialState.DIVERGED), trial(2, state=TrialState.CRASHED))
    assert ask(past) == [(0, 30)]


@pytest.mark.parametrize(
    ("fd", "decision", "words"),
    [
        (0.5, Decision.PAUSE, "rank 1 of 6 at step 10; to be promoted"),
        (3.5, Decision.PAUSE, "rank 4 of 6 at step 10; waits"),
        (9.0, Decision.STOP, "rank 6 of 6 at step 10; outside the best two thirds"),
    ],
)
def test_judgement_and_its_words(fd: float, decision: Decision, words: str) -> None:
    newest = trial(5, fd, state=TrialState.RUNNING)
    judgement = HALVING.judge(history(*(trial(i, 1.0 + i) for i in range(5)), newest), newest)
    assert judgement.decision is decision
    assert judgement.reason.startswith(words)


def test_few_results_condemn_nobody_and_the_top_is_complete() -> None:
    newest = trial(4, 9.0, state=TrialState.RUNNING)
    assert HALVING.judge(history(*(trial(i, 1.0) for i in range(4)), newest), newest).decision is Decision.PAUSE
    done = trial(0, 3.0, 2.0, 1.0, state=TrialState.RUNNING)
    assert HALVING.judge(history(done), done).decision is Decision.COMPLETE


def test_paused_trials_that_fell_behind_are_given_up() -> None:
    past = history(*(trial(i, float(i)) for i in range(6)), trial(6, 9.0, state=TrialState.STOPPED))
    assert set(HALVING.prune(past)) == {4, 5}  # ranks 5 and 6 of 7
    assert "rank 6 of 7" in HALVING.prune(past)[5]


def test_the_number_of_paused_trials_is_bounded_and_the_worst_go_first() -> None:
    past = history(*(trial(i, float(i % 30)) for i in range(90)))
    given_up = HALVING.prune(past)
    kept = [t for t in past.trials if t.number not in given_up]
    assert len(kept) == HALVING.max_paused
    assert max(t.number % 30 for t in kept) <= min(past.trials[n].number % 30 for n in given_up)


def test_several_objectives_are_told_by_front() -> None:
    objectives = (Objective("fd"), Objective("coverage", higher_is_better=True))
    scores = [(1.0, 0.1), (5.0, 0.9), (6.0, 0.2)]
    trials = tuple(
        Trial(
            i,
            Config.of(x=i / 9),
            0,
            "search",
            TrialState.PAUSED,
            10,
            "",
            (Rung(10, {"fd": Score(fd), "coverage": Score(c)}, 1.0),),
        )
        for i, (fd, c) in enumerate(scores)
    )
    past = History(trials, objectives, RUNGS)
    assert HALVING.judge(past, trials[2]).reason.startswith("front 2, rank 3 of 3")
    assert ask(past)[0][0] in (0, 1)


def test_when_no_config_is_left_the_best_go_on() -> None:
    space = Space((Choice("x", (0, 1)),))
    past = history(trial(0, 2.0).with_(config=Config.of(x=0)), trial(1, 1.0).with_(config=Config.of(x=1)))
    proposals = HALVING.ask(space, past, 2, np.random.default_rng(0))
    assert [(p.parent, p.until_steps) for p in proposals] == [(1, 30)]


def test_each_rung_gets_a_third_and_the_best_reach_the_top() -> None:
    def curve(config: Config, seed: int, step: int) -> Mapping[str, float]:
        return {"fd": config.number("x") + 1 + 10 / step}

    past = simulate(HALVING, SPACE, curve, rungs=RUNGS, budget_full=20, workers=3, seed=1)
    reached = [sum(t.step >= step for t in past.trials) for step in RUNGS]
    for below, above in pairwise(reached):
        assert below / 3 - 2 <= above <= below / 3
    best = min(past.trials, key=lambda t: t.config.number("x"))
    assert best.state is TrialState.COMPLETE
