"""What a training is asked to do: the one argument, beside its config, of every training generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from maestune.data import Batch, Data
from maestune.types import Config, Report


@dataclass(frozen=True)
class Run:
    """One segment of a training: from `start_steps` to `until_steps` of a full training of `full_steps`.

    `state` is what the last report's `state()` returned when the training was paused, None at the start.
    `samples_at`: step → number of samples due there. `scored_at`: steps after which the model is scored; `validation_steps`:
    those of them at which its best weights are chosen, always by the search part, in the finals by `n_choice` samples
    of their own (None: as many as are due; 0: nobody looks at samples for that).

    `seed` fixes weights, data order and noise; `sample_seed` the latents of the samples, the same for all trials of a
    stage (common random numbers). `split` tells which held-out part scores are for: trainings that score themselves use
    the one, and leave the other for the verdict.
    """

    until_steps: int
    full_steps: int
    start_steps: int = 0
    state: Mapping[str, Any] | None = None
    seed: int = 0
    sample_seed: int = 0
    samples_at: Mapping[int, int] = field(default_factory=dict[int, int])
    scored_at: frozenset[int] = frozenset()
    validation_steps: frozenset[int] = frozenset()
    report_every: int = 50
    device: str = "cpu"
    data: Data | None = None
    split: Literal["search", "report"] = "search"
    n_choice: int | None = None

    def steps(self) -> range:
        """The steps to do now, numbered from 1: a training that was paused after step 300 goes on with 301."""
        return range(self.start_steps + 1, self.until_steps + 1)

    def due(self, step: int) -> bool:
        """Whether a report is due after this step: regularly, where samples are due, and at the end."""
        regular = step % self.report_every == 0 or step == self.until_steps
        return regular or step in self.samples_at or step in self.scored_at

    def n_samples(self, step: int) -> int:
        """Number of samples due after this step; 0 for none."""
        return self.samples_at.get(step, 0)

    def prompts(self, n: int, split: Literal["search", "report"] | None = None) -> Batch:
        """What n samples are asked for, on the device: labels, captions or beginnings of texts.

        Empty where there are none. `split`: of which part, if not of the one that scores are for.
        """
        conditions = self.data.prompts(split or self.split, n) if self.data is not None else {}
        return {name: tensor.to(self.device) for name, tensor in conditions.items()}

    def generator(self, purpose: str = "train") -> torch.Generator:
        """A generator for a purpose ("train", "weights", …) that depends on the seed and the purpose alone."""
        return seeded(self.seed, purpose, device=self.device)

    def sample_generator(self, purpose: str = "samples") -> torch.Generator:
        """The generator of the latents of samples; a new one in the same state at each call."""
        return seeded(self.sample_seed, purpose, device=self.device)


Training = Callable[[Config, Run], Iterator[Report]]
"""Every training, ours and the user's: a generator of reports."""


def seeded(seed: int, purpose: str, device: str = "cpu") -> torch.Generator:
    """A torch generator whose stream depends on the seed and the name of its purpose, independent between purposes."""
    mixed = seed & 0xFFFFFFFFFFFF
    for character in purpose:
        mixed = (mixed * 6364136223846793005 + ord(character) + 1442695040888963407) & 0x7FFFFFFFFFFFFFFF
    return torch.Generator(device=device).manual_seed(mixed)
