from __future__ import annotations

import json
import math
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spaces import seeds, spaces

from maestune.errors import SpaceError
from maestune.space import Choice, Float, Int, Prior, Role, Space
from maestune.space.params import OFF_SHARE, PRIOR_MASS
from maestune.types import Config, Value


def nearly(one: Value, two: Value) -> bool:
    """Equal, up to the rounding of real numbers to six significant digits."""
    return math.isclose(one, two, rel_tol=1e-5) if isinstance(one, float) and isinstance(two, float) else one == two


# Laws


@given(space=spaces(), seed=seeds)
def test_what_is_drawn_is_a_point_and_survives_the_unit_cube(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for config in (space.sample(rng), space.sample_prior(rng), space.centre()):
        assert space.check(config) == config
        decoded = space.decode(dict.fromkeys((p.name for p in space), 0.5) | space.encode(config))
        assert list(decoded) == list(config)
        assert all(nearly(decoded[name], config[name]) for name in config)
        assert all(0 <= u <= 1 for u in space.encode(config).values())


@given(space=spaces(), seed=seeds)
def test_mutations_are_points_and_close_to_their_parent(space: Space, seed: int) -> None:
    rng = np.random.default_rng(seed)
    config = space.sample(rng)
    for _ in range(5):
        child = space.mutate(config, rng)
        assert space.check(child) == child
        config = child


@given(space=spaces(), seed=seeds)
def test_exactly_the_active_parameters_have_values_in_the_order_of_the_space(space: Space, seed: int) -> None:
    config = space.sample(np.random.default_rng(seed))
    active = [p.name for p in space if all(config.get(k) in allowed for k, allowed in p.when.items())]
    assert list(config) == active


@given(space=spaces(), seed=seeds)
def test_same_generator_same_configs(space: Space, seed: int) -> None:
    def draw() -> list[Config]:
        rng = np.random.default_rng(seed)
        config = space.sample(rng)
        return [config, space.sample_prior(rng), space.mutate(config, rng)]

    assert draw() == draw()


@given(space=spaces())
def test_plain_data_and_back_is_the_identity(space: Space) -> None:
    again = Space.from_dict(space.to_dict())
    assert again == space
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space


@given(space=spaces(), seed=seeds, data=st.data())
def test_completing_keeps_what_is_given(space: Space, seed: int, data: st.DataObject) -> None:
    config = space.sample(np.random.default_rng(seed))
    assert space.complete(config) == config
    assert space.complete({}) == space.centre()
    kept = data.draw(st.sets(st.sampled_from(list(config))))
    completed = space.complete({name: config[name] for name in kept})
    assert space.check(completed) == completed
    assert all(completed[name] == config[name] for name in kept if name in completed)


@given(space=spaces(), seed=seeds, data=st.data())
def test_fixing_a_parameter(space: Space, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    config = space.sample(rng)
    name = data.draw(st.sampled_from(list(config)))
    fixed = space.fix(name, config[name])
    assert name not in [p.name for p in fixed.varying]
    assert [p.name for p in fixed] == [p.name for p in space]
    for drawn in (fixed.sample(rng), fixed.sample_prior(rng), fixed.centre()):
        assert fixed.check(drawn) == drawn
        assert drawn.get(name, config[name]) == config[name]
        assert space.check(drawn) == drawn  # a fixed space is a part of the space


@given(space=spaces(), seed=seeds, ends=st.tuples(st.floats(0, 1), st.floats(0, 1)), data=st.data())
def test_restricting_a_parameter(space: Space, seed: int, ends: tuple[float, float], data: st.DataObject) -> None:
    numbers = [p for p in space if isinstance(p, Float | Int) or p.ordered]
    if not numbers:
        return
    param = data.draw(st.sampled_from(numbers))
    line = replace(param, off=None, prior=None) if isinstance(param, Float) else param
    low, high = sorted(line.from_unit(u) for u in ends)
    if isinstance(param, Float) and low == high:
        return
    narrow = space.restrict(param.name, low, high)
    rng = np.random.default_rng(seed)
    for config in (narrow.sample(rng), narrow.sample_prior(rng), narrow.centre()):
        assert narrow.check(config) == config
        assert space.check(config) == config
        if param.name in config:
            value = config[param.name]
            assert low <= value <= high or (isinstance(param, Float) and value == param.off)  # type: ignore[operator]


# Examples


GAN = Space(
    (
        Float("lr", 1e-5, 1e-2, scale="log", prior=Prior(2e-4, "high", "Radford et al. 2016")),
        Choice("optimizer", ("adam", "sgd"), role=Role.OPTIMIZER, prior=Prior("adam", "high")),
        Float("beta1", 0.01, 0.95, off=0.0, when={"optimizer": ("adam",)}, prior=Prior(0.5)),
        Float("momentum", 0.1, 0.99, when={"optimizer": ("sgd",)}),
        Int("depth", 1, 5),
        Choice("batch_size", (16, 32, 64, 128), ordered=True, prior=Prior(64)),
        Float("deeper", 0.0, 1.0, when={"beta1": (0.0,)}),
    )
)


def test_centre_is_the_recipe() -> None:
    assert dict(GAN.centre()) == {"lr": 2e-4, "optimizer": "adam", "beta1": 0.5, "depth": 3, "batch_size": 64}


def test_conditions_reach_through_inactive_parents() -> None:
    adam = GAN.complete({"beta1": 0.0})
    assert "deeper" in adam
    assert "momentum" not in adam
    sgd = GAN.complete({"optimizer": "sgd", "beta1": 0.0})
    assert "beta1" not in sgd
    assert "deeper" not in sgd
    assert sgd["momentum"] == pytest.approx(0.545)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lrr": 1.0}, r"Unknown parameter 'lrr'\. Did you mean lr"),
        ({"lr": 1e-3}, r"optimizer: missing from the config; it needs a value"),
        (
            {**GAN.centre(), "momentum": 0.5},
            r"momentum: given although it is only used with optimizer in \{sgd\}; leave it out",
        ),
        ({**GAN.centre(), "lr": 3.0}, r"lr: value 3 is outside 1e-05:0\.01.*--range lr=1e-05:3"),
        ({**GAN.centre(), "optimizer": "adm"}, r"optimizer: value 'adm' .*Did you mean adam"),
    ],
)
def test_configs_that_are_no_point(config: dict[str, Value], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        GAN.check(config)


def test_check_casts_and_orders() -> None:
    config = GAN.check({"batch_size": 32.0, "depth": 2.0, "lr": 0.001, "beta1": 0, "optimizer": "adam", "deeper": 1})
    assert repr(dict(config)) == repr(
        {"lr": 0.001, "optimizer": "adam", "beta1": 0.0, "depth": 2, "batch_size": 32, "deeper": 1.0}
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Space(()), r"no parameter, so there is nothing to tune; give at least one"),
        (lambda: Space((Int("n", 1, 2), Int("n", 1, 3))), r"n: defined twice; parameter names must differ"),
        (
            lambda: Space((Int("n", 1, 2, when={"m": (1,)}),)),
            r"n: its condition names 'm', which does not come before it",
        ),
        (
            lambda: Space((Choice("loss", ("a", "b")), Int("n", 1, 2, when={"los": ("a",)}))),
            r"n: its condition names 'los'.*Did you mean loss",
        ),
        (
            lambda: Space((Choice("loss", ("a", "b")), Int("n", 1, 2, when={"loss": ()}))),
            r"n: its condition on 'loss' allows no value, so it is never active; name some",
        ),
        (
            lambda: Space((Choice("loss", ("wgan", "an")), Int("n", 1, 2, when={"loss": "wgan"}))),  # type: ignore[dict-item]
            r"n: its condition on 'loss' is 'wgan'; a tuple is needed, such as \('wgan',\)",
        ),
    ],
)
def test_spaces_that_cannot_be(make, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


def test_fix_takes_numbers_outside_the_range_but_no_other_kind() -> None:
    assert GAN.fix("lr", 1.0).centre()["lr"] == 1.0
    assert repr(GAN.fix("depth", 9.0).centre()["depth"]) == "9"
    assert repr(GAN.fix("beta1", 0).centre()["beta1"]) == "0.0"
    assert "beta1" not in GAN.fix("optimizer", "sgd").centre()
    assert "momentum" not in GAN.fix("momentum", 0.9).centre()
    for name, value, message in (
        ("lr", "fast", r"lr: 'fast' is not a finite number; give one, such as 1e-05"),
        ("lr", math.nan, r"lr: nan is not a finite number"),
        ("lr", True, r"lr: True is not a finite number"),
        ("depth", 2.5, r"depth: 2\.5 is not a whole number; give one, such as 2"),
        ("optimizer", "adma", r"optimizer: value 'adma' is none of its choices \(adam, sgd\)\. Did you mean adam"),
        ("dpeth", 2, r"Unknown parameter 'dpeth'\. Did you mean depth"),
    ):
        with pytest.raises(SpaceError, match=message):
            GAN.fix(name, value)


def test_restrict_moves_the_prior_to_the_nearest_bound_and_keeps_off() -> None:
    assert GAN.restrict("lr", 1e-3, 1e-2).centre()["lr"] == 1e-3
    assert GAN.restrict("lr", 1e-5, 1e-4).centre()["lr"] == 1e-4
    assert GAN.restrict("lr", 1e-4, 1.0).centre()["lr"] == 2e-4
    assert GAN.restrict("batch_size", 8, 40)["batch_size"].prior == Prior(32)
    assert GAN.restrict("depth", 2, 2).centre()["depth"] == 2
    off = Space((Float("d", 0.1, 0.5, off=0.0, prior=Prior(0.0)),)).restrict("d", 0.2, 0.3)
    assert off.centre()["d"] == 0.0


@pytest.mark.parametrize(
    ("name", "low", "high", "message"),
    [
        ("lr", 1e-2, 1e-4, r"lr: range 0\.01:0\.0001 is upside down; .*Use 0\.0001:0\.01"),
        ("depth", 4, 2, r"depth: range 4:2 is upside down; .*Use 2:4"),
        ("batch_size", 64, 32, r"batch_size: range 64:32 is upside down; .*Use 32:64"),
        ("lr", 1e-3, 1e-3, r"lr: range 0\.001:0\.001 is upside down or empty.*--set lr=0\.001"),
        ("lr", 0, 1e-3, r"lr: low is 0 on a log scale; it must be above 0"),
        ("lr", math.nan, 1, r"lr: range nan:1 has a bound that is not a finite number"),
        ("depth", 1, math.inf, r"depth: range 1:inf has a bound that is not a finite number"),
        ("depth", 1.5, 3, r"depth: range 1\.5:3 must have whole numbers for bounds"),
        ("beta1", 0.0, 0.5, r"beta1: the off value 0 lies inside the range 0:0\.5"),
        ("batch_size", 65, 127, r"batch_size: a range 65:127 cannot be used; it is a choice of 16, 32, 64, 128"),
        ("optimizer", 0, 1, r"optimizer: a range 0:1 cannot be used; it is a choice of adam, sgd\. .*--set optimizer="),
        ("lrr", 0, 1, r"Unknown parameter 'lrr'\. Did you mean lr"),
    ],
)
def test_ranges_that_cannot_be(name: str, low: float, high: float, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        GAN.restrict(name, low, high)


TOML = """
[lr]
type = "float"
low = 1e-5
high = 1e-2
scale = "log"
prior = { centre = 2e-4, confidence = "high", citation = "Radford et al. 2016" }

[loss]
type = "choice"
values = ["ns", "hinge"]
role = "loss"

[margin]
type = "float"
low = 0.5
high = 2
when = { loss = "hinge" }
"""


def test_a_space_as_a_person_writes_it() -> None:
    space = Space.from_dict(tomllib.loads(TOML))
    assert space["lr"].prior == Prior(2e-4, "high", "Radford et al. 2016")
    assert space["loss"].role is Role.LOSS
    assert "margin" not in space.centre()
    assert space.complete({"loss": "hinge"})["margin"] == 1.25


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("float", r"x: its definition is 'float'; a table \(key = value\) is needed"),
        ({}, r"x: type 'None' is not known; use float, int or choice"),
        ({"type": "real"}, r"x: type 'real' is not known; use float, int or choice"),
        ({"type": ["int"]}, r"x: type .* is not known"),
        ({"type": "float", "low": 0}, r"x: incomplete definition of a float: .*high"),
        (
            {"type": "float", "low": 0, "high": 1, "scal": "log"},
            r"x: unknown key 'scal' of a float\. Did you mean scale",
        ),
        ({"type": "float", "low": "0", "high": 1}, r"x: low is '0'; a finite number is needed"),
        ({"type": "int", "low": 0.5, "high": 1}, r"x: low is 0\.5; a whole number is needed"),
        (
            {"type": "float", "low": 0, "high": 1, "role": "optimiser"},
            r"x: unknown role 'optimiser'\. Did you mean optimizer",
        ),
        ({"type": "float", "low": 0, "high": 1, "prior": 0.5}, r"x: its prior is 0\.5; a table"),
        (
            {"type": "float", "low": 0, "high": 1, "prior": {}},
            r"x: a prior is \{centre, confidence, citation, steps, practice\}; got \[\]",
        ),
        (
            {"type": "float", "low": 0, "high": 1, "prior": {"centre": 0.5, "sure": 1}},
            r"x: a prior is .* got \['centre', 'sure'\]",
        ),
        (
            {"type": "float", "low": 0, "high": 1, "prior": {"centre": 0.5, "confidence": "very"}},
            r"x: prior confidence 'very' is none of low, medium, high",
        ),
        ({"type": "choice", "values": "hinge"}, r"x: the choices are 'hinge'; a tuple or list is needed"),
        ({"type": "choice", "values": [[1]]}, r"x: the choice \[1\] is neither text, number nor true/false"),
        ({"type": "int", "low": 1, "high": 2, "when": "loss"}, r"x: its when is 'loss'; a table"),
    ],
)
def test_plain_data_that_is_no_space(definition, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Space.from_dict({"x": definition})


# Distributions


def test_priors_attract_what_is_drawn_from_them() -> None:
    rng = np.random.default_rng(0)
    drawn = [GAN.sample_prior(rng) for _ in range(2000)]
    uniform = [GAN.sample(rng) for _ in range(2000)]
    assert np.mean([c["optimizer"] == "adam" for c in drawn]) == pytest.approx(0.8 + 0.2 / 2, abs=0.03)
    assert np.mean([c["optimizer"] == "adam" for c in uniform]) == pytest.approx(0.5, abs=0.04)
    positions = np.array([GAN["lr"].to_unit(c["lr"]) for c in drawn])
    assert positions.mean() == pytest.approx(GAN["lr"].to_unit(2e-4), abs=0.01)
    assert positions.std() == pytest.approx(0.08, abs=0.01)


@pytest.mark.parametrize("confidence", ["low", "high"])
def test_what_is_off_is_drawn_off_as_often_as_its_confidence_says(confidence) -> None:
    space = Space((Float("d", 0.1, 0.5, off=0.0, prior=Prior(0.0, confidence)),))
    drawn = [space.sample_prior(np.random.default_rng(i))["d"] for i in range(2000)]
    mass = PRIOR_MASS[confidence]
    assert np.mean([v == 0.0 for v in drawn]) == pytest.approx(mass + (1 - mass) * OFF_SHARE, abs=0.04)


def test_a_choice_is_drawn_as_its_prior_says() -> None:
    space = Space((Choice("c", ("x", "y", "z"), prior=Prior("y", "medium")),))
    drawn = [space.sample_prior(np.random.default_rng(i))["c"] for i in range(3000)]
    mass = PRIOR_MASS["medium"]
    assert np.mean([c == "y" for c in drawn]) == pytest.approx(mass + (1 - mass) / 3, abs=0.03)


@pytest.mark.parametrize("prior", [None, Prior("x", "high")])
def test_a_moved_choice_becomes_another_or_what_its_prior_says(prior: Prior | None) -> None:
    space, rng = Space((Choice("c", ("x", "y", "z"), prior=prior),)), np.random.default_rng(1)
    others = np.mean([space.mutate({"c": "x"}, rng)["c"] != "x" for _ in range(3000)])
    expected = 1.0 if prior is None else (1 - PRIOR_MASS["high"]) * 2 / 3
    assert others == pytest.approx(0.5 * expected, abs=0.03)


def test_mutation_moves_about_half_of_the_values_and_not_far() -> None:
    rng = np.random.default_rng(1)
    config = GAN.centre()
    children = [GAN.mutate(config, rng, spread=0.05) for _ in range(2000)]
    assert np.mean([c["lr"] == config["lr"] for c in children]) == pytest.approx(0.5, abs=0.04)
    distance = np.array([GAN["lr"].to_unit(c["lr"]) - GAN["lr"].to_unit(config["lr"]) for c in children])
    assert np.abs(distance).max() < 0.3
    assert all("momentum" in c for c in children if c["optimizer"] == "sgd")


def test_space_behaves_as_a_collection() -> None:
    assert len(GAN) == 7
    assert [p.name for p in GAN][:2] == ["lr", "optimizer"]
    assert GAN["depth"] == Int("depth", 1, 5)
    assert [p.name for p in GAN.fix("depth", 3).varying] == [p.name for p in GAN if p.name != "depth"]
