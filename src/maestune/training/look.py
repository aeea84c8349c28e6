"""What a model shows of itself at a report, beside its signals: samples, scores on held-out data, more pictures."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from maestune.data import TextData
from maestune.errors import SettingsError
from maestune.families.base import Family, Hyper, Noise, drawer
from maestune.training.run import Run
from maestune.types import Config

# Held-out images, and windows of text, that a model is measured on: at a rung, and at the end of a full training. Where
# fewer are held out, all of them.
IMAGES = (500, 5000)
WINDOWS = (200, 2000)
EXHIBITED = 64


def wanted(family: Family, config: Config, run: Run, n: int) -> Noise:
    """What n samples are made from: their latents, and what they are asked for."""
    assert run.data is not None
    return {**drawer(family.latents(config, run.data.spec, n))(run.sample_generator()), **run.prompts(n)}


@torch.no_grad()
def looked_at(
    family: Family, model: nn.Module, config: Config, hyper: Hyper, run: Run, step: int
) -> tuple[Mapping[str, float], Mapping[str, Tensor]]:
    """A model's scores on held-out data, where it is scored at a step, and its exhibits at the end of a full training."""
    if step not in run.scored_at or run.data is None:
        return {}, {}
    full = step >= run.full_steps
    scores: Mapping[str, float] = {}
    if family.measures:
        n = (WINDOWS if isinstance(run.data, TextData) else IMAGES)[full]
        scores = family.measure(model, hyper, _held_out(run, config, n), run.generator("measure"))
        if set(scores) != set(family.measures):
            raise SettingsError(
                f"measure: {family.name} tells {', '.join(scores) or 'nothing'}; its `measures` are {', '.join(family.measures)}."
            )
    exhibits = (
        family.exhibits(model, hyper, _held_out(run, config, EXHIBITED), run.generator("exhibits")) if full else {}
    )
    return scores, exhibits


def _held_out(run: Run, config: Config, n: int) -> Mapping[str, Tensor]:
    assert run.data is not None
    batch = run.data.held_out(run.split, n, int(config.number("context", 0)))
    return {name: tensor.to(run.device) for name, tensor in batch.items()}
