"""The default sampler: experts' priors first, then the neighbourhood of what worked, chosen by a small model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from maestune.errors import SpaceError
from maestune.search.estimate import Estimates, estimate_losses
from maestune.search.samplers import FROM_PRIOR
from maestune.search.strategy import Candidate, propose_distinct, with_pending
from maestune.search.surrogate import Surrogate, coordinates, half_rank, unordered_mask
from maestune.space import Space
from maestune.types import Config, History, Proposal, Trial, Value

Array = NDArray[np.float64]

_MODEL_TRIALS = 120  # a model knows so many; with all, its cost would grow with the cube of their number


@dataclass(frozen=True)
class GuidedSampler:
    """Uniform draws, draws from the priors and variations of the best configs, the most promising of many such.

    The three sources are those of PriorBand (Mallik et al. 2023, arXiv 2306.12370): none is ever dropped, so wrong
    priors and early favourites cost a share of the proposals and not the search. As soon as there are `model_after`
    results, all but a share `plain` of the proposals are the best of `screened` draws by the expected improvement of a
    Gaussian process; it learns from estimates at the full training, weighs them by how far they were trained, and
    also tells which configs are worth varying, by what it expects of them rather than by one lucky score.

    With `per_second`, promise is divided by (the root of) what a step of such a config costs, as a second model
    learns it from the seconds of the trials so far: of equally promising networks the faster ones are tried, several in
    the time of one (Snoek et al. 2012, arXiv 1206.2944, have expected improvement per second; the root keeps the
    search from living among the cheapest).

    With several objectives, each proposal draws its own weights and improves the worst of the weighted objectives
    (ParEGO: Knowles 2006), so that proposals spread along the front.
    """

    from_prior: int = FROM_PRIOR
    uniform: float = 0.15
    prior: float = 0.3
    parents: int = 4
    spread: float = 0.2
    model_after: int = 8
    screened: int = 32
    plain: float = 0.25
    per_second: bool = False

    def propose(
        self, space: Space, history: History, n: int, rng: np.random.Generator, part: Space | None = None
    ) -> Iterator[Candidate]:
        """See `ConfinableSampler`: draws are confined to the part, the model knows the trials of the whole space."""
        drawn_from = space if part is None else part
        estimates = estimate_losses(history)  # the same for all n: what is pending has none
        learnt: _Learnt | None = None
        for _ in range(n):
            if len(history.trials) < self.from_prior:
                draw = partial(_from_prior, drawn_from, rng)
            else:
                if learnt is None or len(history.objectives) > 1:  # several: each proposal draws its own weights
                    learnt = self._learn(space, estimates, rng)
                draw = self._source(space, drawn_from, learnt, history, rng)
            new = propose_distinct(draw, drawn_from, history, 1, rng)
            if not new:
                return
            history = with_pending(history, Proposal(new[0].config, history.rungs[0], new[0].reason))
            yield new[0]

    def _learn(self, space: Space, estimates: Estimates, rng: np.random.Generator) -> _Learnt:
        losses, doubts = _one_objective(estimates, rng)
        model, cost = None, None
        if len(losses) >= self.model_after:
            points = coordinates(space, [trial.config for trial in estimates.trials])
            kept = sorted(_ascending(losses)[:_MODEL_TRIALS])
            model = Surrogate.fit(points[kept], losses[kept], doubts[kept], unordered_mask(space))
            losses = np.full(len(losses), np.inf)
            losses[kept] = model.expected
            cost = _cost(space, estimates.trials, points) if self.per_second else None
        order = [i for i in _ascending(losses) if not estimates.trials[i].state.failed]
        return _Learnt(tuple(estimates.trials[i] for i in order[: self.parents]), model, cost)

    def _source(
        self, space: Space, drawn_from: Space, learnt: _Learnt, history: History, rng: np.random.Generator
    ) -> Callable[[], Candidate]:
        """Where the next proposal comes from."""
        mixture = self._mixture(drawn_from, learnt.parents, rng)
        if learnt.model is None or rng.random() < self.plain:
            return mixture
        pending = [t.config for t in history.trials if not t.rungs and not t.state.failed]
        model = learnt.model.believing(coordinates(space, pending)) if pending else learnt.model
        seen = {trial.config for trial in history.trials}
        return lambda: self._screened(space, mixture, model, learnt.cost, seen)

    def _screened(
        self,
        space: Space,
        mixture: Callable[[], Candidate],
        model: Surrogate,
        cost: Callable[[Array], Array] | None,
        seen: set[Config],
    ) -> Candidate:
        """The most promising of many draws."""
        draws = [mixture() for _ in range(self.screened)]
        new = [draw for draw in draws if draw.config not in seen] or draws
        points = coordinates(space, [draw.config for draw in new])
        promise = model.expected_improvement(points)
        if cost is not None:
            promise = promise / np.sqrt(cost(points))
        best = new[int(np.argmax(promise))]
        time = "" if cost is None else " for its time"
        return Candidate(best.config, f"{best.reason}, the most promising{time} of {len(new)} draws")

    def _mixture(
        self, drawn_from: Space, parents: Sequence[Trial], rng: np.random.Generator
    ) -> Callable[[], Candidate]:
        """Draws from the three sources."""
        known = [_admitted(drawn_from, parent.config) for parent in parents]

        def draw() -> Candidate:
            source = float(rng.random())
            if source < self.uniform:
                return Candidate(drawn_from.sample(rng), "drawn uniformly")
            if not parents or source < self.uniform + self.prior:
                return _from_prior(drawn_from, rng)
            index = int(rng.integers(len(parents)))
            # Wide and narrow steps: at first the neighbourhood's size is not known, later both are wanted.
            spread = self.spread * 2.0 ** rng.uniform(-1.5, 0.5)
            config = drawn_from.mutate(known[index], rng, spread)
            return Candidate(config, f"a variation of trial {parents[index].number}")

        return draw


@dataclass(frozen=True, eq=False)
class _Learnt:
    """What the results tell: the trials worth varying, best first, and the model once there are enough results."""

    parents: tuple[Trial, ...]
    model: Surrogate | None
    cost: Callable[[Array], Array] | None = None


def _cost(space: Space, trials: Sequence[Trial], points: Array) -> Callable[[Array], Array] | None:
    """Expected cost (m,) of a step at points (m, d), relative to the mean trial; None where too little is known.

    `points` (n, d): those of the trials. It learns from the latest of them: what a step takes, tens of trials tell.
    """
    timed = [i for i, t in enumerate(trials) if t.step > 0 and t.seconds > 0][-_MODEL_TRIALS:]
    costs = np.log([trials[i].seconds / trials[i].step for i in timed])
    if len(timed) < 2 or not np.ptp(costs):
        return None
    model = Surrogate.fit(points[timed], costs, np.zeros(len(timed)), unordered_mask(space))
    deviation = float(costs.std())
    return lambda asked: np.exp(deviation * model.mean(asked))


def _admitted(space: Space, config: Config) -> Config:
    """The values of a config that a space allows; where a part of a space fixes another value, it is left out."""
    kept: dict[str, Value] = {}
    for param in space:
        if param.name in config:
            with suppress(SpaceError):
                kept[param.name] = param.check(config[param.name])
    return Config.of(kept)


def _from_prior(space: Space, rng: np.random.Generator) -> Candidate:
    return Candidate(space.sample_prior(rng), "drawn from the priors")


def _ascending(losses: Array) -> list[int]:
    return [int(i) for i in np.argsort(losses, kind="stable")]


def _one_objective(estimates: Estimates, rng: np.random.Generator) -> tuple[Array, Array]:
    """One loss (n,) a trial, tamed, and its doubt (n,); several objectives with freshly drawn weights."""
    losses, doubts = estimates.losses, estimates.doubts
    if not len(losses):
        return np.zeros(0), np.zeros(0)
    tamed = np.column_stack([half_rank(column) for column in losses.T])
    if tamed.shape[1] == 1:
        return tamed[:, 0], doubts[:, 0]
    spread = np.maximum(np.ptp(tamed, axis=0), 1e-12)
    weights = rng.dirichlet(np.ones(tamed.shape[1])) / spread
    weighted = (tamed - tamed.min(axis=0)) * weights
    return weighted.max(axis=1) + 0.05 * weighted.sum(axis=1), (doubts * weights).max(axis=1)
