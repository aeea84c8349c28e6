"""The default sampler: experts' priors first, then the neighbourhood of what worked, never only one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maestune.search.estimate import estimate_losses
from maestune.search.samplers import FROM_PRIOR
from maestune.search.strategy import Candidate, propose_distinct
from maestune.space import Space
from maestune.types import Config, History


@dataclass(frozen=True)
class GuidedSampler:
    """A mixture of uniform draws, draws from the priors, and variations of the best configs so far.

    After PriorBand (Mallik et al. 2023, arXiv 2306.12370).
    """

    from_prior: int = FROM_PRIOR
    uniform: float = 0.15
    prior: float = 0.25
    parents: int = 4
    spread: float = 0.15

    def propose(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Sequence[Candidate]:
        """See `Sampler`."""
        tried = len(history.trials)
        parents = self._parents(history)

        def draw() -> Candidate:
            nonlocal tried
            tried += 1
            source = float(rng.random())
            if tried <= self.from_prior or not parents or source < self.prior:
                return Candidate(space.sample_prior(rng), "drawn from the priors")
            if source < self.prior + self.uniform:
                return Candidate(space.sample(rng), "drawn uniformly")
            number, config = parents[int(rng.integers(len(parents)))]
            return Candidate(space.mutate(config, rng, self.spread), f"a variation of trial {number}")

        return propose_distinct(draw, space, history, n, rng)

    def _parents(self, history: History) -> list[tuple[int, Config]]:
        estimates = estimate_losses(history)
        good = [t for t in history.trials if t.number in estimates and not t.state.failed]
        good.sort(key=lambda t: estimates[t.number][0])
        return [(t.number, t.config) for t in good[: self.parents]]
