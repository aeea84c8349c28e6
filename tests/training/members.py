"""Members of one structure, trained one by one and as one, and the comparison of all that comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from maestune.data import Batch, DataSpec
from maestune.families.base import Family, Hyper, Noise, NoiseSpec, Player
from maestune.families.gan import GAN
from maestune.space import Float, Fusible, Space
from maestune.training import Run, train
from maestune.training.compiled import Programs
from maestune.training.fused import Group
from maestune.training.member import Task
from maestune.types import Config, Report, Value

SHAPE = (1, 8, 8)
SPEC = DataSpec(shape=SHAPE)
BATCH = 6
FAMILY = GAN()
SPACES = {network: FAMILY.space(SPEC, network) for network in ("mlp", "conv")}

# What three members differ in, as far as their structure has it: the middle one has no decay, no L1, no clipping, no
# momentum and no smoothing, and every one another schedule.
NUMBERS: Sequence[Mapping[str, Value]] = (
    {"lr": 1e-3, "lr_ratio": 0.5, "beta1": 0.5, "beta2": 0.9, "momentum": 0.9, "weight_decay": 0.2, "warmup": 0.1,
     "r1_gamma": 0.1, "gp_lambda": 10.0, "weight_clip": 0.02, "label_smoothing": 0.2, "dropout_d": 0.2,
     "instance_noise": 0.3, "ema": 0.9, "clip": 0.02, "l1": 0.01},
    {"lr": 3e-3, "lr_ratio": 1.0, "beta1": 0.0, "beta2": 0.99, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0,
     "r1_gamma": 1.0, "gp_lambda": 1.0, "weight_clip": 0.1, "label_smoothing": 0.0, "dropout_d": 0.4,
     "instance_noise": 0.1, "ema": 0.99},
    {"lr": 2e-3, "lr_ratio": 4.0, "beta1": 0.9, "beta2": 0.999, "momentum": 0.5, "weight_decay": 0.01,
     "schedule": "wsd", "decay": 0.9, "warmup": 0.2, "r1_gamma": 5.0, "gp_lambda": 3.0, "weight_clip": 0.05,
     "label_smoothing": 0.1, "dropout_d": 0.1, "instance_noise": 0.02, "ema": 0.6, "clip": 5.0, "l1": 0.5},
)  # fmt: skip
FREE = frozenset(
    ("weight_decay", "l1", "clip", "warmup", "schedule", "decay")
)  # may be on in one member and off in another

Stored = tuple[Report, Mapping[str, Any]]  # a report and the state that it gave


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """New tensors have this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def config_of(network: str = "mlp", **values: Any) -> Config:
    """A config of tiny networks; they are below the space's, so they are put in afterwards."""
    tiny = {"width": 8 if network == "mlp" else 4, "latent_dim": 5, "batch_size": BATCH}
    return SPACES[network].complete(values).with_(**tiny)


def members_of(network: str = "mlp", **structure: Any) -> list[Config]:
    """Three configs of a structure that differ in every number it has."""
    base = config_of(network, **structure)

    def has(name: str) -> bool:
        return name in FREE or (name in base and (name not in FAMILY.fusible.switches or base[name] != 0.0))

    return [base.with_(**{name: value for name, value in numbers.items() if has(name)}) for numbers in NUMBERS]


def tasks_of(configs: Iterable[Config], run: Run, seeds: Sequence[int] = (0, 0, 0)) -> list[Task]:
    return [
        Task(k, config, replace(run, seed=seed)) for k, (config, seed) in enumerate(zip(configs, seeds, strict=True))
    ]


def serially(task: Task, family: Family = FAMILY) -> list[Stored]:
    """What the loop reports of one member."""
    return [(report, state_of(report)) for report in train(family, task.config, task.run)]


def as_one(
    tasks: Sequence[Task], capacity: int | None = None, family: Family = FAMILY, programs: Programs | None = None
) -> dict[Any, list[Stored]]:
    """What a group reports of its members, by key."""
    group = Group(family, tasks, len(tasks) if capacity is None else capacity, programs=programs)
    found: dict[Any, list[Stored]] = {task.key: [] for task in tasks}
    for reports in group.reports():
        assert reports
        for key, report in reports.items():
            found[key].append((report, state_of(report)))
    assert group.keys == ()
    return found


def state_of(report: Report) -> Mapping[str, Any]:
    assert report.state is not None
    return report.state()


def assert_equal_serial(
    tasks: Sequence[Task], found: Mapping[Any, list[Stored]], family: Family = FAMILY, atol: float = 1e-11
) -> None:
    """Every member's reports and states are those of the loop, but for the order of sums."""
    assert set(found) == {task.key for task in tasks}
    for task in tasks:
        assert_close(found[task.key], serially(task, family), f"member {task.key}", atol=atol)


def assert_close(found: Any, expected: Any, place: str = "", rtol: float = 1e-10, atol: float = 1e-11) -> None:
    """Equal trees of reports, dicts, lists, numbers and tensors: floating point within a tolerance, the rest exactly."""
    if isinstance(expected, Report):
        found, expected = _told(found), _told(expected)
    if isinstance(expected, Mapping):
        assert list(found) == list(expected), place
        for key in expected:
            assert_close(found[key], expected[key], f"{place}[{key!r}]", rtol, atol)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), place
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_close(a, b, f"{place}[{i}]", rtol, atol)
    elif isinstance(expected, Tensor):
        torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, msg=lambda m: f"{place}: {m}")
    elif isinstance(expected, float):
        assert isinstance(found, float), place
        assert abs(found - expected) <= atol + rtol * abs(expected), (place, found, expected)
    else:
        assert type(found) is type(expected), place
        assert found == expected, place


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit."""
    if isinstance(a, Report):
        return same(_told(a), _told(b))
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


def _told(report: Report) -> dict[str, Any]:
    return {
        "step": report.step,
        "signals": dict(report.signals),
        "samples": report.samples,
        "scores": dict(report.scores),
        "choice": dict(report.choice),
        "choice_samples": report.choice_samples,
        "exhibits": dict(report.exhibits),
    }


class Net(nn.Module):
    """An autoencoder with a weight used twice and a buffer that no checkpoint has."""

    scale: Tensor
    shift: Tensor

    def __init__(self, generator: torch.Generator, tie: str) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 64)
        if tie == "weight":
            self.b.weight = self.a.weight
        if tie == "layer":
            self.b = self.a
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.1, 0.1, generator=generator)
        self.register_buffer("scale", torch.full((), 0.5), persistent=False)
        self.register_buffer("shift", torch.full((64,), 0.01))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x))) * self.scale + self.shift


RATES, GAINS = Fusible(frozenset({"lr"})), Fusible(frozenset({"lr", "gain"}))


@dataclass(frozen=True)
class Tied(Family):
    """A family of one player without numbers or signals of its own. `tie`: "", "weight" or "layer"."""

    tie: str = ""
    name: str = "tied"
    fusible: Fusible = RATES

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        return Space((Float("lr", 1e-5, 1.0),))

    def full_steps(self, spec: DataSpec, n_train: int) -> int:
        return 10

    def build(self, config: Config, spec: DataSpec, generator: torch.Generator) -> nn.Module:
        model = nn.Module()
        model.only = Net(generator, self.tie)
        return model

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        return (Player("only", autoencoding, {"n": NoiseSpec("normal", (BATCH, 64))}),)

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        return {}

    def latents(self, config: Config, spec: DataSpec, n: int) -> dict[str, NoiseSpec]:
        return {"latent": NoiseSpec("uniform", (n, 64))}

    @torch.no_grad()
    def generate(self, model: Any, hyper: Hyper, noise: Noise) -> Tensor:
        return model.only(noise["latent"]).unflatten(1, SHAPE)


def autoencoding(model: Any, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
    x = batch["image"].flatten(1)
    return (model.only(x + noise["n"]) - x).square().mean(1)


def shrinking(model: Any, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
    return autoencoding(model, batch, hyper, noise) + 10.0 * model.only(noise["n"]).square().mean(1)


@dataclass(frozen=True)
class Lazy(Tied):
    """The same with another loss in every `period`-th step, which a player that moves every `every`-th step has."""

    period: int = 3
    every: int = 1

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        (player,) = super().players(config, spec)
        return (replace(player, every=self.every, lazy=(self.period, shrinking)),)


@dataclass(frozen=True)
class Measured(Tied):
    """The same with a number that generation alone uses, scores on held-out data, and pictures.

    `told`: the names of the scores that it tells.
    """

    fusible: Fusible = GAINS
    told: tuple[str, ...] = ("held_out", "draw")

    @property
    def measures(self) -> tuple[str, ...]:
        return ("held_out", "draw")

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        return {"gain": config.number("gain", 1.0) * progress}

    @torch.no_grad()
    def generate(self, model: Any, hyper: Hyper, noise: Noise) -> Tensor:
        return super().generate(model, hyper, noise) * hyper["gain"]

    def measure(self, model: Any, hyper: Hyper, batch: Batch, generator: torch.Generator) -> Mapping[str, float]:
        assert not torch.is_grad_enabled()
        x = batch["image"].flatten(1)
        loss = float((model.only(x) - x).square().mean())
        scores = {"held_out": loss, "draw": float(hyper["gain"]) * float(torch.rand((), generator=generator))}
        return {name: scores.get(name, 0.0) for name in self.told}

    def exhibits(self, model: Any, hyper: Hyper, batch: Batch, generator: torch.Generator) -> Mapping[str, Tensor]:
        assert not torch.is_grad_enabled()
        x = batch["image"]
        noise = torch.randn(x.shape, generator=generator)
        return {"restored": model.only((x + noise).flatten(1)).view_as(x), "held_out": x}


def tied_configs() -> list[Config]:
    base = Config.of(optimizer="adam", beta1=0.5, beta2=0.9, batch_size=BATCH, lr=1e-2)
    return [base, base.with_(lr=1e-3), base.with_(lr=3e-3)]
