"""What a campaign keeps: an Optuna study (SQLite) of its trials and facts, and a folder a trial for events and files.

The study is the truth; one writer, the campaign process. Everything about a trial is one JSON value in its user
attributes, written in one transaction: after `kill -9` a trial is as it was before an event or as it was after, never
between. Optuna's own fields (params, intermediate values, state, values) are derived from it, so that optuna-dashboard
and every Optuna analysis read our studies; `_load` completes a state that a crash has kept from being written.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState as OptunaState
from sqlalchemy.exc import DatabaseError, OperationalError

from maestune.campaign.decode import Study, check_facts, refusing, trial_from
from maestune.campaign.events import NAME as EVENTS_NAME
from maestune.campaign.events import EventLog
from maestune.campaign.reader import FACTS_KEY, STUDY_FILE, STUDY_NAME, TRIAL_KEY, check_schema, check_study_files
from maestune.campaign.study import NewTrial, distribution, open_study
from maestune.errors import StoreError
from maestune.execution.folder import checkpoints, disk_error, remove_partial
from maestune.execution.jobs import rung_data
from maestune.folder_files import replace_file
from maestune.space import Space
from maestune.types import Objective, Trial, TrialState

LOCK = ".lock"
PREVIOUS = "previous"  # folders of campaigns that were moved aside: previous-1, previous-2 …
CALIBRATION = "calibration"  # folder of trainings that are no trials, and are thrown away
FILES = (
    "trials",
    CALIBRATION,
    "campaign.toml",
    "recipe.toml",
    "best.toml",
    "real.png",
    "summary.json",
    "report.html",
)  # of a campaign's folder, beside its study
_STATES = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.PAUSED: OptunaState.RUNNING,  # Optuna knows no pause
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.DIVERGED: OptunaState.FAIL,
    TrialState.CRASHED: OptunaState.FAIL,
}


class Store:
    """A campaign's folder, open for writing; `reader.read_campaign` reads one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = _locked(folder)
        try:
            check_study_files(folder)
            check_schema(folder)
            with self._disk():
                self._storage = open_study(folder / STUDY_FILE)
        except BaseException:
            self._release()
            raise
        self._study_id: int | None = None
        self._objectives: tuple[Objective, ...] = ()
        self._trials: list[Trial] = []
        self._ids: list[int] = []
        self._logs: dict[int, EventLog] = {}
        self.facts: dict[str, Any] = {}
        try:
            with refusing(str(folder / STUDY_FILE)):
                self._load()
        except BaseException:
            self.close()
            raise

    # Campaign ----------------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether the folder already holds a campaign."""
        return self._study_id is not None

    def create(self, objectives: Sequence[Objective], facts: Mapping[str, Any]) -> None:
        """Begin a campaign: the study, and the facts that do not change."""
        directions = [
            optuna.study.StudyDirection.MAXIMIZE if o.higher_is_better else optuna.study.StudyDirection.MINIMIZE
            for o in objectives
        ]
        with self._disk():
            self._study_id = self._storage.create_new_study(directions, STUDY_NAME)
        self.set_facts(**{"id": uuid4().hex, **facts, "objectives": [[o.name, o.higher_is_better] for o in objectives]})
        self._objectives = tuple(objectives)

    def set_facts(self, **facts: Any) -> None:
        """Write facts of the campaign (one transaction)."""
        assert self._study_id is not None
        self.facts |= json.loads(json.dumps(facts))
        with self._disk():
            self._storage.set_study_user_attr(self._study_id, FACTS_KEY, self.facts)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the campaign improves."""
        return self._objectives

    # Trials ------------------------------------------------------------------------------------------------------

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, in order of number."""
        return tuple(self._trials)

    def trial_folder(self, number: int) -> Path:
        """Where a trial's files lie."""
        return self.folder / "trials" / f"{number:04d}"

    def add(self, trial: Trial, space: Space) -> Trial:
        """A new trial, numbered by the study; one transaction."""
        assert self._study_id is not None
        trial = trial.with_(number=len(self._trials))
        frozen = optuna.create_trial(
            state=OptunaState.RUNNING,
            params=dict(trial.config),
            distributions={name: distribution(space[name]) for name in trial.config},
            user_attrs={TRIAL_KEY: _to_json(trial)},
        )
        with self._disk():
            self._ids.append(self._storage.create_new_trial(self._study_id, frozen))
        self._trials.append(trial)
        return trial

    def add_all(self, trials: Sequence[Trial], space: Space) -> list[Trial]:
        """New trials in any state, numbered by the study; one transaction for all of them."""
        assert self._study_id is not None
        found = [trial.with_(number=number) for number, trial in enumerate(trials, start=len(self._trials))]
        distributions = {param.name: distribution(param) for param in space}
        texts = {name: distribution_to_json(one) for name, one in distributions.items()}
        rows: list[NewTrial] = []
        for trial in found:
            params = {n: distributions[n].to_internal_repr(v) for n, v in dict(trial.config).items()}
            state, values = self._standing(trial)
            rows.append(NewTrial(state, params, texts, TRIAL_KEY, _to_json(trial), self._values(trial, ()), values))
        with self._disk():
            self._ids += self._storage.insert(self._study_id, rows)
        self._trials += found
        return found

    def launch(self, trials: Sequence[Trial], space: Space) -> list[Trial]:
        """Begin the segments of a group: new trials (number -1) are added, others saved. All of them or none.

        What is to be done is written down first, in one transaction: where a crash comes between, `_load` does the rest.
        """
        numbers = itertools.count(len(self._trials))
        group = [t if t.number >= 0 else t.with_(number=next(numbers)) for t in trials]
        first = min((t.number for t in group), default=None) if len(group) > 1 else None
        group = [t.with_(group=first) for t in group]
        if len(group) > 1:
            self.set_facts(launched=[[t.number, _to_json(t)] for t in group])
        return [self._begin(trial, space) for trial in group]

    def _begin(self, trial: Trial, space: Space) -> Trial:
        return self.add(trial, space) if trial.number >= len(self._trials) else self.save(trial)

    def save(self, trial: Trial) -> Trial:
        """A trial's new standing: its own record, with its values for Optuna (that is the commit), then Optuna's state."""
        before = self._trials[trial.number]
        if trial != before:
            reached = self._values(trial, known_steps=[r.step for r in before.rungs])
            with self._disk():
                self._storage.write(self._ids[trial.number], TRIAL_KEY, _to_json(trial), reached)
            self._trials[trial.number] = trial
            self._derive(trial)
        return trial

    def drop_checkpoints(self, number: int) -> None:
        """Remove a trial's checkpoints (it will not go on)."""
        for path in checkpoints(self.trial_folder(number)):
            path.unlink(missing_ok=True)

    def write_error(self, number: int, text: str) -> None:
        """Write what is known of a trial's failure into its folder."""
        with self._disk():
            replace_file(self.trial_folder(number) / "error.txt", text)

    def remove_partial_files(self) -> None:
        """Remove what killed processes were writing: files beside their place, and a measurement of speed."""
        remove_partial(self.folder)
        remove_partial(self.folder / "trials")
        for folder in (self.folder / "trials").glob("*/"):
            remove_partial(folder)
        shutil.rmtree(self.folder / CALIBRATION, ignore_errors=True)

    # Events ------------------------------------------------------------------------------------------------------

    def log(self, number: int, entry: Mapping[str, Any]) -> tuple[str, ...]:
        """Append an event to a trial's events.jsonl; steps that are already there (a repeated segment) are left out.

        Returns what is wrong with the file, as sentences, when it is first opened.
        """
        problems: tuple[str, ...] = ()
        with self._disk():
            if number not in self._logs:
                self._logs[number] = EventLog(self.trial_folder(number) / EVENTS_NAME)
                problems = self._logs[number].problems
            self._logs[number].append(entry)
        return problems

    def end_log(self, number: int) -> None:
        """Close a trial's events.jsonl, until it goes on."""
        log = self._logs.pop(number, None)
        if log is not None:
            log.close()

    def close(self) -> None:
        """Release the folder."""
        for number in list(self._logs):
            self.end_log(number)
        self._storage.fold()
        self._storage.remove_session()
        self._storage.engine.dispose()
        self._release()

    # Inside ------------------------------------------------------------------------------------------------------

    def _release(self) -> None:
        self._lock.release()

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except (StorageInternalError, OperationalError) as error:  # Optuna turns the second into the first
            cause = str(error.__cause__ or error).splitlines()[0]
            raise disk_error(self.folder, OSError(0, f"the study cannot be written ({cause})")) from error
        except DatabaseError as error:
            raise StoreError(
                f"{self.folder / 'study.db'} cannot be used as a study ({error.orig}); restore it from a copy, or choose "
                "another folder with --out."
            ) from error
        except OSError as error:
            raise disk_error(self.folder, error) from error

    def _load(self) -> None:
        studies = [s for s in self._storage.get_all_studies() if s.study_name == STUDY_NAME]
        facts = studies[0].user_attrs.get(FACTS_KEY) if studies else None
        if facts is None:
            if studies:  # killed between the study and its facts: nothing was computed yet
                self._storage.delete_study(studies[0]._study_id)
            return
        self._study_id, self.facts = studies[0]._study_id, check_facts(facts)
        self._objectives = tuple(Objective(name, up) for name, up in facts["objectives"])
        frozen = sorted(self._storage.get_all_trials(self._study_id, deepcopy=False), key=lambda t: t.number)
        self._ids = [t._trial_id for t in frozen]
        study = Study.of(facts)
        self._trials = [trial_from(t.number, t.user_attrs.get(TRIAL_KEY), study) for t in frozen]
        for number, data in facts.get("launched", []):
            trial = trial_from(number, data, study)
            # Of those that were begun some may have come far since; the others are as they were before.
            if number >= len(self._trials) or trial.until_steps > self._trials[number].until_steps:
                self._begin(trial, Space.from_dict(facts["space"]))
        for trial, stored in zip(self._trials, frozen, strict=False):
            if not stored.state.is_finished():
                self._derive(trial)

    def _values(self, trial: Trial, known_steps: Sequence[int]) -> dict[int, float]:
        """What Optuna calls intermediate values, at steps that it does not know yet; it has none for several objectives."""
        if len(self._objectives) != 1:
            return {}
        name = self._objectives[0].name
        new = [rung for rung in trial.rungs if rung.step not in known_steps]
        return {rung.step: rung.scores[name].value for rung in new if name in rung.scores}

    def _derive(self, trial: Trial) -> None:
        """Bring Optuna's state of a trial in line with its record; may be repeated."""
        identity = self._ids[trial.number]
        state, values = self._standing(trial)
        with self._disk():
            if state == OptunaState.COMPLETE:
                self._storage.set_trial_state_values(identity, state, values)
            elif state != OptunaState.RUNNING:
                self._storage.set_trial_state_values(identity, state)

    def _standing(self, trial: Trial) -> tuple[OptunaState, list[float]]:
        """Optuna's state of a trial, and its values where it is complete."""
        state = _STATES[trial.state]
        scores = [trial.score(o.name) for o in self._objectives] if state == OptunaState.COMPLETE else []
        return state, [s.value for s in scores if s is not None and math.isfinite(s.value)]


def set_aside(folder: Path) -> Path | None:
    """Move what a campaign left in a folder into a new folder within; returns that, None where there is nothing.

    What else lies there (a user's own files) stays. Raises StoreError where the folder is in use, or cannot be written.
    """
    if not folder.is_dir():
        return None
    with _locked(folder):
        left = [p for p in folder.iterdir() if _is_ours(p.name)]
        if not left:
            return None
        try:
            aside = next(p for n in itertools.count(1) if not (p := folder / f"{PREVIOUS}-{n}").exists())
            aside.mkdir()
            for path in left:
                path.rename(aside / path.name)
        except OSError as error:
            raise disk_error(folder, error) from error
        return aside


def _is_ours(name: str) -> bool:
    """Whether a campaign writes a file or folder of that name into its own folder."""
    return name in FILES or name.startswith(STUDY_FILE)


def _locked(folder: Path) -> FileLock:
    """The lock of a campaign's folder, taken; StoreError where another process has it."""
    _check_links(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            f"{folder} is in use by another maestune process; wait for it, stop it, or choose another folder with --out."
        ) from error
    except OSError as error:
        raise disk_error(folder, error) from error
    return lock


def _check_links(folder: Path) -> None:
    """Raise StoreError where a file or folder that is written to, or emptied, is a link: it may lead anywhere."""
    trials = folder / "trials"
    for path in (folder / LOCK, folder / CALIBRATION, trials, *(trials.iterdir() if trials.is_dir() else ())):
        if path.is_symlink():
            raise StoreError(
                f"{path} is a link, which a campaign does not write through. Replace it by what it leads to, or keep the whole "
                "campaign where there is room (--out)."
            )


def _to_json(trial: Trial) -> dict[str, Any]:
    return {
        "config": dict(trial.config),
        "seed": trial.seed,
        "stage": trial.stage,
        "state": str(trial.state),
        "until_steps": trial.until_steps,
        "reason": trial.reason,
        "decision": trial.decision,
        "seconds": trial.seconds,
        "role": trial.role,
        "source": trial.source,
        "clock_seconds": trial.clock_seconds,
        "fused": trial.fused,
        "group": trial.group,
        "rungs": [rung_data(rung) for rung in trial.rungs],
    }
