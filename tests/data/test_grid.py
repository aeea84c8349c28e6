from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maestune.data import grid_image, save_png
from maestune.errors import DataError


@given(
    n=st.integers(1, 11),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    columns=st.integers(1, 5),
    gap=st.integers(0, 2),
    scale=st.integers(1, 3),
)
def test_every_image_stands_in_its_place(n, channels, height, width, columns, gap, scale) -> None:
    images = torch.randint(0, 255, (n, channels, height, width), generator=torch.Generator().manual_seed(n)).byte()
    picture = np.asarray(grid_image(images, columns, gap, scale))
    used = min(columns, n)
    rows = -(-n // used)
    assert picture.shape[:2] == ((rows * (height + gap) - gap) * scale, (used * (width + gap) - gap) * scale)
    small = picture[::scale, ::scale]
    assert np.array_equal(small.repeat(scale, 0).repeat(scale, 1), picture)
    paper = np.ones(small.shape[:2], bool)
    for i in range(n):
        top, left = (i // used) * (height + gap), (i % used) * (width + gap)
        tile = small[top : top + height, left : left + width]
        assert np.array_equal(tile.reshape(height, width, channels), images[i].permute(1, 2, 0).numpy())
        paper[top : top + height, left : left + width] = False
    assert (small[paper] == 255).all()


def test_float_images_are_clipped_and_rounded() -> None:
    images = torch.tensor([-1.0, 1.0, 0.0, 7.0, float("nan"), -9.0]).reshape(6, 1, 1, 1)
    assert np.asarray(grid_image(images, columns=6, gap=0)).tolist() == [[0, 255, 128, 255, 128, 0]]
    assert grid_image(torch.zeros(2, 3, 4, 4)).mode == "RGB"


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (4, 2, 8, 8), (3, 8, 8)])
def test_what_cannot_be_drawn_is_said(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"expected \(N, C, H, W\)"):
        grid_image(torch.zeros(shape))


@pytest.mark.parametrize("layout", [{"columns": 0}, {"gap": -1}, {"scale": 0}])
def test_impossible_layouts_are_said(layout: dict[str, int]) -> None:
    [(name, value)] = layout.items()
    with pytest.raises(DataError, match=rf"{name}={value}: expected at least"):
        grid_image(torch.zeros(2, 1, 4, 4), **layout)


def test_png_round_trip_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    image = grid_image(torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8))
    save_png(image, path)
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(image))
    assert list(tmp_path.iterdir()) == [path]


def test_failed_writing_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maestune.folder_files.os.replace", full)
    with pytest.raises(OSError, match="No space"):
        save_png(Image.new("L", (4, 4)), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        save_png(Image.new("L", (4, 4)), tmp_path / "missing" / "a.png")
