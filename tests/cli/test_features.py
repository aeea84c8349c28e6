import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from maestune.cli.features import features
from maestune.errors import DataError, MetricError, SettingsError
from maestune.quality.features.damages import GROWING


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAESTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def run(*arguments):
    result = CliRunner().invoke(features, [str(a) for a in arguments], env={"COLUMNS": "120"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_digits_pass_and_both_opinions_are_told():
    result = run("check", "digits", "--json")
    assert result.exit_code == 0, result.stdout
    told = json.loads(result.stdout)
    assert told["passed"] is True
    assert (told["features"]["kind"], told["second"]["kind"]) == ("classifier", "random")
    assert set(told["distances"]) == set(told["second_distances"]) == {name for chain in GROWING for name in chain}
    assert told["distances"]["real"] < told["distances"]["blur 1"] < told["distances"]["blur 2"]
    assert -1 <= told["agreement"] <= 1
    shown = " ".join(run("check", "digits").stdout.split())
    for name, value in told["distances"].items():
        assert f"{name} {value:.4g} {told['second_distances'][name]:.4g}" in shown
    assert "passed its self-test" in shown


@pytest.mark.parametrize(("name", "second"), [("autoencoder", "random"), ("random", "classifier")])
def test_other_eyes_are_tested_by_name(name, second):
    told = json.loads(run("check", "digits", "--features", name, "--json").stdout)
    assert (told["features"]["kind"], told["second"]["kind"]) == (name, second)


def test_eyes_that_see_nothing_fail_with_exit_code_one(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", images=pixels)

    class Blind(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.ones(images.shape[0], 4)

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Blind()), str(tmp_path / "blind.pt"))
    chosen = ("--features", f"torchscript:{tmp_path / 'blind.pt'}")
    result = run("check", tmp_path / "noise.npz", *chosen)
    assert result.exit_code == 1
    assert "failed its self-test" in " ".join(result.stdout.split())
    told = json.loads(run("check", tmp_path / "noise.npz", *chosen, "--json").stdout)
    assert told["passed"] is False
    assert told["agreement"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (("digits", "--features", "classifer"), SettingsError, "Did you mean classifier"),
        (("digits", "--features", "dinov2:nowhere"), SettingsError, "nowhere is no folder"),
        (("nowhere",), DataError, "no such file"),
    ],
)
def test_what_cannot_be_is_told(arguments, error, told):
    with pytest.raises(error, match=told):
        run("check", *arguments)


def test_a_classifier_needs_labels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "plain.npz", images=pixels)
    with pytest.raises(MetricError, match="--features ssl"):
        run("check", tmp_path / "plain.npz", "--features", "classifier")
