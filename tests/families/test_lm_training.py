"""Language models in training: members as one are each what it is alone; text is learnt; a pause changes nothing."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_reference import FAMILY, SPEC, config_of

from maestune.data import TextData
from maestune.data.tokenizer import Characters
from maestune.training import Run, train
from maestune.training.compiled import Programs
from maestune.types import Config

# The comparison of members that the tests of training have.
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from members import as_one, assert_close, assert_equal_serial, precision, same, serially, state_of, tasks_of

VOCABULARY = "\nabcdefghi"  # and the unknown


@pytest.fixture(scope="module")
def text() -> TextData:
    """Lines of letters in rising order, each from a letter drawn at random."""
    starts = torch.randint(1, 6, (800,), generator=torch.Generator().manual_seed(0))
    line = torch.cat((torch.arange(4), torch.tensor([-100])))
    tokens = (starts[:, None] + line).clamp_min(0).flatten().to(torch.uint8)
    return TextData("letters", tokens[:3000], tokens[3000:3500], tokens[3500:], Characters(VOCABULARY), "0" * 16)


@pytest.fixture
def double() -> Iterator[None]:
    with precision(torch.float64):
        yield


def run_of(text: TextData, **values: Any) -> Run:
    given: dict[str, Any] = {
        "until_steps": 6, "full_steps": 20, "report_every": 2, "samples_at": {3: 2}, "scored_at": frozenset({4, 6}), "data": text
    }  # fmt: skip
    return Run(**{**given, **values})


STRUCTURES: dict[str, dict[str, Any]] = {
    "centre": {},
    "modern": {"positions": "rotary", "norm": "rms", "qk_norm": "rms", "activation": "swiglu", "head": "untied"},
    "regularised": {"dropout": 0.2, "label_smoothing": 0.1, "ema": 0.9, "activation": "relu2"},
    "sampled": {"top_k": 5, "top_p": 0.9, "min_p": 0.05, "typical_p": 0.9, "repetition_penalty": 1.2},
    "sgd": {"optimizer": "sgd", "momentum": 0.9},
}
NUMBERS: tuple[dict[str, Any], ...] = (
    {"lr": 1e-3, "init": 0.02, "clip": 1.0, "weight_decay": 0.1, "warmup": 0.1, "temperature": 0.8},
    {
        "lr": 3e-3,
        "init": 0.1,
        "clip": 0.0,
        "weight_decay": 0.0,
        "warmup": 0.0,
        "schedule": "constant",
        "temperature": 1.2,
    },
    {"lr": 2e-2, "init": 0.05, "clip": 0.3, "weight_decay": 0.3, "schedule": "wsd", "decay": 0.9, "temperature": 0.0},
)
SWITCHED = {
    "dropout": (0.1, 0.3, 0.2),
    "label_smoothing": (0.1, 0.05, 0.2),
    "ema": (0.9, 0.5, 0.99),
    "top_p": (0.9, 0.5, 0.99),
}


def members_of(structure: dict[str, Any]) -> list[Config]:
    """Three configs that differ in every number that their structure has."""
    switched = {name: values for name, values in SWITCHED.items() if name in structure}
    configs = [config_of(**structure).with_(**numbers) for numbers in NUMBERS]
    return [c.with_(**{name: values[k] for name, values in switched.items()}) for k, c in enumerate(configs)]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 2)], ids=["one seed", "seeds"])
def test_members_as_one_are_each_alone(text: TextData, structure: dict[str, Any], seeds: tuple[int, ...]) -> None:
    tasks = tasks_of(members_of(structure), run_of(text), seeds)
    found = as_one(tasks, family=FAMILY)
    assert_equal_serial(tasks, found, FAMILY)
    samples = [report.samples for report, _ in found[0] if report.samples is not None]
    assert samples[0].shape == (2, 32 + 128)
    scores = [report.scores for report, _ in found[0] if report.scores]
    assert [set(told) for told in scores] == [set(FAMILY.measures)] * 2


@pytest.mark.slow
@pytest.mark.usefixtures("double")
# Of torch itself, where its compiler is first imported.
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_the_compiled_step_is_the_same(text: TextData, structure: dict[str, Any]) -> None:
    torch._dynamo.reset()
    programs: Programs = {}
    tasks = tasks_of(members_of(structure), run_of(text))
    found = as_one(tasks, family=FAMILY, programs=programs)
    assert programs
    for task in tasks:
        assert_close(found[task.key], serially(task, FAMILY), f"member {task.key}", rtol=1e-8, atol=1e-9)


def test_a_pause_changes_nothing(text: TextData) -> None:
    config = config_of(**STRUCTURES["regularised"])
    whole = serially(tasks_of([config], run_of(text), (0,))[0], FAMILY)
    first = serially(tasks_of([config], run_of(text, until_steps=4), (0,))[0], FAMILY)
    rest = run_of(text, start_steps=4, state=first[-1][1])
    again = serially(tasks_of([config], rest, (0,))[0], FAMILY)
    assert same(again[-1], whole[-1])


def test_text_is_learnt_and_drawn(text: TextData) -> None:
    config = config_of(layers=1, lr=1e-2, init=0.05, schedule="constant", warmup=0.0, temperature=0.0, batch_size=8)
    run = run_of(
        text, until_steps=250, full_steps=250, report_every=250, samples_at={250: 4}, scored_at=frozenset({250})
    )
    (report,) = train(FAMILY, config, run)
    # Of the five tokens of a line one is drawn from five, the rest follow: log(5) / 5 nats a token, and a little more where
    # a window begins within a line.
    assert math.log(5) / 5 < report.scores["val_loss"] < math.log(5) / 5 + 0.15
    assert report.scores["bpc"] == pytest.approx(report.scores["val_loss"] / math.log(2))
    assert report.samples is not None
    lines = text.tokenizer.decode(report.samples[0]).split("\n")
    whole = [line for line in lines[1:-1] if len(line) == 4]
    assert len(whole) > 0.9 * len(lines[1:-1])
    assert all(line in "abcdefghi" for line in whole)


def test_what_diverges_is_told(text: TextData) -> None:
    config = config_of(lr=1e-2, init=0.05, optimizer="sgd", momentum=0.0, clip=0.0, schedule="constant", warmup=0.0)
    reports = list(train(FAMILY, config.with_(lr=1e30), run_of(text, until_steps=20)))
    assert not math.isfinite(reports[-1].signals["loss_network"])
    assert reports[-1].step < 20


def test_the_same_seed_sees_the_same_text(text: TextData) -> None:
    runs = [replace(run_of(text), seed=seed) for seed in (0, 0, 1)]
    a, b, c = (list(train(FAMILY, config_of(), run))[-1] for run in runs)
    assert same(state_of(a), state_of(b))
    assert a.signals != c.signals
    assert SPEC.tokens == text.spec.tokens
