"""What the machinery of a campaign costs beside the training itself.

A whole campaign on digits runs in this one process, one thread, so that every second is either training or machinery. Timers around
the machinery's own functions say where it goes: ask and judge (strategy), store (study, events, folders), score (samples, features,
metrics), checkpoints, pictures, render (the observer; the report at the end is listed apart). Start-up (imports, data, extractor)
is listed apart as well: it is paid once.

    python benchmarks/overhead.py --budget 60s --repeats 3 --json benchmarks/results/overhead.json
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import maestune.campaign.campaign as campaign_module
import maestune.execution.artifacts as shown_module
import maestune.execution.folder as folder_module
import maestune.execution.segment as segment_module
from maestune.api import write_report
from maestune.campaign import Campaign
from maestune.campaign.run import Loop
from maestune.campaign.store import Store
from maestune.execution.model import built_in_family
from maestune.families.gan import GAN
from maestune.quality import ImageEvaluator
from maestune.report.console import PlainConsole
from maestune.search.halving import Halving
from maestune.training.loop import family_training

SHARES = ("ask and judge", "store", "score", "checkpoints", "pictures", "render")


class Clock:
    """Seconds per part; what runs inside another part is counted once, for the inner one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.stack: list[str] = []
        self.last = 0.0

    def enter(self, part: str) -> None:
        """A part begins, inside the one under way."""
        now = time.perf_counter()
        if self.stack:
            self.seconds[self.stack[-1]] += now - self.last
        self.stack.append(part)
        self.last = now

    def leave(self) -> None:
        """The newest part ends."""
        now = time.perf_counter()
        self.seconds[self.stack.pop()] += now - self.last
        self.last = now

    def wrap(self, owner: Any, name: str, part: str) -> Callable[[], None]:
        """Time a function or method as a part; returns what undoes it."""
        original = owner.__dict__[name]

        def timed(*arguments: Any, **keywords: Any) -> Any:
            self.enter(part)
            try:
                return original(*arguments, **keywords)
            finally:
                self.leave()

        setattr(owner, name, timed)
        return lambda: setattr(owner, name, original)


def run(budget: str, seed: int) -> dict[str, Any]:
    """One campaign; seconds per part."""
    clock = Clock()
    training = family_training(built_in_family("gan"))

    def timed_training(config: Any, run: Any) -> Any:
        reports = training(config, run)
        while True:
            clock.enter("training")
            try:
                report = next(reports)
            except StopIteration:
                return
            finally:
                clock.leave()
            yield report

    undo = [
        clock.wrap(Halving, "ask", "ask and judge"),
        clock.wrap(Halving, "judge", "ask and judge"),
        clock.wrap(Halving, "prune", "ask and judge"),
        *(
            clock.wrap(Store, name, "store")
            for name in ("add", "save", "set_facts", "log", "flush", "drop_checkpoints")
        ),
        clock.wrap(ImageEvaluator, "score", "score"),
        clock.wrap(GAN, "generate", "score"),
        clock.wrap(segment_module, "save_checkpoint", "checkpoints"),
        clock.wrap(folder_module, "load_checkpoint", "checkpoints"),
        clock.wrap(shown_module, "save_png", "pictures"),
        *(clock.wrap(PlainConsole, name, "render") for name in ("update", "event", "finish")),
        clock.wrap(Loop, "run", "loop and rest"),
    ]
    replaced = campaign_module.family_training
    campaign_module.family_training = lambda _family: timed_training
    try:
        with tempfile.TemporaryDirectory() as folder:
            # One by one: in a group the machinery is shared, and its share smaller.
            campaign = Campaign(model="gan", data="digits", budget=budget, seed=seed, workers=0, fuse="off", out=folder)
            begun = time.perf_counter()
            record = campaign.run([PlainConsole(io.StringIO())])
            total = time.perf_counter() - begun
            begun = time.perf_counter()
            write_report(record)
            report_seconds = time.perf_counter() - begun
    finally:
        campaign_module.family_training = replaced
        for each in undo:
            each()
    seconds = dict(clock.seconds)
    loop_seconds = sum(seconds.values())
    return {
        "trials": len(record.trials),
        "seconds": seconds,
        "loop_seconds": loop_seconds,
        "start_up_seconds": total - loop_seconds,
        "report_seconds": report_seconds,
        "machinery_share": 1 - seconds["training"] / loop_seconds,
    }


def main() -> None:
    """Run the campaigns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = [run(arguments.budget, seed) for seed in range(arguments.repeats)]
    print(f"{arguments.repeats} campaigns on digits, budget {arguments.budget}, one process, one thread; medians")
    for part in ("training", *SHARES, "loop and rest"):
        shares = [r["seconds"].get(part, 0.0) / r["loop_seconds"] for r in results]
        print(f"{part:16} {100 * statistics.median(shares):6.2f} %")
    machinery = statistics.median(r["machinery_share"] for r in results)
    print(f"machinery in all {100 * machinery:6.2f} % of the loop's time")
    print(
        f"start-up {statistics.median(r['start_up_seconds'] for r in results):.1f} s, report {statistics.median(r['report_seconds'] for r in results):.1f} s"
    )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps({"budget": arguments.budget, "machinery_share": machinery, "runs": results}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
