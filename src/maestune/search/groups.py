"""Proposals that can be trained as one: new configs in groups of one structure, promotions beside their like.

Trainings that share everything but plain numbers (see `maestune.space.fusible`) run as one fused step, several for
little more than the price of one. A sampler that thinks of one config at a time would hardly ever propose two of the
same structure; `Grouped` has it propose one freely, and the others of the group within the structure of that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from maestune.search.strategy import Candidate, with_pending
from maestune.space import Fusible, Space, structure, within
from maestune.types import Config, History, Proposal


class ConfinableSampler(Protocol):
    """A sampler that can also be confined to a part of the space."""

    def propose(
        self, space: Space, history: History, n: int, rng: np.random.Generator, part: Space | None = None
    ) -> Iterable[Candidate]:
        """As `Sampler.propose`; given a `part` of the space, only configs of it.

        A part has the parameters of the space, some of them fixed or without their off value. What is learnt, is learnt
        from trials anywhere in the space.
        """
        ...


# Trials that must have been tried for each sibling of a new config. In simulated campaigns 16 loses less than 4, since groups see
# few structures and are proposed without answers; in real ones of two minutes on digits it trained half as many steps in all, and
# ended no better (benchmarks/results/search_members.md).
_TRIED_A_SIBLING = 4


@dataclass(frozen=True)
class Grouped:
    """A sampler that proposes in runs of up to `members` configs of one structure.

    The first of a run is the inner sampler's free choice, the others its choice within that one's structure, knowing
    those before them as pending. Early runs are short, so that no structure takes much of what is tried before something
    is known of others: one config, and one more for every four trials so far. A run is shorter also where the
    structure has no more configs or no more are asked for.
    """

    sampler: ConfinableSampler
    fusible: Fusible
    members: int

    def propose(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Iterator[Candidate]:
        """See `Sampler`."""
        while n > 0:
            found = 0
            for candidate in self._run(space, history, n, rng):
                history = with_pending(history, Proposal(candidate.config, history.rungs[0], candidate.reason))
                found += 1
                yield candidate
            if not found:
                return
            n -= found

    def _run(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Iterator[Candidate]:
        size = min(self.members, 1 + len(history.trials) // _TRIED_A_SIBLING, n)
        for leader in self.sampler.propose(space, history, 1, rng):
            yield leader
            part = within(space, leader.config, self.fusible)
            if size > 1 and any(param.name in leader.config for param in part.varying):  # more than this one config
                pending = with_pending(history, Proposal(leader.config, history.rungs[0], leader.reason))
                for sibling in self.sampler.propose(space, pending, size - 1, rng, part):
                    yield Candidate(sibling.config, f"{sibling.reason}, sharing the architecture of its group")


def side_by_side(space: Space, history: History, proposals: Sequence[Proposal], fusible: Fusible) -> Sequence[Proposal]:
    """The proposals, those that can be trained as one moved up beside the first of their kind."""
    groups: dict[tuple[Config, int, int], list[Proposal]] = {}
    for proposal in proposals:
        groups.setdefault(group_key(space, history, proposal, fusible), []).append(proposal)
    return [proposal for group in groups.values() for proposal in group]


def group_key(space: Space, history: History, proposal: Proposal, fusible: Fusible) -> tuple[Config, int, int]:
    """Structure, first and last step of a proposal's segment: equal for those that can be trained as one."""
    begun = next((t.step for t in history.trials if t.number == proposal.parent), 0)
    return structure(space, proposal.config, fusible), begun, proposal.until_steps


def first_group(proposals: Iterable[Proposal], space: Space, history: History, fusible: Fusible) -> Sequence[Proposal]:
    """The first proposal and those right after it that can be trained as one with it."""
    group: list[Proposal] = []
    key: tuple[Config, int, int] | None = None
    for proposal in proposals:
        own = group_key(space, history, proposal, fusible)
        if own != (key := key or own):
            break
        group.append(proposal)
    return group
