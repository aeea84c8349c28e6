"""How a group is trained: one by one, fused, or fused and compiled, and how many at a time; decided by a few timed steps."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from maestune.families.base import Family, drawer
from maestune.training.compiled import Programs
from maestune.training.fused import Group
from maestune.training.kernels import KernelMode
from maestune.training.loop import data_of, progress_of, train
from maestune.training.member import Task
from maestune.training.optimisers import optimiser_of
from maestune.training.stream import source_of

WARM_STEPS = 2
TIMED_STEPS = 4  # of a group
TIMED_STEPS_ALONE = 10  # of one member: short enough to be disturbed
WORTH_COMPILING_SECONDS = 60.0  # of eager work: compiling takes 10 to 60 s
MEMORY_FACTOR = 1.5  # the backward pass, which frees as it goes, beside what the forward pass has made


@dataclass(frozen=True)
class TrainingMode:
    """How to train: `name` is "serial", "fused" or "compiled"; `members` at a time; `reason` for people."""

    name: str
    members: int
    reason: str


def choose(
    family: Family, tasks: Sequence[Task], *, memory_bytes: float, measure: bool, programs: Programs | None = None
) -> TrainingMode:
    """The manner in which tasks of one structure (two or more) are trained fastest within the memory.

    Without `measure` they are fused, whatever the clock says, so that equal campaigns do equal things. `programs` keeps
    what was compiled while trying.
    """
    fitting = _fitting(family, tasks[0], memory_bytes)
    members = min(len(tasks), fitting)
    limit = f", {fitting} at a time within {memory_bytes / 2**30:.2g} GiB" if fitting < len(tasks) else ""
    if members < 2:
        return TrainingMode("serial", 1, f"two members would take more than {memory_bytes / 2**30:.2g} GiB")
    if not measure:
        return TrainingMode("fused", members, f"{members} members of one structure{limit}")
    serial = serial_seconds(family, tasks[0])
    fused = group_seconds(family, tasks[:members], None)
    taken = {"serial": serial, "fused": fused}
    told = f"a step takes {_ms(serial)} alone, {_ms(fused)} as one of {members}{limit}"
    steps = sum(t.run.until_steps - t.run.start_steps for t in tasks)
    if programs is not None and min(taken.values()) * steps > WORTH_COMPILING_SECONDS:
        try:
            taken["compiled"] = group_seconds(family, tasks[:members], programs)
            told += f", {_ms(taken['compiled'])} compiled"
        except Exception as error:  # no compiler, or one that fails: the others need none
            told += f"; it could not be compiled: {_first_line(error)}"
    name = min(taken, key=lambda name: taken[name])
    return TrainingMode(name, 1 if name == "serial" else members, told)


def _ms(seconds: float) -> str:
    """Milliseconds in two digits or more: 0.45 ms, 4.5 ms, 312 ms."""
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def serial_seconds(family: Family, task: Task) -> float:
    """Seconds of a step of one member alone, after some that warm up."""
    last = WARM_STEPS + TIMED_STEPS_ALONE
    run = replace(task.run, state=None, start_steps=0, until_steps=last, report_every=last, scored_at=frozenset())
    clock: dict[int, float] = {}
    for report in train(family, task.config, replace(run, samples_at={WARM_STEPS: 0})):
        _synchronise(task)
        clock[report.step] = time.perf_counter()
    return (clock[last] - clock[WARM_STEPS]) / TIMED_STEPS_ALONE


def group_seconds(family: Family, tasks: Sequence[Task], programs: Programs | None) -> float:
    """Seconds of a step of one member of a group of all tasks, after some that warm up (and compile)."""
    endless = tasks[0].run.full_steps + 10**6
    fresh = [replace(t, run=replace(t.run, state=None, start_steps=0, until_steps=endless)) for t in tasks]
    group = Group(family, fresh, len(fresh), programs=programs, even=False)
    group.begin()
    taken: list[float] = []
    for step in range(WARM_STEPS + TIMED_STEPS):
        begun = time.perf_counter()
        group.step()
        _synchronise(tasks[0])
        if step >= WARM_STEPS:
            taken.append(time.perf_counter() - begun)
    return sum(taken) / TIMED_STEPS / len(tasks)


def member_bytes(family: Family, task: Task) -> int:
    """Memory that one more member takes: its tensors, gradients and slots, and all that its losses compute on the way."""
    data, config, run = data_of(task.run), task.config, task.run
    model = family.build(config, data.spec, run.generator("weights"))
    players = family.players(config, data.spec)
    held = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    slots = len(optimiser_of(config).slots) + 1
    held += slots * sum(p.nbytes for player in players for p in model.get_submodule(player.name).parameters())
    items = torch.zeros(int(config.number("batch_size")), dtype=torch.int64, device=run.device)
    batch = source_of(data, config, run.device).take(items)
    hyper = family.hyper(config, progress_of(1, run))
    most = 0
    for player in players:
        noise = drawer(player.noise)(run.generator("memory"))
        for loss in (player.loss, *((player.lazy[1],) if player.lazy else ())):
            with _Made() as made:
                loss(model, batch, hyper, noise)
            most = max(most, made.bytes)
    return held + math.ceil(MEMORY_FACTOR * most)


class _Made(KernelMode):
    """Counts the bytes of everything that is computed; most of it is kept for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.bytes += sum(t.nbytes for t in tree_leaves(made) if isinstance(t, Tensor))
        return made


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, of a GPU or of the machine."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _fitting(family: Family, task: Task, memory_bytes: float) -> int:
    if math.isinf(memory_bytes):
        return 2**31
    return int(memory_bytes // max(member_bytes(family, task), 1))


def _synchronise(task: Task) -> None:
    if task.run.device.startswith("cuda"):
        torch.cuda.synchronize(task.run.device)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
