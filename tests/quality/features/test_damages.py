from dataclasses import replace

import pytest
import torch

from maestune.data import ImageData, Images, to_float
from maestune.quality.features.damages import GROWING, LESS, blurred, damaged


def _damages(data: ImageData) -> dict[str, torch.Tensor]:
    return dict(damaged(data, torch.Generator().manual_seed(0)))


def _some(classes: list[int], of_each: int) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor(classes).repeat(of_each)
    images = torch.randint(0, 256, (len(labels), 1, 8, 8), generator=generator).to(torch.uint8)
    part = Images(images, labels)
    return ImageData("some", part, part, part, tuple(map(str, range(max(classes) + 1))), "")


def test_blur_keeps_flat_images_and_smooths_others(digits: ImageData) -> None:
    flat = torch.full((2, 3, 9, 7), 0.3)
    torch.testing.assert_close(blurred(flat, 1.5), flat)
    images = to_float(digits.search.images)
    assert blurred(images, 1.0).std() < blurred(images, 0.4).std() < images.std()
    assert blurred(images, 1.0).abs().max() <= 1


def test_every_damage_stands_in_a_chain_and_images_stay_in_range(digits: ImageData) -> None:
    made = _damages(digits)
    assert set(made) == {name for chain in GROWING for name in chain}
    assert all(images.abs().max() <= 1 for images in made.values())
    assert (made["near-copies"] - made["real"]).abs().mean() < 0.02 < (made["noise 1"] - made["real"]).abs().mean()
    again = _damages(digits)
    assert all(torch.equal(images, again[name]) for name, images in made.items())


def test_with_less_variety_there_are_as_many_images_of_fewer_classes(digits: ImageData) -> None:
    labels = digits.train.labels
    assert labels is not None
    where = {image.numpy().tobytes(): int(label) for image, label in zip(digits.train.images, labels, strict=True)}
    made = _damages(digits)
    shown = {
        name: {where[((image + 1) * 127.5).round().to(torch.uint8).numpy().tobytes()] for image in made[name]}
        for name in ("real, as many", *LESS)
    }
    assert [len(found) for found in shown.values()] == [10, 8, 5, 1]
    assert len({len(made[name]) for name in shown}) == 1


def test_without_labels_the_images_of_one_side_are_left_out(unlabelled: ImageData) -> None:
    made = _damages(unlabelled)
    clean = made["real"].flatten(1).double()
    direction = torch.linalg.svd(clean - clean.mean(0), full_matrices=False).Vh[0]
    spread = [float((made[name].flatten(1).double() @ direction).std()) for name in ("real, as many", *LESS)]
    assert spread == sorted(spread, reverse=True)
    assert spread[3] < 0.5 * spread[0]


@pytest.mark.parametrize(
    ("classes", "found"),
    [([0, 1], ("drop 2",)), ([0, 1, 2], ("drop 2", "drop 3")), ([0, 1, 2, 3], LESS), ([4, 7], ("drop 2",))],
)
def test_few_classes_leave_fewer_strengths(classes: list[int], found: tuple[str, ...]) -> None:
    assert tuple(name for name in _damages(_some(classes, 50)) if name in LESS) == found


def test_too_few_images_of_a_class_are_not_looked_at() -> None:
    assert tuple(name for name in _damages(_some([0, 1, 2, 3], 20)) if name in LESS) == ("drop 1", "drop 2")
    made = _damages(_some([0, 1], 4))
    assert not [name for name in made if name in LESS]
    assert "real, as many" not in made


def test_images_that_are_all_the_same_can_be_damaged(digits: ImageData) -> None:
    flat = Images(torch.full((100, 3, 9, 12), 90, dtype=torch.uint8))
    made = _damages(replace(digits, train=flat, search=flat, class_names=()))
    assert all(torch.isfinite(images).all() for images in made.values())
