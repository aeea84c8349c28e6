"""Every family's losses can be played from a tape, and training with tapes is training without, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from members import as_one, config_of, same, serially, tasks_of
from test_fused import GAMES, OTHERS
from test_fused_gan import STRUCTURES

from maestune.data import Data, ImageData
from maestune.families.base import Family
from maestune.families.flow import Flow
from maestune.families.gan import GAN
from maestune.families.lm import LM
from maestune.families.vae import VAE
from maestune.testing.family import image_data, text_data
from maestune.training import Run, fused, loop
from maestune.training.replay import Replay
from maestune.types import Config

FAMILIES: Sequence[Family] = (GAN(), VAE(), LM(), Flow())


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[Replay]:
    """All tapes that are made."""
    made: list[Replay] = []

    class Noted(Replay):
        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__(function)
            made.append(self)

    for module in (loop, fused):
        monkeypatch.setattr(module, "Replay", Noted)
    return made


def without_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    class Called:
        def __init__(self, function: Callable[..., Any]) -> None:
            self._function = function

        def __call__(self, *groups: Any) -> Any:
            return self._function(*groups)

    monkeypatch.setattr(loop, "Replay", Called)


def data_for(family: Family) -> Data:
    return text_data() if family.modality == "text" else image_data()


def run_of(data: Data) -> Run:
    # Three calls of most kinds of step: with and without the generator, with and without a lazy penalty.
    return Run(until_steps=26, full_steps=40, report_every=13, samples_at={}, sample_seed=0, data=data)


def check(family: Family, config: Config, run: Run, replays: list[Replay], monkeypatch: pytest.MonkeyPatch) -> None:
    task, *_ = tasks = tasks_of([config, config.with_(lr=config.number("lr") / 2)], run, (0, 0))
    played = serially(task, family)
    assert any(replay.active for replay in replays)
    assert not any(replay.unsupported for replay in replays)
    replays.clear()
    as_one(tasks, family=family)
    assert any(replay.active for replay in replays)
    assert not any(replay.unsupported for replay in replays)
    without_replay(monkeypatch)
    assert same(played, serially(task, family))


SMALL = {"lr": 1e-4, "patience": 0, "width": 16, "heads": 2, "context": 8, "batch_size": 8}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_any_config(family: Family, seed: int, replays: list[Replay], monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_for(family)
    space = family.space(data.spec)
    config = space.sample(np.random.default_rng(seed)) if seed else space.centre()
    small = {name: value for name, value in SMALL.items() if name in config}
    check(family, config.with_(**small), run_of(data), replays, monkeypatch)


LOSSES = {**GAMES, **{name: OTHERS[name] for name in ("rmsprop", "dropout", "average", "two critics")}, **STRUCTURES}


@pytest.mark.parametrize("name", [name for name, values in LOSSES.items() if values.get("network") != "conv"])
def test_every_loss_of_the_gan(name: str, replays: list[Replay], monkeypatch: pytest.MonkeyPatch) -> None:
    data = image_data()
    assert isinstance(data, ImageData)
    family = GAN()
    values = dict(LOSSES[name])
    config = family.space(data.spec, "mlp").complete(values)
    small = {"width": 8, "latent_dim": 5, "batch_size": config_of().number("batch_size")}
    check(family, config.with_(**small), run_of(data), replays, monkeypatch)
