"""Samples from a trained trial's checkpoint."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from maestune.errors import CheckpointError, SettingsError
from maestune.execution.model import family, is_own, load_own
from maestune.execution.segment import checkpoints
from maestune.families.base import Shape, drawer
from maestune.training.checkpoint import load_checkpoint
from maestune.training.run import seeded
from maestune.types import Config


def generate(model: str, config: Config, folder: Path, shape: Shape | None, n: int, seed: int, device: str) -> Tensor:
    """Samples (n, C, H, W) in [-1, 1] from the newest checkpoint in a trial's folder.

    A user's own training can be drawn from when its file has `generate(config, state, n, generator)`, where `state` is what
    its reports' `state()` returned. Raises CheckpointError without a checkpoint, SettingsError without such a function.
    """
    found = checkpoints(folder)
    if not found:
        raise CheckpointError(
            f"No checkpoint in {folder}. Checkpoints are kept for the recipe and the best configuration once a campaign has "
            "finished; go on with it (maestune resume) or choose one of them."
        )
    state = load_checkpoint(found[0])["state"]
    generator = seeded(seed, "generate", device=device)
    own = load_own(model) if is_own(model) else None
    made = family(model) if own is None else own.family
    if made is None:
        assert own is not None
        if own.generate is None:
            raise SettingsError(
                f"{model.partition(':')[0]} has no function `generate`; define generate(config, state, n, generator) → images "
                "(n, C, H, W) in [-1, 1] beside the training to draw samples from its checkpoints."
            )
        return own.generate(config, state, n, generator)
    if shape is None:
        raise SettingsError("The campaign does not say which shape its images have; its folder is incomplete.")
    network = made.build(config, shape, seeded(0, "weights", device=device))
    network.load_state_dict(state["model"])
    return made.generate(network, drawer(made.latents(config, shape, n))(generator))
