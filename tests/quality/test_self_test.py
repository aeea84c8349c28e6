import pytest
import torch
from torch import nn

from maestune.data import ImageData, to_float
from maestune.quality import Extractor, make_extractor, self_test
from maestune.quality.self_test import blurred, judge_distances


class _Blind(nn.Module):
    """Sees the same in every image."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.ones(len(images), 8), None


class _Brightness(nn.Module):
    """Sees nothing but the brightness of the four quarters: blurs and classes escape it."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return nn.functional.adaptive_avg_pool2d(images, 1).flatten(1), None


def test_eyes_that_learnt_pass(classifier: Extractor, autoencoder: Extractor, digits: ImageData) -> None:
    found = self_test(classifier, digits)
    assert found.passed, found.sentence
    assert set(found.distances) == {
        "real", "blur 1", "blur 2", "noise 1", "noise 2", "real, as many", "half the classes",
    }  # fmt: skip
    assert "passed" in found.sentence
    assert found == self_test(classifier, digits)


def test_eyes_without_labels_pass(autoencoder: Extractor, unlabelled: ImageData) -> None:
    found = self_test(autoencoder, unlabelled)
    assert found.passed, found.sentence
    assert "half the classes" not in found.distances


@pytest.mark.parametrize("network", [_Blind(), _Brightness()])
def test_blind_eyes_fail(network: nn.Module, digits: ImageData) -> None:
    found = self_test(make_extractor("test", network, digits.train.images, 0, ""), digits)
    assert not found.passed
    assert "failed" in found.sentence


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"blur 2": 2.0}, "blur 2"),
        ({"blur 1": 0.5}, "blur 1"),
        ({"noise 1": 1.0}, "noise 1"),
        ({"half the classes": 1.0}, "half the classes"),
        ({"real": 4.0}, "real against real"),
        ({"noise 2": float("nan")}, "noise 2"),
    ],
)
def test_each_shortcoming_is_named(change: dict[str, float], complaint: str) -> None:
    good = {
        "real": 1.0, "blur 1": 5.0, "blur 2": 9.0, "noise 1": 5.0, "noise 2": 9.0, "real, as many": 1.2,
        "half the classes": 3.0,
    }  # fmt: skip
    assert judge_distances(good).passed
    found = judge_distances(good | change)
    assert not found.passed
    assert complaint in found.sentence


def test_blur_keeps_flat_images_and_smooths_others(digits: ImageData) -> None:
    flat = torch.full((2, 3, 9, 7), 0.3)
    torch.testing.assert_close(blurred(flat, 1.5), flat)
    images = to_float(digits.search.images)
    assert blurred(images, 1.0).std() < blurred(images, 0.4).std() < images.std()
    assert blurred(images, 1.0).abs().max() <= 1
