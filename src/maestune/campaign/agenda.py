"""What is trained next: groups of the search while the budget lasts, then the finalists on fresh seeds.

While nothing promising was found (`campaign.contenders`), the search also has the finals' share of the budget, but for two seeds
of the recipe and of one candidate. If that brings nothing either, the recipe alone is final: on fresh seeds, for its honest score.

Everything follows from the store, the plan and the clock, so that a campaign that was killed goes on as it would have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from maestune.campaign.budget import (
    GOOD_FINAL_SEEDS,
    MAX_FINAL_SEEDS,
    MIN_FINAL_SEEDS,
    TIMED_FINAL_SEEDS,
    seconds_text,
)
from maestune.campaign.build_record import history_of
from maestune.campaign.contenders import Contender, contenders
from maestune.campaign.costs import last_end
from maestune.campaign.plan import Plan
from maestune.campaign.sampling_search import SamplingSearch, told
from maestune.campaign.seeds import derive_rng, derive_seed
from maestune.campaign.store import Store
from maestune.execution.jobs import Progress
from maestune.search import Strategy
from maestune.search.groups import first_group
from maestune.types import Proposal, Trial, TrialState

REPORT_SECONDS = 2.0  # kept back for the report
# Shares of a time budget that are kept for the finals: so much however quick they are, and so much at most, where even three
# seeds take more than their ordinary share.
FINALS_LEAST, FINALS_MOST = 0.2, 0.6
FINALS_GROUP = 0.25  # share of the time left for the finals that seeds which are trained as one may take, one by one


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
        proposals = self.strategy.ask(self.plan.space, history, self.plan.members, rng)
        group = first_group(proposals, self.plan.space, history, self.plan.fusible)
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
        """Number of trials of a group that the budget still pays for."""
        if not group:
            return 0
        budget, seconds = self.plan.budget, self.plan.budget.kind == "seconds"
        usual = self._paid(group, trials, self._search_deadline() if seconds else budget.search_amount)
        if usual or self._contenders()[1]:
            return usual
        # A count waits for nothing, so that what still runs is seen first: it may turn out promising.
        if not seconds and any(t.state == TrialState.RUNNING for t in trials):
            return 0
        return self._paid(group, trials, self._latest_search if seconds else budget.longest_search)

    def _paid(self, group: Sequence[Proposal], trials: Sequence[Trial], amount: float) -> int:
        """Number of trials of a group that a search of so many seconds, trials or full trainings pays for."""
        budget, first = self.plan.budget, len(trials) < 2
        parents = [self.store.trials[p.parent] for p in group if p.parent is not None]
        begun, until = parents[0].step if parents else 0, group[0].until_steps
        if budget.kind == "trials":
            return len(group) if parents else max(0, int(amount) - len(trials))
        if budget.kind == "full":
            left = (amount - self._spent(trials)) * self.plan.full_steps / (until - begun)
        else:
            costs = self.plan.costs
            expected = costs.segment(begun, until, costs.per_step(parents or self.store.trials))
            left = (amount - self.clock()) / expected if expected > 0 else math.inf
            # A group's architecture may be slower than those before it: of a large one there must be time for twice.
            left = left if left < 2 else left / 2
        return max(int(first), len(group) if math.isinf(left) else int(left + 1e-9))

    def _search_deadline(self) -> float:
        """Campaign seconds at which the search ends: early enough for the finals of the recipe and the best few so far."""
        budget, base, candidates = self.plan.budget, *self._final_costs()
        good = REPORT_SECONDS + self._together([*base, *candidates[: self.plan.finalists]], GOOD_FINAL_SEEDS)
        kept = min(max(good, FINALS_LEAST * budget.amount), budget.amount - budget.search_amount)
        return min(budget.amount - kept - self._sampling_search.kept_seconds, self._latest_search)

    @property
    def _latest_search(self) -> float:
        """Campaign seconds at which the search ends at the latest: early enough for drawings and finals."""
        return self._latest - self._sampling_search.kept_seconds

    @property
    def _latest(self) -> float:
        """Campaign seconds at which the finals have to begin: those of the recipe and the best so far on three seeds each.

        The best of those whose finals leave the search enough. While nobody is promising: those of anybody, on two seeds.
        """
        budget, base, candidates = self.plan.budget, *self._final_costs()
        seeds = TIMED_FINAL_SEEDS if self._contenders()[1] else MIN_FINAL_SEEDS
        finals = (self._together([*base, best], seeds) for best in candidates)
        most = FINALS_MOST * budget.amount
        return budget.amount - REPORT_SECONDS - next((seconds for seconds in finals if seconds <= most), most)

    def _final_costs(self) -> tuple[list[float], list[float]]:
        """Worker seconds of a final training of the recipe, and of each that could be retrained beside it, the best first.

        Where there is none yet, the mean of all.
        """
        recipe, order = self._contenders()
        costs = self.plan.costs
        mean = costs.final(self.store.trials)
        base = [costs.final([t]) if t.step > 0 else mean for t in recipe]
        return base or [mean], [costs.final([t]) for t in order] or [mean]

    @property
    def overdue(self) -> bool:
        """Whether what the search still trains must be stopped for the finals; never before anything but the recipe has a score."""
        scored = any(t.rungs and not t.state.failed and t.role != "recipe" for t in self._searched)
        if self.plan.budget.kind != "seconds" or not scored:
            return False
        return self.clock() > self._latest_search

    def next_sampling(self) -> Sequence[Trial]:
        """One more way of drawing samples from the weights of the best; none when there are enough, or no more time."""
        in_time = self.plan.budget.kind != "seconds" or self.clock() + self._sampling_search.longest <= self._latest
        return self._sampling_search.next() if in_time else []

    @property
    def _sampling_search(self) -> SamplingSearch:
        return SamplingSearch(self.plan, self.store)

    def _contenders(self) -> tuple[list[Trial], list[Trial]]:
        """The recipe's trial, if it has been begun, and those worth retraining beside it, the best first."""
        history = history_of(self.store)
        return [t for t in history.trials if t.role == "recipe"][:1], [c.trial for c in contenders(history)]

    def finalists(self) -> tuple[list[int], str]:
        """Numbers of the search trials that are retrained, with a note: the recipe, and the best that the budget has room for.

        The recipe alone where nobody may be better; none where the recipe has no score either.
        """
        recipe, _ = self._contenders()
        found = contenders(history_of(self.store))
        redrawn, note = self._sampling_search.better(), ""
        if redrawn is not None and redrawn[0] in [*recipe, *(c.trial for c in found)]:
            source, better = redrawn
            place = next((c for c in found if c.trial == source), Contender(source, ahead=True, within=True))
            found = [replace(place, trial=better), *(c for c in found if c != place)]
            note = told(source, better)
        if not found:
            scored = [t for t in recipe if t.rungs and not t.state.failed]
            return [t.number for t in scored], self._nothing_better() if scored else ""
        order = [c.trial for c in found]
        if self.plan.budget.kind == "seconds" and not self._in_time([*recipe, order[0]], TIMED_FINAL_SEEDS):
            best, order = order[0], self._fitting(recipe, found)
            if order[0] != best:
                more = self._finals_seconds([*recipe, best], TIMED_FINAL_SEEDS) - self._left
                note = (
                    f"trial {best.number} was the best of the search, but its final trainings would take some {seconds_text(more)} "
                    f"longer than the budget; trial {order[0].number} is retrained in its place (a larger --budget has room for it)"
                )
        chosen = recipe + order[: self._n_candidates(recipe, order)]
        return [t.number for t in chosen], note

    def _fitting(self, recipe: Sequence[Trial], found: Sequence[Contender]) -> list[Trial]:
        """Contenders whose finals fit into the time that is left, where those of the best do not on three seeds.

        Two seeds decide little, so another contender of equal standing on three comes first; but two seeds of one that was
        ahead of the recipe tell more than three of one that was not. All of them where none fits.
        """

        def fits(contender: Contender, seeds: int) -> bool:
            return self._in_time([*recipe, contender.trial], seeds)

        best, peers = found[0], [c for c in found if c.standing == found[0].standing]
        wishes = (
            (peers, TIMED_FINAL_SEEDS),
            ([best], MIN_FINAL_SEEDS),
            (found, TIMED_FINAL_SEEDS),
            (found, MIN_FINAL_SEEDS),
        )
        first = next((c for group, seeds in wishes for c in group if fits(c, seeds)), None)
        kept = found if first is None else [first, *(c for c in found if c != first and fits(c, TIMED_FINAL_SEEDS))]
        return [c.trial for c in kept]

    def _nothing_better(self) -> str:
        """A note for the recipe as the only finalist: how much of the search ran."""
        n, trained = len(self._searched), sum(t.step for t in self._searched) / self.plan.full_steps
        return (
            f"nothing better found: {n} configuration{'s' * (n != 1)}, {trained:.3g} full trainings "
            f"(budget {self.plan.budget.describe()}); try a larger --budget"
        )

    def _n_candidates(self, recipe: Sequence[Trial], order: Sequence[Trial]) -> int:
        """As many candidates as leave the verdict five seeds each; at least one."""
        budget = self.plan.budget
        if budget.kind == "seconds":
            numbers = range(1, min(len(order), self.plan.finalists) + 1)
            fitting = [n for n in numbers if self._in_time([*recipe, *order[:n]], GOOD_FINAL_SEEDS)]
            room = max(fitting, default=1)
        else:
            searched = max(budget.search_amount, self._spent(self._searched))  # more than its share where it went on
            room = int((budget.amount - searched) / GOOD_FINAL_SEEDS) - len(recipe)
        return max(1, min(self.plan.finalists, room))

    @property
    def _searched(self) -> list[Trial]:
        """All trials of the search."""
        return [t for t in self.store.trials if t.stage == "search"]

    def _spent(self, trials: Sequence[Trial]) -> float:
        """Amount of a budget of trials or of full trainings that trials have used up."""
        if self.plan.budget.kind == "trials":
            return float(len(trials))
        return sum(t.until_steps for t in trials) / self.plan.full_steps

    @property
    def _left(self) -> float:
        """Seconds until the report has to be written."""
        return self.plan.budget.amount - REPORT_SECONDS - self.clock()

    def _in_time(self, trials: Sequence[Trial], seeds: int) -> bool:
        return self._finals_seconds(trials, seeds) <= self._left

    def _finals_seconds(self, trials: Sequence[Trial], seeds: int) -> float:
        """Time that final trainings of what these trials are take, on so many seeds each."""
        return self._together([self._final_cost(t) for t in trials], seeds)

    def _final_cost(self, trial: Trial) -> float:
        """Worker seconds of a final training of what a trial is; a drawing takes what its weights took."""
        source = trial if trial.stage != "sampling" or trial.source is None else self.store.trials[trial.source]
        return self.plan.costs.final([source])

    def _together(self, seconds: Sequence[float], seeds: int) -> float:
        """Time that trainings of so many worker seconds take, each on so many seeds."""
        return last_end([one for one in seconds for _ in range(seeds)], self.plan.workers)

    def next_final(self) -> Sequence[Trial]:
        """The next finalist on the next fresh seeds: all finalists get the same, one after the other."""
        sources: list[int] = self.store.facts["finals"]
        done = [t for t in self.store.trials if t.stage == "finals"]
        if not sources:
            return []
        counts = {source: sum(t.source == source for t in done) for source in sources}
        number = min(counts, key=lambda source: counts[source])  # of several the first
        begun, level = counts[number], max(counts.values())
        seeds = level - begun if begun < level else self._seeds_affordable(done, sources, begun)
        seeds = min(seeds, 1 if number in self._alone else self._seeds_as_one(number, done))
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

    def _seeds_affordable(self, done: Sequence[Trial], sources: Sequence[int], begun: int) -> int:
        """On how many more seeds every one of the finalists can be trained together; the first two are always."""
        # There is nothing to compare the recipe with where it is the only finalist: its score is worth five seeds at most.
        alone = all(self.store.trials[source].role == "recipe" for source in sources)
        most = min(self.plan.members, (GOOD_FINAL_SEEDS if alone else MAX_FINAL_SEEDS) - begun)
        if begun < MIN_FINAL_SEEDS:
            return min(most, MIN_FINAL_SEEDS - begun)
        budget = self.plan.budget
        if budget.kind != "seconds":
            spent = self._spent([t for t in self.store.trials if t.stage != "sampling"])
            left = (budget.amount - spent + 1e-9) / len(sources)
        else:
            workers = max(self.plan.workers, 1)
            seconds = {t.source: self._final_seconds(t.source, done) for t in done if t.source is not None}
            running = [(t.source, self.running[t.number]) for t in done if t.number in self.running]
            pending = sum(max(seconds[s] - p.seconds, 0.0) for s, p in running if s is not None)
            free = self._left - pending / workers
            each = list(seconds.values())
            left = free / max(*each, sum(each) / workers, 1e-9)
        return max(0, min(most, int(left)))

    def _seeds_as_one(self, source: int, done: Sequence[Trial]) -> int:
        """How many seeds of a finalist go to one worker: of slow ones few, so that no worker is left with most of the finals."""
        if self.plan.budget.kind != "seconds":
            return self.plan.members
        seconds = max(self._final_seconds(source, done), 1e-9)
        return max(1, int(min(FINALS_GROUP * self._left / seconds, self.plan.members)))

    def _final_seconds(self, source: int, done: Sequence[Trial]) -> float:
        """Worker seconds of one final training of a finalist: as the last ones took, else as its search suggests."""
        taken = [t.seconds for t in done if t.source == source and t.state.final]
        if taken:
            return sum(taken) / len(taken)
        return self._final_cost(self.store.trials[source])

    def orphans(self, trials: Sequence[Trial]) -> Trial:
        """Of final trainings that go back to any worker, the one that takes longest: it goes first."""
        done = [t for t in self.store.trials if t.stage == "finals"]
        return max(trials, key=lambda t: (0.0 if t.source is None else self._final_seconds(t.source, done), -t.number))

    @property
    def _alone(self) -> Sequence[int]:
        """Finalists whose seeds are not trained as one, because that has turned out slower."""
        return self.store.facts.get("alone", [])
