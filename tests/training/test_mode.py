"""How a group is trained: what the clock says, and what the memory holds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from members import FAMILY, SPEC, config_of, members_of, tasks_of

from maestune.data import ImageData
from maestune.training import Run, mode
from maestune.training.fused import Group
from maestune.training.member import Task
from maestune.training.mode import TrainingMode, choose, is_out_of_memory, member_bytes
from maestune.types import Report


@pytest.fixture
def run(data: ImageData) -> Run:
    return Run(until_steps=8, full_steps=10, report_every=2, data=data)


@pytest.fixture
def tasks(run: Run) -> list[Task]:
    return tasks_of(members_of(), run)


def long(tasks: list[Task]) -> list[Task]:
    """The same with so many steps that compiling would pay."""
    return [dataclasses.replace(t, run=dataclasses.replace(t.run, until_steps=10**6, full_steps=10**6)) for t in tasks]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the seconds of a member's step: alone, in a group, in a compiled group."""

    def set_to(serial: float, fused: float, compiled: float | Exception = math.inf) -> None:
        def group_seconds(family: Any, tasks: Any, programs: Any) -> float:
            taken = fused if programs is None else compiled
            if isinstance(taken, Exception):
                raise taken
            return taken

        monkeypatch.setattr(mode, "serial_seconds", lambda family, task: serial)
        monkeypatch.setattr(mode, "group_seconds", group_seconds)

    return set_to


def chosen(tasks: list[Task], **values: Any) -> TrainingMode:
    return choose(FAMILY, tasks, **{"memory_bytes": math.inf, "measure": True, "programs": None, **values})


# The clock ------------------------------------------------------------------------------------------------------------


def test_unasked_the_clock_decides_nothing(tasks: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any) -> float:
        raise AssertionError("a step was timed")

    monkeypatch.setattr(mode.time, "perf_counter", never)
    found = chosen(long(tasks), measure=False, programs={})
    assert found == TrainingMode("fused", 3, "3 members of one structure")


@pytest.mark.parametrize(
    ("serial", "fused", "name", "told"),
    [
        (1.0, 0.9, "fused", "1000 ms alone, 900 ms as"),
        (0.25, 0.3124, "serial", "250 ms alone, 312 ms as"),
        (1e-3, 1.23e-4, "fused", "1 ms alone, 0.12 ms as"),
    ],
)
def test_measured_the_faster_one_is_taken(
    tasks: list[Task], clock: Callable[..., None], serial: float, fused: float, name: str, told: str
) -> None:
    clock(serial, fused)
    found = chosen(tasks)
    assert (found.name, found.members) == (name, 3 if name == "fused" else 1)
    assert found.reason == f"a step takes {told} one of 3"


def test_real_steps_are_timed(tasks: list[Task]) -> None:
    before = torch.get_rng_state()
    found = chosen(tasks)
    assert found.name in ("serial", "fused")
    assert "ms alone" in found.reason
    assert torch.equal(torch.get_rng_state(), before)


def test_what_happens_once_does_not_count(tasks: list[Task], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Slow(Group):
        def begin(self) -> None:
            now[0] += 50.0
            super().begin()

        def step(self) -> Any:
            now[0] += 20.0 if self._members[0].step == 0 else 0.6
            return super().step()

    def train(family: Any, config: Any, run: Run) -> Iterator[Report]:
        now[0] += 100.0
        for step in run.steps():
            now[0] += 0.5
            if run.due(step):
                yield Report(step)

    monkeypatch.setattr(mode.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(mode, "Group", Slow)
    monkeypatch.setattr(mode, "train", train)
    assert mode.serial_seconds(FAMILY, tasks[0]) == pytest.approx(0.5)
    assert mode.group_seconds(FAMILY, tasks, None) == pytest.approx(0.2)


# Compiling ------------------------------------------------------------------------------------------------------------


def test_short_work_is_not_compiled(tasks: list[Task], clock: Callable[..., None]) -> None:
    failing = RuntimeError("it was compiled")
    clock(2.5, 2.4, failing)  # 8 steps of 3 members are 58 s
    assert "compiled" not in chosen(tasks, programs={}).reason
    clock(2.5, 2.6, failing)  # 60 s: it is the faster of the two that counts
    assert "compiled" not in chosen(tasks, programs={}).reason
    clock(2.6, 2.6, failing)
    assert "compiled" in chosen(tasks, programs={}).reason
    assert "compiled" not in chosen(tasks, programs=None).reason, "who gives no place for programs wants none"


@pytest.mark.parametrize(
    ("serial", "fused", "compiled", "name"),
    [(1.0, 0.5, 0.4, "compiled"), (1.0, 0.5, 0.6, "fused"), (0.5, 1.0, 0.4, "compiled"), (0.5, 1.0, 0.6, "serial")],
)
def test_long_work_is_compiled_where_that_is_faster(
    tasks: list[Task], clock: Callable[..., None], serial: float, fused: float, compiled: float, name: str
) -> None:
    clock(serial, fused, compiled)
    found = chosen(long(tasks), programs={})
    assert (found.name, found.members) == (name, 1 if name == "serial" else 3)
    assert found.reason.endswith(f", {compiled * 1e3:.0f} ms compiled")


@pytest.mark.parametrize(("serial", "fused", "name"), [(1.0, 0.5, "fused"), (0.5, 1.0, "serial")])
def test_without_a_working_compiler_the_others_are_left(
    tasks: list[Task], clock: Callable[..., None], serial: float, fused: float, name: str
) -> None:
    clock(serial, fused, RuntimeError("No C++ compiler was found\nand a hundred more lines"))
    found = chosen(long(tasks), programs={})
    assert found.name == name
    assert found.reason.endswith("; it could not be compiled: No C++ compiler was found")


# Memory ---------------------------------------------------------------------------------------------------------------


def test_only_so_many_at_a_time_as_fit(tasks: list[Task], clock: Callable[..., None]) -> None:
    one = member_bytes(FAMILY, tasks[0])
    for measure in (False, True):
        clock(1.0, 0.5)
        assert chosen(tasks, memory_bytes=3.0 * one, measure=measure).members == 3
        found = chosen(tasks, memory_bytes=2.9 * one, measure=measure)
        assert (found.name, found.members) == ("fused", 2)
        assert "2 at a time within" in found.reason
        found = chosen(tasks, memory_bytes=1.9 * one, measure=measure)
        assert (found.name, found.members) == ("serial", 1)
        assert "two members would take more than" in found.reason


STRUCTURES: Mapping[str, Mapping[str, Any]] = {
    "mlp": {},
    "conv": {"network": "conv"},
    "r1": {"r1_gamma": 1.0, "penalty": "r1"},
    "gp": {"loss": "wgan", "penalty": "gp", "gp_lambda": 10.0},
    "spectral": {"network": "conv", "norm_d": "spectral"},
}


@pytest.mark.parametrize("case", STRUCTURES)
def test_wider_networks_and_larger_batches_take_more(case: str, run: Run) -> None:
    config = config_of(**STRUCTURES[case])

    def taken(**values: int) -> int:
        return member_bytes(FAMILY, Task(0, config.with_(**values), run))

    least, width, batch = taken(), taken(width=4 * int(config.number("width"))), taken(batch_size=24)
    assert width > 1.5 * least
    assert batch > 2 * least
    parameters = sum(p.nbytes for p in FAMILY.build(config, SPEC, run.generator("weights")).parameters())
    assert least > 4 * parameters, "parameters, gradients and two slots of Adam, and what the losses compute"


@pytest.mark.parametrize("penalty", ["r1", "gp"])
def test_a_penalty_takes_more(penalty: str, run: Run) -> None:
    plain, more = config_of(loss="wgan"), config_of(**STRUCTURES[penalty])
    assert member_bytes(FAMILY, Task(0, more, run)) > 1.2 * member_bytes(FAMILY, Task(0, plain, run))


def test_counting_leaves_random_numbers_alone(tasks: list[Task]) -> None:
    before = torch.get_rng_state()
    assert member_bytes(FAMILY, tasks[0]) == member_bytes(FAMILY, tasks[0])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
            True,
        ),
        (RuntimeError("vmap: out of ideas"), False),
        (KeyError("memory"), False),
    ],
)
def test_what_says_that_memory_ran_out(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) == is_it
