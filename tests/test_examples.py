"""Every example does what it says."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "maestune", *map(str, arguments)], check=True, capture_output=True, text=True
    ).stdout


def test_own_loop_is_tuned_paused_promoted_and_resumed_like_a_family(tmp_path):
    out = tmp_path / "own"
    example = f"{EXAMPLES / 'own_loop.py'}:train"
    summary = json.loads(
        run("tune", example, "--budget", "16trials", "--steps", 90, "--samples", 200, "--out", out, "--json")
    )
    assert summary["done"]
    assert summary["best"]["scores"]["fd"]["value"] > 0
    trials = json.loads(run("trials", out, "--json"))
    promoted = [t for t in trials if len(t["rungs"]) > 1 and t["role"] == ""]
    assert promoted, "none was paused and promoted"
    assert [r["step"] for r in promoted[0]["rungs"]][:2] == [3, 10]
    grid = tmp_path / "grid.png"
    run("generate", out, "--n", 16, "--out", grid)
    assert grid.stat().st_size > 500


def test_own_network_is_tuned_and_drawn_from(tmp_path):
    out = tmp_path / "own"
    example = f"{EXAMPLES / 'own_network.py'}:family"
    small = ("--set", "width=32", "--set", "batch_size=16", "--samples", 200, "--workers", 0)
    summary = json.loads(run("tune", example, "--budget", "4trials", "--steps", 18, *small, "--out", out, "--json"))
    assert summary["done"]
    assert summary["best"]["scores"]["fd"]["value"] > 0
    assert {"optimizer", "beta2"} <= set(summary["best"]["config"])
    grid = tmp_path / "grid.png"
    run("generate", out, "--n", 16, "--out", grid)
    assert grid.stat().st_size > 500


def test_own_network_gets_its_data_length_and_metrics_from_the_family(tmp_path):
    example = f"{EXAMPLES / 'own_network.py'}:family"
    estimate = json.loads(run("tune", example, "--budget", "2full", "--workers", 0, "--dry-run", "--json"))
    assert estimate["full_steps"] == 600
    wrong = subprocess.run(
        [sys.executable, "-m", "maestune", "tune", example, "--objective", "fid:min", "--out", str(tmp_path / "wrong")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode != 0
    assert "Unknown objective 'fid'" in wrong.stderr
