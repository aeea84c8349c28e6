"""Evaluation of a model at a report, beside its signals: samples, scores on held-out data, exhibits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from maestune.data import Split, TextData
from maestune.errors import SettingsError
from maestune.families.base import Family, Hyper, Noise, drawer
from maestune.training.run import Run
from maestune.types import Config

# Held-out images, and windows of text, that a model is measured on: at a rung, and at the end of a full training. Where
# fewer are held out, all of them.
IMAGES = (500, 5000)
WINDOWS = (200, 2000)
EXHIBITED = 64


def sample_inputs(
    family: Family, config: Config, run: Run, n: int, purpose: str = "samples", split: Split | None = None
) -> Noise:
    """Inputs of n samples: their latents, of their own for each purpose, and prompts."""
    assert run.data is not None
    latents = drawer(family.latents(config, run.data.spec, n))(run.sample_generator(purpose))
    return {**latents, **run.prompts(n, split)}


@dataclass(frozen=True)
class Evaluation:
    """Scores on held-out data, what the best weights are chosen by where that is something else, more pictures."""

    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    choice: Mapping[str, float] = field(default_factory=dict[str, float])
    choice_samples: Tensor | None = None
    exhibits: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@torch.no_grad()
def evaluate_checkpoint(
    family: Family, model: nn.Module, config: Config, hyper: Hyper, run: Run, step: int
) -> Evaluation:
    """Evaluate a model after a step: nothing where it is not scored; exhibits after a full training."""
    if step not in run.scored_at or run.data is None:
        return Evaluation()
    full = step >= run.full_steps
    validated = step in run.validation_steps
    scores: Mapping[str, float] = {}
    choice: Mapping[str, float] = {}
    if family.measures:
        n = (WINDOWS if isinstance(run.data, TextData) else IMAGES)[full or validated]
        # In the finals a validation only chooses: what weights are worth is told of those that turn out to be the result (`evaluate_best`).
        if full or not validated or run.split == "search":
            scores = _measured(family, model, config, hyper, run, n, run.split)
        if validated:
            choice = scores if run.split == "search" else _measured(family, model, config, hyper, run, n, "search")
    choice_samples: Tensor | None = None
    n = run.n_samples(step) if run.n_choice is None else run.n_choice
    if validated and run.split == "report" and n:
        choice_samples = family.generate(model, hyper, sample_inputs(family, config, run, n, "choice", "search"))
    exhibits: Mapping[str, Tensor] = {}
    if full:
        batch = _held_out(run, config, EXHIBITED, run.split)
        exhibits = family.exhibits(model, hyper, batch, run.generator("exhibits"))
    return Evaluation(scores, choice, choice_samples, exhibits)


def _measured(
    family: Family, model: nn.Module, config: Config, hyper: Hyper, run: Run, n: int, split: Split
) -> Mapping[str, float]:
    scores = family.measure(model, hyper, _held_out(run, config, n, split), run.generator("measure"))
    if set(scores) != set(family.measures):
        raise SettingsError(
            f"measure: {family.name} tells {', '.join(scores) or 'nothing'}; its `measures` are "
            f"{', '.join(family.measures)}."
        )
    return scores


def _held_out(run: Run, config: Config, n: int, split: Split) -> Mapping[str, Tensor]:
    assert run.data is not None
    batch = run.data.held_out(split, n, int(config.number("context", 0)))
    return {name: tensor.to(run.device) for name, tensor in batch.items()}
