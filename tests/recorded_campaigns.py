"""Campaigns whose tables and summaries were recorded: what is built on the code must not change them.

`python tests/recorded_campaigns.py [CASE …]` records them anew, which is right only where behavior is meant to change.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

RECORDED = Path(__file__).parent / "recordings"
EXAMPLES = Path(__file__).parents[1] / "examples"
RENAMED: Mapping[str, str] = tomllib.loads((RECORDED / "renamed.toml").read_text(encoding="utf-8"))
MODELS = {
    "gan": ("gan", "digits"),
    "vae": ("vae", "digits"),
    "flow": ("flow", "digits"),
    "lm": ("lm", "pydoc"),
    "loop": ("own_loop.py:train", None),
    "network": ("own_network.py:family", None),
}
SEEDS = (0, 1)


def run(case: str, seed: int, folder: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The rows of `maestune trials --csv` and the summary of one campaign, without what the clock or the folder decides."""
    model, data = MODELS[case]
    data_option = [] if data is None else ["--data", data]
    budget = ["--budget", "8trials", "--steps", "300", "--workers", "1", "--seed", str(seed)]
    # Scoring models of a cache were trained who knows how: here they are trained anew, by one thread.
    environment = {"MAESTUNE_CACHE": str(folder.parent / "cache"), "OMP_NUM_THREADS": "1"}
    _maestune(environment, "tune", model, *data_option, *budget, "--out", str(folder))
    rows = list(csv.DictReader(io.StringIO(_maestune(environment, "trials", "--csv", str(folder)))))
    return [_timeless(row) for row in rows], _timeless(
        json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    )


def recorded(case: str, seed: int) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """What was recorded, under today's names."""
    with (RECORDED / f"{case}-{seed}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((RECORDED / f"{case}-{seed}.json").read_text(encoding="utf-8"))
    return [_renamed(row) for row in rows], _renamed(summary)


@threadpool_limits.wrap(limits=1)
def arithmetic() -> str:
    """A digest of floating-point results here: other processors and libraries round otherwise, and so train otherwise."""
    torch.manual_seed(0)
    here = (torch.__version__, np.__version__, os.cpu_count(), torch.backends.cpu.get_cpu_capability(), _processor())
    digest = hashlib.sha256(repr(here).encode())
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.GroupNorm(4, 16), nn.Flatten(), nn.Linear(1024, 65), nn.Softmax(1)
    )
    images = torch.randn(64, 3, 8, 8)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        network(images).log().square().mean().backward()
        optimizer.step()
    values = np.random.default_rng(0).normal(size=(200, 48))
    covariance = np.cov(values, rowvar=False)
    found = [p.detach().numpy() for p in network.parameters()]
    found += [covariance, *np.linalg.eigh(covariance), values @ covariance, np.exp(values), np.sin(values)]
    for array in found:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _processor() -> str:
    """The processor's name; kernels are chosen by more than what a few of them compute shows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _maestune(environment: Mapping[str, str], *arguments: str) -> str:
    """What a command prints; it runs where the examples lie."""
    command = [sys.executable, "-m", "maestune", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run(command, check=True, cwd=EXAMPLES, env=environment, stdout=subprocess.PIPE, text=True).stdout


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        dropped = ("campaign", "environment")
        return {k: _timeless(v) for k, v in value.items() if "seconds" not in k and k not in dropped}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def _renamed(value: Any) -> Any:
    """Recorded names (keys, and values that are names) as they are today."""
    if isinstance(value, dict):
        return {RENAMED.get(k, k): _renamed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_renamed(v) for v in value]
    return RENAMED.get(value, value) if isinstance(value, str) else value


def _record() -> Iterator[str]:
    for case, seed in itertools.product(sys.argv[1:] or MODELS, SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            rows, summary = run(case, seed, Path(folder) / "campaign")
        with (RECORDED / f"{case}-{seed}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        text = json.dumps(summary, indent=1, ensure_ascii=False)
        (RECORDED / f"{case}-{seed}.json").write_text(text + "\n", encoding="utf-8")
        yield f"{case}-{seed}"
    (RECORDED / "arithmetic.txt").write_text(arithmetic() + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in _record():
        print("recorded", name, flush=True)
