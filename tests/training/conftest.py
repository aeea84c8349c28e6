"""Small images to learn from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from maestune.data import ImageData, Images

# The tests of many members at once make and compare them with the module beside this file.
sys.path.insert(0, str(Path(__file__).parent))
from members import precision


@pytest.fixture(scope="session")
def data() -> ImageData:
    """90 grey images of 8×8 pixels, all different."""
    rng = torch.Generator().manual_seed(0)
    part = Images(torch.randint(0, 256, (90, 1, 8, 8), dtype=torch.uint8, generator=rng))
    return ImageData("noise", part, part, part, (), "test")


@pytest.fixture(scope="module")
def double() -> Iterator[None]:
    """Everything in double precision, so that what is computed in another order can be told from what is wrong."""
    with precision(torch.float64):
        yield
