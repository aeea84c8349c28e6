"""Samples from a trained trial's checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from maestune.data import Batch, DataSpec
from maestune.errors import CheckpointError, SettingsError
from maestune.execution.best_weights import kept_state
from maestune.execution.folder import check_owner, checkpoints
from maestune.execution.jobs import Identity
from maestune.execution.model import built_in_family, is_user_model, load_user_model
from maestune.families.base import drawer
from maestune.training.checkpoint import load_checkpoint
from maestune.training.run import seeded
from maestune.types import Config

ASKED_BY = {"label": "a class of the data", "caption": "what a caption says", "prompt": "how a text begins"}
"""What models are asked by, as families name it, and what that is."""


def generate(
    model: str,
    config: Config,
    folder: Path,
    spec: DataSpec | None,
    n: int,
    seed: int,
    device: str,
    prompts: Batch,
    owner: Identity,
) -> Tensor:
    """n samples, images (n, C, H, W) in [-1, 1] or tokens (n, T), from the newest checkpoint in a trial's folder.

    `prompts`: what they are asked for, n of each; may be empty. `owner`: whose checkpoint it has to be.

    A user's own training can be drawn from when its file has `generate(config, state, n, generator)`, where `state` is what
    its reports' `state()` returned. Raises CheckpointError without a checkpoint of the owner, SettingsError without such a function.
    """
    found = checkpoints(folder)
    if not found:
        raise CheckpointError(
            f"No checkpoint in {folder}. Checkpoints are kept for the recipe and the best configuration once a campaign has "
            "finished; go on with it (maestune resume) or choose one of them."
        )
    saved = load_checkpoint(found[0])
    check_owner(found[0], saved, owner)
    state = kept_state(saved)
    generator = seeded(seed, "generate", device=device)
    user_model = load_user_model(model) if is_user_model(model) else None
    family = built_in_family(model) if user_model is None else user_model.family
    if family is None:
        assert user_model is not None
        if user_model.generate is None:
            raise SettingsError(
                f"{model.partition(':')[0]} has no function `generate`; define generate(config, state, n, generator) → images "
                "(n, C, H, W) in [-1, 1] beside the training to draw samples from its checkpoints."
            )
        return user_model.generate(config, state, n, generator)
    if spec is None:
        raise SettingsError("The campaign does not say what its data are like; its folder is incomplete.")
    network = family.build(config, spec, seeded(0, "weights", device=device))
    try:
        network.load_state_dict(state["model"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{found[0]} does not hold the weights of this model ({type(error).__name__})."
        ) from error
    noise = {**drawer(family.latents(config, spec, n))(generator), **{k: t.to(device) for k, t in prompts.items()}}
    try:
        with torch.no_grad():
            return family.generate(network, family.hyper(config, 1.0), noise)
    except KeyError as missing:
        name = missing.args[0] if missing.args else None
        if not isinstance(name, str) or name not in ASKED_BY or name in noise:
            raise  # no condition that was left out: an error of whoever wrote the model
        raise SettingsError(
            f"This model is asked by {name}, and was given none; ask for {ASKED_BY[name]}."
        ) from missing
