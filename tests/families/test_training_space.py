"""The parameters that every family's training has: what the trainer reads, and nothing that it cannot use."""

from __future__ import annotations

import numpy as np
import pytest

from maestune.errors import SpaceError
from maestune.families import training_space as ts
from maestune.space import Fusible, Prior, Role, Space, structure
from maestune.training.early_stopping import early_stopping_of
from maestune.training.optimisers import OPTIMISERS, numbers_of, optimiser_of
from maestune.training.schedules import SCHEDULES, schedule_of
from maestune.types import Config, Objective

SPACE = Space(
    (
        *ts.optimiser(Prior(2e-4, "medium", "somebody")),
        *ts.batch_size(),
        *ts.regularisation(),
        *ts.schedule(),
        *ts.ema(),
        *ts.ending(),
    )
)
FUSIBLE = Fusible(ts.NUMBERS, ts.SWITCHES)


def drawn(space: Space, n: int = 200) -> list[Config]:
    rng = np.random.default_rng(0)
    return [space.check(space.decode({p.name: float(rng.random()) for p in space})) for _ in range(n)]


def test_every_config_can_be_trained() -> None:
    kinds: set[tuple[str, str]] = set()
    for config in drawn(SPACE):
        numbers_of(config, optimiser_of(config))
        schedule = schedule_of(config)
        assert schedule is None or 0 <= schedule(0.5) <= 1
        early_stopping_of(config, Objective("fd"))
        kinds.add((config.text("optimizer"), config.text("schedule")))
    assert kinds == {(optimizer, schedule) for optimizer in OPTIMISERS for schedule in SCHEDULES}


def test_everything_the_trainer_reads_is_there() -> None:
    read = {name for optimiser in OPTIMISERS.values() for name in optimiser.numbers}
    read |= {name for _, names in SCHEDULES.values() for name in names.values()}
    read |= {"optimizer", "lr", "batch_size", "ema", "schedule", "warmup", "keep", "patience"}
    assert {param.name for param in SPACE} == read


def test_what_changes_code_or_shapes_is_structure_and_the_rest_is_not() -> None:
    assert {p.name for p in SPACE} - ts.NUMBERS - ts.SWITCHES == {"optimizer", "batch_size"}
    for config in drawn(SPACE, 50):
        shared = structure(SPACE, config, FUSIBLE)
        assert dict(shared) == {
            "optimizer": config["optimizer"],
            "batch_size": config["batch_size"],
            "ema": config.number("ema") > 0,
        }


def test_without_being_asked_nothing_is_done_but_adam() -> None:
    centre = SPACE.centre()
    assert (centre["optimizer"], centre["lr"], centre["schedule"]) == ("adam", 2e-4, "constant")
    assert [centre[name] for name in ("weight_decay", "l1", "clip", "warmup", "ema", "patience")] == [0] * 6
    assert schedule_of(centre) is None
    assert early_stopping_of(centre, Objective("fd")) is None


def test_every_belief_has_a_source() -> None:
    for param in SPACE:
        assert param.prior is not None, param.name
        assert param.prior.citation, param.name
        assert param.role in (Role.OPTIMIZER, Role.REGULARISATION, Role.SAMPLING), param.name


def test_a_family_says_where_the_centre_is() -> None:
    space = Space(
        (
            *ts.optimiser(Prior(1e-3), kinds=("adam",), beta2=Prior(0.99), beta2_range=(0.9, 0.999)),
            *ts.regularisation(Prior(0.1), clip=Prior(1.0), weight_decay_range=(1e-3, 1.0)),
            *ts.schedule(Prior("cosine"), kinds=("constant", "cosine"), warmup=Prior(0.02)),
            *ts.ema(Prior(0.999)),
            *ts.batch_size(Prior(12), (8, 12, 24), "windows"),
        )
    )
    centre = space.centre()
    given = {"lr": 1e-3, "beta2": 0.99, "weight_decay": 0.1, "clip": 1.0, "ema": 0.999, "batch_size": 12}
    assert {name: centre[name] for name in given} == given
    schedule = schedule_of(centre)
    assert schedule is not None
    assert schedule(0.01) == pytest.approx(0.5)
    assert schedule(1.0) == pytest.approx(0.1)


def test_what_no_choice_can_activate_is_left_out() -> None:
    names = [p.name for p in (*ts.optimiser(Prior(1e-3), kinds=("adam",)), *ts.schedule(kinds=("constant", "cosine")))]
    assert names == ["optimizer", "lr", "beta1", "beta2", "schedule", "warmup", "lr_floor"]
    (momentum,) = (p for p in ts.optimiser(Prior(1e-3), kinds=("adam", "sgd")) if p.name == "momentum")
    assert momentum.when == {"optimizer": ("sgd",)}


def test_a_centre_outside_its_range_is_refused() -> None:
    with pytest.raises(SpaceError, match="clip: prior centre 50 is outside"):
        ts.regularisation(clip=Prior(50.0))
