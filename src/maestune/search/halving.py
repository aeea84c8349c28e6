"""Asynchronous successive halving with pause and promote: many configs a little, the best of them in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from maestune.search.groups import side_by_side
from maestune.search.rungs import Standing, standings
from maestune.search.strategy import Sampler
from maestune.space import Fusible, Space
from maestune.types import Decision, History, Judgement, Proposal, Trial, TrialState


@dataclass(frozen=True)
class Halving:
    """The schedule of ASHA, in the variant that promotes (Li et al. 2020, arXiv 1810.05934).

    A new config is trained to the first rung and paused. Whenever a worker is free, the best paused trial that is among
    the best 1/eta of its rung is promoted to the next one, top rung first; if there is none, a new config is started.
    Nothing waits for a rung to fill up, and a config that was unlucky in its neighbours can still be promoted
    later, which a variant that only stops cannot do. No more than 1/eta of a rung's trials are promoted from it in all
    (the delayed form of Li et al. 2022, Hyper-Tune, arXiv 2201.06834): without that bound about half were, since who is
    among the best changes as trials come, and each of them costs as much as eta new ones.

    So that disk use is bounded, a trial outside the best two thirds of a rung with at least `settled` results is given
    up, and at most `max_paused` trials stay paused.

    Promotions that are `fusible` (by default none are) stand side by side, so that they can be trained as one.
    """

    sampler: Sampler
    eta: int = 3
    settled: int = 6
    max_paused: int = 32
    fusible: Fusible = field(default_factory=Fusible)

    def ask(self, space: Space, history: History, n: int, rng: np.random.Generator) -> Iterator[Proposal]:
        """Promotions, from the top rung down, the best first with its like beside it; new configs where there are none.

        Who takes only the first of the proposals loses nothing: asked again with a history in which those are running,
        the rest is proposed again, in the light of what has become known meanwhile.
        """
        proposed = False
        for proposal in side_by_side(space, history, list(self._promotions(history)), self.fusible)[:n]:
            proposed = True
            yield proposal
        if proposed:
            return
        for candidate in self.sampler.propose(space, history, n, rng):
            proposed = True
            yield Proposal(candidate.config, history.rungs[0], candidate.reason)
        if not proposed and not any(t.state is TrialState.RUNNING for t in history.trials):
            yield from self._leftover(history)  # every config was tried: the budget is best spent on the best of them

    def judge(self, history: History, trial: Trial) -> Judgement:
        """Complete at the top, given up when hopeless, paused otherwise; the reason tells its rank."""
        table = standings(history, trial.step)
        standing = next(s for s in table if s.trial.number == trial.number)
        place = _place(standing, history)
        if trial.step >= history.full_steps:
            return Judgement(Decision.COMPLETE, f"full training; {place}")
        if self._hopeless(standing):
            return Judgement(Decision.STOP, f"{place}; outside the best two thirds")
        going_on = standing.of // self.eta
        if going_on == 0:
            return Judgement(Decision.PAUSE, f"{place}; waits for more to be compared with")
        next_ = "to be promoted" if standing.rank <= going_on else "waits"
        return Judgement(
            Decision.PAUSE, f"{place}; {next_}: the best {f'{going_on} go' if going_on > 1 else 'goes'} on"
        )

    def prune(self, history: History) -> Mapping[int, str]:
        """Paused trials that fell behind since they were judged, and those beyond the number that may stay paused."""
        given_up: dict[int, str] = {}
        waiting: list[tuple[float, Standing]] = []
        for step in history.rungs[:-1]:
            for standing in _paused(history, step):
                if self._hopeless(standing):
                    given_up[standing.trial.number] = f"now {_place(standing, history)}; outside the best two thirds"
                else:
                    waiting.append((standing.rank / standing.of, standing))
        waiting.sort(key=lambda pair: (pair[0], -pair[1].trial.number))
        for _, standing in waiting[self.max_paused :]:
            given_up[standing.trial.number] = (
                f"now {_place(standing, history)}; only the best {self.max_paused} paused trials are kept"
            )
        return given_up

    def _hopeless(self, standing: Standing) -> bool:
        return standing.of >= self.settled and 3 * standing.rank > 2 * standing.of

    def _promotions(self, history: History) -> Iterator[Proposal]:
        for step, above in reversed(list(zip(history.rungs, history.rungs[1:], strict=False))):
            going_on = sum(t.until_steps > step for t in history.trials if t.role != "recipe")  # which nobody promoted
            for standing in _paused(history, step):
                if max(standing.rank, going_on + 1) > standing.of // self.eta:
                    break
                going_on += 1
                reason = f"promoted: {_place(standing, history)}"
                yield Proposal(standing.trial.config, above, reason, parent=standing.trial.number)

    def _leftover(self, history: History) -> list[Proposal]:
        for step, above in reversed(list(zip(history.rungs, history.rungs[1:], strict=False))):
            for standing in _paused(history, step):
                reason = f"promoted since no new config is left: {_place(standing, history)}"
                return [Proposal(standing.trial.config, above, reason, parent=standing.trial.number)]
        return []


def _paused(history: History, step: int) -> list[Standing]:
    """Standings, best first, of the trials paused at a step."""
    return [s for s in standings(history, step) if s.trial.state is TrialState.PAUSED and s.trial.step == step]


def _place(standing: Standing, history: History) -> str:
    front = f"front {standing.front}, " if len(history.objectives) > 1 else ""
    broken = ", outside its bounds" if standing.violation else ""
    return f"{front}rank {standing.rank} of {standing.of} at step {standing.trial.step}{broken}"
