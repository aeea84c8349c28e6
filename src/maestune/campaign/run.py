"""The loop of a campaign: ask → submit → events → record and show → judge → decide; then the finals.

Everything that must survive is in the store before the loop goes on; everything else is recomputed from it. Killed at
any moment and started again, the loop finds the trials that were running, submits them again (they go on from their
newest checkpoint) and asks the strategy with the same history and the same generator as it would have otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from maestune.campaign.budget import GOOD_FINAL_SEEDS, MAX_FINAL_SEEDS, MIN_FINAL_SEEDS, Budget
from maestune.campaign.observer import Observer
from maestune.campaign.reading import history_of, ranked, record_of
from maestune.campaign.record import Record
from maestune.campaign.seeds import derive_rng, derive_seed
from maestune.campaign.store import Store
from maestune.campaign.verdict import winner
from maestune.errors import SettingsError
from maestune.execution.jobs import Ended, Event, Executor, Job, Outcome, Progress, Scored, score_dict
from maestune.search import Strategy
from maestune.space import Space
from maestune.types import Config, Decision, Proposal, Trial, TrialState

WAIT_SECONDS = 0.2
PICTURES = 8  # sample grids over a full training
TOO_MANY_FAILURES = 3  # when the first trials all fail with an error, the fault is not in the configs
REPEATS_AFTER_DEATH = 1  # a killed worker is not its trial's fault; killed again at the same place, it probably is
REPORT_SECONDS = 2.0  # kept back for the report

_STATES = {
    Decision.PAUSE: TrialState.PAUSED,
    Decision.STOP: TrialState.STOPPED,
    Decision.COMPLETE: TrialState.COMPLETE,
}


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

    @property
    def full_steps(self) -> int:
        """Length of a full training."""
        return self.rungs[-1]


@dataclass
class Loop:
    """One run of a campaign, from wherever its store stands to its end (or until it is interrupted)."""

    plan: Plan
    store: Store
    strategy: Strategy
    executor: Executor
    observers: Sequence[Observer]
    clock: Callable[[], float]  # campaign seconds so far, over all runs
    stop_asked: bool = False  # set by signal handlers, which must do nothing else
    interrupted: bool = False
    running: dict[int, Progress] = field(default_factory=dict)
    deaths: dict[int, int] = field(default_factory=dict)
    shown_at: float = 0.0

    def run(self) -> Record:
        """Search, then finals. Returns the record; after an interruption, what there is so far."""
        self._tell(lambda o: o.start(self.record()))
        self._tidy()
        if "finals" not in self.store.facts:
            self._prune()
            self._drive(self._next_search)
            if not self.interrupted:
                self._end_search()
        if not self.interrupted:
            self._drive(self._next_final)
            if not self.interrupted:
                self._keep_best_checkpoints()
                self.store.set_facts(done=True, seconds=round(self.clock(), 3))
        record = self.record()
        self._tell(lambda o: o.finish(record))
        return record

    def record(self) -> Record:
        """The campaign as it stands."""
        return record_of(self.store, self.clock())

    # The loop ----------------------------------------------------------------------------------------------------

    def _drive(self, next_trial: Callable[[], Trial | None]) -> None:
        while True:
            if self.stop_asked and not self.interrupted:
                self._interrupt()
            while self.executor.free and not self.interrupted:
                trial = self._left_running() or next_trial()
                if trial is None:
                    break
                self.running[trial.number] = Progress(trial.number, trial.step, trial.seconds)
                self.executor.submit(self._job(trial))
            if not self.running:
                return
            for event in self.executor.events(WAIT_SECONDS):
                self._handle(event)
            self._show()

    def _interrupt(self) -> None:
        """Checkpoint what runs and end; the same command goes on later."""
        self.interrupted = True
        self.executor.interrupt()
        self._say("interrupted: writing checkpoints (once more to quit at once)")

    def _left_running(self) -> Trial | None:
        """A trial that should be running but is not: the campaign, or its worker, was killed."""
        return next(
            (t for t in self.store.trials if t.state == TrialState.RUNNING and t.number not in self.running), None
        )

    def _handle(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.running[event.trial] = event
            entry = {
                "kind": "signals",
                "step": event.step,
                "seconds": round(event.seconds, 3),
                "signals": event.signals,
            }
            self.store.log(event.trial, entry)
        elif isinstance(event, Scored):
            scores = score_dict(event.rung.scores)
            self.store.log(event.trial, {"kind": "scores", "step": event.rung.step, "scores": scores})
        else:
            del self.running[event.trial]
            self._settle(self.store.trials[event.trial], event)
            self.store.flush(event.trial)

    def _settle(self, trial: Trial, ended: Ended) -> None:
        """A segment is over: judge, decide, record."""
        if ended.outcome == Outcome.INTERRUPTED:
            return  # stays RUNNING: it goes on from its checkpoint
        if ended.outcome == Outcome.DIED:
            self.deaths[trial.number] = self.deaths.get(trial.number, 0) + 1
            again = self.deaths[trial.number] <= REPEATS_AFTER_DEATH
            self._note(f"trial {trial.number}: {ended.message}; {'its segment is repeated' if again else 'given up'}")
            self.store.log(trial.number, {"kind": "note", "text": ended.message})
            if again:
                return  # stays RUNNING: the loop submits it again
            ended = Ended(trial.number, Outcome.FAILED, trial.step, trial.seconds, trial.rungs, ended.message)
        trial = trial.with_(rungs=ended.rungs, seconds=ended.seconds, clock_seconds=round(self.clock(), 3))
        if ended.outcome == Outcome.REACHED:
            trial = self._judge(trial)
        else:
            state = TrialState.DIVERGED if ended.outcome == Outcome.DIVERGED else TrialState.CRASHED
            trial = trial.with_(state=state, decision=ended.message)
        self.store.save(trial)
        if trial.state.final and trial.state != TrialState.COMPLETE:
            self.store.drop_checkpoints(trial.number)
        self._say(self._line(trial))
        if trial.stage == "search":
            self._prune()
            self._check_failures()
            if trial.state == TrialState.COMPLETE:
                self._drop_surpassed()

    def _judge(self, trial: Trial) -> Trial:
        if trial.stage == "finals":
            return trial.with_(state=TrialState.COMPLETE, decision="retrained in full")
        history = history_of(self.store)
        trials = tuple(trial if t.number == trial.number else t for t in history.trials)
        judgement = self.strategy.judge(replace(history, trials=trials), trial)
        return trial.with_(state=_STATES[judgement.decision], decision=judgement.reason)

    def _tidy(self) -> None:
        """What a crash after a decision left undone: checkpoints of trials that will not go on."""
        for trial in self.store.trials:
            if trial.state.final and trial.state != TrialState.COMPLETE:
                self.store.drop_checkpoints(trial.number)

    def _prune(self) -> None:
        """Give up paused trials that fell behind. On the same history it does nothing twice."""
        for number, reason in self.strategy.prune(history_of(self.store)).items():
            self.store.save(self.store.trials[number].with_(state=TrialState.STOPPED, decision=reason))
            self.store.drop_checkpoints(number)

    def _drop_surpassed(self) -> None:
        """Of the fully trained, only the best keeps its checkpoint: the others are not trained on, finals start afresh."""
        best = self.record().best
        for trial in self.store.trials:
            if trial.stage == "search" and trial.state == TrialState.COMPLETE and trial.number != best:
                self.store.drop_checkpoints(trial.number)

    def _check_failures(self) -> None:
        """Stop at once when nothing works at all: the data or the code is at fault, and the budget is worth keeping."""
        ended = [t for t in self.store.trials if t.state.final or t.rungs]
        if len(ended) == TOO_MANY_FAILURES and all(t.state == TrialState.CRASHED for t in ended):
            raise SettingsError(
                f"The first {TOO_MANY_FAILURES} trials all failed with an error, so the search was stopped. The newest: "
                f"{ended[-1].decision} (full traceback in {self.store.trial_folder(ended[-1].number) / 'error.txt'}). "
                "Mend the training or the data and start a new campaign in another folder (--out)."
            )

    # Search ------------------------------------------------------------------------------------------------------

    def _next_search(self) -> Trial | None:
        history = history_of(self.store)
        # One generator per decision, named by how far the history has come: asked again after a crash, it is the same.
        results = sum(len(t.rungs) for t in history.trials)
        rng = derive_rng(self.plan.seed, "ask", len(history.trials), results)
        proposal = next(iter(self.strategy.ask(self.plan.space, history, 1, rng)), None)
        if proposal is None or not self._affordable(proposal, history.trials):
            return None
        if proposal.parent is not None:
            parent = self.store.trials[proposal.parent]
            promoted = parent.with_(
                state=TrialState.RUNNING, until_steps=proposal.until_steps, decision=proposal.reason
            )
            return self.store.save(promoted)
        trial = Trial(
            number=-1,
            config=proposal.config,
            # Common random numbers: all search trials start from the same seed and see the same data order and latents.
            seed=derive_seed(self.plan.seed, "search"),
            stage="search",
            state=TrialState.RUNNING,
            until_steps=proposal.until_steps,
            reason=proposal.reason,
            role="recipe" if proposal.config == self.plan.recipe else "",
        )
        return self.store.add(trial, self.plan.space)

    def _affordable(self, proposal: Proposal, trials: Sequence[Trial]) -> bool:
        budget, first = self.plan.budget, len(trials) < 2
        if budget.kind == "trials":
            return proposal.parent is not None or len(trials) < budget.search_amount
        begun = 0 if proposal.parent is None else self.store.trials[proposal.parent].step
        if budget.kind == "full":
            spent = sum(t.until_steps for t in trials) / self.plan.full_steps
            return first or spent + (proposal.until_steps - begun) / self.plan.full_steps <= budget.search_amount + 1e-9
        return first or self.clock() + self._expected_seconds(proposal.until_steps - begun) <= self._search_deadline()

    def _search_deadline(self) -> float:
        """Campaign seconds at which the search ends: early enough for the recipe and one candidate on two seeds each."""
        budget = self.plan.budget
        finals = 2 * MIN_FINAL_SEEDS * self._expected_seconds(self.plan.full_steps) / max(self.plan.workers, 1)
        return min(budget.search_amount, budget.amount - finals - REPORT_SECONDS)

    def _expected_seconds(self, steps: int) -> float:
        """Seconds that so many steps probably take: the mean over the trials so far."""
        done = [t for t in self.store.trials if t.step > 0]
        return steps * sum(t.seconds for t in done) / sum(t.step for t in done) if done else 0.0

    def _end_search(self) -> None:
        history = history_of(self.store)
        for trial in history.trials:
            if trial.state == TrialState.PAUSED:
                self.store.save(trial.with_(state=TrialState.STOPPED, decision=f"{trial.decision}; the search ended"))
                self.store.drop_checkpoints(trial.number)
        recipe = next((t for t in history.trials if t.role == "recipe"), None)
        order = [t for t in ranked(history) if t.role != "recipe"]
        complete = [t for t in order if t.state == TrialState.COMPLETE]
        candidates = (complete or order)[: self._n_candidates(bool(recipe))]
        sources = [t.number for t in ([recipe] if recipe else []) + candidates] if candidates else []
        self.store.set_facts(finals=sources)
        if not candidates:
            self._note(
                "no configuration beside the recipe could be scored, so there are no finals and no verdict; give a larger budget"
            )
        else:
            self._say(
                f"finals: {', '.join(f'trial {n}' for n in sources)} retrained on fresh seeds, scored on unseen data"
            )

    def _n_candidates(self, with_recipe: bool) -> int:
        """As many candidates as leave the verdict five seeds each; at least one."""
        budget = self.plan.budget
        if budget.kind == "seconds":
            expected = self._expected_seconds(self.plan.full_steps) / max(self.plan.workers, 1)
            runs = (budget.amount - REPORT_SECONDS - self.clock()) / expected if expected > 0 else 0.0
        else:
            runs = budget.amount - budget.search_amount
        return max(1, min(self.plan.finalists, int(runs / GOOD_FINAL_SEEDS) - with_recipe))

    # Finals ------------------------------------------------------------------------------------------------------

    def _next_final(self) -> Trial | None:
        sources: list[int] = self.store.facts["finals"]
        done = [t for t in self.store.trials if t.stage == "finals"]
        if not sources or len(done) >= MAX_FINAL_SEEDS * len(sources):
            return None
        round_, position = divmod(len(done), len(sources))
        if position == 0 and round_ >= MIN_FINAL_SEEDS and not self._round_affordable(done, len(sources)):
            return None
        source = self.store.trials[sources[position]]
        trial = Trial(
            number=-1,
            config=source.config,
            seed=derive_seed(self.plan.seed, "finals", round_),
            stage="finals",
            state=TrialState.RUNNING,
            until_steps=self.plan.full_steps,
            reason=f"trial {source.number} on fresh seed {round_ + 1}",
            role="recipe" if source.role == "recipe" else "candidate",
            source=source.number,
        )
        return self.store.add(trial, self.plan.space)

    def _round_affordable(self, done: Sequence[Trial], size: int) -> bool:
        budget = self.plan.budget
        if budget.kind == "trials":
            return len(self.store.trials) + size <= budget.amount
        if budget.kind == "full":
            spent = sum(t.until_steps for t in self.store.trials) / self.plan.full_steps
            return spent + size <= budget.amount + 1e-9
        ended = [t for t in done if t.state.final]
        per_run = sum(t.seconds for t in ended) / len(ended) if ended else self._expected_seconds(self.plan.full_steps)
        pending = sum(max(per_run - self.running[t.number].seconds, 0.0) for t in done if t.number in self.running)
        needed = (pending + size * per_run) / max(self.plan.workers, 1)
        return self.clock() + needed + REPORT_SECONDS <= budget.amount

    def _keep_best_checkpoints(self) -> None:
        """Keep the checkpoints of the recipe's and the winner's first final training; they are what `generate` draws from."""
        record = self.record()
        best = winner(record.finalists, self.store.objectives[0])
        kept = {f.runs[0] for f in record.finalists if f.role == "recipe" or f == best} or {record.best}
        for trial in record.trials:
            if trial.number not in kept:
                self.store.drop_checkpoints(trial.number)

    # Jobs and words ----------------------------------------------------------------------------------------------

    def _job(self, trial: Trial) -> Job:
        full = self.plan.full_steps
        pictures = tuple(sorted({round(full * k / PICTURES) for k in range(1, PICTURES + 1)} - {0}))
        finals = trial.stage == "finals"
        sample_seed = derive_seed(self.plan.seed, "latents", trial.seed if finals else "search")
        return Job(
            trial=trial.number,
            config=trial.config,
            seed=trial.seed,
            sample_seed=sample_seed,
            split="report" if finals else "search",
            folder=self.store.trial_folder(trial.number),
            until_steps=trial.until_steps,
            full_steps=full,
            score_at=() if finals else tuple(s for s in self.plan.rungs if s <= trial.until_steps),
            picture_at=tuple(s for s in pictures if s <= trial.until_steps),
        )

    def _line(self, trial: Trial) -> str:
        name = self.store.objectives[0].name
        score = trial.score(name)
        value = "" if score is None else f" {name} {score.value:.4g}"
        return f"trial {trial.number} {trial.state}{value} at step {trial.step}: {trial.decision}"

    def _note(self, text: str) -> None:
        self.store.set_facts(notes=[*self.store.facts["notes"], text])
        self._say(text)

    def _say(self, text: str) -> None:
        self._tell(lambda o: o.event(text))

    def _show(self) -> None:
        now = time.monotonic()
        if now - self.shown_at < WAIT_SECONDS:
            return
        self.shown_at = now
        lines = [
            f"trial {p.trial}: step {p.step} of {self.store.trials[p.trial].until_steps}" for p in self.running.values()
        ]
        left = self.plan.budget.amount - self.clock() if self.plan.budget.kind == "seconds" else None
        record = self.record()
        self._tell(lambda o: o.update(record, self.clock(), left, lines))

    def _tell(self, say: Callable[[Observer], None]) -> None:
        for observer in self.observers:
            say(observer)
