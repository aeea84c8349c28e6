"""The flow as a family: its space, its player, numbers, samples, scores and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from maestune.data import DataSpec
from maestune.errors import SettingsError, SpaceError
from maestune.families.base import Noise, drawer
from maestune.families.flow import Flow, family
from maestune.families.flow.losses import velocity_error
from maestune.families.flow.networks import FlowModel
from maestune.families.flow.space import RECIPE, patches
from maestune.families.fusing import FunctionModule, why_not_fused
from maestune.space import Choice, Role, structure
from maestune.types import Config

FAMILY = Flow()
PLAIN = DataSpec((1, 8, 8))
LABELLED = DataSpec((1, 8, 8), 10)
CAPTIONED = DataSpec((1, 8, 8), 10, 12, 5)
SPECS = {"plain": PLAIN, "labels": LABELLED, "captions": CAPTIONED}
CAPTIONS = torch.tensor([[3, 4, 0, 0, 0], [5, 6, 7, 8, 9], [2, 0, 0, 0, 0], [1, 11, 10, 0, 0], [4, 3, 0, 0, 0]])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def names(spec: DataSpec, network: str = "dit") -> set[str]:
    return {param.name for param in FAMILY.space(spec, network)}


def config_of(spec: DataSpec = CAPTIONED, network: str = "dit", **values: Any) -> Config:
    """A config of tiny networks; they are below the space's, so they are put in afterwards."""
    tiny = {"width": 16, "batch_size": 5} | ({"text_width": 8} if spec.words else {})
    chosen = {"time_sampling": values.get("time_sampling", "uniform")}  # what others depend on
    return FAMILY.space(spec, network).complete(chosen).with_(**{**tiny, **values})


@torch.no_grad()
def stirred(model: FlowModel, seed: int = 7) -> FlowModel:
    """Every weight a random number, the average's as well: nothing hides behind a weight that begins at 0."""
    generator = rng(seed)
    for parameter in model.parameters():
        parameter.normal_(0.0, 0.3, generator=generator)
    return model


def batch_of(spec: DataSpec, n: int = 5) -> dict[str, Tensor]:
    batch = {"image": torch.rand(n, *spec.image, generator=rng(1)) * 2 - 1}
    if spec.classes:
        batch["label"] = torch.arange(n) % spec.classes
    if spec.words:
        batch["caption"] = CAPTIONS[torch.arange(n) % 5]
    return batch


def loss_of(model: nn.Module, config: Config, spec: DataSpec) -> Tensor:
    (player,) = FAMILY.players(config, spec)
    return player.loss(model, batch_of(spec), FAMILY.hyper(config, 0.5), drawer(player.noise)(rng(2)))


def sample_inputs(config: Config, spec: DataSpec, n: int) -> Noise:
    asked = {name: tensor for name, tensor in batch_of(spec, n).items() if name != "image"}
    return {**drawer(FAMILY.latents(config, spec, n))(rng(3)), **asked}


def generated(model: nn.Module, config: Config, spec: DataSpec = CAPTIONED, n: int = 5) -> Tensor:
    return FAMILY.generate(model, FAMILY.hyper(config, 1.0), sample_inputs(config, spec, n))


def model_of(spec: DataSpec = CAPTIONED, network: str = "dit", **values: Any) -> tuple[FlowModel, Config]:
    config = config_of(spec, network, **values)
    return stirred(FAMILY.build(config, spec, rng())), config


# Space ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("network", ["dit", "unet"])
def test_the_centre_of_the_space_is_the_recipe(spec: DataSpec, network: str) -> None:
    space = FAMILY.space(spec, network)
    centre, settings = space.centre(), RECIPE.settings
    known = {name: value for name, value in settings.items() if name in names(spec, network)}
    assert {name: centre[name] for name in known} == known
    assert set(settings) - set(known) == (set() if spec.classes else {"condition_dropout", "guidance"})
    assert type(space).from_dict(space.to_dict()) == space
    for param in space:
        assert isinstance(param.role, Role)
        if not (isinstance(param, Choice) and len(param.values) == 1):
            assert param.prior is not None, param.name
            assert param.prior.citation, param.name


def test_parameters_are_there_where_they_do_something() -> None:
    assert not {"guidance", "condition_dropout"} & names(PLAIN)
    assert {"guidance", "condition_dropout"} <= names(LABELLED)
    assert names(CAPTIONED) - names(LABELLED) == {"text_width", "text_depth", "caption_use"}
    assert names(PLAIN, "dit") - names(PLAIN, "unet") == {"patch"}
    assert "time_mean" in FAMILY.space(PLAIN).complete({"time_sampling": "logit_normal"})
    assert "time_mean" not in FAMILY.space(PLAIN).complete({"time_sampling": "uniform"})


def test_the_network_follows_the_size_unless_it_is_chosen() -> None:
    assert FAMILY.space(DataSpec((1, 16, 16))).centre()["network"] == "dit"
    assert FAMILY.space(DataSpec((1, 28, 28))).centre()["network"] == "unet"
    assert FAMILY.space(DataSpec((1, 28, 28)), "dit").centre()["patch"] == 4
    with pytest.raises(SpaceError, match=r"'unot'.*unet"):
        FAMILY.space(PLAIN, "unot")


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (1, 7, 5), (1, 13, 13), (3, 64, 64), (1, 31, 31)])
def test_patches_divide_the_image(shape: tuple[int, int, int]) -> None:
    found = patches(DataSpec(shape))
    assert found
    assert all(shape[1] % p == 0 and shape[2] % p == 0 for p in found)
    assert FAMILY.space(DataSpec(shape), "dit").centre()["patch"] in found


def test_a_full_training_sees_the_data_at_least_once() -> None:
    assert FAMILY.full_steps(PLAIN, 1000) == 1500
    assert FAMILY.full_steps(DataSpec((1, 28, 28)), 1000) == 2000
    assert FAMILY.full_steps(PLAIN, 300_000) == math.ceil(300_000 / 64)
    assert FAMILY.full_steps(PLAIN, 10**8) == 10_000


def test_text_is_refused() -> None:
    with pytest.raises(SettingsError, match="images"):
        FAMILY.check(DataSpec(tokens=65))
    FAMILY.check(PLAIN)


def test_what_models_are_asked_by() -> None:
    asked = {name: FAMILY.build(config_of(spec), spec, rng()).asked_by for name, spec in SPECS.items()}
    assert asked == {"plain": "", "labels": "label", "captions": "caption"}
    assert [FAMILY.conditional(config_of(spec), spec) for spec in SPECS.values()] == [False, True, True]


@pytest.mark.parametrize("spec", [PLAIN, CAPTIONED, DataSpec((3, 12, 10), 4)])
@pytest.mark.parametrize("network", ["dit", "unet"])
def test_every_config_of_the_space_builds_plays_and_generates(spec: DataSpec, network: str) -> None:
    space, numbers = FAMILY.space(spec, network), np.random.default_rng(0)
    for i in range(8):
        config = space.sample(numbers).with_(batch_size=5, width=16, solver_steps=1)
        model = FAMILY.build(config, spec, rng(i))
        loss = loss_of(model, config, spec)
        assert loss.shape == (5,)
        assert torch.isfinite(loss).all(), dict(config)
        images = generated(stirred(model), config, spec, 3)
        assert images.shape == (3, *spec.image)
        assert float(images.abs().max()) <= 1.0


# What each parameter does ---------------------------------------------------------------------------------------------

ELSEWHERE: Mapping[str, Mapping[str, Any]] = {"time_mean": {"time_sampling": "logit_normal"}}
TO_LOSS = ("patch", "width", "depth", "heads", "text_width", "text_depth", "caption_use", "dropout", "time_sampling",
           "time_mean", "condition_dropout")  # fmt: skip
TO_SAMPLES = ("guidance", "solver", "solver_steps", "ema")
VALUES = {"patch": (2, 4), "width": (16, 32), "depth": (1, 2), "heads": (2, 4), "text_width": (8, 16),
          "text_depth": (0, 1), "caption_use": ("pooled", "attended"), "dropout": (0.1, 0.4), "time_mean": (0.0, 0.5),
          "time_sampling": ("uniform", "logit_normal"), "condition_dropout": (0.02, 0.3), "guidance": (1.0, 2.0),
          "solver": ("euler", "heun"), "solver_steps": (4, 8), "ema": (0.0, 0.99)}  # fmt: skip


@pytest.mark.parametrize("network", ["dit", "unet"])
@pytest.mark.parametrize("name", [*TO_LOSS, *TO_SAMPLES])
def test_every_parameter_has_an_effect(network: str, name: str) -> None:
    if name == "patch" and network == "unet":
        return
    results: list[Tensor] = []
    for value in VALUES[name]:
        model, config = model_of(CAPTIONED, network, **{**ELSEWHERE.get(name, {}), name: value})
        results.append(loss_of(model, config, CAPTIONED) if name in TO_LOSS else generated(model, config))
    assert float((results[0] - results[1]).detach().abs().max()) > 1e-4


def test_these_are_all_parameters_but_those_of_the_trainer() -> None:
    from maestune.families import training_space

    trainer = training_space.NUMBERS | {"optimizer", "batch_size", "network"}
    assert names(CAPTIONED) - trainer == {*TO_LOSS, *TO_SAMPLES}


# Player and samples ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_one_player_that_draws_what_it_needs(spec: DataSpec) -> None:
    (player,) = FAMILY.players(config_of(spec, depth=2, dropout=0.2, ema=0.9), spec)
    masks = {"mask_0", "mask_1"}
    assert set(player.noise) == {"noise", "time", *masks} | ({"drop"} if spec.classes else set())
    assert (player.name, player.every, player.rate, player.average) == ("network", 1, 1.0, "average")
    (plain,) = FAMILY.players(config_of(spec, dropout=0.0, ema=0.0), spec)
    assert not masks & set(plain.noise)
    assert plain.average == ""


def test_the_average_is_kept_where_it_is_asked_for_and_begins_equal() -> None:
    model = FAMILY.build(config_of(ema=0.9), CAPTIONED, rng())
    assert model.average is not None
    assert model.sampler is model.average
    assert not any(parameter.requires_grad for parameter in model.average.parameters())
    for one, other in zip(model.network.parameters(), model.average.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one is not other
    assert FAMILY.build(config_of(ema=0.0), CAPTIONED, rng()).average is None


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_sample_depends_on_its_own_latent_and_condition_alone(
    spec: DataSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, config = model_of(spec, guidance=2.0) if spec.classes else model_of(spec)
    noise, hyper = sample_inputs(config, spec, 5), FAMILY.hyper(config, 1.0)
    whole = FAMILY.generate(model, hyper, noise)
    monkeypatch.setattr(family, "CHUNK", 2)
    torch.testing.assert_close(FAMILY.generate(model, hyper, noise), whole, atol=1e-5, rtol=1e-5)
    one = FAMILY.generate(model, hyper, {name: tensor[3:4] for name, tensor in noise.items()})
    torch.testing.assert_close(one[0], whole[3], atol=1e-5, rtol=1e-5)
    if spec.classes:
        asked = model.asked_by
        other = FAMILY.generate(model, hyper, {**noise, asked: noise[asked].roll(1, 0)})
        assert float((other - whole).abs().max()) > 1e-3
        anything = FAMILY.generate(model, hyper, {"latent": noise["latent"]})
        assert float((anything - whole).abs().max()) > 1e-3


def test_captions_are_what_is_asked_for_where_there_are_labels_too() -> None:
    model, config = model_of(CAPTIONED)
    noise, hyper = sample_inputs(config, CAPTIONED, 5), FAMILY.hyper(config, 1.0)
    other = {**noise, "label": noise["label"].roll(1)}
    assert torch.equal(FAMILY.generate(model, hyper, noise), FAMILY.generate(model, hyper, other))


def test_generation_solves_the_equation() -> None:
    """Against an integration of its own, with SciPy."""
    from scipy.integrate import solve_ivp

    model, config = model_of(LABELLED, guidance=1.7, solver="heun", solver_steps=64, ema=0.0)
    noise = sample_inputs(config, LABELLED, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3)  # so that samples stay inside [-1, 1], mostly
    net = model.network
    assert net.conditioner is not None

    def right(t: float, flat: np.ndarray) -> np.ndarray:
        x, times = torch.tensor(flat, dtype=torch.float32).view(2, 1, 8, 8), torch.full((2,), t)
        with torch.no_grad():
            towards, anywhere = (
                net(x, times, net.conditioner(noise["label"])),
                net(x, times, net.conditioner.of_nothing(2)),
            )  # type: ignore[misc]
        return (anywhere + 1.7 * (towards - anywhere)).flatten().numpy()

    exact = solve_ivp(right, (0, 1), noise["latent"].flatten().numpy(), rtol=1e-6, atol=1e-6).y[:, -1]
    expected = torch.tensor(exact, dtype=torch.float32).view(2, 1, 8, 8).clamp(-1, 1)
    assert float(expected.abs().lt(1).float().mean()) > 0.3
    torch.testing.assert_close(FAMILY.generate(model, FAMILY.hyper(config, 1.0), noise), expected, atol=2e-3, rtol=0)


# Scores and pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_held_out_loss_is_that_of_a_fixed_grid_of_times(spec: DataSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = model_of(spec, ema=0.0)
    batch, hyper = batch_of(spec, 50), FAMILY.hyper(config, 1.0)
    times: list[Tensor] = []

    def watched(network: Any, x: Tensor, noise: Tensor, t: Tensor, condition: Any) -> Tensor:
        times.append(t)
        return velocity_error(network, x, noise, t, condition)

    monkeypatch.setattr(family, "velocity_error", watched)
    found = FAMILY.measure(model, hyper, batch, rng(4))
    assert set(found) == set(FAMILY.measures)
    assert found == FAMILY.measure(model, hyper, batch, rng(4))
    assert found["flow_loss"] == pytest.approx(FAMILY.measure(model, hyper, batch, rng(5))["flow_loss"], rel=0.1)
    grid = torch.stack(times[:4])  # of each image four times, far from each other
    assert torch.equal((grid * 50).floor().long().sort(1).values, torch.arange(50).expand(4, -1))
    assert float(grid.sort(0).values.diff(dim=0).min()) > 0.15
    expected = 0.0
    generator = rng(4)
    for t in grid:
        torch.rand(50, generator=generator)
        noise = torch.randn(batch["image"].shape, generator=generator)
        conditioner = model.network.conditioner
        condition = None if conditioner is None else conditioner(batch[model.asked_by])
        expected += float(velocity_error(model.network, batch["image"], noise, t, condition).mean().detach()) / 4
    assert found["flow_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_network_that_says_nothing_is_no_worse_than_a_failure() -> None:
    config = config_of(PLAIN)
    model = FAMILY.build(config, PLAIN, rng())  # as it begins, it says 0
    batch = {"image": torch.ones(200, 1, 8, 8)}
    found = FAMILY.measure(model, {}, batch, rng())["flow_loss"]
    assert found == pytest.approx(FAMILY.failure(PLAIN)["flow_loss"], abs=0.05)


def test_the_exhibit_shows_growing_guidance_from_equal_noise() -> None:
    model, config = model_of(CAPTIONED)
    hyper, batch = FAMILY.hyper(config, 1.0), batch_of(CAPTIONED, 20)
    found = FAMILY.exhibits(model, hyper, batch, rng(6))
    assert list(found) == ["guidance"]
    latent = torch.randn(8, 1, 8, 8, generator=rng(6))
    rows = found["guidance"].split(8)
    assert len(rows) == len(family.GUIDANCES)
    for guidance, row in zip(family.GUIDANCES, rows, strict=True):
        noise = {"latent": latent, "caption": batch["caption"][:8]}
        torch.testing.assert_close(row, FAMILY.generate(model, {**hyper, "guidance": guidance}, noise))
    plain, config = model_of(PLAIN)
    assert FAMILY.exhibits(plain, FAMILY.hyper(config, 1.0), batch_of(PLAIN), rng()) == {}


# Many members as one --------------------------------------------------------------------------------------------------

MEMBERS: tuple[Mapping[str, Any], ...] = (
    {"dropout": 0.1, "condition_dropout": 0.02, "guidance": 1.0, "time_mean": 0.0},
    {"dropout": 0.4, "condition_dropout": 0.3, "guidance": 4.0, "time_mean": -1.0},
    {"dropout": 0.2, "condition_dropout": 0.1, "guidance": 1.5, "time_mean": 0.5},
)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("network", ["dit", "unet"])
@pytest.mark.parametrize("sampling", ["uniform", "logit_normal"])
def test_many_members_at_once_are_each_as_alone(spec: DataSpec, network: str, sampling: str) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        _compare(spec, network, sampling)
    finally:
        torch.set_default_dtype(torch.float32)


def _compare(spec: DataSpec, network: str, sampling: str) -> None:
    use = {"caption_use": "attended"} if spec.words else {}
    configs: list[Config] = []
    for member in MEMBERS:
        known = {n: v for n, v in member.items() if n in names(spec, network)}
        if sampling == "uniform":
            known.pop("time_mean", None)
        configs.append(config_of(spec, network, time_sampling=sampling, solver_steps=2, **use, **known))
    assert len({structure(FAMILY.space(spec, network), c, FAMILY.fusible) for c in configs}) == 1
    models = [stirred(FAMILY.build(c, spec, rng(k)), k) for k, c in enumerate(configs)]
    hypers = [FAMILY.hyper(c, 0.5) for c in configs]
    hyper = {name: torch.tensor([h[name] for h in hypers]) for name in hypers[0]}
    tensors = [name for name, _ in models[0].named_parameters()]
    stacked = {
        n: torch.stack([dict(m.named_parameters())[n].detach() for m in models]).requires_grad_() for n in tensors
    }
    (player,) = FAMILY.players(configs[0], spec)
    batch, noise = batch_of(spec), drawer(player.noise)(rng(2))
    call = FunctionModule(models[0], player.loss)

    def one(tensors: Mapping[str, Tensor], numbers: Mapping[str, Tensor]) -> Tensor:
        return functional_call(call, {f"model.{n}": t for n, t in tensors.items()}, (batch, numbers, noise))

    losses = vmap(one)(stacked, hyper)
    moved = [name for name in tensors if name.startswith("network.")]
    gradients = torch.autograd.grad(losses.mean(1).sum(), [stacked[name] for name in moved])
    for k, (model, numbers) in enumerate(zip(models, hypers, strict=True)):
        alone = player.loss(model, batch, numbers, noise)
        torch.testing.assert_close(losses[k], alone, atol=1e-10, rtol=1e-10)
        expected = torch.autograd.grad(alone.mean(), [dict(model.named_parameters())[name] for name in moved])
        for name, many, single in zip(moved, gradients, expected, strict=True):
            torch.testing.assert_close(many[k], single, atol=1e-10, rtol=1e-10, msg=lambda m, name=name: f"{name}: {m}")

    draws = sample_inputs(configs[0], spec, 4)
    sampler = FunctionModule(models[0], FAMILY.generate)
    with torch.no_grad():
        made = vmap(
            lambda t, h: functional_call(sampler, {f"model.{n}": v for n, v in t.items()}, (h, draws))
        )(stacked, hyper)  # fmt: skip
    for k, (model, numbers) in enumerate(zip(models, hypers, strict=True)):
        torch.testing.assert_close(made[k], FAMILY.generate(model, numbers, draws), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("network", ["dit", "unet"])
def test_nothing_stands_against_fusing(spec: DataSpec, network: str) -> None:
    space = FAMILY.space(spec, network)
    assert why_not_fused(FAMILY, space.complete({"dropout": 0.1}), spec) == ""
    if spec.words:
        assert why_not_fused(FAMILY, space.complete({"caption_use": "attended"}), spec) == ""
