from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maestune.search.rungs import ranking, rung_losses, standings
from maestune.types import Config, History, Objective, Rung, Score, Trial, TrialState

FD, COVERAGE = Objective("fd"), Objective("coverage", higher_is_better=True)


def trial(number: int, *fds: float, state: TrialState = TrialState.PAUSED, until: int = 10) -> Trial:
    rungs = tuple(Rung(10 * 3**i, {"fd": Score(fd)}, 1.0) for i, fd in enumerate(fds))
    return Trial(number, Config.of(x=number), 0, "search", state, until, "", rungs)


def brute_force_fronts(losses: list[tuple[float, ...]]) -> list[int]:
    fronts = [0] * len(losses)
    front = 0
    while 0 in fronts:
        front += 1
        left = [i for i, f in enumerate(fronts) if f == 0]
        for i in left:
            if not any(
                all(a <= b for a, b in zip(losses[j], losses[i], strict=True)) and losses[j] != losses[i] for j in left
            ):
                fronts[i] = front
    return fronts


values = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, math.inf])


@given(st.lists(st.tuples(values, values, values), min_size=1, max_size=12))
def test_fronts_equal_those_of_the_definition(losses: list[tuple[float, ...]]) -> None:
    order, fronts = ranking(np.array(losses))
    assert fronts.tolist() == brute_force_fronts(losses)
    assert sorted(order) == list(range(len(losses)))
    assert [fronts[i] for i in order] == sorted(fronts)


@given(st.lists(values, min_size=1, max_size=12))
def test_one_objective_is_a_stable_sort(losses: list[float]) -> None:
    order, fronts = ranking(np.array(losses)[:, None])
    assert order == sorted(range(len(losses)), key=lambda i: losses[i])
    assert [losses[i] == min(losses) for i in range(len(losses))] == (fronts == 1).tolist()


def test_within_a_front_the_compromise_comes_first_and_then_what_is_farthest() -> None:
    front = np.array([[0.0, 1.0], [0.05, 0.9], [0.4, 0.4], [1.0, 0.0]])
    order, fronts = ranking(front)
    assert fronts.tolist() == [1, 1, 1, 1]
    assert order == [2, 0, 3, 1]


def test_a_missing_or_broken_score_is_infinitely_bad() -> None:
    rung = Rung(10, {"fd": Score(math.nan), "coverage": Score(0.7)}, 1.0)
    assert rung_losses(rung, (FD, COVERAGE, Objective("kid"))) == (math.inf, -0.7, math.inf)


def test_failed_trials_count_at_the_rungs_they_were_to_reach_and_running_ones_do_not() -> None:
    trials = (
        trial(0, 5.0),
        trial(1, 3.0, state=TrialState.DIVERGED, until=30),  # reached step 10, diverged on the way to 30
        trial(2, state=TrialState.CRASHED),
        trial(3, state=TrialState.RUNNING),
        trial(4, 4.0, 2.0, until=30),
    )
    history = History(trials, (FD,), (10, 30))
    low, high = standings(history, 10), standings(history, 30)
    assert [s.trial.number for s in low] == [1, 4, 0, 2]
    assert [s.trial.number for s in high] == [4, 1]
    assert [(s.rank, s.of) for s in high] == [(1, 2), (2, 2)]
    assert standings(history, 90) == []
