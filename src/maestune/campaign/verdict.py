"""The verdict: finalists retrained on fresh seeds, paired with the recipe, scored on data nobody has seen.

Intervals are Student's t over seeds; for several candidates the confidence is divided among them (Bonferroni), so that
picking the best of them afterwards does not make it look surer than it is. Scores on a ratio scale (the Fréchet
distance: its noise over seeds grows with its value) are compared by their logarithms, so that their means are geometric
and a pair says by which factor the best is better; others by their differences. Each interval holds what it is of at its
rate (benchmarks/results/verdict_intervals.md).

A best that breaks a bound, by its mean over the seeds on those data, is not better, however large the difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtrit

from maestune.campaign.record import Finalist, Verdict
from maestune.quality import DESCRIBED
from maestune.search.rungs import violation
from maestune.types import Constraint, Objective, Score, Trial, TrialState

CONFIDENCE = 0.95
Limits = tuple[float, float]
NO_LIMITS: Mapping[str, Limits] = {}


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Score:
    """Mean with its Student t-interval; NaN bounds for a single value.

    >>> s = t_interval([1.0, 2.0, 3.0])
    >>> s.value, round(s.low, 3), round(s.high, 3)
    (2.0, -0.484, 4.484)
    """
    data = np.asarray(values, dtype=np.float64)
    mean = float(data.mean())
    if len(data) < 2:
        return Score(mean)
    half = _t(len(data), confidence) * float(data.std(ddof=1)) / math.sqrt(len(data))
    return Score(mean, mean - half, mean + half)


def over_seeds(
    metric: str,
    values: Sequence[float],
    confidence: float = CONFIDENCE,
    beside: Sequence[float] = (),
    known: Mapping[str, Limits] = NO_LIMITS,
) -> Score:
    """Mean over seeds with its interval: geometric for metrics on a ratio scale, else arithmetic; within what the metric can be.

    `beside`: values of what it is compared with: where one of them is 0, no mean is geometric. `known`: limits of
    metrics on the campaign's data.

    >>> round(over_seeds("fd", [2.0, 8.0]).value, 6), over_seeds("coverage", [0.25, 0.75]).value
    (4.0, 0.5)
    """
    if _by_ratio(metric, [*values, *beside]):
        logs = t_interval(np.log(values).tolist(), confidence)
        found = Score(math.exp(logs.value), _exp(logs.low), _exp(logs.high))
        return within_limits(found, *limits(metric, known))
    return within_limits(t_interval(values, confidence), *limits(metric, known))


def limits(metric: str, known: Mapping[str, Limits] = NO_LIMITS) -> Limits:
    """The range of a metric's values, on the campaign's data where that is `known`; everything for a score of the user's own."""
    if metric in known:
        return known[metric]
    described = DESCRIBED.get(metric)
    return (-math.inf, math.inf) if described is None else described.limits


def within_limits(score: Score, lower: float, upper: float) -> Score:
    """An interval cut to what is possible; its value stays inside. NaN bounds stay."""
    low = score.low if math.isnan(score.low) else min(max(score.low, lower), score.value)
    high = score.high if math.isnan(score.high) else max(min(score.high, upper), score.value)
    return Score(score.value, low, high)


def difference_over_seeds(
    metric: str,
    recipe: Sequence[float],
    best: Sequence[float],
    confidence: float,
    beside: Sequence[float] = (),
    known: Mapping[str, Limits] = NO_LIMITS,
) -> Score:
    """Mean of the best less that of the recipe, as `over_seeds` tells both, paired over seeds, in the metric's unit.

    On a ratio scale the means are geometric, and the interval is the delta method's: Student's t of the pairs of logarithms,
    each weighted by its mean, since both means are uncertain; its sign is that of the ratio's interval, which is exact and which
    the verdict rests on. Cut to what is possible: neither score leaves the metric's range.
    """
    if _by_ratio(metric, [*recipe, *best, *beside]):
        old, new = np.log(recipe), np.log(best)
        weighted = math.exp(new.mean()) * new - math.exp(old.mean()) * old
        spread = t_interval(weighted.tolist(), confidence)
        value = math.exp(new.mean()) - math.exp(old.mean())
        shift = value - spread.value
        found = Score(value, *_signed(spread.low + shift, spread.high + shift, _log_ratios(recipe, best, confidence)))
    else:
        found = t_interval([b - r for r, b in zip(recipe, best, strict=True)], confidence)
    lower, upper = limits(metric, known)
    before = over_seeds(metric, recipe, confidence, [*best, *beside], known)
    least = lower - (upper if math.isnan(before.high) else before.high)
    most = upper - (lower if math.isnan(before.low) else before.low)
    return within_limits(found, least, most)


def _log_ratios(recipe: Sequence[float], best: Sequence[float], confidence: float) -> Score:
    """Mean logarithm of best by recipe, paired, with its interval."""
    return t_interval([math.log(b) - math.log(r) for r, b in zip(recipe, best, strict=True)], confidence)


def _signed(low: float, high: float, ratios: Score) -> tuple[float, float]:
    """An interval that holds 0 where that of the logarithms of ratios does, and else lies on the same side of it."""
    if math.isnan(ratios.low):
        return low, high
    if ratios.high < 0:
        return min(low, 0.0), min(high, 0.0)
    if ratios.low > 0:
        return max(low, 0.0), max(high, 0.0)
    return min(low, 0.0), max(high, 0.0)


def relative_over_seeds(
    metric: str, recipe: Sequence[float], best: Sequence[float], confidence: float, beside: Sequence[float] = ()
) -> Score:
    """The difference as a share of the recipe's mean, with its interval (-0.62: 62 % smaller); NaN where there is none.

    On a ratio scale from pairs of logarithms, else by Fieller's theorem (1954, J. R. Stat. Soc. B 16:175), which takes the
    recipe's mean as uncertain too; only where its set is bounded, that is where that mean is surely not zero.
    """
    if _by_ratio(metric, [*recipe, *best, *beside]):
        ratios = _log_ratios(recipe, best, confidence)
        value = math.inf if ratios.value > 700 else math.expm1(ratios.value)
        return Score(value, _exp(ratios.low) - 1, _exp(ratios.high) - 1)
    ratio = _fieller(np.asarray(recipe, dtype=np.float64), np.asarray(best, dtype=np.float64), confidence)
    shares = Score(ratio.value - 1, ratio.low - 1, ratio.high - 1)
    if np.mean(recipe) < 0:  # the ratio of two negative means falls where the best grows
        shares = Score(-shares.value, -shares.high, -shares.low)
    return within_limits(shares, -1.0, math.inf) if limits(metric)[0] >= 0 else shares


def _fieller(recipe: np.ndarray, best: np.ndarray, confidence: float) -> Score:
    """Ratio of the means of paired samples, best by recipe, with Fieller's interval; NaN where that is not bounded."""
    nothing = Score(math.nan, math.nan, math.nan)
    n = len(recipe)
    if n < 2:
        return nothing
    (rr, rb), (_, bb) = np.cov(recipe, best, ddof=1) * _t(n, confidence) ** 2 / n
    r, b = float(recipe.mean()), float(best.mean())
    # The set of all q for which (b - q r)² is within the noise of b - q r: a q² - 2 c q + d <= 0.
    a, c, d = r * r - rr, r * b - rb, b * b - bb
    if not a > 0:
        return nothing
    root = math.sqrt(max(c * c - a * d, 0.0))
    value = b / r
    return within_limits(Score(value, (c - root) / a, (c + root) / a), -math.inf, math.inf)


def _t(n: int, confidence: float) -> float:
    """Quantile of Student's t for the mean of n values."""
    return float(stdtrit(n - 1, 0.5 + confidence / 2))


def failures(
    told: Mapping[str, Score], trials: Sequence[Trial], objectives: Sequence[Objective]
) -> Mapping[str, Score]:
    """What a final training that failed is given: what is told, and of other objectives the worst that any trial ever scored.

    A user's own training does not say what nothing is worth.
    """
    found = dict(told)
    for objective in objectives:
        scores = [r.scores[objective.name].value for t in trials for r in t.rungs if objective.name in r.scores]
        scores = [value for value in scores if math.isfinite(value)]
        if objective.name not in found and scores:
            worst = max(scores, key=objective.loss)
            found[objective.name] = Score(worst, worst, worst)
    return found


def final_scores(trial: Trial, failure: Mapping[str, Score]) -> Mapping[str, Score]:
    """Scores of a final training; one that diverged or crashed scores like a constant image, it is not left out."""
    if trial.state == TrialState.COMPLETE and trial.rungs:
        return trial.rungs[-1].scores
    return failure


def finalists(
    trials: Sequence[Trial], failure: Mapping[str, Score], known: Mapping[str, Limits] = NO_LIMITS
) -> tuple[Finalist, ...]:
    """Finalists from the final trials, the recipe first; only seeds on which every one of them has ended count."""
    finals = [t for t in trials if t.stage == "finals"]
    sources = list(dict.fromkeys(t.source for t in finals if t.source is not None))
    by_seed: dict[int, dict[int, Trial]] = {}
    for trial in finals:
        if trial.state.final and trial.source is not None:
            by_seed.setdefault(trial.seed, {})[trial.source] = trial
    complete = [runs for runs in by_seed.values() if len(runs) == len(sources)]
    if not complete:
        return ()
    scored = {source: [final_scores(per_seed[source], failure) for per_seed in complete] for source in sources}
    everywhere = [m for m in scored[sources[0]][0] if all(m in s for scores in scored.values() for s in scores)]
    values = {m: {source: [s[m].value for s in scores] for source, scores in scored.items()} for m in everywhere}
    found: list[Finalist] = []
    for source in sources:
        runs = [per_seed[source] for per_seed in complete]
        scores = scored[source]
        means: dict[str, Score] = {}
        for metric in (m for m in scores[0] if all(m in s for s in scores)):
            beside = [v for other in values.get(metric, {}).values() for v in other]
            means[metric] = over_seeds(metric, [s[metric].value for s in scores], beside=beside, known=known)
        seconds = float(np.mean([t.seconds for t in runs]))
        numbers = tuple(t.number for t in runs)
        shares = [t.rungs[-1].classes for t in runs if t.rungs and t.rungs[-1].classes]
        drawn = tuple(np.mean(shares, axis=0).tolist()) if shares else ()
        found.append(Finalist(runs[0].role, source, runs[0].config, numbers, means, seconds, drawn))
    return tuple(sorted(found, key=lambda f: f.role != "recipe"))


def outside(finalist: Finalist, constraints: Sequence[Constraint]) -> float:
    """By how much a finalist's means break the bounds in all; 0 where it keeps them, infinite where a score is missing."""
    return violation(finalist.scores, constraints)


def winner(found: Sequence[Finalist], objective: Objective, constraints: Sequence[Constraint] = ()) -> Finalist | None:
    """The candidate with the best mean on an objective of those that keep the bounds; else the nearest to them."""
    candidates = [f for f in found if f.role != "recipe"]

    def order(finalist: Finalist) -> tuple[float, float]:
        score = finalist.scores.get(objective.name)
        loss = math.nan if score is None else objective.loss(score.value)
        return outside(finalist, constraints), math.inf if math.isnan(loss) else loss

    return min(candidates, key=order, default=None)


def verdict(
    found: Sequence[Finalist],
    best: Finalist,
    objective: Objective,
    trials: Sequence[Trial],
    failure: Mapping[str, Score],
    constraints: Sequence[Constraint] = (),
    known: Mapping[str, Limits] = NO_LIMITS,
) -> Verdict | None:
    """Best against recipe on one objective, from paired differences over the seeds; None where one of them has no score."""
    recipe = next((f for f in found if f.role == "recipe"), None)
    if recipe is None or not all(objective.name in f.scores for f in (recipe, best)):
        return None
    candidates = sum(f.role != "recipe" for f in found)
    runs = {t.number: t for t in trials}

    def values(finalist: Finalist) -> list[float]:
        return [final_scores(runs[n], failure)[objective.name].value for n in finalist.runs]

    before, after = values(recipe), values(best)
    name, confidence = objective.name, 1 - (1 - CONFIDENCE) / candidates
    everyone = [value for finalist in found if name in finalist.scores for value in values(finalist)]
    difference = difference_over_seeds(name, before, after, confidence, everyone, known)
    relative = relative_over_seeds(name, before, after, confidence, everyone)
    # Pairs of logarithms tell more of a ratio scale than differences, whose noise is that of the larger value.
    decisive = relative if _by_ratio(name, everyone) else difference
    broken = outside(best, constraints)
    return Verdict(
        objective=objective,
        recipe=recipe.scores[objective.name],
        best=best.scores[objective.name],
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        relative=relative.value,
        relative_low=relative.low,
        relative_high=relative.high,
        decision="infeasible" if broken else _decide(decisive, objective),
        seeds=len(before),
        pairs=tuple(zip(before, after, strict=True)),
        outside=broken,
        recipe_outside=outside(recipe, constraints),
        breaks=tuple((c, best.scores.get(c.name)) for c in constraints if violation(best.scores, [c])),
    )


def _by_ratio(metric: str, values: Sequence[float]) -> bool:
    return metric in DESCRIBED and DESCRIBED[metric].ratio_scale and all(v > 0 for v in values)


def _exp(value: float) -> float:
    return math.inf if value > 700 else math.exp(value)


def _decide(difference: Score, objective: Objective) -> str:
    # In terms of loss: the whole interval below zero is better, the whole interval above is worse.
    bounds = sorted((objective.loss(difference.low), objective.loss(difference.high)))
    if not all(map(math.isfinite, bounds)):
        return "inconclusive"
    if bounds[1] < 0:
        return "better"
    return "worse" if bounds[0] > 0 else "inconclusive"
