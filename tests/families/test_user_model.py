"""A network of the user's own: trained as by a loop written by hand, alone or with others, or told why not."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.data import Batch, DataSpec, ImageData, Images, TextData, load_text, to_float
from maestune.data.captions import Vocabulary
from maestune.errors import SettingsError, SpaceError
from maestune.families import Family, Network, NoiseSpec, why_not_fused
from maestune.families.gan import GAN
from maestune.families.layers import BatchNorm
from maestune.space import Choice, Float, Fusible, Space, structure
from maestune.training.checkpoint import load_checkpoint, save_checkpoint
from maestune.training.fused import Group
from maestune.training.loop import train
from maestune.training.member import Task
from maestune.training.optimisers import EPS
from maestune.training.run import Run
from maestune.types import Config, Report

SHAPE = (1, 4, 4)
SPEC = DataSpec(shape=SHAPE)
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_network.py"


@pytest.fixture(scope="module")
def data() -> ImageData:
    part = Images(torch.randint(0, 256, (40, *SHAPE), dtype=torch.uint8, generator=rng(0)))
    return ImageData("noise", part, part, part, (), "test")


@pytest.fixture
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Denoiser(nn.Module):
    """Predicts an image from a noisy one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.Tanh(), nn.Linear(width, 16))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).view(-1, *SHAPE)


def loss(network: nn.Module, batch: Batch, hyper: Any, noise: Any) -> Tensor:
    image = batch["image"]
    return (network(image + hyper["spread"] * noise["z"]) - image).square().flatten(1).mean(1)


def noise(config: Config, spec: DataSpec) -> dict[str, NoiseSpec]:
    return {"z": NoiseSpec("normal", (int(config.number("batch_size")), *spec.shape))}


def generate(network: nn.Module, hyper: Any, noise: Any) -> Tensor:
    return network(noise["z"]).tanh()


SPACE = Space(
    (
        Float("lr", 1e-4, 1e-1, scale="log"),
        Float("weight_decay", 0.01, 0.5, off=0.0),
        Choice("batch_size", (8,)),
        Choice("width", (6, 10)),
        Float("spread", 0.1, 2.0),
        Float("ema", 0.5, 0.99, off=0.0),
    )
)


def network(**changes: Any) -> Network:
    values: dict[str, Any] = {
        "space": SPACE,
        "build": lambda config, spec: Denoiser(int(config.number("width"))),
        "loss": loss,
        "noise": noise,
        "latents": lambda config, spec, n: {"z": NoiseSpec("normal", (n, *spec.shape))},
        "generate": generate,
        "fusible": Fusible(frozenset({"spread"})),
    }
    return Network(**{**values, **changes})


def config_of(family: Network, **values: Any) -> Config:
    return family.space(SPEC).complete({"lr": 1e-2, "spread": 0.5, "weight_decay": 0.0, "ema": 0.0, **values})


def with_module(make: Any, **changes: Any) -> Network:
    """A network with one more module, named `extra`, in front."""

    class Extended(Denoiser):
        def __init__(self, width: int) -> None:
            super().__init__(width)
            self.extra = make()

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.extra(x))

    return network(build=lambda config, spec: Extended(int(config.number("width"))), **changes)


def last(family: Family, config: Config, run: Run) -> Report:
    *_, report = train(family, config, run)
    return report


def weights(report: Report) -> dict[str, Tensor]:
    assert report.state is not None
    return report.state()["model"]


# The family ----------------------------------------------------------------------------------------------------------


def test_a_network_is_a_family_with_one_player() -> None:
    family: Family = network(full_steps=7)
    config = config_of(network(), ema=0.9)
    model = family.build(config, SPEC, rng())
    (player,) = family.players(config, SPEC)
    assert isinstance(model.get_submodule(player.name), Denoiser)
    assert isinstance(model.get_submodule(player.average), Denoiser)
    assert family.full_steps(SPEC, 100) == 7
    assert family.generate(model, {}, {"z": torch.randn(3, *SHAPE, generator=rng())}).shape == (3, *SHAPE)


def test_the_space_is_completed_with_fixed_parameters() -> None:
    space = network(space=Space((Float("lr", 0.1, 1.0),))).space(SPEC)
    assert dict(space.complete({"lr": 0.2})) == {
        "lr": 0.2,
        "optimizer": "adam",
        "beta1": 0.9,
        "beta2": 0.999,
        "batch_size": 64,
    }
    assert [p.name for p in space.varying] == ["lr"]


def test_what_is_added_depends_on_what_is_there() -> None:
    own = Space(
        (
            Float("lr", 0.1, 1.0),
            Choice("optimizer", ("sgd", "adam")),
            Choice("schedule", ("constant", "wsd")),
            Choice("batch_size", (3, 5)),
        )
    )
    space = network(space=own).space(SPEC)
    assert dict(space.complete({"lr": 0.2, "optimizer": "sgd", "schedule": "wsd", "batch_size": 5})) == {
        "lr": 0.2,
        "optimizer": "sgd",
        "schedule": "wsd",
        "batch_size": 5,
        "decay": 0.2,
    }
    assert space.complete({"optimizer": "adam"}).number("beta1") == 0.9


def test_numbers_of_optimisation_may_always_differ() -> None:
    family = network()
    one, other = config_of(family), config_of(family, lr=0.05, spread=1.5, weight_decay=0.1)
    space = family.space(SPEC)
    assert structure(space, one, family.fusible) == structure(space, other, family.fusible)
    for different in (config_of(family, width=10), config_of(family, ema=0.9)):
        assert structure(space, one, family.fusible) != structure(space, different, family.fusible)


def test_hyper_has_the_same_names_for_every_config() -> None:
    space = Space((Float("lr", 0.1, 1.0), Choice("kind", ("a", "b")), Float("x", 0.0, 1.0, when={"kind": ("b",)})))
    family = network(space=space)
    with_x, without = space.complete({"kind": "b", "x": 0.5}), space.complete({"kind": "a"})
    assert family.hyper(with_x, 0.5)["x"] == 0.5
    assert family.hyper(without, 0.5)["x"] == 0.0
    assert set(family.hyper(with_x, 0.5)) == set(family.hyper(without, 0.5))
    falling = network(hyper=lambda config, progress: {"spread": config.number("spread") * (1 - progress)})
    assert falling.hyper(config_of(falling, spread=2.0), 0.25) == {"spread": 1.5}


# Weights -------------------------------------------------------------------------------------------------------------


def test_weights_depend_on_the_seed_alone_and_global_random_state_stays() -> None:
    family, config = network(), config_of(network(), ema=0.9)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = family.build(config, SPEC, rng(5)).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = (family.build(config, SPEC, rng(seed)).state_dict() for seed in (5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["network.layers.1.weight"], other["network.layers.1.weight"])
    assert torch.equal(first["network.layers.1.weight"], first["average.layers.1.weight"])


# Training ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_double")
def test_training_is_that_of_a_loop_written_by_hand(data: ImageData) -> None:
    family = network()
    config = config_of(family, lr=0.02, spread=0.7, ema=0.8)
    steps = 12
    run = Run(until_steps=steps, full_steps=20, report_every=1, seed=3, data=data, samples_at={steps: 5})
    reports = list(train(family, config, run))

    model = family.build(config, SPEC, run.generator("weights")).network
    average = family.build(config, SPEC, run.generator("weights")).network
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02, betas=(0.9, 0.999), eps=EPS)
    images, order, drawn = to_float(data.train.images), run.generator("order"), run.generator("noise")
    pending = torch.empty(0, dtype=torch.int64)
    for step in range(1, steps + 1):
        while len(pending) < 8:
            pending = torch.cat((pending, torch.randperm(len(images), generator=order)))
        batch, pending = images[pending[:8]], pending[8:]
        z = torch.randn(8, *SHAPE, generator=drawn)
        value = (model(batch + 0.7 * z) - batch).square().mean()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        share = 1 - min(0.8, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(parameter, share)
        assert reports[step - 1].signals["loss_network"] == pytest.approx(value.item(), rel=1e-12)
    found = weights(reports[-1])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[f"network.{name}"], parameter.detach(), rtol=1e-10, atol=1e-13)
    for name, parameter in average.named_parameters():
        torch.testing.assert_close(found[f"average.{name}"], parameter.detach(), rtol=1e-10, atol=1e-13)
    latent = torch.randn(5, *SHAPE, generator=run.sample_generator())
    torch.testing.assert_close(reports[-1].samples, average(latent).tanh().detach(), rtol=1e-10, atol=1e-13)


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("seeds", [(1, 1, 1), (1, 2, 3)])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_trained_together_or_alone(data: ImageData, seeds: tuple[int, ...], ema: float) -> None:
    family = network()
    tasks = [
        Task(
            k,
            config_of(family, lr=0.01 * (k + 1), spread=0.3 * (k + 1), weight_decay=0.1 * k, ema=ema),
            Run(until_steps=9, full_steps=9, report_every=4, seed=seed, data=data, samples_at={9: 3}),
        )
        for k, seed in enumerate(seeds)
    ]
    assert why_not_fused(family, tasks[0].config, SPEC) == ""
    same(family, tasks, 1e-11)


def same(family: Family, tasks: list[Task], tolerance: float) -> None:
    """Members of a group report what they report alone."""
    together: dict[tuple[Any, int], Report] = {}
    kept: dict[Any, dict[str, Tensor]] = {}
    for reports in Group(family, tasks, len(tasks)).reports():
        for key, report in reports.items():
            together[key, report.step] = report
            kept[key] = weights(report)  # of its step: what is asked for later is of a later one
    for task in tasks:
        for alone in train(family, task.config, task.run):
            other = together[task.key, alone.step]
            assert dict(other.signals) == pytest.approx(dict(alone.signals), rel=tolerance, abs=tolerance)
            if alone.samples is not None:
                torch.testing.assert_close(other.samples, alone.samples, rtol=tolerance, atol=tolerance)
                for name, tensor in weights(alone).items():
                    torch.testing.assert_close(kept[task.key][name], tensor, rtol=tolerance, atol=tolerance)


def test_a_network_of_one_random_tensor_less_is_trained_too(data: ImageData) -> None:
    family = network(
        noise=None,
        loss=lambda network, batch, hyper, noise: (
            (network(batch["image"]) - batch["image"]).square().flatten(1).mean(1)
        ),
        signals=lambda network, batch, hyper, noise: {"brightness": network(batch["image"]).mean()},
    )
    runs = [Run(until_steps=6, full_steps=6, report_every=3, seed=seed, data=data) for seed in (1, 2)]
    tasks = [Task(k, config_of(family, lr=0.01 * (k + 1)), run) for k, run in enumerate(runs)]
    assert "brightness" in last(family, tasks[0].config, runs[0]).signals
    same(family, tasks, 1e-4)


def test_dropout_that_draws_for_itself_continues_bit_by_bit(data: ImageData, tmp_path: Path) -> None:
    family = with_module(
        lambda: nn.Dropout(0.4), signals=lambda network, batch, hyper, noise: {"mean": network(batch["image"]).mean()}
    )
    config = config_of(family)
    whole = Run(until_steps=10, full_steps=10, report_every=5, seed=2, data=data, samples_at={10: 4})
    torch.manual_seed(7)
    before = torch.get_rng_state()
    straight = last(family, config, whole)
    assert torch.equal(torch.get_rng_state(), before)
    assert straight.samples is not None
    torch.manual_seed(8)
    first = last(family, config, replace(whole, until_steps=4, samples_at={}))
    assert first.state is not None
    save_checkpoint(tmp_path / "c", first.state())
    second = last(family, config, replace(whole, start_steps=4, state=load_checkpoint(tmp_path / "c")))
    assert dict(second.signals) == dict(straight.signals)
    assert second.samples is not None
    assert torch.equal(second.samples, straight.samples)  # and drawn without dropout
    no_dropout = last(network(), config_of(network()), whole)
    assert no_dropout.signals["loss_network"] != straight.signals["loss_network"]


def test_running_statistics_are_those_of_the_network_where_its_weights_are_averaged(data: ImageData) -> None:
    family = with_module(lambda: nn.BatchNorm2d(1))
    config = config_of(family, ema=0.5)
    run = Run(until_steps=20, full_steps=20, seed=2, data=data, samples_at={20: 4})
    report = last(family, config, run)
    model = family.build(config, SPEC, rng())
    model.load_state_dict(weights(report))
    assert model.network.extra.running_var != 1.0
    assert model.average is not None
    model.average.extra.load_state_dict(
        {**model.average.extra.state_dict(), "running_var": model.network.extra.running_var}
        | {"running_mean": model.network.extra.running_mean}
    )
    latent = torch.randn(4, *SHAPE, generator=run.sample_generator())
    with torch.no_grad():
        torch.testing.assert_close(report.samples, generate(model.average.eval(), {}, {"z": latent}))
    assert all(module.training for module in model.network.modules())


# What is wrong is named ----------------------------------------------------------------------------------------------


def test_a_space_without_a_learning_rate_is_refused() -> None:
    with pytest.raises(SettingsError, match="no `lr`"):
        network(space=Space((Float("rate", 0.1, 1.0),)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": None}, "loss: None is not a function"),
        ({"full_steps": 0}, "full_steps: 0 is no length"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        network(**changes)
    with pytest.raises(SpaceError, match="ema"):
        network(fusible=Fusible(frozenset({"ema"})))


def frozen(config: Config, spec: DataSpec) -> nn.Module:
    made = Denoiser(4)
    made.layers[1].requires_grad_(False)
    return made


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"loss": lambda *a: loss(*a).mean()},
            r"loss: gave a tensor of shape \(\) .*\(8,\) is needed, one loss for each",
        ),
        ({"loss": lambda *a: loss(*a)[:, None]}, r"loss: gave a tensor of shape \(8, 1\)"),
        (
            {"generate": lambda n, h, z: generate(n, h, z).flatten(1)},
            r"generate: .*\(5, 16\); \(n, 1, 4, 4\) is needed",
        ),
        ({"generate": lambda n, h, z: generate(n, h, z)[:, 0]}, r"generate: .*\(5, 4, 4\); \(n, 1, 4, 4\) is needed"),
        ({"build": lambda config, spec: config}, "build: gave Config; a torch.nn.Module is needed"),
        ({"build": frozen}, "build: the parameter layers.1.weight does not require a gradient"),
    ],
)
def test_functions_that_give_something_else_are_named(data: ImageData, changes: Any, says: str) -> None:
    family = network(**changes)
    with pytest.raises(SettingsError, match=says):
        last(family, config_of(family), Run(until_steps=2, full_steps=2, data=data, samples_at={2: 5}))


# Why not fused -------------------------------------------------------------------------------------------------------


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Item(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.detach().abs().max().item()


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(x.shape)
        total += x * self.scale
        return total


class Selecting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = x * self.scale
        return y + y[y > 0].sum()


class Drawing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x / self.seen


class Listed(nn.Module):
    """Reaches its parameters by a list of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(1, 4, 4))
        self.all = [self.scale]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.all[0]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x[:, 0])[0][:, None]


class Attention(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, dropout=dropout, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x[:, 0], x[:, 0], x[:, 0], need_weights=False)[0][:, None]


class Functional(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.3, self.training)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda: nn.BatchNorm2d(1),
            r"extra \(BatchNorm2d\) keeps running statistics; use maestune.families.layers.Bat",
        ),
        (lambda: nn.Sequential(nn.BatchNorm2d(1)), r"extra.0 \(BatchNorm2d\) keeps running statistics"),
        (lambda: nn.InstanceNorm2d(1, track_running_stats=True), r"extra \(InstanceNorm2d\) keeps running"),
        (lambda: nn.Dropout(0.1), r"extra \(Dropout\) draws its own mask; take its uniforms from noise"),
        (lambda: nn.AlphaDropout(0.1), r"extra \(AlphaDropout\) draws its own mask"),
        (nn.RReLU, r"extra \(RReLU\) draws random numbers"),
        (lambda: Attention(0.1), r"extra.attention \(MultiheadAttention\) draws random numbers"),
        (Recurrent, r"extra.rnn \(LSTM\) keeps its weights in a list of its own"),
        (Branch, "it branches on the value of a tensor .* torch.where"),
        (Item, r"it turns a tensor into a Python number \(\.item"),
        (InPlace, "it writes in place into a tensor that all members share"),
        (Selecting, "the shape of a result depends on values"),
        (Drawing, "it draws random numbers; take them from noise"),
        (Functional, "it draws random numbers; take them from noise"),
        (Counting, "extra.seen is a buffer that the loss writes"),
        (Listed, "other numbers for many members at once than for one"),
    ],
)
def test_what_cannot_be_fused_is_named_and_trained_alone(make: Any, reason: str, data: ImageData) -> None:
    family = with_module(make)
    config = config_of(family)
    before = torch.get_rng_state()
    why = why_not_fused(family, config, SPEC)
    assert torch.equal(torch.get_rng_state(), before)
    assert re.search(reason, why), why
    assert "\n" not in why
    report = last(family, config, Run(until_steps=3, full_steps=3, data=data, samples_at={3: 2}))
    assert report.step == 3


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm2d(1, track_running_stats=False),
        lambda: nn.BatchNorm2d(1).eval(),
        lambda: nn.Dropout(0.0),
        lambda: nn.Dropout(0.5).eval(),
        lambda: nn.Conv2d(1, 1, 3, padding=1),
        lambda: nn.GroupNorm(1, 1),
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 3, padding=1)),
    ],
)
def test_what_can_be_fused(make: Any, data: ImageData) -> None:
    family = with_module(make)
    assert why_not_fused(family, config_of(family), SPEC) == ""
    run = Run(until_steps=4, full_steps=4, data=data, samples_at={4: 2})
    same(family, [Task(k, config_of(family, lr=0.01 * (k + 1)), run) for k in range(2)], 1e-4)


def test_our_batch_norm_and_tied_weights_can_be_fused(data: ImageData) -> None:
    def tied(config: Config, spec: DataSpec) -> nn.Module:
        made = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 16, bias=False), BatchNorm(16), nn.Linear(16, 16), nn.Unflatten(1, spec.shape)
        )
        made[3].weight = made[1].weight
        nn.init.ones_(made[2].weight)
        nn.init.zeros_(made[2].bias)
        return made

    family = network(build=tied)
    config = config_of(family)
    assert why_not_fused(family, config, SPEC) == ""
    run = Run(until_steps=4, full_steps=4, data=data, samples_at={4: 6})
    same(family, [Task(k, config.with_(lr=0.01 * (k + 1)), run) for k in range(2)], 1e-4)


def test_the_whole_network_or_its_samples_may_be_what_cannot() -> None:
    family = network(build=lambda config, spec: nn.LSTM(4, 4))
    assert why_not_fused(family, config_of(family), SPEC).startswith("the network (LSTM)")
    family = network(
        generate=lambda network, hyper, noise: (
            generate(network, hyper, noise) * float(noise["z"].max() > 0) + 0 * network(noise["z"]).max().item()
        )
    )
    assert "Python number" in why_not_fused(family, config_of(family), SPEC)


def test_a_number_that_changes_shapes_is_named() -> None:
    family = network(fusible=Fusible(frozenset({"width"})))
    why = why_not_fused(family, config_of(family), SPEC)
    assert why == "layers.1.weight differs in shape between configs that `fusible` says can run as one"


def test_errors_of_a_users_code_are_told_not_raised() -> None:
    family = network(loss=lambda network, batch, hyper, noise: loss(network, batch, hyper, noise).mean())
    assert "loss: gave a tensor of shape ()" in why_not_fused(family, config_of(family), SPEC)
    family = network(loss=lambda network, batch, hyper, noise: batch["image"] * hyper["sprad"])
    assert "KeyError: 'sprad'" in why_not_fused(family, config_of(family), SPEC)


@pytest.mark.parametrize("values", [{}, {"norm_d": "spectral", "ema": 0.9}, {"loss": "wgan", "penalty": "gp"}])
def test_gans_can_be_fused(values: dict[str, Any]) -> None:
    family = GAN()
    spec = DataSpec(shape=(1, 8, 8))
    config = family.space(spec).complete(values).with_(width=8)
    assert why_not_fused(family, config, spec) == ""


# Labels, captions, text -----------------------------------------------------------------------------------------------


class Painter(nn.Module):
    """An image for each label, and one for each word of a caption."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.label, self.word = nn.Embedding(spec.classes, 16), nn.Embedding(spec.words, 16, padding_idx=0)

    def forward(self, asked: Any) -> Tensor:
        return (self.label(asked["label"]) + self.word(asked["caption"]).sum(1)).unflatten(1, SHAPE)


def painter(**changes: Any) -> Network:
    return network(
        build=lambda config, spec: Painter(spec),
        loss=lambda net, batch, hyper, noise: (net(batch) - batch["image"]).square().flatten(1).mean(1),
        noise=None,
        latents=lambda config, spec, n: {},
        generate=lambda net, hyper, noise: net(noise) * hyper["spread"],
        **changes,
    )


@pytest.fixture
def captioned(data: ImageData) -> ImageData:
    labels = torch.arange(40) % 3
    part = replace(data.train, labels=labels, captions=torch.stack((labels + 2, torch.arange(40) % 2), 1))
    vocabulary = Vocabulary(("", "?", "a", "b", "c"), 2)
    return replace(data, train=part, search=part, report=part, class_names=("a", "b", "c"), vocabulary=vocabulary)


def test_labels_and_captions_are_learnt_and_asked_for(captioned: ImageData) -> None:
    family = painter()
    config = config_of(family, lr=0.05)
    assert captioned.spec == DataSpec(SHAPE, classes=3, words=5, caption_words=2)
    run = Run(until_steps=6, full_steps=6, report_every=3, data=captioned, samples_at={6: 70})
    model = family.build(config, captioned.spec, rng())
    report = last(family, config, run)
    model.load_state_dict(weights(report))
    with torch.no_grad():
        expected = model.network(captioned.prompts("search", 70)) * 0.5
    assert expected.shape == (70, *SHAPE)
    torch.testing.assert_close(report.samples, expected)
    assert why_not_fused(family, config, captioned.spec) == ""
    same(family, [Task(k, config_of(family, lr=0.05, spread=0.2 * (k + 1)), run) for k in range(3)], 1e-4)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextData:
    path = tmp_path_factory.mktemp("text") / "numbers.txt"
    path.write_text("\n".join(map(str, range(2000))))
    return load_text(path)


class Bigrams(nn.Module):
    """The logits of the next token from the one before."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table(tokens)


def continued(net: nn.Module, hyper: Any, noise: Any) -> Tensor:
    tokens = noise["prompt"]
    for step in range(noise["u"].shape[1]):
        chances = net(tokens[:, -1]).softmax(-1).cumsum(-1)
        token = (chances <= noise["u"][:, step, None]).sum(-1, keepdim=True)
        tokens = torch.cat((tokens, token.clamp(max=chances.shape[-1] - 1)), 1)
    return tokens


def bigrams(**changes: Any) -> Network:
    space = Space((Float("lr", 1e-4, 1.0, scale="log"), Choice("context", (12,)), Choice("batch_size", (8,))))

    def loss(net: nn.Module, batch: Batch, hyper: Any, noise: Any) -> Tensor:
        tokens = batch["tokens"]
        chances = net(tokens[:, :-1]).log_softmax(-1)
        return -chances.gather(-1, tokens[:, 1:, None]).squeeze(-1).mean(1)

    values: dict[str, Any] = {
        "space": space,
        "build": lambda config, spec: Bigrams(spec.tokens),
        "loss": loss,
        "latents": lambda config, spec, n: {"u": NoiseSpec("uniform", (n, 5))},
        "generate": continued,
    }
    return Network(**{**values, **changes})


def test_a_network_learns_text_and_goes_on_from_prompts(text: TextData) -> None:
    family = bigrams()
    config = family.space(text.spec).complete({"lr": 0.3})
    run = Run(until_steps=150, full_steps=150, report_every=1, data=text, samples_at={150: 7})
    *reports, report = train(family, config, run)
    assert reports[0].signals["loss_network"] > 2.4  # 11 or 12 tokens, of which nothing is known
    assert report.signals["loss_network"] < 2.2
    # A digit is followed by any, but two ends of line never are.
    newline = int(text.tokenizer.encode("\n"))
    chances = weights(report)["network.table.weight"][newline].softmax(-1)
    assert chances[newline] < 0.05 < 0.2 < chances[int(text.tokenizer.encode("1"))]
    assert report.samples is not None
    assert report.samples.dtype == torch.int64
    assert torch.equal(report.samples[:, :-5], text.prompts("search", 7)["prompt"])
    assert why_not_fused(family, config, text.spec) == ""
    run = replace(run, until_steps=6, samples_at={6: 3})
    same(family, [Task(k, config.with_(lr=0.1 * (k + 1)), replace(run, seed=k // 2)) for k in range(4)], 1e-4)


def test_samples_of_text_are_tokens(text: TextData) -> None:
    family = bigrams(generate=lambda net, hyper, noise: net(noise["prompt"]))
    config = family.space(text.spec).complete({})
    with pytest.raises(SettingsError, match=r"generate: .* \(4, 32, 1[12]\); \(n, tokens\) is needed"):
        last(family, config, Run(until_steps=1, full_steps=1, data=text, samples_at={1: 4}))


# The example ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_double")
def test_the_example_is_trained_together_as_alone(data: ImageData) -> None:
    family: Network = runpy.run_path(str(EXAMPLE))["family"]
    centre = family.space(SPEC).centre().with_(width=8, batch_size=4)
    for dropout in (0.0, 0.2):
        config = centre.with_(dropout=dropout)
        assert why_not_fused(family, config, SPEC) == ""
        run = Run(until_steps=4, full_steps=8, report_every=2, data=data, samples_at={4: 3})
        changes = [{"lr": 1e-3}, {"lr": 1e-2, "beta1": 0.5}, {"warmup": 0.1, "dropout": dropout * 1.5}]
        tasks = [Task(k, config.with_(**change), replace(run, seed=k)) for k, change in enumerate(changes)]
        same(family, tasks, 1e-9)


def test_the_example_samples_from_what_it_learnt() -> None:
    """Painting pixel by pixel sees what learning all pixels at once sees: the chances of the painted levels agree."""
    example = runpy.run_path(str(EXAMPLE))
    family: Network = example["family"]
    config = family.space(SPEC).centre().with_(width=8, dropout=0.0)
    model = family.build(config, SPEC, rng(1))
    uniforms = torch.rand(6, *SHAPE, generator=rng(2))
    images = family.generate(model, family.hyper(config, 0.5), {"pixel": uniforms})
    levels = ((images.flatten(1) + 1) * 8).round().long()
    assert levels.min() >= 0
    assert levels.max() <= 16
    x = model.network.embed(torch.cat((torch.full_like(levels[:, :1], 17), levels[:, :-1]), 1))
    for block in model.network.blocks:
        x, _ = block(x)
    cumulative = F.pad(model.network.head(x).softmax(-1).cumsum(-1), (1, 0))
    low, high = (cumulative.gather(-1, (levels + k).unsqueeze(-1)).squeeze(-1) for k in (0, 1))
    assert bool(((low - 1e-5 <= uniforms.flatten(1)) & (uniforms.flatten(1) <= high + 1e-5)).all())
