import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maestune.campaign.verdict import (
    difference_over_seeds,
    failures,
    finalists,
    limits,
    over_seeds,
    relative_over_seeds,
    t_interval,
    verdict,
    winner,
)
from maestune.quality import DESCRIBED
from maestune.types import Config, Constraint, Objective, Rung, Score, Trial, TrialState

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
    if math.isfinite(result.relative):  # not where the recipe's mean may be zero
        assert result.relative == pytest.approx(result.difference / result.recipe.value)
        assert result.relative_low <= result.relative <= result.relative_high
    assert result.low <= result.difference <= result.high


def test_shares_stay_shares():
    near_one = over_seeds("adherence", [0.9, 1.0, 0.95])
    assert near_one.value == pytest.approx(0.95)
    assert (near_one.high, near_one.low) == (1.0, pytest.approx(t_interval([0.9, 1.0, 0.95]).low))
    assert over_seeds("novelty", [0.0, 0.1]).low == 0.0
    assert over_seeds("bpc", [0.0, 0.1]).low == 0.0
    assert over_seeds("kid", [0.0, 0.1]).low < 0.0  # its estimate may be negative
    assert over_seeds("my_own", [0.0, 0.1]).low < 0.0
    assert math.isnan(over_seeds("adherence", [0.9]).low)


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


# Intervals hold their rate; benchmarks/verdict_intervals.py tells more --------------------------------------------------


@pytest.mark.parametrize("correlation", [0.0, 0.9])
@pytest.mark.parametrize(("metric", "seeds"), [("fd", 3), ("fd", 6), ("own", 3), ("own", 6)])
def test_the_true_difference_and_ratio_lie_inside_at_their_rate(metric, seeds, correlation):
    rng, campaigns, ratio = np.random.default_rng(seeds), 2_000, 0.4
    shared, alone = rng.normal(size=(2, campaigns, seeds))
    other = correlation * shared + math.sqrt(1 - correlation**2) * alone
    if metric == "fd":
        recipe, best = 7.0 * np.exp(0.2 * shared), 7.0 * ratio * np.exp(0.2 * other)
    else:
        recipe, best = 7.0 + 0.5 * shared, 7.0 * ratio + 0.5 * other
    inside = np.zeros(2)
    for r, b in zip(recipe.tolist(), best.tolist(), strict=True):
        difference, relative = (f(metric, r, b, 0.95) for f in (difference_over_seeds, relative_over_seeds))
        inside += difference.low <= 7.0 * (ratio - 1) <= difference.high, relative.low <= ratio - 1 <= relative.high
    assert inside / campaigns == pytest.approx([0.95, 0.95], abs=0.017)  # 3.5 standard errors


def test_a_ratio_whose_set_is_not_bounded_is_none():
    assert math.isnan(relative_over_seeds("own", [1.0, -1.0, 0.5], [2.0, 1.0, 3.0], 0.95).value)
    assert math.isnan(relative_over_seeds("own", [1.0], [2.0], 0.95).low)
    sure = relative_over_seeds("own", [-10.0, -10.5, -9.5], [-5.0, -5.2, -4.8], 0.95)
    assert sure.low < sure.value < sure.high < 1.0
    assert sure.value == pytest.approx(0.5), "half as negative: half its size more"
    assert relative_over_seeds("own", [4.0, 4.0], [5.0, 5.0], 0.95).value == pytest.approx(0.25)


def test_fieller_is_the_set_of_ratios_that_a_paired_test_does_not_reject():
    recipe, best = np.array([5.0, 6.5, 7.0, 5.5]), np.array([3.0, 3.6, 4.4, 2.9])
    found = relative_over_seeds("own", recipe.tolist(), best.tolist(), 0.95)
    for bound in (found.low, found.high):
        assert stats.ttest_1samp(best - (bound + 1) * recipe, 0.0).pvalue == pytest.approx(0.05)


@given(st.sampled_from(sorted(DESCRIBED)), st.data())
def test_no_interval_leaves_what_a_metric_can_be(metric, data):
    lower, upper = limits(metric)
    values = st.floats(max(lower, -1e3), min(upper, 1e3))
    seeds = data.draw(st.integers(1, 6))
    recipe, best = (data.draw(st.lists(values, min_size=seeds, max_size=seeds)) for _ in range(2))
    for score in (over_seeds(metric, recipe), over_seeds(metric, best, 0.99)):
        assert all(math.isnan(v) or lower <= v <= upper for v in (score.low, score.high))
    difference = difference_over_seeds(metric, recipe, best, 0.95)
    assert all(math.isnan(v) or lower - upper <= v <= upper - lower for v in (difference.low, difference.high))
    relative = relative_over_seeds(metric, recipe, best, 0.95)
    assert lower < 0 or math.isnan(relative.low) or relative.low >= -1


def test_intervals_stay_within_what_a_metric_can_be_on_the_campaigns_data():
    known = {"modes": (0.0, 10.0)}
    assert over_seeds("modes", [7.0, 10.0, 9.0]).high > 10.0
    assert over_seeds("modes", [7.0, 10.0, 9.0], known=known).high == 10.0
    assert difference_over_seeds("modes", [7.0, 8.0, 9.0], [10.0, 9.9, 9.5], 0.95, known=known).high <= 10.0
    wide = difference_over_seeds("modes", [1.0, 10.0], [10.0, 10.0], 0.95, known=known)
    assert -10.0 <= wide.low <= wide.high <= 10.0


@pytest.mark.parametrize(
    ("metric", "recipe", "best"),
    [("clip_like", [27, 28, 26.5], [26.9, 26.5, 26.8]), ("prompt_coherence", [-3, -2, -3.1], [-2.9, -2.2, -2.6])],
)
def test_scores_outside_a_narrower_range_decide_as_a_score_of_ones_own(metric, recipe, best):
    ours, own = (difference_over_seeds(name, recipe, best, 0.95) for name in (metric, "my_own"))
    assert ours == own
    assert ours.low < 0 < ours.high


def test_a_zero_of_any_finalist_makes_table_and_verdict_arithmetic():
    trials = _finals([1.0, 100.0, 1.0, 1.0], [30.0, 30.0, 0.9, 0.9])
    trials += [_final(8 + seed, 7, seed, value, "candidate") for seed, value in enumerate([0.0, 200.0, 200.0, 200.0])]
    found = finalists(trials, FAILURE)
    best = next(f for f in found if f.source == 5) if hasattr(found[0], "source") else found[1]
    result = verdict(found, best, FD, trials, FAILURE)
    assert result.difference == pytest.approx(result.best.value - result.recipe.value)


def test_ratios_beyond_what_a_float_holds_are_infinite():
    assert relative_over_seeds("fd", [1e-300, 1e-300], [1e300, 1e300], 0.95).value == math.inf


def test_a_finalist_without_the_objectives_score_does_not_win():
    found = finalists(_finals([3.0, 4.0], [1.0, 2.0]), FAILURE)
    blind = replace(found[1], scores={"kid": Score(0.0)})
    broken = replace(found[1], scores={"fd": Score(math.nan)})
    for other in (blind, broken):
        assert winner((*found, other), FD) == winner((other, *found), FD) == found[1]
    assert verdict((found[0], blind), blind, FD, _finals([3.0], [1.0]), FAILURE) is None


@pytest.mark.parametrize("seed", range(40))
def test_the_difference_lies_on_the_side_that_the_decision_says(seed):
    rng = np.random.default_rng(seed)
    recipe, best = np.exp(rng.normal(2.0, 0.3, 4)).tolist(), np.exp(rng.normal(1.6, 0.05, 4)).tolist()
    trials = _finals(recipe, best)
    found = finalists(trials, FAILURE)
    result = verdict(found, found[1], FD, trials, FAILURE)
    assert (result.high <= 0) == (result.decision == "better")
    assert (result.low < 0 < result.high) == (result.decision == "inconclusive")


@pytest.mark.parametrize(("recipe", "best"), [([1.0, 2.0, 3.0], [0.0, 0.5, 1.0]), ([0.0, 2.0], [1.0, 3.0])])
def test_where_one_score_is_zero_both_means_are_arithmetic(recipe, best):
    trials = _finals(recipe, best)
    found = finalists(trials, FAILURE)
    result = verdict(found, found[1], FD, trials, FAILURE)
    assert (result.recipe.value, result.best.value) == pytest.approx((np.mean(recipe), np.mean(best)))
    assert result.difference == pytest.approx(result.best.value - result.recipe.value)


def test_the_smallest_positive_scores_have_a_ratio():
    assert math.isfinite(relative_over_seeds("fd", [1.0, 2.3e-308], [1.0, 1.0], 0.95).value)


# Bounds ---------------------------------------------------------------------------------------------------------------

BOUND = Constraint("coverage", ">=", 0.4)


def _covering(*configs):
    """Final trials: for each of (fds, coverages) one finalist, the first of them the recipe; coverage None: not measured."""
    trials = []
    for source, (fds, coverages) in enumerate(configs):
        for seed, (fd, coverage) in enumerate(zip(fds, coverages, strict=True)):
            trial = _final(len(trials), source, seed, fd, "candidate" if source else "recipe")
            if coverage is not None:
                scores = {**trial.rungs[0].scores, "coverage": Score(coverage)}
                trial = trial.with_(rungs=(Rung(100, scores, 1.0),))
            trials.append(trial)
    return trials


def _judged(trials, *constraints):
    failure = {**FAILURE, "coverage": Score(0.0)}
    found = finalists(trials, failure)
    best = winner(found, FD, constraints)
    return best, verdict(found, best, FD, trials, failure, constraints)


def test_the_winner_is_the_best_of_those_within_the_bounds():
    seeds = [0.0, 0.1, 0.2]
    trials = _covering(
        ([20 + s for s in seeds], [0.5] * 3),
        ([5 + s for s in seeds], [0.6, 0.1, 0.1]),  # best, but outside by its mean
        ([9 + s for s in seeds], [0.39, 0.4, 0.5]),  # one seed is outside, the mean is not
        ([8 + s for s in seeds], [None] * 3),
    )
    best, told = _judged(trials, BOUND)
    assert best.trial == 2
    assert (told.decision, told.outside, told.breaks, told.keep_recipe) == ("better", 0.0, (), False)
    assert _judged(trials)[0].trial == 1


def test_a_best_outside_the_bounds_is_not_better():
    trials = _covering(([20.0, 21.0, 22.0], [0.5] * 3), ([5.0, 5.1, 5.2], [0.3, 0.3, 0.3]))
    best, told = _judged(trials, BOUND)
    assert best.trial == 1
    assert told.decision == "infeasible"
    assert told.high < 0, "it would be better without the bound"
    assert told.outside == pytest.approx(0.25)
    assert told.recipe_outside == 0.0
    assert told.keep_recipe
    ((broken, score),) = told.breaks
    assert broken == BOUND
    assert score.value == pytest.approx(0.3)


def test_where_nothing_is_within_the_bounds_the_nearest_is_the_best():
    trials = _covering(([20.0, 21.0, 22.0], [0.1] * 3), ([5.0, 5.1, 5.2], [0.2] * 3), ([50.0, 51.0, 52.0], [0.3] * 3))
    best, told = _judged(trials, BOUND)
    assert best.trial == 2
    assert told.decision == "infeasible"
    assert not told.keep_recipe, "the recipe is farther away"
    nearer = _covering(([20.0, 21.0, 22.0], [0.35] * 3), ([5.0, 5.1, 5.2], [0.2] * 3))
    assert _judged(nearer, BOUND)[1].keep_recipe


def test_a_recipe_outside_the_bounds_is_replaced_even_by_what_is_worse():
    trials = _covering(([5.0, 5.1, 5.2], [0.1] * 3), ([20.0, 21.0, 22.0], [0.5] * 3))
    _, told = _judged(trials, BOUND)
    assert told.decision == "worse"
    assert told.recipe_outside == pytest.approx(0.75)
    assert not told.keep_recipe
    assert _judged(trials)[1].keep_recipe


def test_a_final_that_failed_counts_for_the_bounds_as_well():
    trials = _covering(([20.0, 21.0, 22.0], [0.5] * 3), ([5.0, 5.1, 5.2], [0.5] * 3))
    trials[4] = _final(4, 1, 1, None, "candidate", TrialState.DIVERGED)
    _, told = _judged(trials, BOUND)
    assert told.decision == "infeasible", "its coverage was 0 on one seed of three, so 0.33 on average"


# How sure it is -------------------------------------------------------------------------------------------------------

REPEATS = 200


def _campaign(rng, seeds, effects, spread_of_seeds=0.15, noise=0.1):
    """Finals of a recipe and candidates whose true fd is 10 · exp(effect); kid differs by 10 · effect.

    Seeds are shared by all finalists (a part of their luck is common), the rest of the noise is each training's own.
    """
    common = rng.normal(0, spread_of_seeds, seeds)
    trials = []
    for source, effect in enumerate([0.0, *effects]):
        for seed in range(seeds):
            luck = common[seed] + rng.normal(0, noise)
            scores = {"fd": Score(10 * math.exp(effect + luck)), "kid": Score(10 * (effect + luck))}
            role = "candidate" if source else "recipe"
            trial = _final(len(trials), source, seed, 1.0, role)
            trials.append(trial.with_(rungs=(Rung(100, scores, 1.0),)))
    return trials


@pytest.mark.parametrize("objective", [FD, KID])
@pytest.mark.parametrize(
    ("seeds", "effects"), [(2, [-0.1]), (5, [-0.1, -0.12]), (3, [0.0, 0.0]), (10, [-0.3, 0.1, 0.0])]
)
def test_intervals_hold_the_true_difference_at_their_rate(objective, seeds, effects):
    """Of the winner, which was chosen by the same numbers: at least 95 %, whoever of the candidates won."""
    rng = np.random.default_rng((seeds, len(effects)))
    held = 0
    for _ in range(REPEATS):
        trials = _campaign(rng, seeds, effects)
        found = finalists(trials, FAILURE)
        best = winner(found, objective)
        told = verdict(found, best, objective, trials, FAILURE)
        assert told.seeds == seeds
        effect = effects[best.trial - 1]
        if objective is FD:
            held += math.log1p(told.relative_low) <= effect <= math.log1p(told.relative_high)
        else:
            held += told.low <= 10 * effect <= told.high
    assert stats.binom.cdf(held, REPEATS, 0.95) > 0.001
    if len(effects) == 1:  # then the rate is 95 %, neither more nor less
        assert stats.binom.sf(held - 1, REPEATS, 0.95) > 0.001


@pytest.mark.parametrize("candidates", [1, 2, 3])
@pytest.mark.parametrize("seeds", [2, 5, 10])
def test_without_a_difference_the_verdict_is_inconclusive(candidates, seeds):
    """Better or worse is said of no more than 5 % of campaigns in which nothing differs, however many candidates there are.

    The best of several candidates looks better than the recipe by chance: better is the likelier mistake, and it too is
    within the rate.
    """
    rng = np.random.default_rng((7, candidates, seeds))
    decided = 0
    for _ in range(REPEATS):
        trials = _campaign(rng, seeds, [0.0] * candidates)
        found = finalists(trials, FAILURE)
        decided += verdict(found, winner(found, FD), FD, trials, FAILURE).decision != "inconclusive"
    assert stats.binom.sf(decided - 1, REPEATS, 0.05) > 0.001
    if candidates == 1:  # then the rate is 5 %, neither more nor less
        assert stats.binom.cdf(decided, REPEATS, 0.05) > 0.001


def test_a_difference_is_found_the_more_often_the_more_seeds_there_are():
    rng = np.random.default_rng(3)
    found = {}
    for seeds in (2, 5, 10):
        decided = []
        for _ in range(REPEATS):
            trials = _campaign(rng, seeds, [-0.2])
            finals = finalists(trials, FAILURE)
            decided.append(verdict(finals, winner(finals, FD), FD, trials, FAILURE).decision)
        assert decided.count("worse") <= 1
        found[seeds] = decided.count("better") / REPEATS
    assert found[2] < found[5] < found[10]
    assert found[10] > 0.9
