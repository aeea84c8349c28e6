"""Optuna's study as we write it: the same tables, in fewer statements, and our parameters as its distributions."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import TrialState as OptunaState
from sqlalchemy import event, func, select, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import OperationalError

from maestune.space import Choice, Float, Int, Param


@dataclass(frozen=True)
class NewTrial:
    """A trial as Optuna's tables have it. `params` as Optuna keeps them; `distributions` as JSON; `reached`: step to value."""

    state: OptunaState
    params: Mapping[str, float]
    distributions: Mapping[str, str]
    attribute: str
    content: Any
    reached: Mapping[int, float]
    values: Sequence[float] = ()


class Study(RDBStorage):
    """Optuna's storage for one writer whose space never changes: without what only many writers need."""

    def _set_trial_param_without_commit(
        self,
        session: Any,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        # Optuna looks up the trial and the parameter's earlier distribution for each parameter of each trial: 15 of the
        # 18 ms that a trial with forty of them took. Should it no longer call this, it is slower and not wrong.
        values = {"trial_id": trial_id, "param_name": param_name, "param_value": param_value_internal}
        session.add(models.TrialParamModel(**values, distribution_json=distribution_to_json(distribution)))

    def write(self, trial_id: int, attribute: str, content: Any, reached: Mapping[int, float]) -> None:
        """A user attribute of a trial and new intermediate values (step: value), in one transaction."""
        attributes, values = models.TrialUserAttributeModel, models.TrialIntermediateValueModel
        with self.engine.begin() as connection:
            connection.execute(
                update(attributes)
                .where(attributes.trial_id == trial_id, attributes.key == attribute)
                .values(value_json=json.dumps(content))
            )
            for step, value in reached.items():
                stored, kind = values.intermediate_value_to_stored_repr(value)
                row = {"step": step, "intermediate_value": stored, "intermediate_value_type": kind}
                connection.execute(insert(values).values(trial_id=trial_id, **row).on_conflict_do_nothing())

    def insert(self, study_id: int, trials: Sequence[NewTrial]) -> list[int]:
        """Trials after those that are there, all of them in one transaction; returns their ids."""
        with self.engine.begin() as connection:
            tables = models.TrialModel, models.TrialParamModel, models.TrialUserAttributeModel
            first = connection.execute(select(func.count()).where(tables[0].study_id == study_id)).scalar_one()
            ids: list[int] = []
            for number, trial in enumerate(trials, start=first):
                row = {"number": number, "study_id": study_id, "state": trial.state, "datetime_start": datetime.now()}
                ended = row["datetime_start"] if trial.state.is_finished() else None
                done = connection.execute(insert(tables[0]).values(**row, datetime_complete=ended))
                assert done.inserted_primary_key is not None
                ids.append(done.inserted_primary_key[0])
            params = [
                {
                    "trial_id": i,
                    "param_name": name,
                    "param_value": value,
                    "distribution_json": trial.distributions[name],
                }
                for i, trial in zip(ids, trials, strict=True)
                for name, value in trial.params.items()
            ]
            contents = [
                {"trial_id": i, "key": trial.attribute, "value_json": json.dumps(trial.content)}
                for i, trial in zip(ids, trials, strict=True)
            ]
            stored = [_stored(i, trial) for i, trial in zip(ids, trials, strict=True)]
            for table, rows in (
                (tables[1], params),
                (tables[2], contents),
                (models.TrialIntermediateValueModel, [row for reached, _ in stored for row in reached]),
                (models.TrialValueModel, [row for _, values in stored for row in values]),
            ):
                if rows:
                    connection.execute(insert(table), rows)
        return ids

    def fold(self) -> None:
        """Put the log of what was written into the file and leave that alone, so that it can be copied and read anywhere.

        Nothing happens where others have it open.
        """
        self.remove_session()
        with suppress(OperationalError), self.engine.connect() as connection:
            connection.execute(text("PRAGMA busy_timeout=0"))
            connection.execute(text("PRAGMA journal_mode=DELETE"))


def _stored(trial_id: int, trial: NewTrial) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of a trial's intermediate values, and of its values."""
    reached: list[dict[str, Any]] = []
    for step, value in trial.reached.items():
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        reached.append(
            {"trial_id": trial_id, "step": step, "intermediate_value": stored, "intermediate_value_type": kind}
        )
    values: list[dict[str, Any]] = []
    for objective, value in enumerate(trial.values):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        values.append({"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind})
    return reached, values


def open_study(path: Path) -> Study:
    """The study in a file, made where there is none; others may read while we write."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = Study(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 30}})

    @event.listens_for(storage.engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        # Write-ahead logging: a dashboard may read while we write, and a commit survives a killed process
        # without waiting for the disk at every trial.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()  # connections that were opened before anybody listened
    return storage


def distribution(param: Param) -> BaseDistribution:
    """Optuna's distribution of a parameter (wide enough for its off value)."""
    if isinstance(param, Choice):
        return CategoricalDistribution(param.values)
    if isinstance(param, Int):
        return IntDistribution(param.low, param.high, log=param.scale == "log")
    assert isinstance(param, Float)
    if param.off is not None:
        return FloatDistribution(min(param.off, param.low), max(param.off, param.high))
    return FloatDistribution(param.low, param.high, log=param.scale == "log")
