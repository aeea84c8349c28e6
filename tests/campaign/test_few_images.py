"""Sixty images are enough for a campaign: what needs more is left out, with a note."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from maestune.campaign import Campaign
from maestune.data import load_images
from maestune.errors import DataError, SettingsError
from maestune.quality import METRICS, ImageEvaluator, available_metrics, prepare_extractor
from maestune.quality.available import metric_availability

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def images(folder, n, kind):
    digits = load_digits()
    for i in range(n):
        place = folder / str(digits.target[i]) if kind == "classes" else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[i] * 15.9).astype(np.uint8)).save(place / f"{i:03d}.png")
        if kind == "captions":
            (place / f"{i:03d}.txt").write_text(f"a {NUMBERS[digits.target[i]]}")
    return folder


def campaign(data, folder, **values):
    settings = {"budget": "4trials", "steps": 10, "samples": 100, "workers": 0, "fuse": "off", **values}
    return Campaign(data=str(data), out=str(folder), **settings)


@pytest.mark.parametrize(
    ("model", "kind", "features"),
    [
        ("gan", "flat", None),
        ("vae", "flat", "random"),
        *(
            pytest.param(model, "classes", features, marks=pytest.mark.slow)
            for model in ("gan", "vae", "flow")
            for features in (None, "classifier", "ssl", "autoencoder", "random", "torchscript")
        ),
        pytest.param("flow", "captions", None, marks=pytest.mark.slow),
    ],
)
def test_sixty_images_are_enough(tmp_path, model, kind, features):
    data = images(tmp_path / "data", 60, kind)
    if features == "torchscript":  # what others trained, in a file
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 24), torch.nn.ReLU())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.trace: files of it are still read
            torch.jit.trace(network, torch.zeros(2, 1, 8, 8)).save(str(tmp_path / "network.pt"))
        features = f"torchscript:{tmp_path / 'network.pt'}"
    record = campaign(data, tmp_path / "c", model=model, features=features).run()
    assert record.done
    assert record.finalists
    assert "fd" in record.floor
    assert "fd_inf" not in record.floor
    (note,) = (note for note in record.notes if note.startswith("Left out, since there is too little"))
    assert "fd_inf" in note
    assert "training images, there are 36" in note or "samples, there are 100" in note
    if features is None:
        assert any("self-test cannot tell with 12 held-out images" in note for note in record.notes)


def test_what_is_left_out_for_want_of_images_cannot_be_improved(tmp_path):
    data = images(tmp_path / "data", 60, "flat")
    with pytest.raises(SettingsError, match=r"fd_inf\) cannot be measured.*needs \d+ training images, there are 36"):
        campaign(data, tmp_path / "c", model="gan", features="random", objective=("fd_inf",), samples=1000).run()


def test_fewer_than_sixty_are_refused(tmp_path):
    data = images(tmp_path / "data", 59, "flat")
    with pytest.raises(DataError, match=r"59 different images.*at least 60"):
        campaign(data, tmp_path / "c", model="gan").run()


@pytest.mark.parametrize("n", [60, 100, 210, 300, 433, 434, 600])
def test_every_available_metric_has_a_floor(tmp_path, n):
    data = load_images(str(images(tmp_path / "data", n, "flat")))
    extractor = prepare_extractor(data, kind="random", cache=tmp_path)
    evaluator = ImageEvaluator.prepare(data, "search", extractor, 1000)
    floor = evaluator.floor(evaluator.metrics, torch.Generator().manual_seed(0))
    assert set(floor) == set(evaluator.metrics)
    assert set(evaluator.left_out) | set(evaluator.metrics) >= set(available_metrics(data, extractor))
    assert ("fd_inf" in evaluator.metrics) == (len(data.train) >= METRICS["fd_inf"].least_per_dimension * 65)
    assert metric_availability(data, extractor, n_samples=1000).metrics == evaluator.metrics
