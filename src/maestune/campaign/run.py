"""The loop of a campaign: ask → group → submit → events → record and show → judge → decide; then the finals.

Everything that must survive is in the store before the loop goes on; everything else is recomputed from it. Killed at
any moment and started again, the loop finds the trials that were running, submits them again (they go on from their
newest checkpoint) and asks the strategy with the same history and the same generator as it would have otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from maestune.campaign.agenda import Agenda
from maestune.campaign.budget import seconds_text
from maestune.campaign.build_record import history_of, record_of
from maestune.campaign.observer import Observers
from maestune.campaign.plan import Plan
from maestune.campaign.record import Record
from maestune.campaign.seeds import derive_seed
from maestune.campaign.store import Store
from maestune.campaign.verdict import winner
from maestune.campaign.watchdog import Watchdog
from maestune.errors import SettingsError
from maestune.execution.jobs import (
    Begun,
    Chosen,
    Ended,
    Event,
    Executor,
    Identity,
    Job,
    Outcome,
    Progress,
    Scored,
    Weights,
    score_dict,
)
from maestune.search import Strategy
from maestune.space import structure
from maestune.types import Decision, Trial, TrialState

WAIT_SECONDS = 0.2
PICTURES = 8  # sample grids over a full training
TOO_MANY_FAILURES = 3  # when the first trials all fail with an error, the fault is not in the configs
REPEATS_AFTER_DEATH = 1  # a killed worker is not its trial's fault; killed again at the same place, it probably is

_STATES = {
    Decision.PAUSE: TrialState.PAUSED,
    Decision.STOP: TrialState.STOPPED,
    Decision.COMPLETE: TrialState.COMPLETE,
}


@dataclass
class Loop:
    """One run of a campaign, from wherever its store stands to its end (or until it is interrupted)."""

    plan: Plan
    store: Store
    strategy: Strategy
    executor: Executor
    observers: Observers
    clock: Callable[[], float]  # campaign seconds so far, over all runs
    stopped_by: int | None = None  # the signal that asked to stop; set by handlers
    interrupted: bool = False
    cut: bool = False  # the search's trainings are stopped for the finals
    running: dict[int, Progress] = field(default_factory=dict)
    ended: dict[int, Ended] = field(default_factory=dict)  # until all of their group have
    groups: dict[int, frozenset[int]] = field(default_factory=dict)  # of each trial that was begun: those begun with it
    deaths: dict[int, int] = field(default_factory=dict)
    agenda: Agenda = field(init=False)
    watchdog: Watchdog = field(init=False)
    looked_at: float = 0.0  # campaign seconds when the time was last held against what runs
    shown_at: float = 0.0

    def __post_init__(self) -> None:
        self.agenda = Agenda(self.plan, self.store, self.strategy, self.clock, self.running)
        self.watchdog = Watchdog(self.plan.patience)

    def run(self) -> Record:
        """Search, then finals. Returns the record; after an interruption, what there is so far."""
        self.observers.start(self.record())
        self._tidy()
        if "finals" not in self.store.facts:
            self._prune()
            self._drive(self.agenda.next_search, searching=True)
            if not self.interrupted:
                self._drive(self.agenda.next_sampling)
            if not self.interrupted:
                self._end_search()
        if not self.interrupted:
            self._drive(self.agenda.next_final)
            if not self.interrupted:
                self._keep_best_checkpoints()
                self.store.set_facts(done=True, seconds=round(self.clock(), 3))
        record = self.record()
        self.observers.finish(record)
        return record

    def record(self) -> Record:
        """The campaign as it stands."""
        return record_of(self.store, self.clock())

    # The loop ----------------------------------------------------------------------------------------------------

    def _drive(self, next_group: Callable[[], Sequence[Trial]], searching: bool = False) -> None:
        while True:
            if self.stopped_by is not None and not self.interrupted:
                self._interrupt()
            while self.executor.free and not self.interrupted:
                group = self._left_running() or next_group()
                if not group:
                    break
                together = frozenset(trial.number for trial in group)
                for trial in group:
                    self.running[trial.number] = Progress(trial.number, trial.step, trial.seconds)
                    self.groups.setdefault(trial.number, together)  # who goes on alone still belongs to its group
                self.executor.submit([self._job(trial) for trial in group])
                self.watchdog.begin(together)
            if not self.running:
                return
            self.watchdog.tick(time.monotonic())
            for event in self.executor.events(WAIT_SECONDS, self.watchdog.left):
                self._handle(event)
            self.watchdog.tick(time.monotonic())
            self._end_silent()
            if searching:
                self._keep_time()
            self._show()

    def _interrupt(self) -> None:
        """Checkpoint what runs and end; the same command goes on later."""
        self.interrupted = True
        self.executor.interrupt()
        self.watchdog.ask_to_end()
        self._say("interrupted: saving checkpoints (Ctrl-C again quits now)")

    def _end_silent(self) -> None:
        """End trainings that report nothing for too long, or do not stop when they are asked to."""
        reasons = {
            trial: f"no report for {seconds_text(limit)}, so the training counts as hung (--trial-timeout sets the limit)"
            for trial, limit in self.watchdog.hung.items()
        }
        if self.interrupted or self.cut:
            reasons |= {
                trial: f"no report within {seconds_text(grace)} of being asked to stop"
                for trial, grace in self.watchdog.overstaying.items()
                if trial not in reasons
            }
        if reasons:
            self.executor.kill(reasons)

    def _keep_time(self) -> None:
        """Stop what the search still trains, when that takes longer than could be known and the finals need the time."""
        if self.cut or self.interrupted or self.clock() < self.looked_at + 1.0:
            return
        self.looked_at = self.clock()
        if self.running and self.agenda.overdue:
            self.cut = True
            self.executor.interrupt()
            self.watchdog.ask_to_end()

    def _left_running(self) -> Sequence[Trial]:
        """Trials that should be running but are not: the campaign, or their worker, was killed."""
        busy = self.running.keys() | self.ended.keys()
        left = [t for t in self.store.trials if t.state == TrialState.RUNNING and t.number not in busy]
        # Whoever was there when a worker died goes on alone, so that nobody is given up for the fault of another.
        unhurt = [t for t in left if t.number not in self.deaths]
        if len(unhurt) < len(left):
            return [t for t in left if t.number in self.deaths][:1]
        returned = [t for t in left if t.stage == "finals" and t.source in self.store.facts.get("alone", [])]
        if returned:
            return [self.agenda.orphans(returned)]
        return [t for t in left if self._kind(t) == self._kind(left[0])][: self.plan.members]

    def _kind(self, trial: Trial) -> tuple[object, ...]:
        """Equal for trials that can go on as one."""
        shared = structure(self.plan.space, trial.config, self.plan.fusible)
        return trial.stage, shared, trial.step, trial.until_steps, trial.fused

    def _handle(self, event: Event) -> None:
        if isinstance(event, Begun):
            self.watchdog.began(event.trial)
        elif isinstance(event, Progress):
            self.running[event.trial] = event
            if not event.replayed:
                self.watchdog.report(event.trial, event.scoring)
            entry = {
                "kind": "signals",
                "step": event.step,
                "seconds": round(event.seconds, 3),
                "signals": event.signals,
            }
            self._log(event.trial, entry)
        elif isinstance(event, Scored):
            scores = score_dict(event.rung.scores)
            self._log(event.trial, {"kind": "scores", "step": event.rung.step, "scores": scores})
            self.watchdog.scored(event.trial)
        elif isinstance(event, Chosen):
            self._record_mode(event)
        else:
            del self.running[event.trial]
            self.watchdog.end(event.trial)
            self._end(event)
            self.store.end_log(event.trial)

    def _log(self, number: int, entry: Mapping[str, Any]) -> None:
        for problem in self.store.log(number, entry):
            self._note(problem)

    def _record_mode(self, chosen: Chosen) -> None:
        """How a group is trained: with each trial, and once for the group, whatever becomes of its members after a crash."""
        trials = [self.store.trials[number] for number in chosen.trials]
        told = {"manner": chosen.mode, "members": chosen.members, "reason": chosen.reason}
        for trial in trials:
            self._log(trial.number, {"kind": "manner", **told})
        groups: dict[str, dict[str, Any]] = dict(self.store.facts.get("groups", {}))
        first = trials[0]
        key = f"{first.group}@{first.until_steps}"
        # Who is left of a group after a crash goes on in another way; one that cannot be trained as it was chosen begins anew.
        if first.group is not None and (
            key not in groups or (len(trials) > 1 and groups[key]["manner"] != chosen.mode)
        ):
            begun = sum((t.group, t.until_steps) == (first.group, first.until_steps) for t in self.store.trials)
            groups[key] = {**told, "trials": begun}
        alone = {t.source for t in trials if t.source is not None} if chosen.mode == "serial" else set[int]()
        self.store.set_facts(groups=groups, alone=sorted(alone | set(self.store.facts.get("alone", []))))

    def _end(self, ended: Ended) -> None:
        """A segment is over; when those of the whole group are, settle them.

        In the order of their numbers, so that what they are evaluated beside does not depend on who was there first: after
        a crash, or the death of a worker, that may be another than it would have been.
        """
        trial = self.store.trials[ended.trial]
        cut = self.cut and trial.stage == "search" and not self.interrupted
        if ended.outcome in (Outcome.INTERRUPTED, Outcome.HUNG) and cut:
            rungs, seconds = ended.rungs or trial.rungs, max(ended.seconds, trial.seconds)  # perhaps it had not begun
            ended = replace(ended, outcome=Outcome.CUT, rungs=rungs, seconds=seconds)
        elif ended.outcome in (Outcome.INTERRUPTED, Outcome.RETURNED):
            return  # stays RUNNING: it goes on from its checkpoint, or is begun by whoever is free
        elif ended.outcome == Outcome.HUNG and self.stopped_by is not None:
            self._say(f"trial {trial.number}: {ended.message}; it goes on from its newest checkpoint when resumed")
            return
        if ended.outcome in (Outcome.DIED, Outcome.HUNG):
            # Of several that were trained as one nobody knows whose fault it was.
            innocent = ended.outcome == Outcome.DIED or len(self.groups[trial.number]) > 1
            self.deaths[trial.number] = self.deaths.get(trial.number, 0) + 1
            again = innocent and self.deaths[trial.number] <= REPEATS_AFTER_DEATH
            self._note(f"trial {trial.number}: {ended.message}; {'its segment is repeated' if again else 'given up'}")
            self._log(trial.number, {"kind": "note", "text": ended.message})
            if again:
                return  # stays RUNNING: the loop submits it again
            if ended.stack:
                self.store.write_error(trial.number, f"{ended.message}\n\n{ended.stack}")
            ended = Ended(trial.number, Outcome.FAILED, trial.step, trial.seconds, trial.rungs, ended.message)
        self.ended[trial.number] = ended
        group = self.groups[trial.number]
        if group <= self.ended.keys():
            for number in sorted(group):
                del self.groups[number]
                self._settle(self.store.trials[number], self.ended.pop(number))

    def _settle(self, trial: Trial, ended: Ended) -> None:
        """Judge, decide, record."""
        trial = trial.with_(rungs=ended.rungs, seconds=ended.seconds, clock_seconds=round(self.clock(), 3))
        if ended.outcome == Outcome.REACHED:
            trial = self._judge(trial)
        elif ended.outcome == Outcome.CUT:
            why = f"stopped at step {ended.step} of {trial.until_steps}: it took longer than expected, and the search had to end"
            trial = trial.with_(state=TrialState.STOPPED, decision=why)
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
        if trial.stage == "sampling":
            return trial.with_(state=TrialState.COMPLETE, decision="drawn, not trained")
        history = history_of(self.store)
        trials = tuple(trial if t.number == trial.number else t for t in history.trials)
        judgement = self.strategy.judge(replace(history, trials=trials), trial)
        return trial.with_(state=_STATES[judgement.decision], decision=judgement.reason)

    def _tidy(self) -> None:
        """What a crash left undone: checkpoints of trials that will not go on, and files that were being written."""
        self.store.remove_partial_files()
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

    def _end_search(self) -> None:
        for trial in self.store.trials:
            if trial.state == TrialState.PAUSED:
                self.store.save(trial.with_(state=TrialState.STOPPED, decision=f"{trial.decision}; the search ended"))
                self.store.drop_checkpoints(trial.number)
        sources, note = self.agenda.finalists()
        self.store.set_facts(finals=sources)
        if note:
            self._note(note)
        if not sources:
            self._note("no configuration has a score, so there are no finals and no verdict; try a larger --budget")
        else:
            self._say(
                f"finals: {', '.join(f'trial {n}' for n in sources)} retrained on fresh seeds, scored on unseen data"
            )

    # Jobs and words ----------------------------------------------------------------------------------------------

    def _keep_best_checkpoints(self) -> None:
        """Keep the checkpoints of the recipe's and the winner's first final training; they are what `generate` draws from."""
        record = self.record()
        best = winner(record.finalists, self.store.objectives[0], record.constraints)
        kept = {f.runs[0] for f in record.finalists if f.role == "recipe" or f == best} or {record.best}
        for trial in record.trials:
            if trial.number not in kept:
                self.store.drop_checkpoints(trial.number)

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
            folder=self.store.trial_folder(trial.number).absolute(),  # a training may change its working folder
            until_steps=trial.until_steps,
            full_steps=full,
            score_at=() if trial.stage != "search" else tuple(s for s in self.plan.rungs if s <= trial.until_steps),
            picture_at=() if trial.stage == "sampling" else tuple(s for s in pictures if s <= trial.until_steps),
            fused=trial.fused,
            screen=self.plan.evaluation_plan.screen,
            report_every=self.plan.report_every,
            weights=self._weights(trial),
            campaign=self.store.facts.get("id", ""),
        )

    def _weights(self, trial: Trial) -> Weights | None:
        """The weights that a trial only draws from."""
        if trial.stage != "sampling" or trial.source is None:
            return None
        source = self.store.trials[trial.source]
        owner = Identity(self.store.facts.get("id", ""), source.number, source.config, source.seed)
        return Weights(self.store.trial_folder(source.number).absolute(), owner)

    def _line(self, trial: Trial) -> str:
        name = self.store.objectives[0].name
        score = trial.score(name)
        value = "" if score is None else f" {name} {score.value:.4g}"
        return f"trial {trial.number} {trial.state}{value} at step {trial.step}: {trial.decision}"

    def _note(self, text: str) -> None:
        self.store.set_facts(notes=[*self.store.facts["notes"], text])
        self._say(text)

    def _say(self, text: str) -> None:
        self.observers.event(text)
        self._note_failures()

    def _note_failures(self) -> None:
        """Keep with the campaign which observers have failed."""
        while self.observers.failures:
            self._note(self.observers.failures.pop(0))

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
        self.observers.update(record, self.clock(), left, lines)
        self._note_failures()
