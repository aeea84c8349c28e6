"""Flows under the trainer: what its parameters do, many members trained as one, and digits that are what was asked for."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from maestune.data import ImageData, Images
from maestune.data.captions import Vocabulary
from maestune.families.flow import Flow
from maestune.space import structure
from maestune.training import Run, train
from maestune.types import Config, Value

# Members are made and compared by the module that the trainer's own tests have.
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from members import as_one, assert_equal_serial, precision, serially, tasks_of

FAMILY = Flow()
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
NUMBERS: Sequence[Mapping[str, Value]] = (
    {"lr": 1e-3, "beta1": 0.8, "beta2": 0.9, "weight_decay": 0.2, "clip": 0.1, "l1": 0.0, "warmup": 0.1, "ema": 0.9,
     "schedule": "cosine", "dropout": 0.1, "condition_dropout": 0.3, "guidance": 1.0, "time_mean": 0.0},
    {"lr": 3e-3, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "clip": 0.0, "l1": 0.01, "warmup": 0.0, "ema": 0.99,
     "schedule": "constant", "dropout": 0.4, "condition_dropout": 0.02, "guidance": 3.0, "time_mean": -1.0},
    {"lr": 2e-3, "beta1": 0.95, "beta2": 0.999, "weight_decay": 0.01, "clip": 1.0, "l1": 0.0, "warmup": 0.02, "ema": 0.6,
     "schedule": "wsd", "dropout": 0.2, "condition_dropout": 0.1, "guidance": 1.5, "time_mean": 0.5},
)  # fmt: skip


@pytest.fixture
def _double() -> Iterator[None]:
    with precision(torch.float64):
        yield


def images(condition: str) -> ImageData:
    """90 images of 8 × 8 pixels, nothing or labels or labels and captions with them."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    captions = [f"{'a ' * (i % 3)}picture of {('one', 'two', 'three')[i % 3]}" for i in range(90)]
    vocabulary = Vocabulary.of(captions)
    part = Images(
        torch.randint(0, 256, (90, 1, 8, 8), dtype=torch.uint8, generator=rng),
        labels if condition else None,
        vocabulary.encode_all(captions) if condition == "captions" else None,
    )
    classes = ("one", "two", "three") if condition else ()
    words = vocabulary if condition == "captions" else None
    return ImageData("noise", part, part, part, classes, f"flow {condition}", vocabulary=words)


def run_of(data: ImageData, steps: int = 4) -> Run:
    return Run(until_steps=steps, full_steps=10, report_every=2, samples_at={3: 3}, sample_seed=4, data=data)


def config_of(data: ImageData, network: str, **values: Any) -> Config:
    tiny = {"width": 16, "depth": 1, "heads": 2, "batch_size": 6, "solver_steps": 2}
    tiny |= {"text_width": 8, "caption_use": "attended"} if data.vocabulary else {}
    chosen = {"time_sampling": "logit_normal", "schedule": values.get("schedule", "wsd")}
    return FAMILY.space(data.spec, network).complete(chosen).with_(**{**tiny, **values})


@pytest.mark.parametrize("network", ["dit", "unet"])
@pytest.mark.parametrize("condition", ["", "labels", "captions"])
@pytest.mark.usefixtures("_double")
def test_members_trained_as_one_are_each_as_alone(network: str, condition: str) -> None:
    data = images(condition)
    known = {param.name for param in FAMILY.space(data.spec, network)}
    members = [{name: value for name, value in numbers.items() if name in known} for numbers in NUMBERS]
    configs = [config_of(data, network, **numbers) for numbers in members]
    assert len({structure(FAMILY.space(data.spec, network), c, FAMILY.fusible) for c in configs}) == 1
    tasks = tasks_of(configs, run_of(data))
    assert_equal_serial(tasks, as_one(tasks, family=FAMILY), FAMILY)


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler: none as $CXX or g++")
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("network", ["dit", "unet"])
@pytest.mark.usefixtures("_double")
def test_compiled_members_are_each_as_alone(network: str) -> None:
    torch._dynamo.reset()
    data = images("captions")
    tasks = tasks_of([config_of(data, network, **numbers) for numbers in NUMBERS], run_of(data))
    assert_equal_serial(tasks, as_one(tasks, family=FAMILY, programs={}), FAMILY, atol=1e-9)
    torch._dynamo.reset()


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "lr": {"lr": 5e-3},
    "beta1": {"beta1": 0.8},
    "beta2": {"beta2": 0.9},
    "weight_decay": {"weight_decay": 0.3},
    "l1": {"l1": 0.1},
    "clip": {"clip": 0.1},
    "batch_size": {"batch_size": 12},
    "schedule": {"schedule": "cosine"},
    "warmup": {"warmup": 0.1},
    "decay": {"decay": 0.5},
    "lr_floor": {"lr_floor": 0.5},
    "dropout": {"dropout": 0.4},
    "condition_dropout": {"condition_dropout": 0.3},
    "time_mean": {"time_mean": 1.0},
}


def test_every_parameter_of_the_training_has_an_effect() -> None:
    data = images("labels")
    base = config_of(data, "dit", warmup=0.0, decay=0.3, dropout=0.0, ema=0.0)
    plain = _weights(base, data)
    for name, change in CHANGES.items():
        assert float((_weights(base.with_(**change), data) - plain).abs().max()) > 1e-7, name
    trainer = {p.name for p in FAMILY.space(data.spec)} & FAMILY.fusible.numbers
    assert trainer - {"guidance"} <= set(CHANGES)


def _weights(config: Config, data: ImageData) -> torch.Tensor:
    *_, report = train(FAMILY, config, run_of(data, steps=10))
    assert report.state is not None
    return torch.cat([t.flatten() for n, t in report.state()["model"].items() if n.startswith("network.")])


def test_the_held_out_loss_falls_and_pictures_are_shown_at_the_end() -> None:
    """A data set of two pictures: what is asked for decides which of them is drawn."""
    pictures = torch.zeros(90, 1, 8, 8, dtype=torch.uint8)
    labels = torch.arange(90) % 2
    pictures[labels == 0, :, :4], pictures[labels == 1, :, :, :4] = 255, 255
    part = Images(pictures, labels)
    data = ImageData("two", part, part, part, ("upper", "left"), "two pictures")
    config = FAMILY.space(data.spec).centre().with_(width=32, lr=4e-3, ema=0.9, guidance=1.0, batch_size=32)
    run = Run(until_steps=250, full_steps=250, samples_at={250: 64}, scored_at=frozenset((1, 250)), data=data)
    reports = list(train(FAMILY, config, run))
    scores = [report.scores["flow_loss"] for report in reports if report.scores]
    assert scores[0] > 1.5
    assert scores[-1] < 0.3
    samples, asked = reports[-1].samples, data.prompts("search", 64)["label"]
    assert samples is not None
    sample_inputs = pictures[:2].float()[asked] / 127.5 - 1
    assert float((samples - sample_inputs).abs().mean()) < 0.2
    assert reports[-1].exhibits["guidance"].shape == (64, 1, 8, 8)


def test_a_training_that_was_paused_goes_on_as_if_it_had_not_been() -> None:
    data = images("captions")
    (task,) = tasks_of([config_of(data, "dit", dropout=0.2, ema=0.9)], run_of(data, steps=4), seeds=(0,))
    reports = serially(task, FAMILY)
    halfway = next(state for report, state in reports if report.step == 2)
    later = replace(task, run=replace(task.run, start_steps=2, state=halfway))
    final = serially(later, FAMILY)[-1][1]
    for name, tensor in reports[-1][1]["model"].items():
        assert torch.equal(final["model"][name], tensor), name
