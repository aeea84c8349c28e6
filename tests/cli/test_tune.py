import json
import subprocess
import sys
from pathlib import Path

import pytest

from maestune.errors import MaestuneError
from maestune.quality.features import learning

SYNTHETIC = str(Path(__file__).parents[1] / "campaign" / "synthetic.py")


def test_json_is_the_only_thing_on_stdout_and_says_what_was_found(folder):
    path, summary = folder
    assert summary["campaign"] == str(path)
    assert set(summary) >= {"campaign", "seconds", "trials", "best", "recipe", "verdict"}
    assert set(summary["best"]) >= {"trial", "config", "scores"}
    assert set(summary["best"]["scores"]["miss"]) == {"value", "low", "high"}
    assert set(summary["recipe"]) >= {"config", "scores"}
    verdict = summary["verdict"]
    assert set(verdict) >= {"objective", "recipe", "best", "difference", "low", "high", "decision", "seeds"}
    assert verdict["decision"] == "better"
    assert json.loads((path / "summary.json").read_text()) == summary


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_that_prints_does_not_get_into_the_json(run, tmp_path, workers):
    (tmp_path / "loud.py").write_text(
        "from maestune import Float, Report, Space\n"
        "space, objective = Space((Float('x', 0.0, 1.0),)), 'score:max'\n"
        "def train(config, run):\n"
        "    print('hello from the training')\n"
        "    yield Report(run.until_steps, scores={'score': config['x']}, state=dict)\n"
    )
    command = [
        sys.executable,
        "-m",
        "maestune",
        "tune",
        "loud.py",
        "--budget",
        "6trials",
        "--steps",
        "1",
        "--out",
        "c",
        "--json",
    ]
    done = subprocess.run(
        [*command, "--workers", str(workers)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["done"]
    assert "hello from the training" in done.stderr


def test_the_same_command_again_prints_the_same(run, folder):
    path, summary = folder
    again = run("tune", SYNTHETIC, "--budget", "14trials", "--workers", 0, "--out", path, "--json")
    assert json.loads(again.stdout) == summary


def test_a_campaign_file_with_changes_on_the_command_line(run, folder, tmp_path):
    path, summary = folder
    out = tmp_path / "again"
    result = run("tune", path / "campaign.toml", "--out", out, "--workers", 0, "--json")
    assert json.loads(result.stdout)["best"] == summary["best"]
    fixed = run("tune", path / "campaign.toml", "--out", tmp_path / "f", "--set", "depth=3", "--workers", 0, "--json")
    assert json.loads(fixed.stdout)["best"]["config"]["depth"] == 3


def test_bounds_are_given_on_the_command_line_and_kept(run, tmp_path):
    bounds = ("--constraint", "miss<=0.01", "--constraint", "miss > -1")
    result = run("tune", SYNTHETIC, "--budget", "8trials", "--workers", 0, "--out", tmp_path / "c", *bounds, "--json")
    summary = json.loads(result.stdout)
    assert [(row["score"], row["sign"], row["bound"]) for row in summary["constraints"]] == [
        ("miss", "<=", 0.01),
        ("miss", ">", -1.0),
    ]
    assert summary["verdict"]["decision"] == "infeasible"
    text = (tmp_path / "c" / "campaign.toml").read_text()
    assert 'constraint = ["miss<=0.01", "miss>-1.0"]' in text


def test_dry_run(run, tmp_path):
    out = tmp_path / "never"
    text = run("tune", SYNTHETIC, "--budget", "10m", "--workers", 0, "--out", out, "--dry-run").stdout
    assert "steps/s" in text
    assert not out.exists()
    data = json.loads(run("tune", SYNTHETIC, "--budget", "10m", "--workers", 0, "--dry-run", "--json").stdout)
    assert data["parameters"] == 3
    assert (data["objectives"], data["constraints"], data["notes"]) == (["miss:min"], [], [])


def test_a_dry_run_tells_what_was_added_to_what_was_asked_for(run, monkeypatch, tmp_path):
    monkeypatch.setenv("MAESTUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(learning, "MOST_SHOWN", 5000)  # nothing here rests on what is seen
    asked = ("tune", "gan", "--set", "condition=projection", "--objective", "adherence", "--features", "classifier")
    text = run(*asked, "--samples", 100, "--workers", 0, "--dry-run").stdout
    assert "objective adherence:max; bounds recall>=0.1" in text
    assert "recall>=0.1 is kept beside it" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tune", "gan", "--budget", "soon"], "Budget 'soon'"),
        (["tune", "gna"], "Did you mean gan"),
        (["tune", "gan", "--strategy", "tpee"], "tpe"),
        (["tune", "gan", "--set", "lr"], "--set lr=0.001"),
        (["tune", "gan", "--range", "lr=1"], "--range NAME=LOW:HIGH"),
        (["tune", "gan", "--range", "lr=1:0.1"], "upside down"),
        (["tune", SYNTHETIC, "--objective", "miss:up"], "neither min nor max"),
        (["tune", "none.toml"], "No file"),
        (["tune", "none.py:train"], "No file"),
        (["resume", "/nowhere"], "holds no campaign"),
        (["report", "/nowhere"], "No folder"),
        (["tune", "gan", "--device", "tpu9"], "not understood"),
        (["tune", "gan", "--data", "/no/such/folder", "--workers", "0"], "/no/such/folder"),
        (["tune", "gan", "--set", "lrr=1", "--workers", "0"], "Did you mean lr"),
        (["tune", "gan", "--objective", "fid", "--workers", "0"], "Did you mean fd"),
        (["tune", "gan", "--objective", "quality-diversty", "--workers", "0"], "Did you mean quality-diversity"),
        (["tune", "gan", "--constraint", "coverage=0.4"], "Constraint 'coverage=0.4' is not understood"),
        (["tune", "gan", "--constraint", "coverge>0.4", "--workers", "0"], "Did you mean coverage"),
    ],
)
def test_errors_name_the_value_and_the_repair(run, arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MaestuneError) as error:
        run(*arguments)
    assert says in str(error.value)
