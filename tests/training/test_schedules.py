"""Schedules of the learning rate, against those of PyTorch and by their properties."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
    StepLR,
)

from maestune.errors import SettingsError
from maestune.training.schedules import (
    SCHEDULES,
    constant,
    cosine,
    cyclical,
    schedule_of,
    step_decay,
    warmup_stable_decay,
)
from maestune.types import Config

STEPS = 120
PEAK = 0.3

share = st.floats(0.0, 0.5)
inside = st.floats(0.001, 0.999)


def rates(make: Callable[[Optimizer], LRScheduler], steps: int = STEPS) -> list[float]:
    """The rate that a schedule of PyTorch has after 0, 1, … `steps` steps, as a share of the peak."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], PEAK)
    scheduler = make(optimizer)
    found: list[float] = []
    for _ in range(steps + 1):
        found.append(optimizer.param_groups[0]["lr"] / PEAK)
        optimizer.step()
        scheduler.step()
    return found


def ours(function: Callable[..., float], **numbers: Any) -> list[float]:
    return [function(t / STEPS, **numbers) for t in range(STEPS + 1)]


@pytest.mark.parametrize("floor", [0.0, 0.1, 0.5])
def test_cosine_is_that_of_torch(floor: float) -> None:
    theirs = rates(lambda o: CosineAnnealingLR(o, STEPS, eta_min=floor * PEAK))
    assert ours(cosine, floor=floor) == pytest.approx(theirs)


def test_cosine_after_a_warmup_is_that_of_torch_after_a_linear_one() -> None:
    warm = 30

    def make(o: Optimizer) -> LRScheduler:
        rise = LinearLR(o, 1e-9, 1.0, warm)
        return SequentialLR(o, [rise, CosineAnnealingLR(o, STEPS - warm, eta_min=0.2 * PEAK)], [warm])

    assert ours(cosine, warmup=warm / STEPS, floor=0.2) == pytest.approx(rates(make), abs=1e-8)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_step_decay_is_that_of_torch_between_its_drops(count: int) -> None:
    # 120 steps make equal parts for all of these; in the middle of a step none of them drops.
    theirs = rates(lambda o: StepLR(o, STEPS // (count + 1), 0.3), STEPS - 1)
    several = rates(lambda o: MultiStepLR(o, [STEPS * k // (count + 1) for k in range(1, count + 1)], 0.3), STEPS - 1)
    found = [step_decay((t + 0.5) / STEPS, factor=0.3, count=count) for t in range(STEPS)]
    assert found == pytest.approx(theirs)
    assert found == pytest.approx(several)
    assert len(set(found)) == count + 1


@pytest.mark.parametrize("cycles", [1, 3, 5])
@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_cyclical_is_that_of_torch(cycles: int, floor: float) -> None:
    half = STEPS // (2 * cycles)
    theirs = rates(lambda o: CyclicLR(o, floor * PEAK, PEAK, step_size_up=half, cycle_momentum=False))
    assert ours(cyclical, floor=floor, cycles=cycles) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_warmup_stable_decay_is_three_of_torch(floor: float) -> None:
    warm, stable = 12, 60

    def make(o: Optimizer) -> LRScheduler:
        # PyTorch's linear rise may not begin at 0.
        parts = [
            LinearLR(o, 1e-9, 1.0, warm),
            ConstantLR(o, 1.0, 1),
            LinearLR(o, 1.0, max(floor, 1e-12), STEPS - warm - stable),
        ]
        return SequentialLR(o, parts, [warm, warm + stable])

    found = ours(warmup_stable_decay, warmup=warm / STEPS, decay=(STEPS - warm - stable) / STEPS, floor=floor)
    assert found == pytest.approx(rates(make), abs=1e-8)


@given(
    st.sampled_from(sorted(SCHEDULES)),
    inside,
    share,
    share,
    st.floats(0.0, 1.0),
    st.floats(0.05, 1.0),
    st.integers(1, 6),
)
def test_the_factor_lies_between_nothing_and_the_warmup(
    kind: str, progress: float, warmup: float, decay: float, floor: float, factor: float, count: int
) -> None:
    config = Config.of(
        schedule=kind, warmup=warmup, decay=decay, lr_floor=floor, step_factor=factor, step_count=count, cycles=count
    )
    schedule = schedule_of(config) or constant
    assert 0 <= schedule(progress) <= constant(progress, warmup) + 1e-12 <= 1 + 1e-12


@given(st.sampled_from(["wsd", "cosine"]), st.floats(0.0, 0.9), share, share)
def test_wsd_and_cosine_end_at_the_floor_and_never_rise_after_the_warmup(
    kind: str, floor: float, warmup: float, decay: float
) -> None:
    schedule = schedule_of(Config.of(schedule=kind, warmup=warmup, decay=decay + 0.01, lr_floor=floor))
    assert schedule is not None
    assert schedule(1.0) == pytest.approx(floor)
    later = [schedule(warmup + (1 - warmup) * k / 50) for k in range(51)]
    # With warm-up and decay of half each they meet in the middle, where the warm-up has hardly ended.
    assert all(b <= a + 1e-9 for a, b in pairwise(later))


@given(st.integers(1, 8), st.floats(0.0, 0.9), st.floats(0.0, 1.0))
def test_every_cycle_is_the_same_and_its_own_mirror(cycles: int, floor: float, x: float) -> None:
    first = cyclical(x / cycles, floor=floor, cycles=cycles)
    assert cyclical((x + cycles - 1) / cycles, floor=floor, cycles=cycles) == pytest.approx(first, abs=1e-6)
    assert cyclical((1 - x) / cycles, floor=floor, cycles=cycles) == pytest.approx(first, abs=1e-6)


@given(share, share)
def test_it_is_stable_between_warmup_and_decay(warmup: float, decay: float) -> None:
    middle = (warmup + 1 - decay) / 2
    assert warmup_stable_decay(middle, warmup, decay) == pytest.approx(1.0)


@given(st.floats(0.05, 0.45), st.floats(0.05, 0.45), st.floats(0.0, 1.0), st.floats(0.0, 0.9))
def test_it_rises_and_falls_linearly(warmup: float, decay: float, x: float, floor: float) -> None:
    assert warmup_stable_decay(warmup * x, warmup, decay, floor) == pytest.approx(x, abs=1e-9)
    fallen = floor + (1 - floor) * x
    assert warmup_stable_decay(1 - decay * x, warmup, decay, floor) == pytest.approx(fallen, abs=1e-9)


def test_long_mean_of_a_cosine_is_half_way_between_peak_and_floor() -> None:
    points = [cosine((k + 0.5) / 1000, floor=0.2) for k in range(1000)]
    assert math.fsum(points) / 1000 == pytest.approx(0.6, abs=1e-6)


def test_configs_choose_their_schedule() -> None:
    assert schedule_of(Config.of(schedule="constant", warmup=0.0)) is None
    assert schedule_of(Config.of()) is None
    cases: list[tuple[Config, list[float], list[float]]] = [
        (Config.of(schedule="constant", warmup=0.1), [0.05, 0.1, 0.99], [0.5, 1, 1]),
        (Config.of(schedule="wsd", warmup=0.1, decay=0.4), [0.05, 0.5, 0.8, 1.0], [0.5, 1, 0.5, 0]),
        (Config.of(schedule="wsd", decay=0.4, lr_floor=0.5), [0.5, 0.8, 1.0], [1, 0.75, 0.5]),
        (Config.of(schedule="cosine", lr_floor=0.1), [0.5, 1.0], [0.55, 0.1]),
        (Config.of(schedule="step", step_factor=0.5, step_count=3), [0.2, 0.3, 0.6, 0.9], [1, 0.5, 0.25, 0.125]),
        (Config.of(schedule="cyclical", cycles=2, lr_floor=0.0), [0.25, 0.5, 0.625], [1, 0, 0.5]),
    ]
    for config, points, expected in cases:
        schedule = schedule_of(config)
        assert schedule is not None
        assert [schedule(p) for p in points] == pytest.approx(expected), config


def test_what_is_not_asked_for_is_not_read() -> None:
    """A config that went from one kind to another may not carry the other's numbers into it."""
    schedule = schedule_of(Config.of(schedule="cosine", decay=0.5, cycles=3, step_factor=0.5))
    assert schedule is not None
    assert schedule(0.3) == cosine(0.3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": "cosin"}, r"'cosin' is not known\. Did you mean cosine"),
        ({"schedule": "cosine", "warmup": 1.5}, r"warmup: 1\.5 is outside 0:1"),
        ({"schedule": "wsd", "decay": -0.1}, r"decay: -0\.1 is outside 0:1"),
        ({"schedule": "step", "step_count": 0}, "step_count: 0 is no whole number from 1"),
        ({"schedule": "cyclical", "cycles": 2.5}, r"cycles: 2\.5 is no whole number"),
    ],
)
def test_what_cannot_be_used_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        schedule_of(Config.of(values))
