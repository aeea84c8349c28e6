"""Starting from what is published: the recipe first, in full, whatever the strategy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from maestune.search.strategy import Strategy, with_pending
from maestune.space import Space
from maestune.types import Config, History, Judgement, Proposal, Trial


@dataclass(frozen=True)
class StartFrom:
    """Proposes a config at full training before anything else, then whatever the inner strategy does.

    It is what everything is compared with, so it is trained in full even by strategies that begin with less. `start`
    must be a point of the space; a SpaceError names what is not.
    """

    start: Config
    inner: Strategy

    def ask(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Iterable[Proposal]:
        """The start if it was not tried, then the inner strategy's proposals."""
        start = space.check(self.start)
        if n < 1 or any(trial.config == start for trial in history.trials):
            return self.inner.ask(space, history, n, rng)
        first = Proposal(start, history.full_steps, "the starting recipe")
        return self._from(first, space, history, n, rng)

    def _from(
        self, first: Proposal, space: Space, history: History, n: int, rng: np.random.Generator
    ) -> Iterator[Proposal]:
        yield first
        if n > 1:
            yield from self.inner.ask(space, with_pending(history, first), n - 1, rng)

    def judge(self, history: History, trial: Trial) -> Judgement:
        """The inner strategy's judgement."""
        return self.inner.judge(history, trial)

    def prune(self, history: History) -> Mapping[int, str]:
        """The inner strategy's choice."""
        return self.inner.prune(history)
