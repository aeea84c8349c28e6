"""What a strategy is: a function of the history alone, made of a sampler (what to try) and a schedule (for how long).

A `Sampler` invents configs; a schedule (`FullTraining` here, `Halving` in its own file) decides how long each is
trained and what becomes of it. Whatever is random comes from the generator that `ask` is given, whatever is remembered
from the history: an interrupted campaign that asks again with the same history and generator gets the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Protocol

import numpy as np

from maestune.space import Int, Param, Space
from maestune.types import Config, Decision, History, Judgement, Proposal, Trial, TrialState

# Draws tried before a sampler's favourite region is taken to be exhausted, and points up to which a finite space is
# then listed in full to find what is left of it.
_DRAWS = 16
_LISTABLE_POINTS = 20_000


class Strategy(Protocol):
    """What to try next, for how long, and what becomes of it."""

    def ask(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Iterable[Proposal]:
        """Up to n proposals, what is best begun next first; fewer, or none, when there is nothing to propose now.

        They may be thought of one by one, as they are taken: who trains the first few, those that can be trained as one, and
        then asks again, need not wait for the others. None while no trial is running means that the search is over. The
        history holds running trials as well, so that nothing is proposed twice.
        """
        ...

    def judge(self, history: History, trial: Trial) -> Judgement:
        """What becomes of a running trial that has reached the end of its segment; the history holds it already."""
        ...

    def prune(self, history: History) -> Mapping[int, str]:
        """Paused trials that will never be promoted, by number, each with the reason: their checkpoints may go."""
        ...


@dataclass(frozen=True)
class Candidate:
    """A config worth trying and why."""

    config: Config
    reason: str


class Sampler(Protocol):
    """Invents configs; knows nothing of how long they will be trained."""

    def propose(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Iterable[Candidate]:
        """Up to n configs that differ from each other and from those tried; fewer when the space has no more.

        They may be thought of one by one, as they are taken.
        """
        ...


@dataclass(frozen=True)
class FullTraining:
    """The schedule without early decisions: every config is trained in full."""

    sampler: Sampler

    def ask(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Iterator[Proposal]:
        """Paused trials first (another schedule may have left some), then new configs, each to the full training."""
        full = history.full_steps
        paused = [t for t in history.trials if t.state is TrialState.PAUSED][:n]
        for trial in paused:
            yield Proposal(trial.config, full, "continued to its full training", parent=trial.number)
        if len(paused) < n:
            for candidate in self.sampler.propose(space, history, n - len(paused), rng):
                yield Proposal(candidate.config, full, candidate.reason)

    def judge(self, history: History, trial: Trial) -> Judgement:
        """Complete at the full training; paused before it."""
        if trial.step >= history.full_steps:
            return Judgement(Decision.COMPLETE, f"full training of {trial.step} steps reached")
        return Judgement(Decision.PAUSE, f"at step {trial.step} of {history.full_steps}; to be continued")

    def prune(self, history: History) -> Mapping[int, str]:
        """Nothing: every trial is trained in full."""
        return {}


def with_pending(history: History, proposal: Proposal) -> History:
    """The history in which a proposal for a new trial is already running: what the next proposal must know."""
    trial = Trial(
        number=1 + max((t.number for t in history.trials), default=-1),
        config=proposal.config,
        seed=0,
        stage="search",
        state=TrialState.RUNNING,
        until_steps=proposal.until_steps,
        reason=proposal.reason,
    )
    return replace(history, trials=(*history.trials, trial))


def propose_distinct(
    draw: Callable[[], Candidate], space: Space, history: History, n: int, rng: np.random.Generator
) -> list[Candidate]:
    """Up to n candidates of `draw` that differ from each other and from every config tried.

    A draw that only repeats is replaced by uniform draws, and these, in a small finite space, by one of the points left
    over; when there is none the list is shorter than n.
    """
    seen = {trial.config for trial in history.trials}
    found: list[Candidate] = []
    while len(found) < n:
        candidate = _unseen(draw, space, seen, rng)
        if candidate is None:
            break
        seen.add(candidate.config)
        found.append(candidate)
    return found


def _unseen(
    draw: Callable[[], Candidate], space: Space, seen: set[Config], rng: np.random.Generator
) -> Candidate | None:
    for _ in range(_DRAWS):
        candidate = draw()
        if candidate.config not in seen:
            return candidate
    for _ in range(_DRAWS):
        config = space.sample(rng)
        if config not in seen:
            return Candidate(config, "drawn uniformly, since the region in favour was tried already")
    left = [config for config in _all_points(space) if config not in seen]
    if not left:
        return None
    return Candidate(left[int(rng.integers(len(left)))], "one of the last configs not tried")


def _all_points(space: Space) -> list[Config]:
    """Every config of a finite space; empty for one that is infinite or too large to list."""
    counts = [param.points for param in space]
    if any(count is None for count in counts) or prod(c for c in counts if c is not None) > _LISTABLE_POINTS:
        return []
    axes = [_axis(param, count) for param, count in zip(space, counts, strict=True) if count is not None]
    points = (space.decode(dict(point)) for point in product(*axes))
    return list(dict.fromkeys(points))  # inactive parameters make several points one config


def _axis(param: Param, count: int) -> list[tuple[str, float]]:
    # Whole numbers on a log scale own unequal shares of the interval: their positions come from the values.
    if isinstance(param, Int):
        return [(param.name, param.to_unit(value)) for value in range(param.low, param.high + 1)]
    return [(param.name, (index + 0.5) / count) for index in range(count)]
