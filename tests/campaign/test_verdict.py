import math

import numpy as np
import pytest
from scipy import stats

from maestune.campaign.verdict import failures, finalists, t_interval, verdict, winner
from maestune.types import Config, Objective, Rung, Score, Trial, TrialState

KID = Objective("kid")  # compared by differences
FD = Objective("fd")  # compared by ratios
FAILURE = {"fd": Score(500.0), "kid": Score(500.0)}


def _final(number, source, seed, value, role, state=TrialState.COMPLETE):
    rungs = (Rung(100, {"fd": Score(value), "kid": Score(value)}, 1.0),) if value is not None else ()
    return Trial(
        number,
        Config.of(lr=float(source + 1)),
        seed,
        "finals",
        state,
        100,
        "",
        rungs,
        role=role,
        source=source,
        seconds=2.0,
    )


def _finals(recipe, best):
    pairs = [
        t
        for seed, (r, b) in enumerate(zip(recipe, best, strict=True))
        for t in ((0, seed, r, "recipe"), (5, seed, b, "candidate"))
    ]
    return [_final(i, source, seed, value, role) for i, (source, seed, value, role) in enumerate(pairs)]


def test_interval_is_students():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=7)
    reference = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    interval = t_interval(values)
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high))


@pytest.mark.parametrize(
    ("recipe", "best", "decision"),
    [
        ([20.0, 21.0, 22.0], [10.0, 11.5, 12.0], "better"),
        ([10.0, 11.0, 12.0], [20.0, 21.5, 22.0], "worse"),
        ([20.0, 10.0, 30.0], [19.0, 15.0, 20.0], "inconclusive"),
    ],
)
@pytest.mark.parametrize("objective", [FD, KID])
def test_decisions(recipe, best, decision, objective):
    trials = _finals(recipe, best)
    found = finalists(trials, FAILURE)
    result = verdict(found, winner(found, objective), objective, trials, FAILURE)
    assert result.decision == decision
    assert result.seeds == 3
    assert result.difference == pytest.approx(result.best.value - result.recipe.value)
    assert result.relative == pytest.approx(result.difference / result.recipe.value)
    assert result.low <= result.difference <= result.high


def test_differences_are_students_and_ratios_are_students_of_logarithms():
    recipe, best = [20.0, 25.0, 22.0, 30.0], [12.0, 13.0, 10.0, 20.0]
    trials = _finals(recipe, best)
    found = finalists(trials, FAILURE)
    by_difference = verdict(found, found[1], KID, trials, FAILURE)
    reference = stats.ttest_rel(best, recipe).confidence_interval(0.95)
    assert (by_difference.low, by_difference.high) == pytest.approx((reference.low, reference.high))
    assert by_difference.recipe.value == pytest.approx(np.mean(recipe))
    by_ratio = verdict(found, found[1], FD, trials, FAILURE)
    logs = stats.ttest_rel(np.log(best), np.log(recipe)).confidence_interval(0.95)
    assert by_ratio.relative_low == pytest.approx(np.exp(logs.low) - 1)
    assert by_ratio.relative_high == pytest.approx(np.exp(logs.high) - 1)
    assert by_ratio.best.value == pytest.approx(stats.gmean(best))
    assert by_ratio.relative_low > -1


def test_a_score_that_reaches_zero_has_no_ratio():
    trials = _finals([1.0, 2.0, 3.0], [0.0, 0.5, 1.0])
    found = finalists(trials, FAILURE)
    assert math.isfinite(verdict(found, found[1], FD, trials, FAILURE).low)


def test_pairing_counts_not_only_means():
    # The seeds differ far more than the configs: only paired differences can see the gain.
    recipe = [10.0, 20.0, 30.0, 40.0]
    trials = _finals(recipe, [r - 1.0 - 0.1 * i for i, r in enumerate(recipe)])
    found = finalists(trials, FAILURE)
    assert verdict(found, winner(found, KID), KID, trials, FAILURE).decision == "better"


def test_higher_can_be_better():
    up = Objective("fd", higher_is_better=True)
    trials = _finals([0.3, 0.31, 0.32], [0.6, 0.61, 0.62])
    found = finalists(trials, FAILURE)
    assert verdict(found, winner(found, up), up, trials, FAILURE).decision == "better"


def test_a_diverged_final_counts_as_failure_and_is_not_left_out():
    trials = _finals([20.0, 20.0, 20.0], [10.0, 10.0, 10.0])
    trials[1] = _final(1, 5, 0, None, "candidate", TrialState.DIVERGED)
    found = finalists(trials, FAILURE)
    best = winner(found, FD)
    assert best.scores["fd"].value == pytest.approx((500 * 10 * 10) ** (1 / 3))
    assert verdict(found, best, FD, trials, FAILURE).decision == "inconclusive"


def test_where_nothing_says_what_a_failure_is_worth_it_is_the_worst_score_so_far():
    trials = _finals([20.0, math.inf, 21.0], [10.0, 11.0, 30.0])
    up, other = Objective("kid", higher_is_better=True), Objective("never")
    assert failures({}, trials, [FD, up, other]) == {"fd": Score(30.0, 30.0, 30.0), "kid": Score(10.0, 10.0, 10.0)}
    assert failures(FAILURE, trials, [FD, up]) == FAILURE
    trials[3] = _final(3, 5, 1, None, "candidate", TrialState.DIVERGED)
    trials[2] = _final(2, 0, 1, 22.0, "recipe")
    worst = failures({}, trials, [KID])
    assert [t.value for t in worst.values()] == [30.0]
    found = finalists(trials, worst)
    assert winner(found, KID).scores["kid"].value == pytest.approx((10 + 30 + 30) / 3)
    assert verdict(found, winner(found, KID), KID, trials, worst).decision == "inconclusive"


def test_only_complete_pairs_count():
    trials = _finals([20.0, 21.0], [10.0, 11.0])
    trials.append(_final(9, 0, 2, 1.0, "recipe"))
    assert all(len(f.runs) == 2 for f in finalists(trials, FAILURE))


def test_two_candidates_share_the_confidence():
    recipe, best = [20.0, 21.0, 22.0], [18.0, 18.5, 19.8]
    trials = _finals(recipe, best)
    alone = verdict(finalists(trials, FAILURE), winner(finalists(trials, FAILURE), FD), FD, trials, FAILURE)
    more = [*trials, *[_final(20 + s, 7, s, 30.0 + s, "candidate") for s in range(3)]]
    found = finalists(more, FAILURE)
    assert winner(found, FD).trial == 5
    together = verdict(found, winner(found, FD), FD, more, FAILURE)
    assert together.high - together.low > alone.high - alone.low


def test_one_seed_decides_nothing():
    trials = _finals([20.0], [1.0])
    found = finalists(trials, FAILURE)
    result = verdict(found, winner(found, FD), FD, trials, FAILURE)
    assert result.decision == "inconclusive"
    assert math.isnan(result.low)
