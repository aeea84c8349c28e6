import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maestune.errors import DataError
from maestune.quality.features.extractor import BATCH_SIZE
from maestune.quality.scoring.fakes import Fakes, find_folder, go_through, read_fakes

Write = Callable[..., Path]
GREY, COLOUR = (1, 8, 8), (3, 8, 8)
N = 2 * BATCH_SIZE + 30


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory, write_images: Write) -> Path:
    """Three batches of images, some of which cannot be read."""
    root = write_images(tmp_path_factory.mktemp("folder"), images)
    for i in (3, 300, 301):
        (root / f"{i:04d}.png").write_bytes(b"no image")
    return root


def gone_through(
    source: Path, shape: tuple[int, int, int] = GREY, samples: int | None = None
) -> tuple[list[torch.Tensor], Fakes]:
    """The parts that come, and what is known in the end."""
    found = find_folder(source, samples, 0)
    assert found is not None
    parts: list[torch.Tensor] = []
    read: list[Fakes] = []

    def coming():
        read.append((yield from go_through(found, shape, lambda _: None)))

    parts = list(coming())
    return parts, read[0]


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_what_comes_in_parts_is_what_is_read_at_once(folder: Path, shape: tuple[int, int, int]) -> None:
    parts, fakes = gone_through(folder, shape)
    whole = read_fakes(folder, shape, None, 0, lambda _: None)
    assert [len(part) for part in parts] == [BATCH_SIZE, BATCH_SIZE, 27]
    assert whole.images is not None
    assert torch.equal(torch.cat(parts), whole.images)
    assert fakes.images is None
    for name in ("names", "found", "shape", "skipped", "notes", "fingerprint"):
        assert getattr(fakes, name) == getattr(whole, name)
    np.testing.assert_array_equal(fakes.keys, whole.keys)


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    _, fakes = gone_through(folder)
    assert [text.split(":")[0] for text in fakes.skipped] == ["0003.png", "0300.png", "0301.png"]
    assert len(fakes) == N - 3
    assert fakes.found == N


def test_others_stand_in_for_it(folder: Path) -> None:
    parts, fakes = gone_through(folder, samples=N - 3)
    assert len(fakes) == len(set(fakes.names)) == sum(map(len, parts)) == N - 3


def test_pictures_are_found_again(folder: Path, images: np.ndarray) -> None:
    parts, fakes = gone_through(folder)
    rows = [5, 0, 400, 5]
    assert torch.equal(fakes.pictures(rows), torch.cat(parts)[rows])
    whole = read_fakes(folder, GREY, None, 0, lambda _: None)
    assert torch.equal(whole.pictures(rows), fakes.pictures(rows))
    assert fakes.pictures([]).shape == (0, *GREY)


def test_a_file_that_is_gone_meanwhile_is_told(tmp_path: Path, images: np.ndarray, write_images: Write) -> None:
    _, fakes = gone_through(write_images(tmp_path, images[:20]))
    (tmp_path / "0004.png").unlink()
    with pytest.raises(DataError, match=r"0004\.png: it was read a moment ago .*No such file"):
        fakes.pictures([4])


def test_parts_are_not_kept(folder: Path) -> None:
    found = find_folder(folder, None, 0)
    assert found is not None
    alive: list[weakref.ref[torch.Tensor]] = []
    for part in go_through(found, GREY, lambda _: None):
        gc.collect()
        assert sum(one() is not None for one in alive) <= 1
        alive.append(weakref.ref(part))


def test_only_a_plain_folder_is_gone_through(tmp_path: Path, images: np.ndarray, write_images: Write) -> None:
    np.savez(tmp_path / "samples.npz", images=images)
    for source in (tmp_path / "samples.npz", "digits", torch.from_numpy(images[:, None])):
        assert find_folder(source, None, 0) is None


def test_too_few_are_refused_before_anything_else_and_after_reading(tmp_path: Path, images: np.ndarray) -> None:
    for i in range(11):
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match="There are 11 images to be scored"):
        find_folder(tmp_path, None, 0)
    for i in range(5):
        (tmp_path / f"broken{i}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"There are 11 images to be scored \(5 could not be read: broken0"):
        gone_through(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 16 image files could be read"):
        gone_through(tmp_path)
