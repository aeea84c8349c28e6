from dataclasses import replace

import pytest
import torch
from torch import nn

from maestune.data import ImageData, Images
from maestune.errors import MetricError
from maestune.quality import Extractor, make_extractor, self_test
from maestune.quality.features.cache import prepare_extractor
from maestune.quality.features.damages import GROWING
from maestune.quality.features.fitting import random_extractor
from maestune.quality.features.self_test import check_distances, refusal


class _Blind(nn.Module):
    """Sees the same in every image."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.ones(len(images), 8), None


class _Brightness(nn.Module):
    """Sees nothing but the mean brightness: blurs and classes escape it."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return nn.functional.adaptive_avg_pool2d(images, 1).flatten(1), None


class _Grain(nn.Module):
    """Sees the smallest differences of neighbours, and calls every near-copy something else."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.sign((images * 255).round() % 2 - 0.5).flatten(1), None


@pytest.fixture(scope="module")
def chance(digits: ImageData) -> Extractor:
    return random_extractor(digits)


def test_eyes_that_learnt_pass(classifier: Extractor, chance: Extractor, digits: ImageData) -> None:
    found = self_test(classifier, digits, second=chance)
    assert found.passed, found.sentence
    assert set(found.distances) == set(found.second) == {name for chain in GROWING for name in chain}
    assert found.agreement is not None
    assert 0.5 <= found.agreement <= 1.0
    assert "passed" in found.sentence
    assert "second extractor" in found.sentence
    assert found == self_test(classifier, digits, second=chance)
    assert refusal(found) is None


def test_alone_it_tells_the_same_distances(classifier: Extractor, chance: Extractor, digits: ImageData) -> None:
    alone, both = self_test(classifier, digits), self_test(classifier, digits, second=chance)
    assert alone.distances == both.distances
    assert (alone.second, alone.agreement) == ({}, None)


@pytest.mark.parametrize("kind", ["ssl", "autoencoder", "random"])
def test_eyes_without_labels_pass(kind: str, unlabelled: ImageData, quality_cache, chance: Extractor) -> None:
    found = self_test(prepare_extractor(unlabelled, kind=kind, cache=quality_cache), unlabelled, second=chance)
    assert found.passed, found.sentence
    assert "drop 3" in found.distances


@pytest.mark.parametrize(("network", "complaint"), [(_Blind(), "blur"), (_Brightness(), "blur"), (_Grain(), "near")])
def test_blind_eyes_fail(network: nn.Module, complaint: str, digits: ImageData, chance: Extractor) -> None:
    found = self_test(make_extractor("test", network, digits.train.images, 0, ""), digits, second=chance)
    assert not found.passed
    assert "failed" in found.sentence
    assert complaint in found.sentence
    told = refusal(found)
    assert told is not None
    assert "--features" in told


GOOD = {
    "real": 1.0, "near-copies": 1.1, "blur 1": 5.0, "blur 2": 9.0, "noise 1": 5.0, "noise 2": 9.0, "real, as many": 1.2,
    "drop 1": 1.5, "drop 2": 3.0, "drop 3": 6.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"blur 2": 2.0}, "blur 2"),
        ({"blur 1": 0.5}, "blur 1"),
        ({"noise 1": 1.0}, "noise 1"),
        ({"drop 1": 1.2}, "drop 1"),
        ({"drop 2": 1.5}, "drop 2"),
        ({"drop 3": 3.1}, "drop 3"),
        ({"real": 4.0}, "real against real"),
        ({"near-copies": 4.0}, "a near-copy of real images"),
        ({"noise 2": float("nan")}, "noise 2"),
    ],
)
def test_each_shortcoming_is_named(change: dict[str, float], complaint: str) -> None:
    assert check_distances(GOOD).passed
    found = check_distances(GOOD | change)
    assert not found.passed
    assert complaint in found.sentence


def test_the_faintest_damage_is_the_least_of_all_factors() -> None:
    assert check_distances(GOOD).faintest == pytest.approx(1.5 / 1.2)
    assert check_distances(GOOD | {"noise 1": 1.2}).faintest == pytest.approx(1.2 / 1.1)  # than near-copies
    assert check_distances(GOOD | {"blur 1": 0.3}).faintest == pytest.approx(0.3)
    assert check_distances(GOOD | {"blur 1": float("nan")}).faintest == 0.0
    assert check_distances(dict.fromkeys(GOOD, 0.0)).faintest == 0.0


def test_damages_that_were_not_made_are_not_missed() -> None:
    subset = {
        name: value for name, value in GOOD.items() if name not in ("real, as many", "drop 1", "drop 2", "drop 3")
    }
    assert check_distances(subset).passed
    assert check_distances({name: value for name, value in GOOD.items() if name != "drop 1"}).passed


def test_two_that_contradict_each_other_fail() -> None:
    alike = check_distances(GOOD, {name: 10 * value for name, value in GOOD.items()})
    assert (alike.passed, alike.agreement) == (True, pytest.approx(1.0))
    opposed = check_distances(GOOD, {name: -value for name, value in GOOD.items()})
    assert (opposed.passed, opposed.agreement) == (False, pytest.approx(-1.0))
    assert "-1.00" in opposed.sentence
    constant = check_distances(GOOD, dict.fromkeys(GOOD, 1.0))
    assert (constant.passed, constant.agreement) == (False, 0.0)
    broken = check_distances(GOOD, GOOD | {"blur 1": float("nan")})
    assert (broken.passed, broken.agreement) == (False, 0.0)


def test_agreement_is_the_rank_correlation_over_what_both_saw() -> None:
    second = {"real": 1.0, "blur 1": 2.0, "blur 2": 1.5, "noise 1": 4.0, "elsewhere": 9.0}
    # Ranks 1, 2.5, 4, 2.5 against 1, 3, 2, 4: Pearson's correlation of the two.
    assert check_distances(GOOD, second).agreement == pytest.approx(1.5 / (4.5 * 5) ** 0.5)


def test_a_single_image_is_too_few(classifier: Extractor, digits: ImageData) -> None:
    one = replace(digits, train=digits.train.take(torch.tensor([0])))
    with pytest.raises(MetricError, match="at least 2 training images"):
        self_test(classifier, one)


def test_real_images_of_another_kind_are_not_near_zero(classifier: Extractor, digits: ImageData) -> None:
    inverted = replace(digits, train=Images(255 - digits.train.images, digits.train.labels))
    found = self_test(classifier, inverted)
    assert not found.passed
    assert "real against real" in found.sentence
