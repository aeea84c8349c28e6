"""What is trained next: groups of the search while the budget lasts, then the finalists on fresh seeds.

Everything follows from the store, the plan and the clock, so that a campaign that was killed goes on as it would have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from maestune.campaign.budget import GOOD_FINAL_SEEDS, MAX_FINAL_SEEDS, MIN_FINAL_SEEDS, Budget
from maestune.campaign.reading import history_of, ranked
from maestune.campaign.seeds import derive_rng, derive_seed
from maestune.campaign.store import Store
from maestune.execution.jobs import Progress
from maestune.search import Strategy
from maestune.search.groups import first_group
from maestune.search.rungs import violation
from maestune.space import Fusible, Space
from maestune.types import Config, Proposal, Trial, TrialState

REPORT_SECONDS = 2.0  # kept back for the report


@dataclass(frozen=True)
class Plan:
    """What the loop needs to know, resolved: it does not change while the campaign runs, nor when it is resumed."""

    space: Space
    recipe: Config
    rungs: tuple[int, ...]
    budget: Budget
    seed: int
    workers: int
    finalists: int = 2
    fusible: Fusible = field(default_factory=Fusible)  # what may differ among trials that are trained as one
    members: int = 1  # how many they may be

    @property
    def full_steps(self) -> int:
        """Length of a full training."""
        return self.rungs[-1]

    @property
    def reproducible(self) -> bool:
        """Whether an interrupted campaign ends as the uninterrupted one: not where the clock decides."""
        return self.budget.kind != "seconds"


@dataclass
class Agenda:
    """Says what comes next. `running`: where the trials that are being trained have got to, kept by the loop."""

    plan: Plan
    store: Store
    strategy: Strategy
    clock: Callable[[], float]
    running: Mapping[int, Progress]

    def next_search(self) -> Sequence[Trial]:
        """The next group of the search, begun; empty when the strategy or the budget has no more."""
        history = history_of(self.store)
        # One generator per decision, named by how far the history has come: asked again after a crash, it is the same.
        results = sum(len(t.rungs) for t in history.trials)
        rng = derive_rng(self.plan.seed, "ask", len(history.trials), results)
        asked = self.strategy.ask(self.plan.space, history, self.plan.members, rng)
        group = first_group(asked, self.plan.space, history, self.plan.fusible)
        group = group[: self._affordable(group, history.trials)]
        begun = [self._begun(proposal, fused=len(group) > 1) for proposal in group]
        return self.store.launch(begun, self.plan.space)

    def _begun(self, proposal: Proposal, fused: bool) -> Trial:
        """A proposal as a trial that has begun."""
        fused = fused and self.plan.reproducible
        if proposal.parent is not None:
            return self.store.trials[proposal.parent].with_(
                state=TrialState.RUNNING, until_steps=proposal.until_steps, decision=proposal.reason, fused=fused
            )
        return Trial(
            number=-1,
            config=proposal.config,
            # Common random numbers: all search trials start from the same seed and see the same data order and latents.
            seed=derive_seed(self.plan.seed, "search"),
            stage="search",
            state=TrialState.RUNNING,
            until_steps=proposal.until_steps,
            reason=proposal.reason,
            role="recipe" if proposal.config == self.plan.recipe else "",
            fused=fused,
        )

    def _affordable(self, group: Sequence[Proposal], trials: Sequence[Trial]) -> int:
        """How many of a group the budget still pays for."""
        if not group:
            return 0
        budget, first = self.plan.budget, len(trials) < 2
        begun = 0 if group[0].parent is None else self.store.trials[group[0].parent].step
        steps = group[0].until_steps - begun
        if budget.kind == "trials":
            return len(group) if group[0].parent is not None else max(0, int(budget.search_amount) - len(trials))
        if budget.kind == "full":
            spent = sum(t.until_steps for t in trials) / self.plan.full_steps
            left = (budget.search_amount - spent) * self.plan.full_steps / steps
        else:
            expected = self._expected_seconds(steps)
            left = (self._search_deadline() - self.clock()) / expected if expected > 0 else math.inf
            # A group's architecture may be slower than those before it: of a large one there must be time for twice.
            left = left if left < 2 else left / 2
        return max(int(first), len(group) if math.isinf(left) else int(left + 1e-9))

    def _search_deadline(self) -> float:
        """Campaign seconds at which the search ends: early enough for the recipe and one candidate on two seeds each."""
        budget = self.plan.budget
        finals = 2 * MIN_FINAL_SEEDS * self._expected_seconds(self.plan.full_steps) / max(self.plan.workers, 1)
        return min(budget.search_amount, budget.amount - finals - REPORT_SECONDS)

    def _expected_seconds(self, steps: int) -> float:
        """Seconds that so many steps probably take: the mean over the trials so far."""
        done = [t for t in self.store.trials if t.step > 0]
        return steps * sum(t.seconds for t in done) / sum(t.step for t in done) if done else 0.0

    def finalists(self) -> list[int]:
        """Numbers of the search trials that are retrained: the recipe, and the best that the budget has room for.

        Only such as keep the bounds, if any does; else the nearest to them.
        """
        history = history_of(self.store)
        recipe = next((t for t in history.trials if t.role == "recipe"), None)
        order = [t for t in ranked(history) if t.role != "recipe"]
        complete = [t for t in order if t.state == TrialState.COMPLETE]
        within = [t for t in complete if not violation(t.rungs[-1].scores, history.constraints)]
        candidates = (within or complete or order)[: self._n_candidates(bool(recipe))]
        return [t.number for t in ([recipe] if recipe else []) + candidates] if candidates else []

    def _n_candidates(self, with_recipe: bool) -> int:
        """As many candidates as leave the verdict five seeds each; at least one."""
        budget = self.plan.budget
        if budget.kind == "seconds":
            expected = self._expected_seconds(self.plan.full_steps) / max(self.plan.workers, 1)
            runs = (budget.amount - REPORT_SECONDS - self.clock()) / expected if expected > 0 else 0.0
        else:
            runs = budget.amount - budget.search_amount
        return max(1, min(self.plan.finalists, int(runs / GOOD_FINAL_SEEDS) - with_recipe))

    def next_final(self) -> Sequence[Trial]:
        """The next finalist on the next fresh seeds: all finalists get the same, one after the other."""
        sources: list[int] = self.store.facts["finals"]
        done = [t for t in self.store.trials if t.stage == "finals"]
        if not sources:
            return []
        counts = {source: sum(t.source == source for t in done) for source in sources}
        number = min(counts, key=lambda source: counts[source])  # of several the first
        begun, level = counts[number], max(counts.values())
        seeds = level - begun if begun < level else self._seeds_affordable(done, len(sources), begun)
        seeds = min(seeds, 1) if number in self._alone else seeds
        source = self.store.trials[number]
        group = [
            Trial(
                number=-1,
                config=source.config,
                seed=derive_seed(self.plan.seed, "finals", round_),
                stage="finals",
                state=TrialState.RUNNING,
                until_steps=self.plan.full_steps,
                reason=f"trial {number} on fresh seed {round_ + 1}",
                role="recipe" if source.role == "recipe" else "candidate",
                source=number,
                fused=seeds > 1 and self.plan.reproducible,
            )
            for round_ in range(begun, begun + seeds)
        ]
        return self.store.launch(group, self.plan.space)

    def _seeds_affordable(self, done: Sequence[Trial], size: int, begun: int) -> int:
        """On how many more seeds every one of the finalists can be trained together; the first two are always."""
        most = min(self.plan.members, MAX_FINAL_SEEDS - begun)
        if begun < MIN_FINAL_SEEDS:
            return min(most, MIN_FINAL_SEEDS - begun)
        budget = self.plan.budget
        if budget.kind == "trials":
            left = (budget.amount - len(self.store.trials)) / size
        elif budget.kind == "full":
            spent = sum(t.until_steps for t in self.store.trials) / self.plan.full_steps
            left = (budget.amount - spent + 1e-9) / size
        else:
            workers = max(self.plan.workers, 1)
            seconds = {t.source: self._final_seconds(t.source, done) for t in done if t.source is not None}
            running = [(t.source, self.running[t.number]) for t in done if t.number in self.running]
            pending = sum(max(seconds[s] - p.seconds, 0.0) for s, p in running if s is not None)
            free = budget.amount - REPORT_SECONDS - self.clock() - pending / workers
            left = free / max(self._round_seconds(list(seconds.values()), workers), 1e-9)
        return max(0, min(most, int(left)))

    def _final_seconds(self, source: int, done: Sequence[Trial]) -> float:
        """Worker seconds of one final training of a finalist: as the last ones took, else as its search suggests."""
        taken = [t.seconds for t in done if t.source == source and t.state.final]
        if taken:
            return sum(taken) / len(taken)
        trial = self.store.trials[source]
        return self.plan.full_steps * trial.seconds / trial.step if trial.step else 0.0

    def _round_seconds(self, seconds: Sequence[float], workers: int) -> float:
        """Time that one more seed of every finalist takes, whose worker seconds are given."""
        if self._alone:  # one training at a time: any worker takes the next
            return max(max(seconds), sum(seconds) / workers)
        # A finalist's seeds stay on one worker: the longest first, each to the worker that is free first.
        loads = [0.0] * workers
        for one in sorted(seconds, reverse=True):
            loads[loads.index(min(loads))] += one
        return max(loads)

    @property
    def _alone(self) -> Sequence[int]:
        """Finalists whose seeds are not trained as one, because that has turned out slower."""
        return self.store.facts.get("alone", [])
