from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from maestune.campaign.decode import Study, check_facts, require_facts, trial_from
from maestune.campaign.store import Store
from maestune.errors import StoreError
from maestune.space import Choice, Float, Space
from maestune.types import Config, Objective, Trial, TrialState

SPACE = Space((Float("lr", 1e-5, 1e-1, scale="log"), Choice("loss", ("ns", "hinge"))))
STUDY = Study(SPACE, classes=2, objectives=("fd",))
RUNG = {"step": 10, "scores": {"fd": [3.0, 2.0, None]}, "seconds": 1.5, "classes": [0.5, 0.5]}
TRIAL: dict[str, Any] = {
    "config": {"lr": 0.01, "loss": "ns"},
    "seed": 7,
    "stage": "finals",
    "state": "complete",
    "until_steps": 10,
    "reason": "",
    "decision": "",
    "seconds": 2.0,
    "role": "candidate",
    "source": 1,
    "clock_seconds": 3.0,
    "fused": False,
    "group": None,
    "rungs": [RUNG],
}
NESTED: Any = []
for _ in range(5000):
    NESTED = [NESTED]
HOSTILE = ["<img src=x onerror=alert(1)>", {"a": {"b": []}}, [[1]], -1, 1e400, float("nan"), 10**400, 10**5000, NESTED]


def test_a_trial_of_the_right_types_is_read() -> None:
    trial = trial_from(3, TRIAL, STUDY)
    assert trial.config == Config.of(lr=0.01, loss="ns")
    assert trial.state is TrialState.COMPLETE
    assert trial.rungs[0].scores["fd"].value == 3.0
    old = {name: value for name, value in TRIAL.items() if name not in ("fused", "group", "clock_seconds")}
    assert trial_from(3, old, STUDY) == trial.with_(clock_seconds=0.0)


@pytest.mark.parametrize("name", [name for name in TRIAL if name not in ("reason", "decision")])
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_field_of_another_type_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(StoreError, match=rf"trial 3: {name}\b.*study.db was changed") as told:
        trial_from(3, {**TRIAL, name: value}, STUDY)
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("name", ["reason", "decision"])
def test_texts_must_be_texts(name: str) -> None:
    assert getattr(trial_from(3, {**TRIAL, name: HOSTILE[0]}, STUDY), name) == HOSTILE[0]
    for value in (*HOSTILE[1:], "x" * 2_000_000):
        with pytest.raises(StoreError, match=f"trial 3: {name}"):
            trial_from(3, {**TRIAL, name: value}, STUDY)


@pytest.mark.parametrize(
    "rung",
    [
        {**RUNG, "step": "9"},
        {**RUNG, "seconds": "1"},
        {**RUNG, "scores": {"fd": ["<b>", 1, 2]}},
        {**RUNG, "scores": {"fd": [10**400, 1, 2]}},
        {**RUNG, "scores": {"kid": [1, 1, 2]}},
        {**RUNG, "scores": []},
        {**RUNG, "classes": [0.5]},
        {**RUNG, "classes": ["<b>", 0.5]},
        {},
    ],
)
def test_rungs_are_read_as_strictly(rung: Any) -> None:
    with pytest.raises(StoreError, match=r"trial 3: (rung|scores|classes)"):
        trial_from(3, {**TRIAL, "rungs": [rung]}, STUDY)


@pytest.mark.parametrize(
    "config",
    [{"lr": "<b>", "loss": "ns"}, {"lr": 0.01}, {"lr": 0.01, "loss": "ns", "x": 1}, {"lr": 0.01, "loss": {"a": 1}}],
)
def test_a_config_must_be_a_point_of_the_space(config: Any) -> None:
    with pytest.raises(StoreError, match="trial 3: config"):
        trial_from(3, {**TRIAL, "config": config}, STUDY)


def test_a_message_is_one_short_clean_line() -> None:
    value = "<img src=x>\x1b[31m\u202e\n" + "x" * 10_000
    with pytest.raises(StoreError) as told:
        trial_from(3, {**TRIAL, "seed": value}, STUDY)
    text = str(told.value)
    assert text.startswith("trial 3: seed is '<img src=x>[31m xxxxx")
    assert "(str), a whole number was expected; study.db was changed by something other than maestune" in text
    assert text.isprintable()


def test_an_unknown_or_missing_field_is_refused() -> None:
    with pytest.raises(StoreError, match="trial 3: 'x<b>' is 1"):
        trial_from(3, {**TRIAL, "x<b>": 1}, STUDY)
    with pytest.raises(StoreError, match="trial 3: seed is missing"):
        trial_from(3, {name: value for name, value in TRIAL.items() if name != "seed"}, STUDY)


def test_facts_of_the_wrong_type_are_refused_and_missing_ones_named() -> None:
    for name in ("model", "settings", "space", "rungs", "floor", "environment", "notes", "conditional", "terms"):
        for value in HOSTILE:
            if not (name == "model" and isinstance(value, str)):
                with pytest.raises(StoreError, match=f"facts: {name}"):
                    check_facts({name: value})
    with pytest.raises(StoreError, match="facts: asking cannot be read"):
        check_facts({"conditional": True, "asking": {"vocabulary": [["a"], 3], "tokenizer": None, "class_names": []}})
    with pytest.raises(StoreError, match="facts: model is missing"):
        require_facts({})


def test_a_store_with_a_foreign_value_is_refused_and_its_folder_released(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create((Objective("fd"),), {"space": SPACE.to_dict()})
    store.add(Trial(-1, Config.of(lr=0.01, loss="ns"), 0, "search", TrialState.RUNNING, 10, ""), SPACE)
    store.close()
    path = tmp_path / "study.db"
    for told in ('"<img src=x>"', "1" * 5000, "[" * 100_000):
        with sqlite3.connect(path) as database:
            (before,) = database.execute("select value_json from trial_user_attributes").fetchone()
            changed = json.dumps({**json.loads(before), "seed": "@"}).replace('"@"', told)
            database.execute("update trial_user_attributes set value_json=?", (changed,))
        with pytest.raises(StoreError, match=r"trial 0: seed|study\.db cannot be read"):
            Store(tmp_path)
        with sqlite3.connect(path) as database:
            database.execute("update trial_user_attributes set value_json=?", (before,))
    Store(tmp_path).close()
