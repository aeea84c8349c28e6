"""How often a short campaign on digits finds something better than the published recipe.

Runs the command of the README once a seed, each in a fresh folder, and writes the verdicts as a table.

    python benchmarks/verdicts.py --budget 90s --seeds 5 --out benchmarks/results/verdicts.md
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HEAD = """# Verdicts of short campaigns on digits

`{command}` on {machine}, {cores} cores. Each row is one campaign: scores of the
recipe and of the best configuration are geometric means over fresh seeds, on images that neither training nor search has seen.

| strategy | seed | recipe | best | change | 95 % interval | paired seeds | configurations | full trainings | wall time | verdict |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def run(budget: str, strategy: str, seed: int, folder: Path) -> tuple[dict[str, Any], float]:
    """One campaign; its summary and its wall time with start-up and report."""
    command = [sys.executable, "-m", "maestune", "tune", "gan", "--data", "digits", "--budget", budget]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, "--strategy", strategy, "--seed", str(seed), "--out", str(folder), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout), time.perf_counter() - begun


def row(strategy: str, seed: int, summary: dict[str, Any], wall: float) -> str:
    """A line of the table."""
    verdict = summary["verdict"]
    low, high = sorted((verdict["relative_low"], verdict["relative_high"]))
    cells = [
        strategy,
        str(seed),
        f"{verdict['recipe']:.2f}",
        f"{verdict['best']:.2f}",
        f"{100 * verdict['relative']:+.0f} %",
        f"{100 * low:+.0f} … {100 * high:+.0f} %",
        str(verdict["seeds"]),
        str(summary["configurations"]),
        f"{summary['full_trainings']:.1f}",
        f"{wall:.0f} s",
        verdict["decision"],
    ]
    return f"| {' | '.join(cells)} |\n"


def conclusion(strategy: str, verdicts: list[dict[str, Any]]) -> str:
    """A strategy in a line: how often it was better, and by how much on average (geometric)."""
    better = sum(v["decision"] == "better" for v in verdicts)
    factor = math.exp(statistics.fmean(math.log1p(v["relative"]) for v in verdicts))
    return f"- {strategy}: better on {better} of {len(verdicts)} seeds, {100 * (factor - 1):+.0f} % on average.\n"


def main() -> None:
    """Run the campaigns one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="90s")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--strategy", action="append", help="repeatable; default: halving")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    strategies = arguments.strategy or ["halving"]
    first = f" --first {arguments.first}" if arguments.first else ""
    named = "".join(f" --strategy {name}" for name in arguments.strategy or [])
    given = f"python benchmarks/verdicts.py --budget {arguments.budget} --seeds {arguments.seeds}{first}{named}"
    text = HEAD.format(command=given, machine=platform.machine(), cores=os.cpu_count())
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in strategies}
    with tempfile.TemporaryDirectory() as folder:
        # Seed by seed, so that a machine that slows down slows all strategies alike.
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            for name in strategies:
                summary, wall = run(arguments.budget, name, seed, Path(folder) / f"{name}-{seed}")
                found[name].append(summary["verdict"])
                text += row(name, seed, summary, wall)
                print(row(name, seed, summary, wall), end="", flush=True)
    text += "\n" + "".join(conclusion(name, verdicts) for name, verdicts in found.items())
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
