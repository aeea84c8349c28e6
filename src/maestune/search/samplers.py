"""Samplers that learn nothing: uniform draws, with the priors first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maestune.search.strategy import Candidate, propose_distinct
from maestune.space import Space
from maestune.types import History

# New configs drawn from the priors before anything else is tried.
FROM_PRIOR = 4


@dataclass(frozen=True)
class RandomSampler:
    """Uniform draws, each parameter on its own scale, after a few from the priors."""

    from_prior: int = FROM_PRIOR

    def propose(
        self, space: Space, history: History, n: int, rng: np.random.Generator, part: Space | None = None
    ) -> Sequence[Candidate]:
        """See `ConfinableSampler`."""
        drawn_from = space if part is None else part
        tried = len(history.trials)

        def draw() -> Candidate:
            nonlocal tried
            tried += 1
            if tried <= self.from_prior:
                return Candidate(drawn_from.sample_prior(rng), "drawn from the priors")
            return Candidate(drawn_from.sample(rng), "drawn uniformly")

        return propose_distinct(draw, drawn_from, history, n, rng)
