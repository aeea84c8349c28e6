"""Trainings that hang."""

import math

import pytest

from maestune.campaign.budget import Budget
from maestune.campaign.costs import EvaluationPlan
from maestune.campaign.watchdog import COMPILING_SECONDS, FIRST_SECONDS, GRACE_SECONDS, Patience, Watchdog

RUNGS = EvaluationPlan((10, 30))


def watchdog(budget="30m", timeout=None, evaluation_plan=RUNGS):
    return Watchdog(Patience(Budget.parse(budget), evaluation_plan, timeout))


def begin(dog, *trials):
    dog.begin(trials)
    for trial in trials:
        dog.began(trial)


def wait(dog, seconds):
    start = dog._now or 0.0
    for second in range(int(seconds) + 1):
        dog.tick(start + second)


@pytest.mark.parametrize(
    ("budget", "timeout", "intervals", "evaluation_plan", "limit"),
    [
        ("30m", None, [], RUNGS, 600.0),  # a third of the budget
        ("8s", None, [], RUNGS, 60.0),
        ("9trials", None, [], RUNGS, FIRST_SECONDS),
        ("30m", None, [0.1] * 9, RUNGS, 60.0),
        ("30m", None, [5.0, 7.0, 900.0], RUNGS, 140.0),  # 20 times the median
        ("30m", None, [0.1], EvaluationPlan((10,), None, 1.0, 9.0, 12.0), 120.0),  # samples are drawn between reports
        ("30m", 5.0, [7.0], RUNGS, 5.0),
        ("30m", 0.0, [7.0], RUNGS, math.inf),
    ],
)
def test_the_limit(budget, timeout, intervals, evaluation_plan, limit):
    assert Patience(Budget.parse(budget), evaluation_plan, timeout).limit(intervals) == limit


def test_whoever_is_silent_for_too_long_has_hung_and_nobody_else():
    dog = watchdog()
    begin(dog, 1)
    begin(dog, 2)
    for second in range(130):
        dog.tick(float(second))
        if second % 10 == 0:
            dog.report(1, scoring=False)
    assert not dog.hung, "before trial 2 reported, it had a third of the budget"
    dog.report(2, scoring=False)
    wait(dog, 150)
    dog.report(1, scoring=False)
    wait(dog, 60)
    assert dog.hung == {2: 200.0}
    dog.end(2)
    assert not dog.hung


def test_scoring_is_not_the_trainings_time():
    dog = watchdog()
    begin(dog, 1)
    dog.report(1, scoring=True)
    wait(dog, 5_000)
    assert (dog.hung, dog.left) == ({}, None)
    dog.scored(1)
    assert dog.left == pytest.approx(600.0)
    wait(dog, 3)
    dog.report(1, scoring=False)
    assert list(dog.intervals) == [3.0]


def test_a_pause_of_the_campaign_itself_does_not_count():
    dog = watchdog()
    begin(dog, 1)
    dog.tick(0.0)
    dog.tick(86_400.0)  # Ctrl-Z until tomorrow
    assert not dog.hung


def test_members_of_a_group_wait_for_each_other_and_for_the_compiler():
    dog = watchdog("8s")
    begin(dog, 1, 2, 3)
    wait(dog, 60 + COMPILING_SECONDS)
    assert not dog.hung
    for _ in range(40):
        wait(dog, 50)
        dog.report(1, scoring=False)
        dog.report(2, scoring=False)  # trial 3 waits for a place
    assert not dog.hung
    wait(dog, 1_001)
    assert set(dog.hung) == {1, 2, 3}


def test_whoever_is_asked_to_end_has_its_grace():
    dog = watchdog()
    begin(dog, 1)
    dog.report(1, scoring=False)
    wait(dog, 50)
    dog.ask_to_end()
    wait(dog, GRACE_SECONDS)
    assert not dog.overstaying
    wait(dog, 1)
    assert dog.overstaying == {1: GRACE_SECONDS}


def test_a_worker_that_is_still_loading_has_time_for_that():
    dog = watchdog(timeout=1.0)
    dog.begin([1])
    wait(dog, 60)
    assert not dog.hung
    dog.began(1)
    wait(dog, 2)
    assert dog.hung == {1: 1.0}
