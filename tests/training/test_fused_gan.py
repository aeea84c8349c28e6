"""Every structure of the GAN that came after the first ones: fused training is that of the loop, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import members
import pytest
import torch
from members import FAMILY, as_one, assert_equal_serial, members_of, precision, tasks_of

from maestune.data import ImageData, Images
from maestune.training import Run

NUMBERS: Sequence[Mapping[str, float]] = (
    {"margin": 0.5, "label_smoothing_fake": 0.1, "cr_real": 2.0, "cr_fake": 3.0, "truncation": 0.7},
    {"margin": 1.0, "label_smoothing_fake": 0.0, "cr_real": 10.0, "cr_fake": 1.0, "truncation": 1.0},
    {"margin": 2.0, "label_smoothing_fake": 0.2, "cr_real": 5.0, "cr_fake": 7.0, "truncation": 0.5},
)
STRUCTURES: Mapping[str, Mapping[str, Any]] = {
    "hinge": {"loss": "hinge"},
    "relativistic": {"loss": "relativistic", "dropout_d": 0.1, "instance_noise": 0.1},
    "relativistic average": {"loss": "relativistic_average", "norm_d": "batch"},
    "r2": {"penalty": "r2"},
    "r1 and r2": {"penalty": "r1r2", "loss": "relativistic"},
    "dragan": {"penalty": "dragan"},
    "lazy": {"penalty": "r1", "penalty_every": 4},
    "lazy, every second generator step": {"penalty": "gp", "penalty_every": 4, "d_steps": 2},
    "consistency": {"consistency": "real"},
    "balanced consistency": {"consistency": "both", "dropout_d": 0.1},
    "augmentation": {"augment": "colour+translation+cutout"},
    "minibatch standard deviation": {"minibatch_std": "on", "penalty": "r1"},
    "labels beside the latents": {"condition": "concat", "ema": 0.9},
    "projection": {"condition": "projection", "norm_d": "spectral"},
    "convolutions with labels": {"network": "conv", "condition": "concat", "augment": "colour+translation+cutout"},
    "everything": {
        "network": "conv",
        "condition": "projection",
        "attention": "self",
        "norm_d": "spectral",
        "penalty": "r1r2",
        "penalty_every": 4,
        "minibatch_std": "on",
        "consistency": "both",
        "ema": 0.9,
        "loss": "relativistic",
        "activation_d": "silu",
    },
}
SHAPES = {"mlp": (1, 8, 8), "conv": (3, 16, 16)}


def labelled(shape: tuple[int, int, int]) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (90, *shape), dtype=torch.uint8, generator=generator)
    part = Images(images, torch.arange(90) % 3)
    return ImageData("noise", part, part, part, ("a", "b", "c"), "test")


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 7, 0)], ids=["shared noise", "own noise"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_group_trains_as_its_members_alone(name: str, seeds: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> None:
    structure = STRUCTURES[name]
    network = structure.get("network", "mlp")
    with precision(torch.float64):
        data = labelled(SHAPES[network])
        monkeypatch.setitem(members.SPACES, network, FAMILY.space(data.spec, network))
        both = tuple({**a, **b} for a, b in zip(members.NUMBERS, NUMBERS, strict=True))
        monkeypatch.setattr(members, "NUMBERS", both)
        run = Run(until_steps=6, full_steps=20, report_every=2, samples_at={3: 2}, sample_seed=4, data=data)
        tasks = tasks_of(members_of(**structure), run, seeds)
        found = as_one(tasks)
        assert all(len(reports) == 4 for reports in found.values())
        assert_equal_serial(tasks, found, atol=1e-11)
