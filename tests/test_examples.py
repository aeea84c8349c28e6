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
    assert [r["step"] for r in promoted[0]["rungs"]][:2] == [10, 30]
    grid = tmp_path / "grid.png"
    run("generate", out, "--n", 16, "--out", grid)
    assert grid.stat().st_size > 500
