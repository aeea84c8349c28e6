"""What the training loop costs beside a hand-written one: the same networks, losses and optimiser in plain PyTorch.

The competitor is in `networks.py`. Both run in one process, in turns, on one thread; the median of the ratios of
neighbouring turns is the result, so that a busy machine burdens both alike.

    python benchmarks/training_loop.py [--json FILE] [--turns N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from maestune.data import DataSpec, ImageData, Images
from maestune.families.gan import GAN
from maestune.training import Run, train
from maestune.types import Config
from networks import conv_networks, hand_written, mlp_networks


def ours(config: Config, images: Tensor) -> Iterator[None]:
    """One step of our loop for each `next`; a report every 50 steps, as in a campaign."""
    part = Images(images)
    data = ImageData("noise", part, part, part, (), "benchmark")
    forever = 10**9
    reports = train(GAN(), config, Run(until_steps=forever, full_steps=forever, report_every=50, data=data))
    while True:
        next(reports)  # 50 steps
        for _ in range(50):
            yield


def seconds_of(steps: Iterator[None], n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        next(steps)
    return time.perf_counter() - start


def compare(make: dict[str, Callable[[], Iterator[None]]], turns: int, n: int) -> dict[str, float]:
    loops = {name: build() for name, build in make.items()}
    for loop in loops.values():
        seconds_of(loop, n)
    times: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(turns):
        for name in list(loops)[:: 1 if turn % 2 else -1]:
            times[name].append(seconds_of(loops[name], n) / n)
    ratios = sorted(a / b for a, b in zip(times["ours"], times["hand-written"], strict=True))
    return {
        "ours_ms_per_step": 1e3 * statistics.median(times["ours"]),
        "hand_written_ms_per_step": 1e3 * statistics.median(times["hand-written"]),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[len(ratios) // 4],
        "ratio_high": ratios[(3 * len(ratios)) // 4],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the table here as JSON too")
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)
    small = torch.randint(0, 256, (1000, 1, 8, 8), dtype=torch.uint8, generator=rng)
    large = torch.randint(0, 256, (5000, 1, 28, 28), dtype=torch.uint8, generator=rng)
    mlp = GAN().space(DataSpec(shape=(1, 8, 8))).centre()
    conv = GAN().space(DataSpec(shape=(1, 28, 28))).complete({"width": 32})
    cases = {
        "MLP 128×2, 8×8, batch 64": (
            {"ours": lambda: ours(mlp, small), "hand-written": lambda: hand_written(mlp_networks(8, 128), small, 64)},
            100,
        ),
        "DCGAN 32, 28×28, batch 64": (
            {"ours": lambda: ours(conv, large), "hand-written": lambda: hand_written(conv_networks(32), large, 64)},
            50,
        ),
    }
    table: dict[str, dict[str, float]] = {}
    print(f"torch {torch.__version__}, 1 thread, {arguments.turns} turns\n")
    print(f"{'model':28} {'ours ms':>9} {'by hand ms':>11} {'ratio (middle half)':>24}")
    for name, (make, n) in cases.items():
        row = table[name] = compare(make, arguments.turns, n)
        print(
            f"{name:28} {row['ours_ms_per_step']:9.3f} {row['hand_written_ms_per_step']:11.3f} "
            f"{row['ratio']:10.3f} ({row['ratio_low']:.3f} … {row['ratio_high']:.3f})"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"torch": torch.__version__, "threads": 1, "cases": table}, indent=2))


if __name__ == "__main__":
    main()
