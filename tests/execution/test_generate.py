"""Samples from a checkpoint: what of a model's own errors is told in which words."""

import pytest
import torch

from maestune.data import DataSpec
from maestune.errors import CheckpointError, SettingsError
from maestune.execution.folder import checkpoint_path
from maestune.execution.generate import generate
from maestune.execution.jobs import Identity
from maestune.training.checkpoint import save_checkpoint
from maestune.types import Config

OWNER = Identity("", 0, Config.of(lr=0.5), 0)
FAMILY = """
import torch
from maestune import NoiseSpec, Float, Network, Space

wanted = {}

def generate(network, hyper, noise):
    BODY

family = Network(
    space=Space((Float("lr", 0.1, 1.0),)),
    build=lambda config, spec: torch.nn.Embedding(spec.classes, 64),
    loss=lambda network, batch, hyper, noise: network(batch["label"]).square().mean(1),
    latents=lambda config, spec, n: {"z": NoiseSpec("normal", (n, 1))},
    generate=generate,
    full_steps=30,
)
"""
DRAWN = 'return (network(noise["label"]) + 0 * noise["z"]).tanh().reshape(-1, 1, 8, 8)'
LABELS = {"label": torch.arange(10).repeat(2)}


@pytest.fixture
def drawn(tmp_path):
    """Twenty samples of a network that generates as a piece of code says."""

    def draw(body, prompts):
        (tmp_path / "mine.py").write_text(FAMILY.replace("BODY", body))
        state = {"model": {"network.weight": torch.arange(640.0).reshape(10, 64) / 640}}
        save_checkpoint(checkpoint_path(tmp_path, 30), {"state": state, "step": 30, "seconds": 1.0, "rungs": []})
        model, spec = f"{tmp_path / 'mine.py'}:family", DataSpec(shape=(1, 8, 8), classes=10)
        return generate(model, Config.of(lr=0.5), tmp_path, spec, 20, 0, "cpu", prompts, OWNER)

    return draw


def test_samples_are_those_of_the_checkpoint(drawn):
    images = drawn(DRAWN, LABELS)
    assert images.shape == (20, 1, 8, 8)
    assert torch.equal(images[:10], images[10:])
    assert float(images[9].max()) == pytest.approx(float(torch.tensor(639 / 640).tanh()))


@pytest.mark.parametrize(
    ("name", "says"),
    [("label", "ask for a class of the data"), ("caption", "what a caption says"), ("prompt", "how a text begins")],
)
def test_a_condition_that_was_left_out_is_told(drawn, name, says):
    body = DRAWN.replace("label", name)
    with pytest.raises(SettingsError, match=f"This model is asked by {name}, and was given none; .*{says}"):
        drawn(body, {} if name == "label" else LABELS)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ('wanted["sharpness"]', "sharpness"),
        ('wanted["label"]', "label"),
        ('hyper["gain"]', "gain"),
        ("{}[0, 1]", "0, 1"),
    ],
)
def test_an_error_of_the_model_itself_is_not_dressed_up(drawn, body, key):
    with pytest.raises(KeyError, match=key):
        drawn(f"{body}; {DRAWN}", LABELS)


def test_a_folder_without_checkpoint_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="No checkpoint in"):
        generate("gan", Config.of(), tmp_path, None, 1, 0, "cpu", {}, OWNER)
