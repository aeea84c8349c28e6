"""What each hyperparameter of the training does to a training, as documented, of one member and of many as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from members import as_one, serially
from torch import Tensor, nn

from maestune.data import Batch, DataSpec, ImageData
from maestune.families import training_space as ts
from maestune.families.base import Family, Hyper, Noise, NoiseSpec, Player
from maestune.space import Float, Fusible, Space
from maestune.training import Run
from maestune.training.member import Task
from maestune.training.schedules import cosine, cyclical, step_decay, warmup_stable_decay
from maestune.types import Config, Report

STEPS = 24
BASE = Config.of(optimizer="sgd", batch_size=16, lr=0.1)
FUSIBLE = Fusible(ts.NUMBERS, ts.SWITCHES)


@dataclass(frozen=True)
class Line(Family):
    """One player, an autoencoder: two matrices, and biases and gains of one dimension."""

    name: str = "line"
    fusible: Fusible = FUSIBLE

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        return Space((Float("lr", 1e-5, 1.0),))

    def full_steps(self, spec: DataSpec, n_train: int) -> int:
        return STEPS

    def build(self, config: Config, spec: DataSpec, generator: torch.Generator) -> nn.Module:
        model = nn.Module()
        model.only = nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32), nn.Linear(32, 64))
        model.average = nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32), nn.Linear(32, 64))
        with torch.no_grad():
            for part in (model.only, model.average):
                for parameter in part.parameters():
                    parameter.fill_(1.0)
            for mine, theirs in zip(model.only.parameters(), model.average.parameters(), strict=True):
                mine.mul_(torch.randn(mine.shape, generator=generator) * 0.2)
                theirs.copy_(mine)
        return model

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        def loss(model: Any, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
            x = batch["image"].flatten(1)
            return (model.only(x) - x).square().mean(1)

        return (Player("only", loss, {}, average="average" if config.number("ema", 0.0) > 0 else ""),)

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        return {"nothing": 0.0}

    def latents(self, config: Config, spec: DataSpec, n: int) -> dict[str, NoiseSpec]:
        return {"latent": NoiseSpec("uniform", (n, 64))}

    def generate(self, model: Any, hyper: Hyper, noise: Noise) -> Tensor:
        return model.average(noise["latent"]).unflatten(1, (1, 8, 8))


Found = Sequence[tuple[Report, Mapping[str, Any]]]
FAMILY = Line()


@pytest.fixture(params=["serial", "fused"])
def trained(request: pytest.FixtureRequest, data: ImageData) -> Any:
    """Reports and states of every step, config by config, trained one by one or as one."""

    def train(*configs: Config, steps: int = STEPS) -> list[Found]:
        run = Run(until_steps=steps, full_steps=steps, report_every=1, data=data)
        tasks = [Task(k, config, run) for k, config in enumerate(configs)]
        if request.param == "serial":
            return [serially(task, FAMILY) for task in tasks]
        found = as_one(tasks, family=FAMILY)
        return [found[k] for k in range(len(configs))]

    return train


def weights(state: Mapping[str, Any], part: str = "only") -> dict[str, Tensor]:
    return {k.removeprefix(f"{part}."): v for k, v in state["model"].items() if k.startswith(f"{part}.")}


def matrices(found: Found) -> Tensor:
    """All weights of two dimensions at the end, in one."""
    return torch.cat([w.flatten() for w in weights(found[-1][1]).values() if w.ndim >= 2])


def vectors(found: Found) -> Tensor:
    return torch.cat([w for w in weights(found[-1][1]).values() if w.ndim < 2])


def length(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """How far it is from some weights to others."""
    return float(torch.cat([(a[k] - b[k]).flatten() for k in a]).norm())


def test_rates_follow_their_schedule(trained: Any) -> None:
    points = [(step - 0.5) / STEPS for step in range(1, STEPS + 1)]
    cases = {
        Config.of(schedule="constant"): [1.0] * STEPS,
        Config.of(schedule="constant", warmup=0.5): [min(1.0, p / 0.5) for p in points],
        Config.of(schedule="wsd", decay=0.5, lr_floor=0.2): [warmup_stable_decay(p, 0.0, 0.5, 0.2) for p in points],
        Config.of(schedule="cosine", warmup=0.1, lr_floor=0.1): [cosine(p, 0.1, 0.1) for p in points],
        Config.of(schedule="step", step_factor=0.5, step_count=3): [step_decay(p, 0.0, 0.5, 3) for p in points],
        Config.of(schedule="cyclical", cycles=3, lr_floor=0.1): [cyclical(p, 0.0, 0.1, 3) for p in points],
    }
    found = trained(*(BASE.with_(**dict(config)) for config in cases))
    for one, expected in zip(found, cases.values(), strict=True):
        assert [report.signals["lr"] for report, _ in one] == pytest.approx([0.1 * factor for factor in expected])
        # Plain descent moves by the rate times the gradient: the schedule reaches the weights.
        for (_, before), (report, after) in pairwise(one):
            moved = length(weights(before), weights(after))
            expected_length = report.signals["lr"] * report.signals["grad_norm_only"]
            assert moved == pytest.approx(expected_length, rel=1e-3, abs=1e-6)


def test_clipping_bounds_every_move_and_tells_the_norm_before(trained: Any) -> None:
    clip = 0.05
    free, bounded, loose = trained(BASE, BASE.with_(clip=clip), BASE.with_(clip=1e6))
    norms = [report.signals["grad_norm_only"] for report, _ in bounded]
    assert max(norms) > 2 * clip
    for (_, before), (report, after) in pairwise(bounded):
        expected = 0.1 * min(clip, report.signals["grad_norm_only"])
        assert length(weights(before), weights(after)) == pytest.approx(expected, rel=1e-3)
    for (_, a), (_, b) in zip(free, loose, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))
    # The first gradient is of the same weights and the same batch; it is told as it was.
    assert norms[0] == pytest.approx(free[0][0].signals["grad_norm_only"])


def test_l1_makes_weights_zero_the_more_the_stronger_it_is(trained: Any) -> None:
    found = trained(*(BASE.with_(l1=l1) for l1 in (0.0, 0.02, 0.1)))
    shares = [float((matrices(one) == 0).float().mean()) for one in found]
    assert shares[0] == 0
    assert 0.02 < shares[1] < shares[2] < 1
    assert all(bool((vectors(one) != 0).all()) for one in found)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_weight_decay_makes_matrices_smaller_and_nothing_else_at_once(trained: Any, optimizer: str) -> None:
    base = BASE.with_(optimizer=optimizer, beta1=0.9, beta2=0.99, lr=1e-3 if optimizer != "sgd" else 0.1)
    found = trained(*(base.with_(weight_decay=decay) for decay in (0.0, 0.3, 1.0)))
    sizes = [float(matrices(one).norm()) for one in found]
    assert sizes[0] > sizes[1] > sizes[2]
    # In the first step the gradients are the same, and only what decays differs.
    first = [weights(one[0][1]) for one in found]
    for name, weight in first[0].items():
        for other in first[1:]:
            if weight.ndim < 2:
                torch.testing.assert_close(other[name], weight)
            else:
                assert float(other[name].norm()) < float(weight.norm())


@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd"])
def test_momentum_goes_on_in_the_direction_taken(trained: Any, optimizer: str) -> None:
    base = BASE.with_(optimizer=optimizer, lr=1e-4)
    found = trained(*(base.with_(momentum=momentum) for momentum in (0.0, 0.5, 0.9)), steps=16)
    ways = [length(weights(one[0][1]), weights(one[-1][1])) for one in found]
    assert ways[0] * 1.3 < ways[1]
    assert ways[1] * 1.3 < ways[2]


def test_betas_say_for_how_long_gradients_are_remembered(trained: Any) -> None:
    base = BASE.with_(optimizer="adam", lr=1e-3, beta2=0.99)
    plain, smooth = trained(base.with_(beta1=0.0), base.with_(beta1=0.9))

    def turning(found: Found) -> float:
        """Mean cosine of the angle between one move and the next."""
        ways = [{k: weights(b)[k] - weights(a)[k] for k in weights(a)} for (_, a), (_, b) in pairwise(found)]
        flat = [torch.cat([w.flatten() for w in way.values()]) for way in ways]
        return float(torch.stack([torch.cosine_similarity(a, b, dim=0) for a, b in pairwise(flat)]).mean())

    assert turning(smooth) > turning(plain) + 0.1


def test_the_average_lags_the_more_the_slower_it_decays(trained: Any) -> None:
    base = BASE.with_(lr=0.3)
    quick, slow = trained(base.with_(ema=0.3), base.with_(ema=0.99))
    lags = [length(weights(one[-1][1]), weights(one[-1][1], "average")) for one in (quick, slow)]
    assert 0 < lags[0] < lags[1]
    begun, ended = weights(slow[0][1]), weights(slow[-1][1])
    assert lags[1] < length(begun, ended)  # it has not stayed behind altogether


def test_large_batches_have_quieter_losses(data: ImageData) -> None:
    spreads: list[float] = []
    for size in (2, 16, 64):
        run = Run(until_steps=60, full_steps=60, report_every=1, data=data)
        task = Task(0, BASE.with_(batch_size=size, lr=1e-9), run)  # it hardly moves: what varies is the batch
        losses = torch.tensor([report.signals["loss_only"] for report, _ in serially(task, FAMILY)])
        spreads.append(float(losses.std()))
    assert spreads[0] > 1.5 * spreads[1]
    assert spreads[1] > 1.5 * spreads[2]
