import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from maestune.cli import main as cli
from maestune.errors import MaestuneError, SettingsError

SYNTHETIC = str(Path(__file__).parents[1] / "campaign" / "synthetic.py")


def run(*arguments):
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "campaign"
    result = run("tune", SYNTHETIC, "--budget", "14trials", "--workers", 0, "--out", folder, "--json")
    return folder, json.loads(result.stdout)


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
def test_a_training_that_prints_does_not_get_into_the_json(tmp_path, workers):
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


def test_the_same_command_again_prints_the_same(folder):
    path, summary = folder
    again = run("tune", SYNTHETIC, "--budget", "14trials", "--workers", 0, "--out", path, "--json")
    assert json.loads(again.stdout) == summary


def test_trials_as_table_csv_and_json(folder):
    path, summary = folder
    assert "complete" in run("trials", path).stdout
    rows = list(csv.DictReader(io.StringIO(run("trials", path, "--csv").stdout)))
    data = json.loads(run("trials", path, "--json").stdout)
    assert len(rows) == len(data) == summary["trials"]
    assert rows[0]["lr"] == "0.0001"


def test_report_is_written_anew(folder):
    path, _ = folder
    report = path / "report.html"
    report.unlink()
    assert run("report", path).stdout.strip() == str(report)
    assert "<html" in report.read_text()


def test_a_campaign_file_with_changes_on_the_command_line(folder, tmp_path):
    path, summary = folder
    out = tmp_path / "again"
    result = run("tune", path / "campaign.toml", "--out", out, "--workers", 0, "--json")
    assert json.loads(result.stdout)["best"] == summary["best"]
    fixed = run("tune", path / "campaign.toml", "--out", tmp_path / "f", "--set", "depth=3", "--workers", 0, "--json")
    assert json.loads(fixed.stdout)["best"]["config"]["depth"] == 3


def test_bounds_are_given_on_the_command_line_and_kept(tmp_path):
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


def test_dry_run(tmp_path):
    out = tmp_path / "never"
    text = run("tune", SYNTHETIC, "--budget", "10m", "--workers", 0, "--out", out, "--dry-run").stdout
    assert "steps/s" in text
    assert not out.exists()
    data = json.loads(run("tune", SYNTHETIC, "--budget", "10m", "--workers", 0, "--dry-run", "--json").stdout)
    assert data["parameters"] == 3


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
def test_errors_name_the_value_and_the_repair(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MaestuneError) as error:
        run(*arguments)
    assert says in str(error.value)


def test_errors_reach_the_person_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["maestune", "resume", "/nowhere"])
    with pytest.raises(SystemExit) as status:
        cli.main()
    assert status.value.code == 2
    assert capsys.readouterr().err.startswith("error: /nowhere holds no campaign")


def test_samples_of_a_gan(tmp_path):
    out = tmp_path / "gan"
    run("tune", "gan", "--budget", "4trials", "--steps", 40, "--samples", 100, "--workers", 0, "--out", out, "--json")
    grid = tmp_path / "grid.png"
    run("generate", out, "--n", 20, "--out", grid)
    with Image.open(grid) as picture:
        assert picture.size[0] > 8 * 8
    again, recipe = tmp_path / "again.png", tmp_path / "recipe.png"
    run("generate", out, "--n", 20, "--out", again)
    run("generate", out, "--n", 20, "--out", recipe, "--recipe")
    assert grid.read_bytes() == again.read_bytes()
    assert grid.read_bytes() != recipe.read_bytes()
    run("generate", out, "--n", 3, "--out", tmp_path / "many")
    assert len(list((tmp_path / "many").glob("*.png"))) == 3


def test_a_model_that_knows_classes_is_asked_for_them(tmp_path):
    out = tmp_path / "gan"
    fixed = ("--set", "condition=projection", "--set", "width=64", "--set", "batch_size=16")
    small = ("--budget", "3trials", "--steps", 20, "--samples", 100, "--workers", 0)
    result = run("tune", "gan", *small, *fixed, "--objective", "adherence", "--out", out, "--json")
    assert 0 <= json.loads(result.stdout)["recipe"]["scores"]["adherence"]["value"] <= 1
    files = {}
    for prompts in ((), ("3",), ("3", "7")):
        path = tmp_path / f"{len(prompts)}.png"
        run("generate", out, "--n", 16, "--out", path, *(word for prompt in prompts for word in ("--prompt", prompt)))
        files[prompts] = path.read_bytes()
    assert len(set(files.values())) == 3
    with pytest.raises(SettingsError, match="'eleven' is no class"):
        run("generate", out, "--prompt", "eleven")
    with pytest.raises(SettingsError, match="only parameters of generation can be changed"):
        run("generate", out, "--set", "lr=1e-3")
    with pytest.raises(SettingsError, match=r"--set NAME=VALUE|NAME=VALUE"):
        run("generate", out, "--set", "truncation")


def test_a_model_of_text_writes_text(tmp_path):
    data, out = tmp_path / "numbers.txt", tmp_path / "lm"
    data.write_text("\n".join(map(str, range(2500))))
    fixed = [
        word for value in ("context=32", "width=64", "layers=2", "heads=2", "batch_size=8") for word in ("--set", value)
    ]
    small = ("--budget", "3trials", "--steps", 12, "--workers", 0)
    summary = json.loads(run("tune", "lm", "--data", data, *small, *fixed, "--out", out, "--json").stdout)
    assert summary["recipe"]["scores"]["bpc"]["value"] > 0
    told = run("generate", out, "--prompt", "17\n18", "--n", 2).stdout
    assert told.startswith("--- 1 ---\n17\n18")
    assert "\n\n--- 2 ---\n17\n18" in told
    written = run("generate", out, "--prompt", "17\n18", "--n", 2, "--out", tmp_path / "new" / "t.txt").stdout.strip()
    assert Path(written).read_text().count("---\n17\n18") == 2
    other = run("generate", out, "--prompt", "17\n18", "--n", 2, "--set", "temperature=0.1").stdout
    assert other != told
    assert run("generate", out, "--prompt", "17\n18", "--n", 2).stdout == told
