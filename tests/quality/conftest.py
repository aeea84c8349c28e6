import hashlib
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from maestune.data import ImageData, Images
from maestune.quality import Extractor, prepare_extractor


def _digits(labelled: bool) -> ImageData:
    pixels, classes = load_digits(return_X_y=True)
    images = torch.from_numpy((pixels / 16 * 255).round().astype("uint8")).view(-1, 1, 8, 8)
    labels = torch.from_numpy(classes).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))

    def part(start: int, end: int) -> Images:
        index = order[start:end]
        return Images(images[index], labels[index] if labelled else None)

    return ImageData(
        name="digits",
        train=part(0, 1077),
        search=part(1077, 1437),
        report=part(1437, 1797),
        class_names=tuple("0123456789") if labelled else (),
        fingerprint=hashlib.sha256(images.numpy().tobytes() + bytes([labelled])).hexdigest(),
    )


@pytest.fixture(scope="session")
def digits() -> ImageData:
    return _digits(labelled=True)


@pytest.fixture(scope="session")
def unlabelled() -> ImageData:
    return _digits(labelled=False)


@pytest.fixture(scope="session")
def quality_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def classifier(digits: ImageData, quality_cache: Path) -> Extractor:
    return prepare_extractor(digits, cache=quality_cache)


@pytest.fixture(scope="session")
def autoencoder(unlabelled: ImageData, quality_cache: Path) -> Extractor:
    return prepare_extractor(unlabelled, cache=quality_cache)
