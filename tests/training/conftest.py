"""Small images to learn from."""

from __future__ import annotations

import pytest
import torch

from maestune.data import ImageData, Images


def image_data(n: int = 90, side: int = 8) -> ImageData:
    rng = torch.Generator().manual_seed(0)
    part = Images(torch.randint(0, 256, (n, 1, side, side), dtype=torch.uint8, generator=rng))
    return ImageData("noise", part, part, part, (), "test")


@pytest.fixture(scope="session")
def data() -> ImageData:
    return image_data()
