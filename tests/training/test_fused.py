"""Many members trained as one: each is what it would have been alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from members import (
    BATCH,
    FAMILY,
    SPACES,
    Lazy,
    Measured,
    Stored,
    Tied,
    as_one,
    assert_close,
    assert_equal_serial,
    config_of,
    members_of,
    precision,
    same,
    serially,
    tasks_of,
    tied_configs,
)

from maestune.data import ImageData, load_images
from maestune.errors import CheckpointError, SettingsError
from maestune.families.base import Family
from maestune.space import structure, within
from maestune.training import Run, load_checkpoint, save_checkpoint
from maestune.training import fused as fused_module
from maestune.training.fused import Group
from maestune.training.member import Task

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture
def run(data: ImageData) -> Run:
    return Run(until_steps=6, full_steps=20, report_every=2, samples_at={3: 2}, sample_seed=4, data=data)


GAMES = {
    f"{loss}, {penalty}": {"loss": loss, "penalty": penalty}
    for loss, penalty in itertools.product(("ns", "hinge", "ls", "wgan"), ("none", "r1", "gp"))
}
MLP_NORMS = {
    f"mlp: {g}, {d}": {"norm_g": g, "norm_d": d}
    for g, d in itertools.product(("none", "batch", "layer"), ("none", "batch", "layer", "spectral"))
}
CONV_NORMS = {
    f"conv: {g}, {d}": {"network": "conv", "norm_g": g, "norm_d": d}
    for g, d in itertools.product(
        ("none", "batch", "instance", "layer"), ("none", "batch", "instance", "layer", "spectral")
    )
}
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "rmsprop": {"optimizer": "rmsprop"},
    "sgd": {"optimizer": "sgd"},
    "dropout": {"dropout_d": 0.2},
    "dropout of channels": {"network": "conv", "dropout_d": 0.2, "norm_d": "none"},
    "instance noise": {"instance_noise": 0.1},
    "average": {"ema": 0.9},
    "average, batch norm, convolutions": {"network": "conv", "ema": 0.9},
    "clipped": {"loss": "wgan", "optimizer": "sgd", "norm_d": "layer"},
    "two critics": {"d_steps": 2},
    "three critics, average": {"d_steps": 3, "ema": 0.9, "loss": "wgan", "penalty": "gp"},
    "relu against leaky relu": {"activation_g": "leaky_relu", "activation_d": "relu"},
    "leaky relu, convolutions": {"network": "conv", "activation_g": "leaky_relu", "activation_d": "leaky_relu"},
    "deep": {"depth": 4},
    "penalty beside dropout and noise": {
        "penalty": "r1",
        "dropout_d": 0.1,
        "instance_noise": 0.2,
        "norm_d": "spectral",
        "d_steps": 2,
    },
    "all of it, convolutions": {
        "network": "conv",
        "penalty": "gp",
        "dropout_d": 0.1,
        "instance_noise": 0.2,
        "ema": 0.9,
        "norm_d": "spectral",
        "norm_g": "layer",
        "d_steps": 2,
    },
}
STRUCTURES = GAMES | MLP_NORMS | CONV_NORMS | OTHERS
FEW = ("ns, none", "wgan, none", "sgd", "rmsprop", "all of it, convolutions")


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 7, 0)], ids=["shared", "partly shared"])
@pytest.mark.parametrize("case", STRUCTURES)
def test_every_member_is_what_it_would_be_alone(case: str, seeds: Sequence[int], run: Run) -> None:
    configs = members_of(**STRUCTURES[case])
    spaces = SPACES[str(configs[0]["network"])]
    assert len({structure(spaces, config, FAMILY.fusible) for config in configs}) == 1 or _mixes(configs)
    tasks = tasks_of(configs, run, seeds)
    found = as_one(tasks)
    assert [[report.step for report, _ in reports] for reports in found.values()] == [[2, 3, 4, 6]] * 3
    assert_equal_serial(tasks, found)


def _mixes(configs: Sequence[Any]) -> bool:
    """Whether they differ in a schedule's decay, which a schedule without one does not have."""
    return {"constant", "wsd"} == {config["schedule"] for config in configs}


def test_members_are_not_each_others(run: Run) -> None:
    """The comparison can fail: members of other numbers or seeds have other results."""
    tasks = tasks_of(members_of(), run, (0, 0, 1))
    found = as_one(tasks)
    for a, b in itertools.permutations(found, 2):
        with pytest.raises(AssertionError):
            assert_close(found[a], found[b])


def test_single_precision_is_equal_within_rounding(run: Run) -> None:
    with precision(torch.float32):
        for case in FEW:
            tasks = tasks_of(members_of(**STRUCTURES[case]), replace(run, until_steps=2))
            found = as_one(tasks)
            for task in tasks:
                ((report, state),), ((expected, expected_state),) = found[task.key], serially(task)
                assert state["model"]["generator.layers.0.weight"].dtype == torch.float32
                assert_close(report, expected, rtol=2e-4, atol=1e-5)
                # Where a gradient is nothing but rounding, Adam makes a whole step of it.
                assert_close(state["model"], expected_state["model"], rtol=2e-4, atol=1e-4)


def test_members_may_owe_reports_and_samples_at_other_steps(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(until_steps=7, full_steps=9, report_every=3, data=data)
    runs = [
        replace(run, samples_at={2: 3, 7: 1}),
        replace(run, report_every=2, samples_at={2: 3, 6: 5}, seed=1),
        replace(run, samples_at={2: 3, 7: 2}, full_steps=30),
        replace(run, samples_at={2: 4, 7: 1}, sample_seed=5),
        replace(run, report_every=100, until_steps=5),
    ]
    configs = members_of(norm_g="batch", ema=0.9)
    tasks = [Task(f"m{k}", configs[k % 3], run) for k, run in enumerate(runs)]
    found = as_one(tasks)
    assert [report.step for report, _ in found["m0"]] == [2, 3, 6, 7]
    assert [report.step for report, _ in found["m4"]] == [5]
    assert_equal_serial(tasks, found)
    monkeypatch.setattr(fused_module, "SAMPLE_VALUES", 1)  # one member's samples at a time
    assert_equal_serial(tasks, as_one(tasks))


# Neighbours -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seeds", [(0, 0, 0, 0), (0, 1, 2, 3)], ids=["shared", "own"])
@pytest.mark.parametrize("case", FEW)
def test_a_member_is_bit_by_bit_the_same_among_other_neighbours(
    case: str, seeds: Sequence[int], dtype: torch.dtype, run: Run
) -> None:
    me, other, third = members_of(**STRUCTURES[case])
    with precision(dtype):
        among = [
            as_one(tasks_of((me, *neighbours), run, seeds))[0]
            for neighbours in ((other, third, other), (third, third, me), (other.with_(lr=0.3), me, other))
        ]
    assert same(among[0], among[1])
    assert same(among[0], among[2])


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 2)], ids=["shared", "own"])
@pytest.mark.parametrize("case", [*FEW, "mlp: batch, batch", "conv: instance, batch", "conv: layer, spectral"])
def test_a_neighbour_that_is_not_a_number_is_not_noticed(case: str, seeds: Sequence[int], run: Run) -> None:
    configs = members_of(**STRUCTURES[case])
    half = replace(run, until_steps=2)
    tasks = [
        replace(task, run=replace(task.run, start_steps=2, until_steps=6, samples_at={6: 3}, report_every=10, state=s))
        for task, s in ((task, serially(task)[-1][1]) for task in tasks_of(configs, half, seeds))
    ]
    healthy = as_one(tasks)
    poisoned = [tasks[0], *(_poisoned(task, how) for task, how in zip(tasks[1:], (math.nan, math.inf), strict=True))]
    found = as_one(poisoned)
    assert same(found[0], healthy[0])
    for key in (1, 2):  # they were there until the end
        ((report, state),) = found[key]
        assert report.step == 6
        assert not all(map(math.isfinite, report.signals.values()))
        assert not any(tensor.isfinite().all() for name, tensor in state["model"].items() if "layers.1.weight" in name)


def _poisoned(task: Task, value: float) -> Task:
    state = dict(task.run.state or {})
    state["model"] = {name: torch.full_like(tensor, value) for name, tensor in state["model"].items()}
    return replace(task, run=replace(task.run, state=state))


@pytest.mark.parametrize("case", FEW)
def test_the_size_of_a_group_changes_no_more_than_rounding(case: str, run: Run) -> None:
    me, *others = members_of(**STRUCTURES[case])
    alone = as_one(tasks_of([me], run, [0]))[0]
    for n in (2, 3, 5, 8):
        neighbours = list(itertools.islice(itertools.cycle(others), n - 1))
        for place in (0, n - 1):
            configs = [*neighbours[:place], me, *neighbours[place:]]
            assert_close(as_one(tasks_of(configs, run, [0] * n))[place], alone)


# Members come and go --------------------------------------------------------------------------------------------------


def grown(task: Task, steps: int, family: Family = FAMILY) -> Task:
    """The task from a checkpoint after so many of its steps."""
    *_, (_, state) = serially(replace(task, run=replace(task.run, until_steps=steps)), family)
    return replace(task, run=replace(task.run, start_steps=steps, state=state))


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("capacity", [1, 2, 3, 4, 20])
def test_members_come_and_go(capacity: int, every: int, run: Run) -> None:
    configs = members_of(norm_d="spectral", d_steps=every, ema=0.9, dropout_d=0.1)
    ends = (3, 9, 5, 6, 4, 8, 7)
    tasks = [
        Task(f"m{k}", configs[k % 3], replace(run, until_steps=until, seed=k // 3)) for k, until in enumerate(ends)
    ]
    tasks[2] = grown(tasks[2], 1)
    tasks[4] = grown(tasks[4], 2)
    tasks[6] = grown(tasks[6], 3)
    assert_equal_serial(tasks, as_one(tasks, capacity))


def test_free_places_are_filled_at_once_where_steps_fit(run: Run) -> None:
    (config, *_) = members_of(d_steps=2)
    ends = (3, 8, 4, 2)
    tasks = [Task(k, config, replace(run, until_steps=until, report_every=1)) for k, until in enumerate(ends)]
    tasks.append(grown(Task(4, config, replace(run, until_steps=6, report_every=1)), 3))
    group = Group(FAMILY, tasks, 2)
    seen = [tuple(sorted((key, report.step) for key, report in reports.items())) for reports in group.reports()]
    assert seen == [
        ((0, 1), (1, 1)),
        ((0, 2), (1, 2)),
        ((0, 3), (1, 3)),
        ((1, 4), (4, 4)),  # after three steps that one alone was in turn
        ((1, 5), (4, 5)),
        ((1, 6), (4, 6)),
        ((1, 7), (2, 1)),
        ((1, 8), (2, 2)),
        ((2, 3), (3, 1)),
        ((2, 4), (3, 2)),
    ]


def test_a_newcomer_shares_the_stream_of_its_twin_and_of_nobody_else(run: Run) -> None:
    configs = members_of()
    late = grown(Task("late", configs[1], replace(run, until_steps=9)), 3)  # of the same seed, at the same step
    tasks = [
        Task("long", configs[0], replace(run, until_steps=8)),
        Task("short", configs[2], replace(run, until_steps=3)),
        late,
        Task("new", configs[1], replace(run, until_steps=5)),  # the same seed at another step
    ]
    assert_equal_serial(tasks, as_one(tasks, 2))


def test_a_member_that_diverges_leaves_with_its_report(run: Run) -> None:
    base = config_of(loss="ls", optimizer="sgd", norm_g="none", lr=1e-3)
    configs = [base, base.with_(lr=1e200), base.with_(lr=2e-3), base.with_(lr=1e150), base.with_(lr=3e-3)]
    tasks = tasks_of(configs, replace(run, until_steps=8), [0] * 5)
    for capacity in (5, 3, 2):
        found = as_one(tasks, capacity)
        for task in tasks:
            expected = serially(task)
            assert [r.step for r, _ in found[task.key]] == [r.step for r, _ in expected]
            if task.key in (1, 3):
                *before, (final, _) = found[task.key]
                assert final.step < 8
                assert not all(map(math.isfinite, final.signals.values()))
                assert all(math.isfinite(v) for report, _ in before for v in report.signals.values())
            else:
                assert_close(found[task.key], expected)


def test_dropped_members_go_and_waiting_ones_never_come(run: Run) -> None:
    configs = members_of()
    tasks = [Task(k, configs[k % 3], run) for k in range(5)]
    group = Group(FAMILY, tasks, 3)
    assert group.keys == ()
    found: dict[Any, list[Stored]] = {task.key: [] for task in tasks}
    first = True
    for reports in group.reports():
        for key, report in reports.items():
            assert report.state is not None
            found[key].append((report, report.state()))
        if first:
            assert group.keys == (0, 1, 2)
            group.drop(1)
            group.drop(3)
            assert group.keys == (0, 2)
        first = False
    assert [len(found[k]) for k in range(5)] == [4, 1, 4, 0, 4]
    for key in (0, 2, 4):
        assert_close(found[key], serially(tasks[key]))


def test_all_may_be_dropped(run: Run) -> None:
    tasks = [Task(k, config, run) for k, config in enumerate(members_of())]
    group = Group(FAMILY, tasks, 2)
    for key in range(3):
        group.drop(key)
    assert list(group.reports()) == []
    group = Group(FAMILY, tasks, 2)
    for n, _ in enumerate(group.reports()):
        assert n == 0
        for key in range(3):
            group.drop(key)


def test_signals_are_computed_when_they_are_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    norms = fused_module.row_norms
    monkeypatch.setattr(fused_module, "row_norms", lambda gradients: calls.append(1) or norms(gradients))
    configs = [config.with_(clip=0.0) for config in members_of()]  # which needs the norms in every step
    as_one(tasks_of(configs, replace(run, until_steps=6, report_every=3, samples_at={})))
    assert len(calls) == 2 * 2  # two players, two reports


def test_the_global_random_state_is_neither_used_nor_touched(run: Run) -> None:
    tasks = tasks_of(members_of(dropout_d=0.2, penalty="gp"), run)
    before = torch.get_rng_state()
    found = as_one(tasks)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert same(found, as_one(tasks))


# Checkpoints ----------------------------------------------------------------------------------------------------------


def through_a_file(state: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    save_checkpoint(folder / "state", state)
    return load_checkpoint(folder / "state")


@pytest.mark.parametrize("seeds", [(0, 0, 0), (1, 2, 3)], ids=["shared", "own"])
@pytest.mark.parametrize("case", FEW)
def test_a_training_goes_on_in_either_manner(case: str, seeds: Sequence[int], run: Run, tmp_path: Path) -> None:
    tasks = tasks_of(members_of(**STRUCTURES[case]), replace(run, until_steps=9, samples_at={9: 2}), seeds)
    whole = {"serial": {task.key: serially(task) for task in tasks}, "fused": as_one(tasks)}
    # Paused where the generator of the structures with two critics has not just moved.
    first = [replace(task, run=replace(task.run, until_steps=5)) for task in tasks]
    halves = {"serial": {task.key: serially(task) for task in first}, "fused": as_one(first)}
    for before, after in itertools.product(halves, whole):
        rest = [
            replace(t, run=replace(t.run, start_steps=5, state=through_a_file(halves[before][t.key][-1][1], tmp_path)))
            for t in tasks
        ]
        found = as_one(rest) if after == "fused" else {task.key: serially(task) for task in rest}
        for task in tasks:
            expected = [(report, state) for report, state in whole[before][task.key] if report.step > 5]
            if before == after:
                assert same(found[task.key], expected), (before, after)
            else:
                assert_close(found[task.key], expected)


def test_a_state_is_a_copy(run: Run) -> None:
    tasks = tasks_of(members_of(ema=0.9, norm_d="spectral"), run)
    reports = Group(FAMILY, tasks, 3).reports()
    first = next(reports)
    states = {key: report.state() for key, report in first.items() if report.state}
    again = {key: report.state() for key, report in first.items() if report.state}
    next(reports)
    assert same(states, again)
    rest = [replace(t, run=replace(t.run, start_steps=2, state=states[t.key])) for t in tasks]
    as_one(rest)
    assert same(states, again)


def test_a_state_that_does_not_fit_is_named_as_alone(run: Run) -> None:
    config = members_of()[0]
    task = Task("a", config, replace(run, start_steps=2))
    state = dict(serially(replace(task, run=replace(run, until_steps=2)))[-1][1])
    whole = replace(task.run, state=state)
    wrong = {
        "none": replace(task, run=task.run),
        "step": replace(task, run=replace(whole, start_steps=3)),
        "shapes": replace(task, run=whole, config=config.with_(width=9)),
        "layers": replace(task, run=whole, config=config.with_(depth=4)),
        "average": replace(task, run=whole, config=config.with_(ema=0.9)),
        "slots": replace(task, run=whole, config=config.with_(optimizer="sgd", momentum=0.0)),
        "player": replace(
            task, run=replace(whole, state={**state, "players": {"discriminator": state["players"]["discriminator"]}})
        ),
        "stream": replace(task, run=replace(whole, state={**state, "stream": {}})),
    }
    for name, bad in wrong.items():
        with pytest.raises(CheckpointError) as alone:
            serially(bad)
        with pytest.raises(CheckpointError) as together:
            as_one([bad])
        assert str(together.value) == str(alone.value), name
    as_one([replace(task, run=whole)])


def test_a_task_that_is_at_its_end_has_nothing_to_report(run: Run) -> None:
    configs = members_of()
    done = grown(Task("done", configs[0], replace(run, until_steps=4)), 4)
    tasks = [done, Task("other", configs[1], run)]
    assert_equal_serial(tasks, as_one(tasks))
    assert as_one([done]) == {"done": []}


# Other families, any config -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tie", ["", "weight", "layer"])
def test_tied_weights_and_buffers_that_are_not_saved(tie: str, run: Run) -> None:
    family = Tied(tie)
    tasks = tasks_of(tied_configs(), run, (0, 0, 1))
    found = as_one(tasks, family=family)
    assert_equal_serial(tasks, found, family)
    names = list(found[0][-1][1]["model"])
    assert "only.b.weight" in names
    assert "only.scale" not in names
    rest = [replace(t, run=replace(t.run, start_steps=2, state=found[t.key][0][1])) for t in tasks]
    for key, reports in as_one(rest, family=family).items():
        assert same(reports, found[key][1:])


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 2)], ids=["shared", "own"])
def test_held_out_scores_and_exhibits_are_those_of_each(seeds: Sequence[int], run: Run, data: ImageData) -> None:
    family = Measured()
    held_out = {"search": data.train.take(torch.arange(20)), "report": data.train.take(torch.arange(20, 90))}
    run = replace(run, data=replace(data, **held_out), full_steps=6, scored_at=frozenset({3, 6}))
    configs = [config.with_(gain=k + 0.5) for k, config in enumerate(tied_configs())]
    tasks = tasks_of(configs, run, seeds)
    validated = replace(run, split="report", validation_steps=frozenset({3, 6}), seed=seeds[0])
    tasks.append(Task(3, configs[0], validated))
    tasks.append(Task(4, configs[1], replace(run, full_steps=7, until_steps=7, scored_at=frozenset({4}))))
    found = as_one(tasks, family=family)
    assert [[len(report.scores) for report, _ in found[key]] for key in (0, 4)] == [[0, 2, 0, 2], [0, 0, 2, 0, 0]]
    assert [[len(report.exhibits) for report, _ in found[key]] for key in (0, 4)] == [[0, 0, 0, 2], [0] * 5]
    last = [found[key][-1][0] for key in range(4)]
    assert len({report.scores["held_out"] for report in last}) == 4
    assert len(last[0].exhibits["held_out"]) == 20
    assert [(len(report.choice), report.choice_samples is None) for report, _ in found[3]] == [
        (0, True),
        (2, False),
        (0, True),
        (2, True),  # no samples are due there
    ]
    assert_equal_serial(tasks, found, family)


def test_scores_of_other_names_than_announced_are_refused_as_alone(run: Run) -> None:
    family = Measured(told=("draw",))
    tasks = tasks_of(tied_configs(), replace(run, scored_at=frozenset({3})))
    with pytest.raises(SettingsError) as alone:
        serially(tasks[0], family)
    with pytest.raises(SettingsError) as together:
        as_one(tasks, family=family)
    assert str(together.value) == str(alone.value)


def test_samples_are_asked_for_what_the_held_out_part_of_each_shows(run: Run, data: ImageData) -> None:
    class Asked(Tied):
        def generate(self, model: Any, hyper: Any, noise: Any) -> torch.Tensor:
            return super().generate(model, hyper, noise) + noise["label"].view(-1, 1, 1, 1)

    labels = torch.arange(90) % 5
    search = replace(data.train, labels=labels)
    told = replace(data, train=search, search=search, report=replace(search, labels=4 - labels), class_names=("",) * 5)
    run = replace(run, data=told)
    configs = tied_configs()
    tasks = [Task(k, configs[k % 3], replace(run, split="search" if k < 2 else "report")) for k in range(4)]
    assert_equal_serial(tasks, as_one(tasks, family=Asked()), Asked())


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 0)], ids=["shared", "partly shared"])
def test_a_lazy_loss_is_every_members_in_its_turn(every: int, seeds: Sequence[int], run: Run) -> None:
    family = Lazy(period=3, every=every)
    tasks = tasks_of(tied_configs(), replace(run, report_every=1, until_steps=13), seeds)
    found = as_one(tasks, family=family)
    assert_equal_serial(tasks, found, family)
    with pytest.raises(AssertionError):  # the comparison can fail: without it others come of it
        assert_equal_serial(tasks, found, Lazy(period=100, every=every))


@pytest.mark.parametrize("capacity", [1, 2, 3, 20])
def test_who_comes_and_goes_is_in_turn_with_a_lazy_loss(capacity: int, run: Run) -> None:
    family, configs = Lazy(period=3), tied_configs()
    tasks = [
        Task(f"m{k}", configs[k % 3], replace(run, until_steps=until, seed=k // 3))
        for k, until in enumerate((3, 9, 5, 6, 4, 8, 7))
    ]
    for k, steps in ((2, 1), (4, 2), (6, 3)):
        tasks[k] = grown(tasks[k], steps, family)
    assert_equal_serial(tasks, as_one(tasks, capacity, family), family)


@given(network=st.sampled_from(["mlp", "conv"]), seed=st.integers(0, 2**32 - 1), shared=st.booleans())
@settings(max_examples=25, derandomize=True)
def test_any_three_configs_of_one_structure(data: ImageData, network: str, seed: int, shared: bool) -> None:
    space, rng = SPACES[network], np.random.default_rng(seed)
    first = space.sample(rng)
    part = within(space, first, FAMILY.fusible)
    configs = [first, part.sample(rng), part.sample_prior(rng)]
    assert len({structure(space, config, FAMILY.fusible) for config in configs}) == 1
    small = [config.with_(batch_size=BATCH, width=4, latent_dim=3, lr=config.number("lr") / 10) for config in configs]
    run = Run(until_steps=6, full_steps=8, report_every=3, samples_at={6: 2}, data=data)
    tasks = tasks_of(small, run, (0, 0, 0) if shared else (0, 1, 2))
    found = as_one(tasks)
    # Where a gradient is nothing but rounding, RMSprop makes a step 1e8 times as large of it.
    tolerance = 1e-6 if first["optimizer"] == "rmsprop" else 1e-8
    for task in tasks:
        assert_close(found[task.key], serially(task), rtol=tolerance, atol=0.1 * tolerance)


@pytest.mark.parametrize("batch_size", [16, 64])
def test_a_member_is_bit_by_bit_the_same_in_groups_of_any_size(batch_size: int) -> None:
    # At the sizes of the space: what is left of a group after an interruption goes on as if nothing had happened.
    with precision(torch.float32):
        data = load_images("digits")
        run = Run(until_steps=6, full_steps=30, data=data, report_every=6)
        base = FAMILY.space(data.spec).complete({"batch_size": batch_size, "width": 64})
        tasks = [Task(k, base.with_(lr=1e-3 * (k + 1)), run) for k in range(5)]
        whole = as_one(tasks)
        for chosen in ((0,), (4,), (0, 1), (1, 2, 4), (0, 1, 2, 3)):
            found = as_one([tasks[k] for k in chosen])
            assert all(same(found[k], whole[k]) for k in chosen), chosen
