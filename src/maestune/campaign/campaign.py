"""A campaign from its settings: opens the folder, starts workers, prepares, and hands over to the loop."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from maestune.campaign.best import write_best
from maestune.campaign.budget import Budget
from maestune.campaign.build_record import record_of
from maestune.campaign.costs import EvaluationPlan
from maestune.campaign.interrupting import on_interrupt
from maestune.campaign.length import full_steps, measure_speed
from maestune.campaign.machine import memory_mib
from maestune.campaign.observer import Observer, Observers
from maestune.campaign.opening import begin, check_leftovers, check_same
from maestune.campaign.plan import Plan
from maestune.campaign.prepare import Prepared, objective_text, prepare
from maestune.campaign.record import Record
from maestune.campaign.run import Loop
from maestune.campaign.seeds import derive_seed
from maestune.campaign.settings import Settings, default_workers, how_to_fuse, parse_timeout, parse_toml, resolve_device
from maestune.campaign.store import Store, set_aside
from maestune.campaign.trust import check_trusted, model_file, signature, state_folder
from maestune.campaign.watchdog import Patience
from maestune.errors import FileRefusedError, SettingsError, StoreError
from maestune.execution.inline import Inline
from maestune.execution.jobs import REPORT_EVERY, Setup
from maestune.execution.memory import worker_memory
from maestune.execution.model import (
    UserTraining,
    built_in_family,
    family_of,
    is_family,
    is_user_model,
    load_training,
    load_user_model,
    user_family,
)
from maestune.execution.processes import Processes
from maestune.families.base import Family
from maestune.folder_files import MIB, read_text
from maestune.quality.scoring.working import one_thread_of_blas
from maestune.search import make_strategy
from maestune.space import Fusible, Space
from maestune.training.loop import family_training
from maestune.training.run import Training

# Fused steps of small networks gain little from more members; promotions and early groups are smaller anyway. What groups cost a search, and
# what they win it: benchmarks/results/search_members.md.
MEMBERS = 16
BUILT_IN = {"image": "digits", "text": "pydoc"}  # data of families for which nobody names any


@dataclass(frozen=True)
class Estimate:
    """What a dry run found: what is to be reached, speed, time, memory, and what the budget will buy."""

    data_text: str
    objectives: tuple[str, ...]
    constraints: tuple[str, ...]
    notes: tuple[str, ...]  # what was added to what was asked for
    parameters: int
    workers: int
    memory_mib: float
    steps_per_second: float
    full_steps: int
    full_training_seconds: float
    full_trainings: float
    silence_seconds: float | None  # without a report, after which a training counts as hung; None: no limit


def _silence(patience: Patience, steps_per_second: float) -> float | None:
    """Seconds without a report that a training may take at a speed; None where there is no limit."""
    limit = patience.limit([REPORT_EVERY / steps_per_second])
    return limit if math.isfinite(limit) else None


class Campaign:
    """A search with its budget, its finals and its verdict, in a folder.

    `Campaign(model="gan", data="digits", budget="90s").run()` does what `maestune tune gan …` does; every keyword is a
    field of `Settings`. Running it again goes on with it.
    """

    def __init__(self, settings: Settings | None = None, *, fresh: bool = False, **values: Any) -> None:
        settings = settings or Settings.make(**values)
        if settings.data is None and not is_user_model(settings.model):
            built_in = BUILT_IN[built_in_family(settings.model).modality]
            settings = settings.model_copy(update={"data": built_in})
        self.settings = settings
        self.fresh = fresh
        self.stopped_by: int | None = None  # the signal that interrupted the last run

    @staticmethod
    def resume(folder: Path | str, *, trust: bool = False, **changes: Any) -> Campaign:
        """The campaign of a folder, to go on with; `changes` may give another budget, device or number of workers.

        `trust`: execute the file that it trains even where this user has not run it for this campaign, see `trust`.
        """
        path = Path(folder) / "campaign.toml"
        if not path.is_file():
            raise StoreError(
                f"{folder} holds no campaign (no campaign.toml in it); name the folder that `maestune tune` wrote."
            )
        try:
            text = read_text(Path(folder), path.name, MIB)
        except FileRefusedError as error:
            raise StoreError(f"{path}: {error}; restore it from a copy of the campaign.") from error
        settings = Settings.make(**parse_toml(text or "", path))
        if not trust:
            check_trusted(Path(folder), settings.model)
        return Campaign(**{**settings.model_dump(exclude_unset=True), **changes, "out": str(folder)})

    @property
    def folder(self) -> Path:
        """Where the campaign is kept."""
        return self.settings.folder

    def run(self, observers: Sequence[Observer] = (), training: Training | Family | None = None) -> Record:
        """Run to the end, or go on from where it was left. Ctrl-C once: save checkpoints and return; twice: stop at once.

        With `fresh`, what the folder holds is moved aside first.

        `training` is a training without a file of its own (a notebook's); it then runs in this process.
        """
        with one_thread_of_blas():  # the workers have all cores
            return self._run(Observers(observers), training)

    def _run(self, observers: Observers, training: Training | Family | None) -> Record:
        begun = time.monotonic()
        settings = self.settings
        device = resolve_device(settings.device)
        user_model = self._own(training)
        if self.fresh and (aside := set_aside(self.folder)) is not None:
            observers.event(f"moved what {self.folder} held to {aside}")
            self.fresh = False
        store = Store(self.folder)
        executor: Processes | Inline | None = None
        try:
            check_leftovers(store)
            if store.exists and store.facts.get("done"):
                return self._finished(store, observers)
            executor = self._executor(device, training)
            prepared = prepare(settings, user_model, device, observers.event)
            executor.prepare(self._setup(prepared, device))
            workers, members = max(self._workers(device), 1), self._members(training)
            begin(store, settings, prepared, executor, device, workers, members)
            self._sign(store, observers)
            before = max([store.facts.get("seconds", 0.0), *(t.clock_seconds for t in store.trials)])
            plan = Plan(
                space=prepared.drawn_from(store.facts["rungs"][-1])[0],
                recipe=prepared.recipe,
                evaluation_plan=EvaluationPlan(**{**store.facts["evaluation"], "rungs": tuple(store.facts["rungs"])}),
                budget=Budget.parse(settings.budget),
                seed=settings.seed,
                workers=workers,
                fusible=self._fusible(training),
                members=members,
                report_every=store.facts.get("report_every"),
                sampling_parameters=self._sampling_parameters(training, prepared),
                trial_timeout=parse_timeout(settings.trial_timeout),
            )
            strategy = make_strategy(
                settings.strategy,
                start=prepared.recipe,
                seed=derive_seed(settings.seed, "strategy"),
                eta=settings.eta,
                fusible=plan.fusible,
                members=plan.members,
                per_second=not plan.reproducible,
            )
            loop = Loop(plan, store, strategy, executor, observers, lambda: before + time.monotonic() - begun)
            with on_interrupt(loop):
                record = loop.run()
            self.stopped_by = loop.stopped_by
            write_best(record)
            return record
        finally:
            if executor is not None:
                executor.close()
            store.close()

    def _sign(self, store: Store, observers: Observers) -> None:
        """Remember that this user runs the file that is trained, as it is now, for this campaign."""
        signed = signature(store.facts.get("id", ""), self.settings.model)
        if signed is None and (path := model_file(self.settings.model)) is not None:
            observers.event(
                f"no key can be kept in {state_folder()}, so that {path} cannot be signed for this campaign: resume and generate "
                "will need --trust (make that folder writable, or set XDG_STATE_HOME to one that is)"
            )
        if signed is not None and signed != store.facts.get("signature"):
            store.set_facts(signature=signed)

    def _finished(self, store: Store, observers: Observers) -> Record:
        """The result of a campaign that is done."""
        check_same(store, self.settings)
        store.remove_partial_files()
        self._sign(store, observers)
        record = record_of(store, 0.0)
        write_best(record)  # a crash may have come just before it
        observers.start(record)
        observers.event(
            f"{store.folder} is finished already; this is its result (--fresh, or another --out or --seed, starts anew)"
        )
        observers.finish(record)
        return record

    def dry_run(self) -> Estimate:
        """Check everything, train a few steps of the recipe, estimate what the budget buys. Leaves nothing behind."""
        settings = self.settings
        device = resolve_device(settings.device)
        executor = self._executor(device, None)
        patience = Patience(Budget.parse(settings.budget), EvaluationPlan((1,)), parse_timeout(settings.trial_timeout))
        try:
            prepared = prepare(settings, self._own(None), device, lambda _text: None)
            executor.prepare(self._setup(prepared, device))
            with tempfile.TemporaryDirectory(prefix="maestune-") as folder:
                speed = measure_speed(executor, prepared, Path(folder) / "dry-run", settings.seed, patience.limit(()))
            rate = speed.steps_per_second
            memory = memory_mib([os.getpid(), *executor.pids])
        finally:
            executor.close()
        budget, workers = Budget.parse(settings.budget), max(self._workers(device), 1)
        steps = full_steps(settings, prepared, rate, workers)
        return Estimate(
            data_text=prepared.data.describe() if prepared.data else "the training's own data",
            objectives=tuple(map(objective_text, prepared.goals.objectives)),
            constraints=tuple(c.text for c in prepared.goals.constraints),
            notes=prepared.goals.notes,
            parameters=len(prepared.space.varying),
            workers=workers,
            memory_mib=memory,
            steps_per_second=rate,
            silence_seconds=_silence(patience, rate),
            full_steps=steps,
            full_training_seconds=steps / rate,
            full_trainings=budget.amount * workers * rate / steps if budget.kind == "seconds" else budget.amount,
        )

    def _own(self, training: Training | Family | None) -> UserTraining | None:
        if not is_user_model(self.settings.model):
            return None
        if training is None:
            return load_user_model(self.settings.model)
        if is_family(training):
            return user_family(training)
        if self.settings.space is None:
            raise SettingsError("A training of your own needs a space; give space=maestune.Space((…)).to_dict().")
        return UserTraining(cast(Training, training), Space.from_dict(self.settings.space), None, (), None)

    def _workers(self, device: str) -> int:
        return default_workers(device) if self.settings.workers is None else self.settings.workers

    def _executor(self, device: str, training: Training | Family | None) -> Processes | Inline:
        workers = self._workers(device)
        family = self._family(training)
        if training is not None and not is_family(training):
            return Inline(cast(Training, training), None)
        if training is not None or workers == 0:
            return Inline(load_training(self.settings.model) if family is None else family_training(family), family)
        return Processes(workers, threads=max(1, (os.cpu_count() or 1) // workers))

    def _setup(self, prepared: Prepared, device: str) -> Setup:
        """What jobs share, with how they may be fused on this machine."""
        memory = worker_memory(device, max(self._workers(device), 1))
        return replace(prepared.setup, fuse=how_to_fuse(self.settings), memory_bytes=memory)

    def _family(self, training: Training | Family | None) -> Family | None:
        """The family that is trained; None where only the user's own code knows how to train."""
        if training is None:
            return family_of(self.settings.model)
        return training if is_family(training) else None

    def _fusible(self, training: Training | Family | None) -> Fusible:
        """What may differ among trials that are trained as one."""
        family = self._family(training)
        return Fusible() if family is None or self.settings.fuse == "off" else family.fusible

    def _sampling_parameters(self, training: Training | Family | None, prepared: Prepared) -> frozenset[str]:
        """What may be changed of a trained model, where samples decide."""
        family = self._family(training)
        return family.sampling_parameters if family is not None and prepared.setup.metrics else frozenset()

    def _members(self, training: Training | Family | None) -> int:
        return (self.settings.members or MEMBERS) if self._fusible(training) != Fusible() else 1
