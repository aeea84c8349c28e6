from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.search.estimate import estimate_losses
from maestune.types import Config, Constraint, History, Objective, Rung, Score, Trial, TrialState

RUNGS = (10, 30, 90)
FD, COVERAGE = Objective("fd"), Objective("coverage", higher_is_better=True)


def history(*curves: tuple[float, ...], failed: tuple[int, ...] = (), objective: Objective = FD) -> History:
    trials = tuple(
        Trial(
            number,
            Config.of(x=number),
            0,
            "search",
            TrialState.DIVERGED if number in failed else TrialState.PAUSED,
            90,
            "",
            tuple(Rung(step, {objective.name: Score(v)}, 1.0) for step, v in zip(RUNGS, curve, strict=False)),
        )
        for number, curve in enumerate(curves)
    )
    return History(trials, (objective,), RUNGS)


def test_the_typical_ratio_carries_every_trial_to_the_top() -> None:
    estimates = estimate_losses(history((80.0,), (40.0, 20.0), (60.0, 30.0, 10.0), (64.0, 16.0, 8.0)))
    # From 10 to 30 the ratios are 1/2, 1/2, 1/4: median 1/2. From 30 to 90 they are 1/3, 1/2: median sqrt(1/6).
    top = math.sqrt(1 / 6)
    assert np.exp(estimates.losses[:, 0]) == pytest.approx([80 / 2 * top, 20 * top, 10.0, 8.0])


def test_doubt_shrinks_with_training_and_needs_measurements() -> None:
    curves = [(10.0, 5.0, 4.0), (10.0, 4.0, 3.0), (10.0, 8.0, 2.0), (10.0,), (9.0, 7.0)]
    doubts = estimate_losses(history(*curves)).doubts[:, 0]
    assert doubts[3] > doubts[4] > doubts[0] == 0.0
    assert (estimate_losses(history(*curves[1:])).doubts[:, 0] == 0.0).tolist() == [True, True, False, True]


def test_nothing_measured_means_no_change() -> None:
    assert estimate_losses(history((3.0,), (2.0,))).losses[:, 0] == pytest.approx([math.log(3), math.log(2)])


def test_failed_trials_are_worse_than_every_other_whatever_they_scored_before() -> None:
    losses = estimate_losses(history((5.0,), (9.0, 8.0), (1.0, 0.5), (), failed=(2, 3))).losses[:, 0]
    assert losses[2] == losses[3] > max(losses[:2])


def test_a_score_that_became_infinite_is_a_failure() -> None:
    losses = estimate_losses(history((5.0,), (4.0, math.nan), (9.0,))).losses[:, 0]
    assert losses[1] > max(losses[0], losses[2])


def test_only_failures_are_all_alike() -> None:
    assert estimate_losses(history((), (), failed=(0, 1))).losses.tolist() == [[0.0], [0.0]]


def test_pending_trials_have_no_estimate() -> None:
    assert [t.number for t in estimate_losses(history((), (4.0,))).trials] == [1]
    assert estimate_losses(history()).losses.shape == (0, 1)


def test_scores_to_be_raised_are_linear() -> None:
    losses = estimate_losses(history((0.2, 0.4, 0.5), (0.3,), objective=COVERAGE)).losses[:, 0]
    assert losses == pytest.approx([-0.5, -0.6])


curves = st.lists(st.lists(st.floats(0.01, 100), min_size=1, max_size=3).map(tuple), min_size=1, max_size=10)


@given(curves, st.floats(0.1, 10))
def test_the_unit_of_a_positive_score_does_not_matter(curves: list[tuple[float, ...]], factor: float) -> None:
    one = estimate_losses(history(*curves))
    other = estimate_losses(history(*(tuple(factor * v for v in curve) for curve in curves)))
    assert other.losses == pytest.approx(one.losses + math.log(factor), abs=1e-6)
    assert other.doubts == pytest.approx(one.doubts, abs=1e-6)


@given(curves)
def test_the_order_within_a_rung_is_kept(curves: list[tuple[float, ...]]) -> None:
    losses = estimate_losses(history(*curves)).losses[:, 0]
    for reached in (1, 2, 3):
        rows = [i for i, curve in enumerate(curves) if len(curve) == reached]
        by_score = sorted(rows, key=lambda i: curves[i][-1])
        assert all(losses[a] <= losses[b] + 1e-9 for a, b in pairwise(by_score))


# Bounds and noise -----------------------------------------------------------------------------------------------------

BOUND = Constraint("coverage", ">=", 0.5)


def bounded(*curves: tuple[tuple[float, float | None], ...], failed: tuple[int, ...] = ()) -> History:
    """Trials with (fd, coverage) at each rung reached; None where coverage is missing."""
    trials: list[Trial] = []
    for number, curve in enumerate(curves):
        told = [{"fd": Score(fd)} | ({"coverage": Score(c)} if c is not None else {}) for fd, c in curve]
        rungs = tuple(Rung(step, scores, 1.0) for step, scores in zip(RUNGS, told, strict=False))
        state = TrialState.DIVERGED if number in failed else TrialState.PAUSED
        trials.append(Trial(number, Config.of(x=number), 0, "search", state, 90, "", rungs))
    return History(tuple(trials), (FD,), RUNGS, (BOUND,))


pairs = st.tuples(st.floats(0.01, 100), st.one_of(st.none(), st.floats(0, 1)))


@given(st.lists(pairs, min_size=1, max_size=10))
def test_outside_the_bounds_is_worse_than_all_within_in_the_order_of_the_violations(
    found: list[tuple[float, float | None]],
) -> None:
    losses = estimate_losses(bounded(*((pair,) for pair in found), (), failed=(len(found),))).losses[:, 0]
    breaks = [math.inf if c is None else BOUND.violation(c) for _, c in found] + [math.inf]
    within = [loss for loss, broken in zip(losses, breaks, strict=True) if not broken]
    outside = [loss for loss, broken in zip(losses, breaks, strict=True) if broken]
    assert np.isfinite(losses).all()
    assert not within or min(outside) > max(within)
    order = np.argsort(breaks, kind="stable")
    assert all(
        losses[a] < losses[b] if breaks[a] < breaks[b] * (1 - 1e-9) - 1e-12 else losses[a] <= losses[b] + 1e-9
        for a, b in pairwise(order)
        if breaks[b] > 0
    )


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=10))
def test_bounds_that_all_keep_change_nothing(fds: list[float]) -> None:
    kept = bounded(*(((fd, 0.9),) for fd in fds))
    free = History(kept.trials, kept.objectives, kept.rungs)
    assert estimate_losses(kept).losses.tolist() == estimate_losses(free).losses.tolist()


def test_a_trial_that_will_grow_into_the_bounds_is_within_them() -> None:
    # Coverage grows by 0.2 from rung to rung: 0.2 at the first is 0.6 at the top, 0.05 is not enough.
    grown = ((30.0, 0.2), (20.0, 0.4), (10.0, 0.6))
    losses = estimate_losses(bounded(grown, grown, ((25.0, 0.2),), ((5.0, 0.05),))).losses[:, 0]
    assert losses[3] > losses[2]
    assert losses[2] == pytest.approx(math.log(25 / 3))


def test_intervals_of_full_trainings_tell_how_noisy_scores_are() -> None:
    noisy = history((8.0, 4.0, 2.0), (9.0, 5.0, 3.0), (7.0,))
    assert (estimate_losses(noisy).doubts[:2] == 0).all()
    widths = {0: 0.1, 1: 0.3}
    told = tuple(
        t.with_(
            rungs=(*t.rungs[:-1], Rung(90, {"fd": Score(v, v * (1 - widths[t.number]), v * (1 + widths[t.number]))}, 1))
        )
        if (v := t.rungs[-1].scores["fd"].value) and t.step == 90
        else t
        for t in noisy.trials
    )
    doubts = estimate_losses(History(told, noisy.objectives, noisy.rungs)).doubts[:, 0]
    # Of the logarithm, each its own; where there is no interval, as usual elsewhere.
    assert doubts == pytest.approx([0.2 / 3.92, 0.6 / 3.92, 0.4 / 3.92])
