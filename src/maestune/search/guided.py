"""The default sampler: experts' priors first, then the neighbourhood of what worked, chosen by a small model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maestune.search.estimate import Estimates, estimate_losses
from maestune.search.samplers import FROM_PRIOR
from maestune.search.strategy import Candidate, propose_distinct, with_pending
from maestune.search.surrogate import Surrogate, coordinates, half_rank, unordered_mask
from maestune.space import Space
from maestune.types import Config, History, Proposal

Array = NDArray[np.float64]

_MODEL_TRIALS = 120  # a model knows the best of them; with all, its cost would grow with the cube of their number


@dataclass(frozen=True)
class GuidedSampler:
    """Uniform draws, draws from the priors and variations of the best configs, the most promising of many such.

    The three sources are those of PriorBand (Mallik et al. 2023, arXiv 2306.12370): none is ever dropped, so wrong
    priors and early favourites cost a share of the proposals and not the search. As soon as there are `model_after`
    results, all but a share `plain` of the proposals are the best of `screened` draws by the expected improvement of a
    Gaussian process; it learns from estimates at the full training, weighs them by how far they were trained, and
    also tells which configs are worth varying, by what it expects of them rather than by one lucky score.

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

    def propose(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Sequence[Candidate]:
        """See `Sampler`."""
        found: list[Candidate] = []
        for _ in range(n):
            new = propose_distinct(self._source(space, history, rng), space, history, 1, rng)
            if not new:
                break
            found += new
            history = with_pending(history, Proposal(new[0].config, history.rungs[0], new[0].reason))
        return found

    def _source(self, space: Space, history: History, rng: np.random.Generator) -> Callable[[], Candidate]:
        """Where the next proposal comes from."""
        if len(history.trials) < self.from_prior:
            return lambda: _from_prior(space, rng)
        estimates = estimate_losses(history)
        losses, doubts = _one_objective(estimates, rng)
        if len(losses) < self.model_after:
            return self._mixture(space, estimates, losses, rng)
        kept = sorted(_ascending(losses)[:_MODEL_TRIALS])
        points = coordinates(space, [estimates.trials[i].config for i in kept])
        model = Surrogate.fit(points, losses[kept], doubts[kept], unordered_mask(space))
        expected = np.full(len(losses), np.inf)
        expected[kept] = model.expected
        mixture = self._mixture(space, estimates, expected, rng)
        if rng.random() < self.plain:
            return mixture
        pending = [t.config for t in history.trials if not t.rungs and not t.state.failed]
        if pending:
            model = model.believing(coordinates(space, pending))
        seen = {trial.config for trial in history.trials}
        return lambda: self._screened(space, mixture, model, seen)

    def _screened(
        self, space: Space, mixture: Callable[[], Candidate], model: Surrogate, seen: set[Config]
    ) -> Candidate:
        """The most promising of many draws."""
        draws = [mixture() for _ in range(self.screened)]
        new = [draw for draw in draws if draw.config not in seen] or draws
        promise = model.expected_improvement(coordinates(space, [draw.config for draw in new]))
        best = new[int(np.argmax(promise))]
        return Candidate(best.config, f"{best.reason}, the most promising of {len(new)} draws")

    def _mixture(
        self, space: Space, estimates: Estimates, losses: Array, rng: np.random.Generator
    ) -> Callable[[], Candidate]:
        """Draws from the three sources; parents are the trials of the smallest losses."""
        order = [i for i in _ascending(losses) if not estimates.trials[i].state.failed]
        parents = [estimates.trials[i] for i in order[: self.parents]]

        def draw() -> Candidate:
            source = float(rng.random())
            if source < self.uniform:
                return Candidate(space.sample(rng), "drawn uniformly")
            if not parents or source < self.uniform + self.prior:
                return _from_prior(space, rng)
            parent = parents[int(rng.integers(len(parents)))]
            # Wide and narrow steps: at first the neighbourhood's size is not known, later both are wanted.
            spread = self.spread * 2.0 ** rng.uniform(-1.5, 0.5)
            return Candidate(space.mutate(parent.config, rng, spread), f"a variation of trial {parent.number}")

        return draw


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
