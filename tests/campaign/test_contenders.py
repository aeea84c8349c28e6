"""Trials worth retraining beside the recipe: compared with it at equal steps, by intervals, within the bounds first."""

from __future__ import annotations

import math

import pytest

from maestune.campaign.contenders import contenders
from maestune.types import Config, Constraint, History, Objective, Rung, Score, Trial, TrialState

RUNGS = (10, 30, 90)
FD, COVERAGE = Objective("fd"), Objective("coverage", higher_is_better=True)
BOUND = Constraint("coverage", ">=", 0.4)


def trial(*fds: float | Score, role: str = "", state: TrialState | None = None, **scores: float) -> Trial:
    """A trial with these Fréchet distances at the first rungs, and other scores at all of them."""
    told = {name: Score(value) for name, value in scores.items()}
    values = [fd if isinstance(fd, Score) else Score(fd) for fd in fds]
    rungs = tuple(Rung(s, {"fd": fd, **told}, 1.0) for s, fd in zip(RUNGS, values, strict=False))
    state = state or (TrialState.COMPLETE if len(fds) == len(RUNGS) else TrialState.STOPPED)
    return Trial(-1, Config.of(lr=0.1), 0, "search", state, RUNGS[len(fds) - 1] if fds else 10, "", rungs, role=role)


def found(*trials: Trial, objectives: tuple[Objective, ...] = (FD,), bounds: tuple[Constraint, ...] = ()) -> list[int]:
    """Numbers of the contenders in order; trials are numbered from 0."""
    numbered = tuple(t.with_(number=i) for i, t in enumerate(trials))
    return [c.trial.number for c in contenders(History(numbered, objectives, RUNGS, bounds))]


def recipe(*fds: float | Score, **scores: float) -> Trial:
    return trial(*(fds or (40.0, 20.0, 10.0)), role="recipe", state=TrialState.COMPLETE, **scores)


def around(value: float, half: float) -> Score:
    return Score(value, value - half, value + half)


def test_a_third_of_a_training_that_beats_the_recipe_enters_and_a_full_one_that_lost_does_not() -> None:
    assert found(recipe(), trial(300.0, 200.0, 151.0), trial(12.0, 5.83)) == [2]


def test_where_all_are_worse_at_equal_steps_there_is_none() -> None:
    assert found(recipe(), trial(41.0), trial(41.0, 20.5), trial(41.0, 20.5, 10.5)) == []
    assert found(recipe(), trial(39.0)) == [1], (
        "at the step of its only score it is better, though above the recipe's last"
    )


@pytest.mark.parametrize(("candidate", "hopeless"), [(11.9, False), (12.0, False), (12.1, True)])
def test_hopeless_are_those_whose_intervals_do_not_touch(candidate: float, hopeless: bool) -> None:
    last = around(candidate, 1.0)
    assert (found(recipe(40.0, 20.0, around(10.0, 1.0)), trial(1.0, 1.0, last)) == []) is hopeless


def test_directions_are_turned() -> None:
    shares = [
        Trial(
            -1, Config.of(), 0, "search", TrialState.COMPLETE, 90, "", (Rung(90, {"coverage": score}, 1.0),), role=role
        )
        for role, score in (("recipe", around(0.5, 0.1)), ("", around(0.35, 0.1)), ("", around(0.2, 0.1)))
    ]
    assert found(*shares, objectives=(COVERAGE,)) == [1]


def test_of_several_objectives_one_is_enough_to_be_promising() -> None:
    of = (FD, COVERAGE)
    base = recipe(coverage=0.5)
    assert found(base, trial(50.0, 30.0, 20.0, coverage=0.6), objectives=of) == [1]
    assert found(base, trial(50.0, 30.0, 20.0, coverage=0.4), objectives=of) == []


def test_full_trainings_that_beat_the_recipe_come_by_their_scores_and_exclude_shorter_ones() -> None:
    assert found(recipe(), trial(50.0, 50.0, 8.0), trial(50.0, 50.0, 6.0), trial(1.0, 1.0)) == [2, 1]


def test_a_shorter_training_that_is_ahead_comes_before_a_full_one_that_is_behind() -> None:
    base = recipe(40.0, 20.0, around(10.0, 2.0))
    within_noise, ahead, behind = trial(50.0, 50.0, around(11.0, 2.0)), trial(39.0), trial(around(41.0, 2.0))
    assert found(base, within_noise, ahead, behind) == [2, 1]
    assert found(base, within_noise, behind) == [1]
    assert found(base, behind) == [1]


@pytest.mark.parametrize(
    "base",
    [
        None,
        trial(role="recipe", state=TrialState.RUNNING),
        trial(1.0, 1.0, role="recipe", state=TrialState.DIVERGED),
        trial(math.nan, math.nan, math.nan, role="recipe"),
    ],
    ids=["none", "running", "diverged", "nan"],
)
def test_a_recipe_without_a_score_makes_nobody_hopeless(base: Trial | None) -> None:
    others = [trial(90.0, 90.0, 90.0), trial(5.0), trial(80.0, 80.0, 80.0)]
    start = [] if base is None else [base]
    assert found(*start, *others) == [len(start) + 2, len(start)], "full trainings, the best first"


def test_candidates_without_a_score_are_none() -> None:
    assert found(recipe(), trial(), trial(1.0, state=TrialState.CRASHED), trial(math.nan)) == []


def test_within_the_bounds_nobody_is_hopeless_where_the_recipe_is_outside() -> None:
    base = recipe(coverage=0.1)
    assert found(base, trial(90.0, 90.0, 90.0, coverage=0.5), trial(1.0, 1.0, 1.0, coverage=0.2), bounds=(BOUND,)) == [
        1
    ]


def test_outside_the_bounds_are_contenders_only_where_nobody_promising_is_within() -> None:
    base = recipe(coverage=0.9)
    outside, hopeless = trial(5.0, 5.0, 5.0, coverage=0.3), trial(90.0, 90.0, 90.0, coverage=0.9)
    assert found(base, outside, hopeless, bounds=(BOUND,)) == [1]
    assert found(base, outside, hopeless, trial(39.0, coverage=0.9), bounds=(BOUND,)) == [3]
    assert found(base, trial(90.0, 90.0, 90.0, coverage=0.3), bounds=(BOUND,)) == [], "outside, and worse"
