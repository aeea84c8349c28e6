from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.search.rungs import ranking, rung_losses, standings, violation
from maestune.types import Config, Constraint, History, Objective, Rung, Score, Trial, TrialState

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


# Bounds ---------------------------------------------------------------------------------------------------------------

rows = st.lists(
    st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.sampled_from([0.0, 0.0, 0.1, 0.5, 2.0, math.inf])),
    min_size=1,
    max_size=12,
)


@given(rows, st.booleans())
def test_who_keeps_the_bounds_comes_first_and_then_the_nearest(found: list[tuple[float, ...]], two: bool) -> None:
    losses, violations = np.array(found)[:, : 1 + two], np.array(found)[:, 2]
    order, fronts = ranking(losses, violations)
    assert sorted(order) == list(range(len(found)))
    assert violations[order].tolist() == sorted(violations)
    assert [fronts[i] for i in order] == sorted(fronts)
    # Fronts never mix what keeps a bound with what does not, nor two degrees of breaking it.
    assert all(len(set(violations[fronts == front])) == 1 for front in set(fronts.tolist()))


@given(rows, st.booleans())
def test_where_all_keep_the_bounds_the_ranking_is_the_old_one(found: list[tuple[float, ...]], two: bool) -> None:
    losses = np.array(found)[:, : 1 + two]
    order, fronts = ranking(losses)
    bounded, same = ranking(losses, np.zeros(len(losses)))
    assert (bounded, same.tolist()) == (order, fronts.tolist())
    # And so it is within each group of equal violations.
    violations = np.array(found)[:, 2]
    within = np.flatnonzero(violations == 0)
    if len(within):
        inner, _ = ranking(losses[within])
        assert ranking(losses, violations)[0][: len(within)] == [int(within[i]) for i in inner]


@given(rows, st.randoms())
def test_the_order_does_not_depend_on_who_is_told_first(found: list[tuple[float, ...]], random: object) -> None:
    mixed = list(found)
    random.shuffle(mixed)  # type: ignore[attr-defined]

    def ranked(rows: list[tuple[float, ...]]) -> list[tuple[float, float]]:
        losses, violations = np.array(rows)[:, :1], np.array(rows)[:, 2]
        return [(violations[i], losses[i, 0]) for i in ranking(losses, violations)[0]]

    assert ranked(found) == ranked(mixed)


def test_a_violation_is_a_share_of_the_bound_and_missing_scores_are_infinitely_far() -> None:
    novelty, rep = Constraint("novelty", ">=", 0.4), Constraint("rep_gap", "<", 0.0)
    scores = {"novelty": Score(0.3), "rep_gap": Score(0.5)}
    assert violation(scores, [novelty]) == pytest.approx(0.25)
    assert violation(scores, [novelty, rep]) == pytest.approx(0.75)
    assert violation(scores, []) == 0.0
    assert violation({"novelty": Score(0.9)}, [novelty, rep]) == math.inf
    assert violation({"novelty": Score(math.nan)}, [novelty]) == math.inf


@given(st.sampled_from([">=", "<=", ">", "<"]), st.floats(-10, 10), st.floats(-10, 10))
def test_a_bound_is_kept_exactly_where_its_sign_says(sign: str, bound: float, value: float) -> None:
    constraint = Constraint("x", sign, bound)  # type: ignore[arg-type]
    kept = {">=": value >= bound, "<=": value <= bound, ">": value > bound, "<": value < bound}[sign]
    assert constraint.met(value) == kept == (constraint.violation(value) == 0.0)
    assert constraint.violation(value) >= 0.0


def test_standings_put_trials_outside_the_bounds_behind_and_failures_last() -> None:
    def scored(number: int, fd: float, **scores: float) -> Trial:
        told = {"fd": Score(fd), **{name: Score(value) for name, value in scores.items()}}
        return trial(number).with_(rungs=(Rung(10, told, 1.0),))

    trials = (
        scored(0, 1.0, coverage=0.1),  # best, but far outside
        scored(1, 9.0, coverage=0.5),
        scored(2, 2.0),  # nobody knows
        scored(3, 3.0, coverage=0.39),
        trial(4, state=TrialState.DIVERGED),
        scored(5, 8.0, coverage=0.4),
    )
    history = History(trials, (FD,), (10, 30), (Constraint("coverage", ">=", 0.4),))
    table = standings(history, 10)
    assert [s.trial.number for s in table] == [5, 1, 3, 0, 2, 4]
    assert [s.violation > 0 for s in table] == [False, False, True, True, True, True]
