"""A campaign from its settings: opens the folder, starts workers, prepares, and hands over to the loop."""

from __future__ import annotations

import os
import platform
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from maestune.campaign.agenda import Plan
from maestune.campaign.budget import Budget
from maestune.campaign.length import full_steps, measure_speed, rung_steps
from maestune.campaign.observer import Observer
from maestune.campaign.prepare import Prepared, prepare
from maestune.campaign.reading import record_of
from maestune.campaign.record import Record
from maestune.campaign.run import Loop
from maestune.campaign.seeds import derive_seed
from maestune.campaign.settings import Settings, default_workers, how_to_fuse, resolve_device
from maestune.campaign.store import Store
from maestune.data import ImageData
from maestune.data.asking import Asking
from maestune.errors import SettingsError, StoreError
from maestune.execution.inline import Inline
from maestune.execution.jobs import Setup
from maestune.execution.memory import worker_memory
from maestune.execution.model import (
    OwnTraining,
    family_of,
    is_family,
    is_own,
    load_own,
    load_training,
    own_family,
)
from maestune.execution.processes import Processes
from maestune.execution.segment import disk_error, real_picture
from maestune.families.base import Family
from maestune.recipes.writing import toml_text
from maestune.search import make_strategy
from maestune.space import Fusible, Space
from maestune.training.loop import family_training
from maestune.training.run import Training

# Fused steps of small networks gain little from more members; promotions and early groups are smaller anyway.
MEMBERS = 16


@dataclass(frozen=True)
class Estimate:
    """What a dry run found: speed, time, memory, and what the budget will buy."""

    data_text: str
    parameters: int
    workers: int
    memory_mib: float
    steps_per_second: float
    full_steps: int
    full_training_seconds: float
    full_trainings: float


class Campaign:
    """A search with its budget, its finals and its verdict, in a folder.

    `Campaign(model="gan", data="digits", budget="90s").run()` does what `maestune tune gan …` does; every keyword is a
    field of `Settings`. Running it again goes on with it.
    """

    def __init__(self, settings: Settings | None = None, **values: Any) -> None:
        settings = settings or Settings.make(**values)
        if settings.data is None and not is_own(settings.model):
            settings = settings.model_copy(update={"data": "digits"})
        self.settings = settings

    @staticmethod
    def resume(folder: Path | str, **changes: Any) -> Campaign:
        """The campaign of a folder, to go on with; `changes` may give another budget, device or number of workers."""
        path = Path(folder) / "campaign.toml"
        if not path.is_file():
            raise StoreError(
                f"{folder} holds no campaign (no campaign.toml in it); name the folder that `maestune tune` wrote."
            )
        return Campaign(**{**Settings.from_toml(path).model_dump(exclude_unset=True), **changes, "out": str(folder)})

    @property
    def folder(self) -> Path:
        """Where the campaign is kept."""
        return self.settings.folder

    def run(self, observers: Sequence[Observer] = (), training: Training | Family | None = None) -> Record:
        """Run to the end, or go on from where it was left. Ctrl-C once: checkpoint and return; twice: stop at once.

        `training` is a training without a file of its own (a notebook's); it then runs in this process.
        """
        begun = time.monotonic()
        settings = self.settings
        device = resolve_device(settings.device)
        own = self._own(training)
        store = Store(self.folder)
        executor: Processes | Inline | None = None
        try:
            if store.exists and store.facts.get("done"):
                return self._finished(store, observers)
            executor = self._executor(device, training)
            prepared = prepare(settings, own, device, lambda text: _tell(observers, text))
            executor.prepare(self._setup(prepared, device))
            self._begin(store, prepared, executor, device, members=self._members(training))
            before = max([store.facts.get("seconds", 0.0), *(t.clock_seconds for t in store.trials)])
            plan = Plan(
                space=prepared.space,
                recipe=prepared.recipe,
                rungs=tuple(store.facts["rungs"]),
                budget=Budget.parse(settings.budget),
                seed=settings.seed,
                workers=max(self._workers(device), 1),
                fusible=self._fusible(training),
                members=self._members(training),
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
            with _on_interrupt(loop):
                record = loop.run()
            self._write_best(record)
            return record
        finally:
            if executor is not None:
                executor.close()
            store.close()

    def dry_run(self) -> Estimate:
        """Check everything, train a few steps of the recipe, estimate what the budget buys. Leaves nothing behind."""
        settings = self.settings
        device = resolve_device(settings.device)
        executor = self._executor(device, None)
        try:
            prepared = prepare(settings, self._own(None), device, lambda _text: None)
            executor.prepare(self._setup(prepared, device))
            with tempfile.TemporaryDirectory(prefix="maestune-") as folder:
                rate = measure_speed(executor, prepared, Path(folder) / "dry-run", settings.seed)
            memory = _memory_mib([os.getpid(), *executor.pids])
        finally:
            executor.close()
        budget, workers = Budget.parse(settings.budget), max(self._workers(device), 1)
        steps = full_steps(settings, prepared, rate, workers)
        return Estimate(
            data_text=prepared.data.describe() if prepared.data else "the training's own data",
            parameters=len(prepared.space.varying),
            workers=workers,
            memory_mib=memory,
            steps_per_second=rate,
            full_steps=steps,
            full_training_seconds=steps / rate,
            full_trainings=budget.amount * workers * rate / steps if budget.kind == "seconds" else budget.amount,
        )

    def _own(self, training: Training | Family | None) -> OwnTraining | None:
        if not is_own(self.settings.model):
            return None
        if training is None:
            return load_own(self.settings.model)
        if is_family(training):
            return own_family(training)
        if self.settings.space is None:
            raise SettingsError("A training of your own needs a space; give space=maestune.Space((…)).to_dict().")
        return OwnTraining(cast(Training, training), Space.from_dict(self.settings.space), None, (), None)

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

    def _members(self, training: Training | Family | None) -> int:
        return (self.settings.members or MEMBERS) if self._fusible(training) != Fusible() else 1

    def _begin(self, store: Store, prepared: Prepared, executor: Processes | Inline, device: str, members: int) -> None:
        """Write down a new campaign; of an existing one, check that it is the same."""
        settings, budget = self.settings, Budget.parse(self.settings.budget)
        identity = {**prepared.identity(settings), "trained as one": f"at most {members}"}
        if store.exists:
            given = {} if settings.steps is None else {"steps": str(settings.steps)}
            _check_identity(store, {**identity, "steps": store.facts["identity"]["steps"], **given})
            store.set_facts(budget_text=budget.describe())
            return
        workers = max(self._workers(device), 1)
        rate = 0.0
        if budget.kind == "seconds" and settings.steps is None:
            rate = measure_speed(executor, prepared, store.folder / "calibration", settings.seed)
        steps = full_steps(settings, prepared, rate, workers)
        try:
            (store.folder / "campaign.toml").write_text(prepared.resolved(settings, steps), encoding="utf-8")
            (store.folder / "recipe.toml").write_text(toml_text(prepared.recipe) + "\n", encoding="utf-8")
            if isinstance(prepared.data, ImageData):
                real_picture(prepared.data.report.images, store.folder / "real.png")
        except OSError as error:
            raise disk_error(store.folder, error) from error
        store.create(
            prepared.goals.objectives,
            {
                "identity": {**identity, "steps": str(steps)},
                "model": settings.model,
                "recipe_name": prepared.recipe_name,
                "settings": settings.model_dump(mode="json"),
                "data_text": prepared.data.describe() if prepared.data else "the training's own data",
                "spec": prepared.data.spec.to_dict() if prepared.data else None,
                "asking": Asking.of(prepared.data).to_dict() if prepared.data else None,
                "conditional": prepared.conditional,
                "budget_text": budget.describe(),
                "space": prepared.space.to_dict(),
                "rungs": rung_steps(steps, settings.rungs, settings.eta),
                "constraints": [[c.name, c.sign, c.bound] for c in prepared.goals.constraints],
                "floor": prepared.floor,
                "search_floor": prepared.search_floor,
                "terms": prepared.terms,
                "failure": prepared.failure,
                "class_names": prepared.data.class_names if prepared.data else (),
                "real_classes": judge.real_classes if (judge := prepared.setup.judges.get("report")) else (),
                "environment": _environment(device, workers),
                "citations": prepared.citations,
                "notes": prepared.notes,
            },
        )

    def _finished(self, store: Store, observers: Sequence[Observer]) -> Record:
        """The result of a campaign that is done; its data need not be loaded again to see whether it is the same."""
        old = {**Settings.make().model_dump(mode="json"), **store.facts["settings"]}
        new = self.settings.model_dump(mode="json")
        fixed = (
            "model",
            "data",
            "objective",
            "constraint",
            "seed",
            "strategy",
            "set",
            "range",
            "rungs",
            "eta",
            "steps",
            "size",
            "recipe",
            "domain",
            "tokens",
            "captions",
            "samples",
            "report_samples",
        )
        changed = [f"{name}: {old[name]} → {new[name]}" for name in fixed if new[name] != old[name]]
        if changed and self.settings.space is None:
            raise StoreError(_different(store.folder, changed))
        record = record_of(store, 0.0)
        self._write_best(record)  # a crash may have come just before it
        for observer in observers:
            observer.start(record)
        _tell(
            observers, f"{store.folder} is finished already; this is its result (another --out or --seed starts afresh)"
        )
        for observer in observers:
            observer.finish(record)
        return record

    def _write_best(self, record: Record) -> None:
        """best.toml: the configuration to use, with what is known of it. A worse one is never recommended."""
        if record.best is None:
            return
        number = record.best
        if record.verdicts and record.verdicts[0].keep_recipe:
            number = next(t.number for t in record.trials if t.role == "recipe")
        told = f"{_what_best_is(record)}; campaign of {record.data_text}, budget {record.budget_text}"
        text = (
            f"# {''.join(c if c.isprintable() else ' ' for c in told)}\n"  # names of data are not ours: no line breaks
        )
        body = toml_text(record.trial(number).config)
        try:
            (record.folder / "best.toml").write_text(text + body + "\n", encoding="utf-8")
        except OSError as error:
            raise disk_error(record.folder, error) from error


def _what_best_is(record: Record) -> str:
    """What is recommended, in words."""
    if not record.verdicts:
        return f"trial {record.best}, not yet judged"
    verdict = record.verdicts[0]
    nearest = "; nothing kept the bounds that were asked for, and this is the nearest" if verdict.outside else ""
    if verdict.keep_recipe:
        near = nearest if verdict.recipe_outside else " (nothing better was found)"
        return f"the starting recipe{near}"
    return f"trial {record.best}{nearest or f', {verdict.decision} against the recipe'}"


def _tell(observers: Sequence[Observer], text: str) -> None:
    for observer in observers:
        observer.event(text)


def _check_identity(store: Store, identity: Mapping[str, str]) -> None:
    old: Mapping[str, str] = store.facts["identity"]
    names = dict.fromkeys((*old, *identity))
    changes = [f"{n}: {old.get(n, 'none')} → {identity.get(n, 'none')}" for n in names if old.get(n) != identity.get(n)]
    if changes:
        raise StoreError(_different(store.folder, changes))


def _different(folder: Path, changes: Sequence[str]) -> str:
    shown = "\n  ".join(changes[:8]) + ("\n  …" if len(changes) > 8 else "")
    return (
        f"{folder} holds a different campaign:\n  {shown}\n"
        f"Start the new one in another folder (--out), or go on with the old one (maestune resume {folder})."
    )


def _environment(device: str, workers: int) -> dict[str, str]:
    import torch

    packages = ("maestune", "torch", "optuna", "numpy", "scipy", "scikit-learn")
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return {
        **{package: metadata.version(package) for package in packages},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": f"{device} ({name})",
        "cores": str(os.cpu_count()),
        "workers": str(workers),
    }


def _memory_mib(pids: Sequence[int]) -> float:
    """Peak resident memory of processes, added up, in MiB; NaN where the system does not tell."""
    total = 0.0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return float("nan")
        total += next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
    return total


@contextmanager
def _on_interrupt(loop: Loop) -> Iterator[None]:
    """First SIGINT or SIGTERM: interrupt the loop; a second one raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: object) -> None:
        if loop.stop_asked:
            raise KeyboardInterrupt
        loop.stop_asked = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
