"""Compiled steps: the same members, and as few compilations as there are kinds of steps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from members import (
    Lazy,
    Tied,
    as_one,
    assert_close,
    assert_equal_serial,
    members_of,
    same,
    serially,
    tasks_of,
    tied_configs,
)

from maestune.data import ImageData
from maestune.training import Run
from maestune.training.compiled import Programs
from maestune.training.member import Task

COMPILER = shutil.which(os.environ.get("CXX", "g++"))
pytestmark = [
    pytest.mark.usefixtures("double", "afresh"),
    pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler: none as $CXX or g++"),
    # Of torch itself, where its compiler is first imported.
    pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning"),
]


@pytest.fixture
def run(data: ImageData) -> Run:
    return Run(until_steps=6, full_steps=20, report_every=1, samples_at={3: 2}, data=data)


@pytest.fixture
def afresh() -> Iterator[None]:
    """Nothing compiled before, and whatever is compiled a second time is an error."""
    torch._dynamo.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield
    torch._dynamo.reset()


slow = pytest.mark.slow
CASES: Mapping[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "spectral, penalty, average, batch norm": (
        {"norm_d": "spectral", "penalty": "r1", "ema": 0.9, "depth": 1},
        (0, 0, 0),
    ),
    "plain": ({}, (0, 0, 0)),
    "dropout and noise": ({"dropout_d": 0.1, "instance_noise": 0.1}, (0, 0, 1)),
    "two critics, own seeds": ({"d_steps": 2, "loss": "hinge", "penalty": "gp"}, (0, 1, 2)),
    "rmsprop, clipped": ({"loss": "wgan", "optimizer": "rmsprop"}, (0, 0, 0)),
    "sgd": ({"loss": "ls", "optimizer": "sgd"}, (0, 0, 0)),
    "convolutions": ({"network": "conv", "norm_d": "batch", "ema": 0.9}, (0, 0, 0)),
    "convolutions, spectral": ({"network": "conv", "norm_d": "spectral", "norm_g": "instance"}, (0, 1, 0)),
}
QUICK = ("spectral, penalty, average, batch norm",)


@pytest.mark.parametrize("case", [case if case in QUICK else pytest.param(case, marks=slow) for case in CASES])
def test_a_compiled_step_is_the_eager_one(case: str, run: Run) -> None:
    values, seeds = CASES[case]
    tasks = tasks_of(members_of(**values), run, seeds)
    programs: Programs = {}
    found = as_one(tasks, programs=programs)
    assert len(programs) == (2 if "d_steps" in values else 1)
    eager = as_one(tasks)
    # A critic's bias may have no gradient but rounding, of which RMSprop makes a step 1e8 times as large.
    for key, reports in found.items():
        assert_close(reports, eager[key], rtol=1e-9, atol=1e-8 if "rmsprop" in case else 1e-11)
    assert same(found, as_one(tasks, programs=programs))  # and what was compiled serves another group


def test_members_that_end_early_leave_rows_that_are_not_looked_at(run: Run) -> None:
    configs = members_of(loss="ls", norm_g="none", optimizer="sgd", depth=1)
    ends = (2, 9, 5, 6, 7)
    tasks = [Task(k, configs[k % 3], replace(run, until_steps=until)) for k, until in enumerate(ends)]
    tasks.append(Task("diverges", configs[0].with_(lr=1e100), replace(run, until_steps=9)))
    tasks.append(Task("waits", configs[1], replace(run, until_steps=3, seed=1)))
    programs: Programs = {}
    found = as_one(tasks, 6, programs=programs)
    assert len(programs) == 1  # the rest goes on eagerly
    diverged, expected = (
        [report.step for report, _ in reports] for reports in (found.pop("diverges"), serially(tasks.pop(5)))
    )
    assert diverged == expected
    assert max(expected) < 9
    assert_equal_serial(tasks, found)


@slow
def test_all_may_end_at_once_and_others_take_their_places(run: Run) -> None:
    configs = members_of(d_steps=2)
    tasks = [Task(k, configs[k % 3], replace(run, until_steps=4, seed=k // 3)) for k in range(6)]
    programs: Programs = {}
    assert_equal_serial(tasks, as_one(tasks, 3, programs=programs))
    assert len(programs) == 2


@slow
def test_a_state_goes_on_in_either_manner(run: Run) -> None:
    tasks = tasks_of(members_of(ema=0.9), run)
    programs: Programs = {}
    whole = {True: as_one(tasks, programs=programs), False: as_one(tasks)}
    for before in (True, False):
        rest = [replace(t, run=replace(t.run, start_steps=3, state=whole[before][t.key][2][1])) for t in tasks]
        again = as_one(rest, programs=programs)
        for key, reports in again.items():
            assert_close(reports, whole[True][key][3:], rtol=1e-9, atol=1e-11)
            assert before is False or same(reports, whole[True][key][3:])
        assert_equal_serial(rest, as_one(rest))


@slow
def test_tied_weights_and_buffers_that_are_not_saved(run: Run) -> None:
    family = Tied("weight")
    tasks = tasks_of(tied_configs(), run)
    assert_equal_serial(tasks, as_one(tasks, family=family, programs={}), family)


def test_there_may_be_any_number_of_structures(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that lives as long as a campaign compiles more structures than the compiler keeps of one function."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # tracing is what is counted
    family = Tied()
    with torch._dynamo.config.patch(recompile_limit=2):
        for k in range(2, 6):
            tasks = [Task(key, tied_configs()[key % 3], replace(run, until_steps=1)) for key in range(k)]
            assert_equal_serial(tasks, as_one(tasks, family=family, programs={}), family)


@pytest.mark.parametrize("every", [1, 2])
def test_a_lazy_loss_is_a_step_of_its_own(every: int, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    family = Lazy(period=3, every=every)
    tasks = tasks_of(tied_configs(), replace(run, until_steps=12))
    programs: Programs = {}
    found = as_one(tasks, family=family, programs=programs)
    moves = {() if step % every else ("only",) for step in range(1, 13)}
    assert len(programs) == len(moves) + 1
    assert_equal_serial(tasks, found, family)
