"""Campaigns that were never trained are read like any other."""

import json
import subprocess
import sys

import optuna
import pytest

from maestune.campaign.build_record import read_record
from maestune.campaign.reader import read_campaign
from maestune.errors import SettingsError
from maestune.report.html import render
from maestune.report.summary import summary
from maestune.report.trials_text import trials_csv
from maestune.testing import made_campaign
from maestune.types import TrialState


@pytest.mark.parametrize("family", ["gan", "vae", "flow", "lm"])
def test_it_is_a_campaign_of_its_family(tmp_path, family):
    folder = made_campaign(tmp_path / "c", 60, rows=9, family=family)
    record = read_record(folder)
    assert record.done
    assert len(record.search_trials) == 60
    assert record.trials[0].role == "recipe"
    assert [f.role for f in record.finalists] == ["recipe", "candidate", "candidate"]
    assert {t.state for t in record.trials} <= {TrialState.COMPLETE, TrialState.STOPPED, TrialState.DIVERGED}
    assert record.recommended is not None
    events = (record.trial_folder(record.best) / "events.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["kind"] == "signals" for line in events) == 9
    assert "maestune" in render(record, tmp_path / "report.html").read_text()
    assert summary(record)["trials"] == len(record.trials)


def test_a_running_one_has_open_trials_and_no_finals(tmp_path):
    record = read_record(made_campaign(tmp_path / "c", 50, rows=5, finished=False))
    assert not record.done
    assert not record.finalists
    assert {TrialState.RUNNING, TrialState.PAUSED} <= {t.state for t in record.trials}


def test_the_same_arguments_write_the_same(tmp_path):
    one, other, another = (made_campaign(tmp_path / str(i), 40, rows=5, seed=i // 2) for i in range(3))
    tables = [trials_csv(read_record(folder)) for folder in (one, other, another)]
    assert tables[0] == tables[1] != tables[2]
    events = [sorted(p.read_text() for p in folder.rglob("events.jsonl")) for folder in (one, other)]
    assert events[0] == events[1]


def test_fewer_of_the_trials_reach_each_rung(tmp_path):
    record = read_record(made_campaign(tmp_path / "c", 200, rungs=3, rows=4))
    assert record.rungs == (4, 12, 36)
    reached = [sum(t.step >= step for t in record.search_trials) for step in record.rungs]
    assert reached[0] > 2 * reached[1] > 4 * reached[2] > 0


def test_optuna_reads_it(tmp_path):
    folder = made_campaign(tmp_path / "c", 30, rows=4)
    study = optuna.load_study(study_name="maestune", storage=f"sqlite:///{folder / 'study.db'}")
    trials, frozen = read_campaign(folder).trials, study.trials
    assert [t.number for t in frozen] == [t.number for t in trials]
    for ours, theirs in zip(trials, frozen, strict=True):
        assert theirs.params == dict(ours.config)
        assert theirs.intermediate_values == {r.step: r.scores["fd"].value for r in ours.rungs}
        assert theirs.state.is_finished() == ours.state.final
    best = min(t.score("fd").value for t in trials if t.state is TrialState.COMPLETE)
    assert study.best_value == best


def test_the_command_line_lists_it(tmp_path):
    folder = made_campaign(tmp_path / "c", 20, rows=4)
    done = subprocess.run(
        [sys.executable, "-m", "maestune", "trials", str(folder), "--csv"], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 1 + len(read_record(folder).trials)


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"rungs": 0}, {"rows": 0}])
def test_there_is_at_least_one_of_everything(tmp_path, wrong):
    with pytest.raises(SettingsError, match=f"{next(iter(wrong))}=0"):
        made_campaign(tmp_path / "c", **wrong)
