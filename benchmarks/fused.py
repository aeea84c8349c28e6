"""How many configurations × steps per second a machine trains: by hand, one by one, fused, compiled, as chosen.

    python benchmarks/fused.py [--cases NAME …] [--turns N] [--no-compile] [--json FILE] [--markdown FILE]
    python benchmarks/fused.py --device cuda

hand: plain PyTorch (`networks.py`), one configuration a process; it makes no reports, ours report every 50 steps.
called: maestune's `train`, one configuration a process, its losses called as they are in every step. serial: the same with
losses played from a tape, as it trains. fused: a `Group` of K a process. compiled: its step compiled.
chosen: what `choose` measures to be the fastest for K full trainings of the family's own length.

Turn by turn all processes (one thread each) start together and train for half a second in the same way, so that the
whole machine is busy. Ratios are medians over turns, with the middle half. The share of peak is that of the best float32
matrix product in the same run; the operations of a step are those of the serial loss and gradient (products and
convolutions). Everybody, hand too, has the memory settings of maestune's workers: glibc keeps freed memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from maestune.data import Data, ImageData, load_data
from maestune.execution.processes import KEPT_BYTES
from maestune.families.base import Family
from maestune.training import Run, loop, train
from maestune.training.compiled import Programs
from maestune.training.fused import Group
from maestune.training.member import Task
from maestune.training.mode import TrainingMode, choose
from networks import (
    CASES,
    CUDA_CASES,
    NOT_BY_HAND,
    Case,
    config_of,
    family_of,
    flops_of_step,
    hand_written_family,
    hand_written_gan,
    hand_written_own,
    hand_written_vae,
    noise_images,
)

TURN_SECONDS = 0.5
FOREVER = 10**9  # steps
COMPETITORS = ("hand", "called", "serial", "fused", "compiled", "chosen")
RATIOS = (
    ("serial", "hand"),
    ("serial", "called"),
    *((a, b) for a in ("fused", "compiled") for b in ("hand", "called", "serial")),
    ("chosen", "serial"),
)
_DATA: Mapping[str, tuple[str, Any]] = {"image": ("digits", "image"), "text": ("pydoc", "text")}
PEAK_SIZES = {"cpu": (256, 512, 1024, 2048), "cuda": (4096, 8192, 16384)}


class Clock:
    """Ends a turn after the step in which its time is up, or after so many steps."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.begin()

    def begin(self, steps: float = math.inf) -> None:
        """A turn begins; with a number of steps it takes as long as they take."""
        self.seconds, self.steps, self.done, self._last, self._most = 0.0, 0, False, 0, steps
        self._start = time.perf_counter()

    def over(self, step: int) -> bool:
        """Whether the turn is over after this step; asked once for each member of a group."""
        if step != self._last:
            self._last = step
            self.steps += 1
            passed = time.perf_counter() - self._start
            if self.steps >= self._most or (passed >= TURN_SECONDS and math.isinf(self._most)):
                if self.cuda:
                    torch.cuda.synchronize()
                self.seconds, self.done = time.perf_counter() - self._start, True
        return self.done


@dataclass(frozen=True)
class TimedRun(Run):
    """A run that reports at the end of a turn too, outside the turn's time."""

    clock: Clock = field(default_factory=lambda: Clock("cpu"))

    def due(self, step: int) -> bool:
        """Where the turn is over, and where it would be."""
        return self.clock.over(step) or super().due(step)


class Bench:
    """The competitors of a case in one process."""

    def __init__(self, case: Case, rank: int, device: str) -> None:
        self.device, self.clock = device, Clock(device)
        self.kind = case.network
        self.family: Family = family_of(case)
        self.data: Data = (
            noise_images(case.channels, case.side) if case.side else load_data(*_DATA[self.family.modality])
        )
        base = config_of(case, self.data.spec)
        lr, beta1, k = base.number("lr"), base.number("beta1"), case.members
        # Members have other rates and momenta, by which no training becomes unstable, and one seed, as in a search.
        numbers = [
            {"lr": lr / (1 + i / k), "beta1": beta1 * 0.9 ** (i % 4), "beta2": 0.999 - 0.01 * i / k} for i in range(k)
        ]
        self.config = base.with_(**numbers[0])
        self.run = TimedRun(FOREVER, FOREVER, seed=rank, device=device, data=self.data, clock=self.clock)
        self.tasks = [Task(i, base.with_(**each), self.run) for i, each in enumerate(numbers)]
        self.players = self.family.players(self.config, self.data.spec)
        self.programs: Programs = {}
        self.loops: dict[str, tuple[Iterator[object], int]] = {}
        self.held: dict[str, int] = {}

    def build(self, name: str, mode: str, members: int) -> float:
        """Prepare a competitor in a manner, with a turn to warm up; the seconds that compiling took."""
        torch.compile(torch.sin)(torch.ones(8)) if mode == "compiled" else None  # the compiler starts, once a process
        before = torch.cuda.memory_allocated() if self.clock.cuda else 0
        self.loops[name] = self._loop(mode, members)
        # Each kind of step, with and without the generator, is compiled at its first time; then as many without that.
        kinds = math.lcm(*(period for player in self.players for period in player.periods))
        self.turn(name, kinds)
        first = self.clock.seconds
        self.held[name] = torch.cuda.memory_allocated() - before if self.clock.cuda else 0
        self.turn(name, kinds)
        compiling = first - self.clock.seconds
        self.turn(name)
        return compiling

    def _loop(self, mode: str, members: int) -> tuple[Iterator[object], int]:
        if mode == "hand":
            return self._hand(), 1
        if mode in ("serial", "called"):
            steps = train(self.family, self.config, self.run)
            with patch.object(loop, "Replay", lambda function: function) if mode == "called" else nullcontext():
                self.clock.begin(1)
                next(steps)  # players take their places
            return steps, 1
        programs = self.programs if mode == "compiled" else None
        return Group(self.family, self.tasks, members, programs=programs).reports(), members

    def _hand(self) -> Iterator[None]:
        by_hand = self._by_hand()
        for step in count(1):
            next(by_hand)
            if self.clock.over(step):
                yield

    def _by_hand(self) -> Iterator[None]:
        if self.kind in ("lm", "flow"):
            return hand_written_family(self.family, self.config, self.run)
        assert isinstance(self.data, ImageData)
        images = self.data.train.images
        if self.kind == "own":
            return hand_written_own(self.config, images)
        if self.kind == "vae":
            return hand_written_vae(self.config, images)
        return hand_written_gan(self.config, images, self.device)

    def turn(self, name: str, steps: float = math.inf) -> tuple[float, float]:
        """Configurations × steps per second in one turn, and the GiB of a GPU that it took at most."""
        steps_of, members = self.loops[name]
        others = 0
        if self.clock.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            others = torch.cuda.memory_allocated() - self.held.get(name, 0)
        self.clock.begin(steps)
        while not self.clock.done:
            next(steps_of)
        most = torch.cuda.max_memory_allocated() - others if self.clock.cuda else 0
        return members * self.clock.steps / self.clock.seconds, most / 2**30

    def choose(self, compiling: bool) -> TrainingMode:
        """What a campaign would choose for full trainings; what was compiled before is not compiled again."""
        steps = self.family.full_steps(self.data.spec, self.data.size)
        run = Run(steps, steps, seed=self.run.seed, device=self.device, data=self.data)
        memory = float(torch.cuda.mem_get_info()[0]) if self.clock.cuda else math.inf
        tasks, programs = [replace(task, run=run) for task in self.tasks], self.programs if compiling else None
        return choose(self.family, tasks, memory_bytes=memory, measure=True, programs=programs)


def _peak(size: int, device: str) -> float:
    """Floating-point operations per second in a turn of square matrix products; on a GPU in TF32, as its convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = True
    a, b, c = (torch.randn(size, size, device=device) for _ in range(3))
    clock = Clock(device)
    for step in count(1):
        torch.mm(a, b, out=c)
        if clock.cuda:
            torch.cuda.synchronize()  # else much more than a turn is queued
        if step == 1:  # warms up
            clock.begin()
        elif clock.over(step):
            break
    torch.backends.cuda.matmul.allow_tf32 = False
    return 2.0 * size**3 * clock.steps / clock.seconds


here: dict[str, Any] = {}  # a process's rank, barrier, device and bench


def _start(rank: int, barrier: Any, device: str) -> None:
    torch.set_num_threads(1)
    here.update(rank=rank, barrier=barrier, device=device, cache=tempfile.TemporaryDirectory())
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = here["cache"].name  # nothing was compiled before


def _do(what: str, *arguments: Any) -> Any:
    here["barrier"].wait()
    try:
        if what == "peak":
            return _peak(arguments[0], here["device"])
        if what == "case":
            here.pop("bench", None)
            gc.collect()
            here["bench"] = Bench(arguments[0], here["rank"], here["device"])
            return flops_of_step(here["bench"].family, here["bench"].config, here["bench"].run)
        return getattr(here["bench"], what)(*arguments)
    except Exception as error:  # no compiler, out of memory: a competitor does not start
        raise RuntimeError(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}") from None


class Team:
    """Processes that do the same at the same time."""

    def __init__(self, processes: int, device: str) -> None:
        # Read when a process starts; what maestune gives its workers.
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        os.environ |= dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(KEPT_BYTES))
        spawn = multiprocessing.get_context("spawn")
        self.barrier = spawn.Barrier(processes)
        starts = [(rank, self.barrier, device) for rank in range(processes)]
        self.pools = [ProcessPoolExecutor(1, spawn, initializer=_start, initargs=start) for start in starts]

    def ask(self, what: str, *arguments: Any) -> list[Any]:
        """What each answers; RuntimeError where one fails."""
        futures = [pool.submit(_do, what, *arguments) for pool in self.pools]
        wait(futures)
        return [future.result() for future in futures]


def measure(team: Team, case: Case, peak: float, turns: int, compiling: bool) -> dict[str, Any]:
    """All that is said of a case."""
    row: dict[str, Any] = {"case": case.name, "members": case.members, "notes": [], "memory_gib": {}}
    row["flops"] = team.ask("case", case)[0]
    there = {"hand": not NOT_BY_HAND & set(case.values), "compiled": compiling, "chosen": case.members > 1}
    rates: dict[str, list[float]] = {}
    for name in [name for name in COMPETITORS if there.get(name, True)]:
        try:
            mode = TrainingMode(name, case.members, "")
            if name == "chosen":
                chosen: list[TrainingMode] = team.ask("choose", compiling)
                mode = chosen[0]  # of all, where they differ
                row["chosen"] = "/".join(dict.fromkeys(each.name for each in chosen))
                row["reasons"] = [each.reason for each in chosen]
            seconds = team.ask("build", name, mode.name, mode.members)
        except RuntimeError as error:
            row["notes"].append(f"{name}: {error}")
            continue
        rates[name] = []
        if name == "compiled":
            row["compile_seconds"] = statistics.mean(seconds)
    for turn in range(turns):
        for name in list(rates)[:: -1 if turn % 2 else 1]:
            answers = team.ask("turn", name)
            rates[name].append(sum(rate for rate, _ in answers))
            row["memory_gib"][name] = max(row["memory_gib"].get(name, 0.0), *(gib for _, gib in answers))
    row["rates"], row["rate"] = rates, {name: statistics.median(each) for name, each in rates.items()}
    row["peak_share"] = {name: rate * row["flops"] / peak for name, rate in row["rate"].items()}
    pairs = [(a, b) for a, b in RATIOS if a in rates and b in rates]
    row["ratios"] = {f"{a} / {b}": _middle([x / y for x, y in zip(rates[a], rates[b], strict=True)]) for a, b in pairs}
    if "compiled" in rates and "fused" in rates:
        eager, compiled = (len(team.pools) * case.members / row["rate"][name] for name in ("fused", "compiled"))
        row["break_even_steps"] = row["compile_seconds"] / (eager - compiled) if eager > compiled else None
    return row


def _middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Median and middle half."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]


def table(rows: Sequence[Mapping[str, Any]], cuda: bool) -> list[str]:
    """The rows as Markdown."""
    ratios = [f"{a} / {b}" for a, b in RATIOS]
    head = ["case", "K", *COMPETITORS, *ratios, "compiling, s", "pays after, steps", "% of peak", *["most GiB"] * cuda]
    lines = [f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 1)}|"]
    for row in rows:
        rates = {name: f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" for name, rate in row["rate"].items()}
        if "chosen" in rates:
            rates["chosen"] += f" ({row['chosen']})"
        cells = [row["case"], str(row["members"]), *(rates.get(name, "–") for name in COMPETITORS)]
        found = [row["ratios"].get(name) for name in ratios]
        cells += [f"{each[0]:.2f} ({each[1]:.2f}…{each[2]:.2f})" if each else "–" for each in found]
        cells.append(f"{row['compile_seconds']:.0f}" if "compile_seconds" in row else "–")
        steps = row.get("break_even_steps", math.nan)
        cells.append("never" if steps is None else "–" if math.isnan(steps) else f"{steps:,.0f}")
        names = [name for name in COMPETITORS[:-1] if name in rates]
        cells.append(", ".join(f"{name} {100 * row['peak_share'][name]:.1f}" for name in names))
        cells += [", ".join(f"{name} {row['memory_gib'][name]:.2f}" for name in names)] * cuda
        lines.append(f"| {' | '.join(cells)} |")
    return lines + [f"\n{row['case']}, {note}" for row in rows for note in row["notes"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=[""], metavar="NAME", help="those that begin with one of these")
    parser.add_argument("--turns", type=int, default=9, help="turns of each competitor")
    parser.add_argument("--processes", type=int, default=2, help="on the CPU, of one thread each")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled step out")
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    given = parser.parse_args()
    cuda: bool = given.device == "cuda"
    if cuda and not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    team = Team(1 if cuda else given.processes, given.device)
    peaks = {size: max(sum(team.ask("peak", size)) for _ in range(3)) for size in PEAK_SIZES[given.device]}
    size = max(peaks, key=lambda size: peaks[size])
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    header = {
        "machine": torch.cuda.get_device_name() if cuda else f"{cpu.split(':')[-1].strip()}, {os.cpu_count()} cores",
        "torch": f"{torch.__version__}, {len(team.pools)} processes of 1 thread",
        "peak": f"{peaks[size] / 1e9:,.0f} GFLOP/s in all, {size}×{size} {'TF32' if cuda else 'float32'}",
        "turns": f"{given.turns} of {TURN_SECONDS} s",
        "command": shlex.join(["python", "benchmarks/fused.py", *sys.argv[1:]]),
    }
    lines = [
        "Configurations × steps per second of the whole machine.",
        "",
        *(f"- {k}: {v}" for k, v in header.items()),
        "",
    ]
    rows: list[dict[str, Any]] = []
    print("\n".join(lines))
    for case in CUDA_CASES if cuda else CASES:
        if not case.name.startswith(tuple(given.cases)):
            continue
        rows.append(measure(team, case, peaks[size], given.turns, not given.no_compile))
        print("\n".join(table(rows[-1:], cuda)[0 if len(rows) == 1 else 2 :]), flush=True)
        if given.json:
            given.json.write_text(json.dumps({**header, "peaks": peaks, "cases": rows}, indent=2))
        if given.markdown:
            given.markdown.write_text("\n".join([*lines, *table(rows, cuda)]) + "\n")


if __name__ == "__main__":
    main()
