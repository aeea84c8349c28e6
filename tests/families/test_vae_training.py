"""Training VAEs: one by one and as one, paused and resumed, and that every hyperparameter matters."""

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
from torch import Tensor

from maestune.data import ImageData, Images
from maestune.families import why_not_fused
from maestune.space import structure
from maestune.training import Run, train
from maestune.types import Config, Report, Value

# Members of groups are made and compared by the module that the tests of training share.
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from members import as_one, assert_equal_serial, precision, same, state_of, tasks_of
from vae_cases import FAMILY, SPACES, SPEC, STRUCTURES, config_of

COMPILER = shutil.which(os.environ.get("CXX", "g++"))

# What three members differ in; each has another schedule of the KL's weight, and one no free bits.
NUMBERS: Sequence[Mapping[str, Value]] = (
    {"lr": 1e-3, "beta": 1.0, "free_bits": 0.0, "temperature": 1.0, "weight_decay": 0.2, "kl_schedule": "constant"},
    {"lr": 3e-3, "beta": 4.0, "free_bits": 0.4, "temperature": 0.6, "clip": 1.0, "kl_schedule": "linear", "kl_warmup": 0.4},
    {"lr": 2e-3, "beta": 0.2, "free_bits": 2.0, "temperature": 1.1, "l1": 0.05, "schedule": "cosine", "lr_floor": 0.1,
     "kl_schedule": "cyclical", "kl_warmup": 0.5, "kl_cycles": 3},
)  # fmt: skip
CASES: Mapping[str, Mapping[str, Any]] = {
    **{
        f"{likelihood}, {network}": {"likelihood": likelihood, "network": network} for likelihood, network in STRUCTURES
    },
    "rmsprop": {"optimizer": "rmsprop", "likelihood": "gaussian"},
    "sgd": {"optimizer": "sgd"},
    "average": {"ema": 0.9, "likelihood": "logistic"},
    "deep": {"depth": 3, "norm": "layer", "activation": "gelu"},
    "deep convolutions": {"network": "conv", "depth": 2, "norm": "layer", "activation": "silu", "ema": 0.9},
    "leaky relu": {"activation": "leaky_relu"},
}


@pytest.fixture(scope="module", autouse=True)
def double() -> Iterator[None]:
    with precision(torch.float64):
        yield


@pytest.fixture(scope="module")
def data() -> ImageData:
    """90 grey images of 8×8 pixels, all different."""
    rng = torch.Generator().manual_seed(0)
    part = Images(torch.randint(0, 256, (90, *SPEC.image), dtype=torch.uint8, generator=rng))
    return ImageData("noise", part, part, part, (), "test")


@pytest.fixture
def run(data: ImageData) -> Run:
    return Run(
        until_steps=6,
        full_steps=6,
        report_every=2,
        samples_at={3: 2, 6: 2},
        scored_at=frozenset((4, 6)),
        sample_seed=4,
        data=data,
    )


def members(case: str) -> list[Config]:
    """Three configs of a structure that differ in numbers."""
    values = CASES[case]
    base = config_of(**values)
    ema = [{"ema": e} for e in (0.9, 0.99, 0.6)] if base["ema"] else [{}] * 3
    return [base.with_(**numbers, **average) for numbers, average in zip(NUMBERS, ema, strict=True)]


def last(config: Config, run: Run) -> Report:
    *_, report = train(FAMILY, config, run)
    return report


def weights_of(report: Report) -> Mapping[str, Tensor]:
    return state_of(report)["model"]


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 7, 0)], ids=["shared", "partly shared"])
@pytest.mark.parametrize("case", CASES)
def test_every_member_is_what_it_would_be_alone(case: str, seeds: Sequence[int], run: Run) -> None:
    configs = members(case)
    space = SPACES[str(configs[0]["network"])]
    assert len({structure(space, config, FAMILY.fusible) for config in configs}) == 1
    tasks = tasks_of(configs, run, seeds)
    found = as_one(tasks, family=FAMILY)
    assert_equal_serial(tasks, found, FAMILY)
    for reports in found.values():
        scored = {report.step: report for report, _ in reports}
        assert set(scored[4].scores) == set(scored[6].scores) == set(FAMILY.measures)
        assert set(scored[6].exhibits) == {"reconstructions", "walk"}


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler: none as $CXX or g++")
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("case", ["logistic, mlp", "average", "bernoulli, conv"])
def test_a_compiled_step_is_the_eager_one(case: str, run: Run) -> None:
    torch._dynamo.reset()
    tasks = tasks_of(members(case), replace(run, samples_at={}, scored_at=frozenset()))
    assert_equal_serial(tasks, as_one(tasks, family=FAMILY, programs={}), FAMILY)


@pytest.mark.parametrize("case", CASES)
def test_nothing_stands_in_the_way_of_training_many_at_once(case: str) -> None:
    assert why_not_fused(FAMILY, members(case)[0], SPEC) == ""


@pytest.mark.parametrize("case", ["average", "deep convolutions"])
def test_a_paused_training_goes_on_as_if_it_had_not_been(case: str, run: Run) -> None:
    config = members(case)[2]
    whole = last(config, run)
    first = last(config, replace(run, until_steps=3))
    second = last(config, replace(run, start_steps=3, state=state_of(first)))
    assert same(second, whole)
    assert same(state_of(second), state_of(whole))


EFFECTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "likelihood": ({}, {"likelihood": "gaussian"}),
    "the other likelihood": ({"likelihood": "gaussian"}, {"likelihood": "logistic"}),
    "beta": ({}, {"beta": 2.0}),
    "kl_schedule": ({}, {"kl_schedule": "linear"}),
    "kl_warmup": ({"kl_schedule": "linear"}, {"kl_schedule": "linear", "kl_warmup": 0.8}),
    "kl_cycles": ({"kl_schedule": "cyclical"}, {"kl_schedule": "cyclical", "kl_cycles": 2}),
    "free_bits": ({}, {"free_bits": 0.5}),
    "latent_dim": ({}, {"latent_dim": 7}),
    "width": ({}, {"width": 12}),
    "depth": ({}, {"depth": 2}),
    "depth of convolutions": ({"network": "conv"}, {"network": "conv", "depth": 2}),
    "norm": ({}, {"norm": "layer"}),
    "activation": ({}, {"activation": "silu"}),
    "batch_size": ({}, {"batch_size": 8}),
    "optimizer": ({}, {"optimizer": "rmsprop"}),
    "lr": ({}, {"lr": 2e-3}),
    "beta1": ({}, {"beta1": 0.5}),
    "beta2": ({}, {"beta2": 0.95}),
    "momentum": ({"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.5}),
    "weight_decay": ({}, {"weight_decay": 0.1}),
    "l1": ({}, {"l1": 0.1}),
    "clip": ({}, {"clip": 1.0}),
    "schedule": ({}, {"schedule": "cosine"}),
    "warmup": ({}, {"warmup": 0.1}),
    "decay": ({"schedule": "wsd"}, {"schedule": "wsd", "decay": 0.5}),
    "lr_floor": ({"schedule": "cosine"}, {"schedule": "cosine", "lr_floor": 0.5}),
    "step_factor": ({"schedule": "step"}, {"schedule": "step", "step_factor": 0.6}),
    "step_count": ({"schedule": "step"}, {"schedule": "step", "step_count": 1}),
    "cycles": ({"schedule": "cyclical"}, {"schedule": "cyclical", "cycles": 2}),
    "ema": ({}, {"ema": 0.9}),
    "temperature": ({}, {"temperature": 0.7}),
}
SAMPLES_ALONE = ("ema", "temperature")


@pytest.mark.parametrize("name", EFFECTS)
def test_every_hyperparameter_changes_what_is_learnt_or_drawn(name: str, run: Run) -> None:
    sizes = ("latent_dim", "width", "batch_size")
    configs = [
        config_of(**{k: v for k, v in values.items() if k not in sizes}).with_(
            **{k: v for k, v in values.items() if k in sizes}
        )
        for values in EFFECTS[name]
    ]
    a, b = (last(config, replace(run, until_steps=12, full_steps=12, samples_at={12: 4})) for config in configs)
    assert a.samples is not None
    assert b.samples is not None
    assert not torch.equal(a.samples, b.samples)
    shared = [n for n, t in weights_of(a).items() if n in weights_of(b) and t.shape == weights_of(b)[n].shape]
    changed = any(not torch.equal(weights_of(a)[n], weights_of(b)[n]) for n in shared)
    assert changed == (name not in SAMPLES_ALONE)


def test_the_effects_cover_the_space() -> None:
    changed = {key for before, after in EFFECTS.values() for key in after if before.get(key) != after[key]}
    for space in SPACES.values():  # what a training ends with has its own tests, where looks are
        assert {param.name for param in space} - changed == {"network", "keep", "patience"}


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "logistic"])
def test_a_few_seconds_of_digits_find_latents_that_say_something(likelihood: str) -> None:
    from maestune.data import load_images

    digits = load_images("digits")
    with precision(torch.float32):
        config = FAMILY.space(digits.spec).complete({"likelihood": likelihood, "width": 100, "batch_size": 64})
        run = Run(until_steps=400, full_steps=400, scored_at=frozenset((1, 400)), data=digits)
        reports = {report.step: report for report in train(FAMILY, config, run)}
    before, after = reports[1].scores, reports[400].scores
    assert after["elbo_nats"] < 0.9 * before["elbo_nats"]
    assert after["iwae_nats"] <= after["elbo_nats"]
    assert after["active_units"] >= 3
    assert after["kl_nats"] > 1.0
