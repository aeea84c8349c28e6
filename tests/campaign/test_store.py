import json
import math
import sqlite3
from contextlib import closing

import optuna
import pytest

from maestune.campaign.reader import read_campaign
from maestune.campaign.store import Store
from maestune.errors import StoreError
from maestune.space import Choice, Float, Int, Space
from maestune.types import Config, Objective, Rung, Score, Trial, TrialState

SPACE = Space(
    (
        Float("noise", 0.01, 1.0, scale="log", off=0.0),
        Int("depth", 1, 3),
        Choice("kind", ("a", "b")),
        Float("rate", 0.9, 0.999, scale="logit"),
    )
)
CONFIG = Config.of(noise=0.0, depth=2, kind="b", rate=0.99)
FD = (Objective("fd"),)


def new_trial(config=CONFIG):
    return Trial(-1, config, 7, "search", TrialState.RUNNING, 30, "drawn")


def filled(folder, objectives=FD):
    store = Store(folder)
    store.create(objectives, {"rungs": [10, 30]})
    return store


def study(folder):
    return optuna.load_study(study_name="maestune", storage=f"sqlite:///{folder}/study.db")


def test_trials_read_back_as_they_were_saved(tmp_path):
    store = filled(tmp_path)
    trial = store.add(new_trial(), SPACE)
    scores = {"fd": Score(3.0, 2.0, 4.0), "coverage": Score(0.5)}
    store.save(
        trial.with_(state=TrialState.COMPLETE, rungs=(Rung(30, scores, 1.5),), decision="done", clock_seconds=9.0)
    )
    expected = store.trials[0]
    store.close()
    again = read_campaign(tmp_path).trials[0]
    assert again.with_(rungs=()) == expected.with_(rungs=())
    assert again.rungs[0].scores["fd"] == Score(3.0, 2.0, 4.0)
    assert math.isnan(again.rungs[0].scores["coverage"].low)
    assert study(tmp_path).trials[0].params == dict(CONFIG)


@pytest.mark.parametrize(
    ("state", "theirs"),
    [
        (TrialState.PAUSED, "RUNNING"),
        (TrialState.COMPLETE, "COMPLETE"),
        (TrialState.STOPPED, "PRUNED"),
        (TrialState.DIVERGED, "FAIL"),
        (TrialState.CRASHED, "FAIL"),
    ],
)
def test_states_in_optunas_words(tmp_path, state, theirs):
    store = filled(tmp_path)
    store.save(store.add(new_trial(), SPACE).with_(state=state, rungs=(Rung(10, {"fd": Score(3.0)}, 1.0),)))
    store.close()
    assert study(tmp_path).trials[0].state.name == theirs
    assert study(tmp_path).trials[0].intermediate_values == {10: 3.0}


def test_a_crash_between_our_record_and_optunas_fields_is_repaired(tmp_path, monkeypatch):
    store = filled(tmp_path)
    trial = store.add(new_trial(), SPACE)

    def crash(*arguments, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Store, "_derive", crash)
        with pytest.raises(KeyboardInterrupt):
            store.save(trial.with_(state=TrialState.COMPLETE, rungs=(Rung(30, {"fd": Score(3.0)}, 1.0),)))
    store.close()
    assert study(tmp_path).trials[0].state.name == "RUNNING"
    Store(tmp_path).close()
    assert study(tmp_path).trials[0].state.name == "COMPLETE"
    assert study(tmp_path).trials[0].value == 3.0


def test_a_crash_before_the_facts_leaves_a_folder_to_begin_in(tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setattr(Store, "set_facts", lambda self, **facts: None)
    store.create(FD, {})
    store.close()
    monkeypatch.undo()
    again = Store(tmp_path)
    assert not again.exists
    again.create(FD, {"rungs": [1]})
    again.close()


def test_a_folder_in_which_nothing_has_begun_is_told_so(tmp_path):
    Store(tmp_path).close()
    with pytest.raises(StoreError, match="no campaign yet"):
        read_campaign(tmp_path)


def test_several_objectives(tmp_path):
    objectives = (Objective("fd"), Objective("coverage", higher_is_better=True))
    store = filled(tmp_path, objectives)
    scores = {"fd": Score(3.0), "coverage": Score(0.5)}
    store.save(store.add(new_trial(), SPACE).with_(state=TrialState.COMPLETE, rungs=(Rung(30, scores, 1.0),)))
    store.close()
    assert study(tmp_path).trials[0].values == [3.0, 0.5]
    assert [d.name for d in study(tmp_path).directions] == ["MINIMIZE", "MAXIMIZE"]


# A group is begun as a whole: two promotions and three new trials. The crash comes before the n-th of them, or within one.
@pytest.mark.parametrize(
    ("n", "within"), [(0, False), (0, True), (1, True), (2, False), (4, False), (5, False)], ids=str
)
def test_a_group_is_begun_whole_or_not_at_all(tmp_path, monkeypatch, n, within):
    expected = _launched(tmp_path / "whole", monkeypatch, None, within=False)
    assert _launched(tmp_path / "torn", monkeypatch, n, within) == expected
    again = Store(tmp_path / "torn")  # and once more: nothing is done twice
    assert again.trials == expected
    again.close()
    stored = study(tmp_path / "torn").trials
    assert [t.params for t in stored] == [dict(t.config) for t in expected]
    assert [t.intermediate_values for t in stored] == [{10: 1.0}, {10: 2.0}, {10: 3.0}, {}, {}, {}]


def _launched(folder, monkeypatch, crash_at, within):
    store = Store(folder)
    store.create(FD, {"space": SPACE.to_dict()})
    for value in (1.0, 2.0, 3.0):
        trial = store.add(new_trial().with_(until_steps=10), SPACE)
        rung = Rung(10, {"fd": Score(value)}, 1.0)
        store.save(trial.with_(state=TrialState.PAUSED, rungs=(rung,), decision="waits"))
    promoted = [
        store.trials[k].with_(state=TrialState.RUNNING, until_steps=30, decision="promoted", fused=True) for k in (2, 0)
    ]
    fresh = [new_trial(CONFIG.with_(rate=rate)).with_(fused=True) for rate in (0.91, 0.92, 0.93)]
    if crash_at is None:
        begun = store.launch([*promoted, *fresh], SPACE)
        assert [t.number for t in begun] == [2, 0, 3, 4, 5]
    else:
        with monkeypatch.context() as patched:
            _crash_in_begin(patched, crash_at, within)
            if crash_at < 5:
                with pytest.raises(KeyboardInterrupt):
                    store.launch([*promoted, *fresh], SPACE)
            else:
                store.launch([*promoted, *fresh], SPACE)
    store.close()
    again = Store(folder)
    found = again.trials
    again.close()
    return found


def _crash_in_begin(patched, crash_at, within):
    """The crash comes before the n-th trial is written; `within`: between its record and what is derived of it."""
    begin, count = Store._begin, iter(range(9))

    def crashing(self, trial, space):
        if next(count) != crash_at:
            return begin(self, trial, space)
        if within:
            patched.setattr(Store, "_derive", _crash)
            begin(self, trial, space)
        return _crash()

    patched.setattr(Store, "_begin", crashing)


def _crash(*arguments, **keywords):
    raise KeyboardInterrupt


def test_a_crash_before_a_group_is_written_down_leaves_everything_as_it_was(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.create(FD, {"space": SPACE.to_dict()})
    store.add(new_trial(), SPACE)
    with monkeypatch.context() as patched:
        patched.setattr(type(store._storage), "set_study_user_attr", _crash)
        with pytest.raises(KeyboardInterrupt):
            store.launch([new_trial(), new_trial()], SPACE)
    store.close()
    again = Store(tmp_path)
    assert len(again.trials) == 1
    again.close()


def test_a_group_that_has_come_far_is_not_begun_again(tmp_path):
    store = Store(tmp_path)
    store.create(FD, {"space": SPACE.to_dict()})
    for trial in store.launch([new_trial(), new_trial(CONFIG.with_(depth=3))], SPACE):
        store.save(trial.with_(state=TrialState.STOPPED, rungs=(Rung(30, {"fd": Score(1.0, 0.5, 1.5)}, 1.0),)))
    store.launch([new_trial()], SPACE)  # alone: nothing is written down for it
    before = store.trials
    store.close()
    again = Store(tmp_path)
    assert again.trials == before
    again.close()


def test_events_are_whole_lines_written_once(tmp_path):
    store = filled(tmp_path)
    store.log(0, {"kind": "signals", "step": 10, "signals": {"loss": 1.0}})
    store.log(0, {"kind": "signals", "step": 10, "signals": {"loss": 1.0}})
    store.close()
    path = tmp_path / "trials" / "0000" / "events.jsonl"
    with path.open("a") as file:
        file.write('{"kind": "signals", "st')  # torn by a crash
    again = Store(tmp_path)
    again.log(0, {"kind": "signals", "step": 10, "signals": {"loss": 1.0}})
    again.log(0, {"kind": "scores", "step": 10, "scores": {}})
    again.log(0, {"kind": "signals", "step": 20, "signals": {"loss": 0.5}})
    again.close()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(e["kind"], e["step"]) for e in events] == [("signals", 10), ("scores", 10), ("signals", 20)]


def test_a_file_that_is_no_study(tmp_path):
    (tmp_path / "study.db").write_text("this is no database, and long enough to be read as one" * 50)
    with pytest.raises(StoreError, match=r"cannot be used as a study \(file is not a database\)"):
        Store(tmp_path)


def journal_mode(folder):
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        return connection.execute("PRAGMA journal_mode").fetchone()[0]


def test_the_study_is_logged_ahead_while_it_is_written_and_one_plain_file_afterwards(tmp_path):
    store = filled(tmp_path)
    store.add(new_trial(), SPACE)
    assert journal_mode(tmp_path) == "wal"
    store.close()
    assert journal_mode(tmp_path) == "delete"
    assert [p.name for p in tmp_path.glob("study.db*")] == ["study.db"]
    assert len(study(tmp_path).trials) == 1


def test_who_has_the_study_open_keeps_it_as_it_is(tmp_path):
    store = filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "study.db")) as dashboard:
        dashboard.execute("BEGIN")
        assert dashboard.execute("SELECT count(*) FROM studies").fetchone() == (1,)
        store.add(new_trial(), SPACE)
        store.close()
        assert dashboard.execute("SELECT count(*) FROM trials").fetchone() == (0,)  # as when it began to read
    assert len(study(tmp_path).trials) == 1


def test_a_study_is_read_by_the_side_of_who_writes_it(tmp_path):
    store = filled(tmp_path)
    store.add(new_trial(), SPACE)
    assert len(read_campaign(tmp_path).trials) == 1
    assert journal_mode(tmp_path) == "wal"
    store.close()
