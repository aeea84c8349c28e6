"""Sobol points: uniform like random draws, but spread evenly, so that few leave no large gaps."""

# scipy publishes no complete types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from maestune.search.strategy import Candidate, propose_distinct
from maestune.space import Space
from maestune.types import History


@dataclass(frozen=True)
class SobolSampler:
    """The scrambled Sobol sequence (Sobol 1967; Owen 1998), point k for trial k; `seed` fixes the scrambling."""

    seed: int = 0

    def propose(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Sequence[Candidate]:
        """See `Sampler`."""
        # Called rng since scipy 1.15; every version understands seed.
        sequence = qmc.Sobol(len(space), scramble=True, seed=self.seed)  # pyright: ignore[reportCallIssue]
        tried = len(history.trials)
        if tried:
            sequence.fast_forward(tried)

        def draw() -> Candidate:
            nonlocal tried
            tried += 1
            point = sequence.random(1)[0]
            unit = {param.name: float(x) for param, x in zip(space, point, strict=True)}
            return Candidate(space.decode(unit), f"point {tried} of the Sobol sequence")

        return propose_distinct(draw, space, history, n, rng)
