"""Other ways of drawing samples from weights that are trained already: guidance, solver, truncation, temperature.

What matters only when samples are drawn needs no training to be tuned. When the search is over, samples of the best trained
model are drawn in some more ways from the same latents, on the terms on which trainings are screened: with shared latents two
ways of drawing from one network are ranked rightly nearly always, even on few samples
(benchmarks/results/common_noise.md). The best way goes into the finals, where it is retrained and evaluated as all are.

Two waves, so that nothing depends on who is finished first: the trained model as it is and ways all over the ranges, then ways
near the best of those. No way is tried twice, nor the trained one again; where a space has fewer ways, there are fewer drawings.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.campaign.build_record import history_of, ranked
from maestune.campaign.plan import Plan
from maestune.campaign.seeds import derive_rng, derive_seed
from maestune.campaign.store import Store
from maestune.search.rungs import ranking, rung_losses, violation
from maestune.space import Float, Param, Space
from maestune.space.params import OFF_SHARE
from maestune.types import Config, Constraint, Score, Trial, TrialState, Value

FIRST = 8
SECOND = 4
MOST = 0.1  # share of a time budget
NEAR = 0.1  # of a range: the spread of the second wave
WIDER = 1.1  # factor of that spread where a way near the best has been tried already
TRIES = 300  # draws without a new way after which none is left: by then all of a small space were drawn


@dataclass(frozen=True)
class SamplingSearch:
    """The drawings of a campaign, as its store has them."""

    plan: Plan
    store: Store

    @property
    def done(self) -> list[Trial]:
        """All that were begun."""
        return [t for t in self.store.trials if t.stage == "sampling"]

    @property
    def longest(self) -> float:
        """Seconds that one more may take."""
        return max([self.plan.evaluation_plan.screen_seconds, *(t.seconds for t in self.done)])

    @property
    def kept_seconds(self) -> float:
        """Time that is kept for them, of a time budget."""
        if not self.plan.sampling_parameters:
            return 0.0
        seconds = self.plan.evaluation_plan.screen_seconds * (FIRST + SECOND) / max(self.plan.workers, 1)
        return min(seconds, MOST * self.plan.budget.amount)

    def next(self) -> Sequence[Trial]:
        """One more, begun; none while the first wave is awaited, and when there are enough."""
        source, done, seed = self._trained(), self.done, self.plan.seed
        if source is None or len(done) >= FIRST + SECOND:
            return []
        names = self.plan.sampling_parameters
        ways = first_ways(self.plan.space, names, source.config, derive_rng(seed, "drawing", 0))
        first = done[: len(ways)]
        if len(done) >= len(ways):
            scored = self._ordered(first)
            if not scored or not all(t.state.final for t in first):
                return []
            ways += second_ways(self.plan.space, names, scored[0].config, ways, derive_rng(seed, "drawing", 1))
        if len(done) >= len(ways):
            return []
        trial = Trial(
            number=-1,
            config=ways[len(done)],
            seed=derive_seed(self.plan.seed, "search"),
            stage="sampling",
            state=TrialState.RUNNING,
            until_steps=self.plan.full_steps,
            reason=f"samples from the weights of trial {source.number}",
            source=source.number,
        )
        return self.store.launch([trial], self.plan.space)

    def better(self) -> tuple[Trial, Trial] | None:
        """The trained model, and the drawing that is better than drawing from it as it is; None without one."""
        source, best = self._trained(), self._ordered(self.done)[:1]
        return (source, best[0]) if source is not None and best and best[0].config != source.config else None

    def _trained(self) -> Trial | None:
        """The best fully trained model of the search, whose weights are kept; None where nothing of it can be varied."""
        trained = [t for t in ranked(history_of(self.store)) if t.state == TrialState.COMPLETE]
        varying = {param.name for param in self.plan.space.varying} & self.plan.sampling_parameters
        return trained[0] if trained and varying & set(trained[0].config) else None

    def _ordered(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those that have been scored, the best first."""
        history = history_of(self.store)
        scored = [t for t in trials if t.rungs and not t.state.failed]
        losses = np.asarray([rung_losses(t.rungs[-1], history.objectives) for t in scored])
        bounds = history.constraints
        broken = np.asarray([violation(cautious(t.rungs[-1].scores, bounds), bounds) for t in scored])
        return [scored[i] for i in ranking(losses, broken)[0]] if scored else []


def cautious(scores: Mapping[str, Score], bounds: Sequence[Constraint]) -> dict[str, Score]:
    """Scores of which those that are bounded are as bad as their intervals leave open.

    The best within bounds is mostly one that only just keeps them; trained with another seed and evaluated on other images it would
    break them as often as not.
    """
    found = dict(scores)
    for bound in bounds:
        score = scores.get(bound.name)
        worst = math.nan if score is None else score.low if bound.at_least else score.high
        if not math.isnan(worst):
            found[bound.name] = Score(worst)
    return found


def first_ways(space: Space, names: Collection[str], config: Config, rng: np.random.Generator) -> list[Config]:
    """The trained config, then up to `FIRST` - 1 others with values of `names` from all over their ranges, the nearest first."""
    varied = _varied(space, names, config)
    size = FIRST - 1
    # A Latin hypercube: each parameter has a value in every stretch of its range.
    points = np.stack([(rng.permutation(size) + rng.random(size)) / size for _ in varied], axis=1)
    now = _place(varied, np.array([param.to_unit(config[param.name]) for param in varied]))
    ways: dict[Config, float] = {config: -1.0}  # with the distance from the trained config
    for planned in points:
        point = planned
        for _ in range(TRIES):
            way = _at(varied, config, point)
            if way not in ways:
                ways[way] = float(((_place(varied, point) - now) ** 2).sum())
                break
            point = rng.random(len(varied))
        else:
            break
    return sorted(ways, key=lambda way: ways[way])  # the nearest first, for there may be no time for all


def second_ways(
    space: Space, names: Collection[str], best: Config, tried: Collection[Config], rng: np.random.Generator
) -> list[Config]:
    """Up to `SECOND` configs that were not tried yet, near the best of those."""
    varied = _varied(space, names, best)
    points = np.stack([(rng.permutation(SECOND) + rng.random(SECOND)) / SECOND for _ in varied], axis=1)
    centre = _place(varied, np.array([param.to_unit(best[param.name]) for param in varied]))
    ways: list[Config] = []
    for planned in points:
        point, spread = planned, NEAR
        for _ in range(TRIES):
            way = _at(varied, best, np.clip(centre + spread * (2 * point - 1), 0.0, 1.0))
            if way not in tried and way not in ways:
                ways.append(way)
                break
            point, spread = rng.random(len(varied)), min(WIDER * spread, 1.0)
        else:
            break
    return ways


def _varied(space: Space, names: Collection[str], config: Config) -> list[Param]:
    """Parameters that can have another value without another training."""
    return [param for param in space.varying if param.name in names and param.name in config]


def _at(varied: Sequence[Param], config: Config, point: NDArray[np.float64]) -> Config:
    """The config with other values: those at a point of the unit cube."""
    return config.with_(**{p.name: p.from_unit(float(u)) for p, u in zip(varied, point, strict=True)})


def _place(varied: Sequence[Param], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """A point with the off values at the end of the range that they are next to.

    In the unit interval they come first, but no truncation (1.0) is most like the weakest one (0.95).
    """
    placed = point.copy()
    for i, param in enumerate(varied):
        if isinstance(param, Float) and param.off is not None and point[i] < OFF_SHARE:
            placed[i] = 1.0 if param.off > param.high else OFF_SHARE
    return placed


def told(source: Trial, best: Trial) -> str:
    """What other ways of drawing brought, in words."""
    changed = [name for name in best.config if source.config.get(name) != best.config[name]]
    changes = ", ".join(f"{name} {_value(source.config[name])} → {_value(best.config[name])}" for name in changed)
    return f"from the weights of trial {source.number} samples are better drawn with {changes} (trial {best.number})"


def _value(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
