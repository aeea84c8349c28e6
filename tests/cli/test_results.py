import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from maestune.errors import SettingsError


def test_trials_as_table_csv_and_json(run, folder):
    path, summary = folder
    assert "complete" in run("trials", path).stdout
    rows = list(csv.DictReader(io.StringIO(run("trials", path, "--csv").stdout)))
    data = json.loads(run("trials", path, "--json").stdout)
    assert len(rows) == len(data) == summary["trials"]
    assert rows[0]["lr"] == "0.0001"


def test_report_is_written_anew(run, folder):
    path, _ = folder
    report = path / "report.html"
    report.unlink()
    assert run("report", path).stdout.strip() == str(report)
    assert "<html" in report.read_text()


def test_samples_of_a_gan(run, tmp_path):
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


def test_a_model_that_knows_classes_is_asked_for_them(run, tmp_path):
    out = tmp_path / "gan"
    fixed = ("--set", "condition=projection", "--set", "width=64", "--set", "batch_size=16")
    small = ("--budget", "3trials", "--steps", 20, "--samples", 100, "--workers", 0)
    result = run("tune", "gan", *small, *fixed, "--objective", "adherence", "--out", out, "--json")
    told = json.loads(result.stdout)
    assert 0 <= told["recipe"]["scores"]["adherence"]["value"] <= 1
    assert [(row["score"], row["sign"], row["bound"]) for row in told["constraints"]] == [("recall", ">=", 0.1)]
    assert any("recall>=0.1 is kept" in note for note in told["notes"])
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


def test_a_model_of_text_writes_text(run, tmp_path):
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
