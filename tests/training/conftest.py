"""Small images to learn from."""

from __future__ import annotations

import pytest
import torch

from maestune.data import ImageData, Images


@pytest.fixture(scope="session")
def data() -> ImageData:
    """90 grey images of 8×8 pixels, all different."""
    rng = torch.Generator().manual_seed(0)
    part = Images(torch.randint(0, 256, (90, 1, 8, 8), dtype=torch.uint8, generator=rng))
    return ImageData("noise", part, part, part, (), "test")
