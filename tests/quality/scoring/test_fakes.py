import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maestune.errors import DataError
from maestune.quality.scoring import fakes, pixels
from maestune.quality.scoring.fakes import Fakes, read_fakes

Write = Callable[..., Path]
GREY, COLOUR = (1, 8, 8), (3, 8, 8)


def read(source: object, shape: tuple[int, int, int] = GREY, samples: int | None = None, seed: int = 0) -> Fakes:
    return read_fakes(source, shape, samples, seed, lambda _: None)  # type: ignore[arg-type]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)


def test_images_come_in_the_order_of_their_names(images: np.ndarray, tmp_path: Path, write_images: Write) -> None:
    found = read(write_images(tmp_path, images))
    assert torch.equal(found.images, torch.from_numpy(images[:, None]))
    assert found.names == tuple(f"{i:04d}.png" for i in range(20))
    assert found.found == 20
    assert found.notes == ()


def test_any_mode_and_size_is_brought_to_that_of_the_real_images(images: np.ndarray, tmp_path: Path) -> None:
    large = Image.fromarray(images[0]).resize((32, 24), Image.Resampling.NEAREST)
    modes = ("L", "RGB", "RGBA", "P", "1", "LA", "CMYK", "I;16")
    for i, mode in enumerate(modes * 2):
        image = Image.fromarray(np.uint16(images[0]) * 257) if mode == "I;16" else large.convert(mode)
        image.save(tmp_path / f"{i:02d}.{'jpg' if mode == 'CMYK' else 'png'}")
    grey, colour = read(tmp_path), read(tmp_path, COLOUR)
    assert grey.images.shape == (16, 1, 8, 8)
    assert colour.images.shape == (16, 3, 8, 8)
    assert torch.equal(colour.images[0], grey.images[0].expand(3, -1, -1))
    assert any("brought to 8×8" in note for note in grey.notes)


def test_colours_become_the_grey_that_the_eye_sees(tmp_path: Path) -> None:
    for i in range(12):
        Image.new("RGB", (8, 8), (200, 10, 90) if i else (7, 7, 7)).save(tmp_path / f"{i:02d}.png")
    found = read(tmp_path)
    assert set(found.images[0].flatten().tolist()) == {7}
    assert set(found.images[1].flatten().tolist()) == {
        Image.new("RGB", (1, 1), (200, 10, 90)).convert("L").getpixel((0, 0))
    }
    assert found.notes == (
        "11 samples have colours and the real images have none: they were made grey, and their colours are not scored.",
    )


def test_what_cannot_be_read_is_named_and_left_out(images: np.ndarray, tmp_path: Path, write_images: Write) -> None:
    write_images(tmp_path, images)
    (tmp_path / "0003.png").write_bytes(b"no image at all")
    (tmp_path / "0007.png").write_bytes((tmp_path / "0008.png").read_bytes()[:40])
    found = read(tmp_path)
    assert len(found) == 18
    assert {text.split(":")[0] for text in found.skipped} == {"0003.png", "0007.png"}
    assert "0003.png" not in found.names
    assert torch.equal(found.images[3], torch.from_numpy(images[4][None]))


def test_others_stand_in_for_what_cannot_be_read(images: np.ndarray, tmp_path: Path, write_images: Write) -> None:
    write_images(tmp_path, images)
    for i in range(6):
        (tmp_path / f"{i:04d}.png").write_bytes(b"no image")
    found = read(tmp_path, samples=14)
    assert len(found) == 14
    assert len(set(found.names)) == 14


def test_samples_are_drawn_by_the_seed(images: np.ndarray, tmp_path: Path, write_images: Write) -> None:
    write_images(tmp_path, images)
    one, again, other = (read(tmp_path, samples=12, seed=seed) for seed in (3, 3, 4))
    assert one.names == again.names == tuple(sorted(one.names))
    assert torch.equal(one.images, again.images)
    assert one.names != other.names
    assert one.notes == ("12 of 20 samples are scored, drawn by the seed.",)
    assert "there are 20" in read(tmp_path, samples=30).notes[0]


def test_a_folder_without_what_is_needed_is_refused(images: np.ndarray, tmp_path: Path, write_images: Write) -> None:
    with pytest.raises(DataError, match="no images found"):
        read(tmp_path)
    write_images(tmp_path / "few", images[:11])
    with pytest.raises(DataError, match="There are 11 images to be scored; at least 12 are needed"):
        read(tmp_path / "few")
    (tmp_path / "broken").mkdir()
    for i in range(15):
        (tmp_path / "broken" / f"{i}.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 15 image files could be read"):
        read(tmp_path / "broken")
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"a single image; .*Give the folder"):
        read(tmp_path / "few" / "0001.png")
    (tmp_path / "samples.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="Unpack an archive"):
        read(tmp_path / "samples.zip")


def test_hidden_files_and_loops_of_links_are_left_alone(
    images: np.ndarray, tmp_path: Path, write_images: Write
) -> None:
    write_images(tmp_path / "a", images)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / ".thumbnail.png").write_bytes(b"")
    found = read(tmp_path)
    assert len(found) == 20
    assert not found.skipped


@pytest.mark.skipif(os.name != "posix", reason="names of files are text there")
def test_names_that_are_no_text_do_not_break_anything(images: np.ndarray, tmp_path: Path, write_images: Write) -> None:
    write_images(tmp_path, images)
    os.rename(tmp_path / "0000.png", os.fsencode(tmp_path) + b"/\xff\xfe.png")
    (tmp_path / "0001.png").rename(tmp_path / '<img src=x onerror="alert(1)">.png')
    found = read(tmp_path)
    assert len(found) == 20
    assert all(name.encode() for name in found.names)


def test_arrays_in_a_file_are_samples_with_labels(images: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", images=images, labels=np.arange(20) % 10)
    found = read(tmp_path / "samples.npz")
    assert torch.equal(found.images, torch.from_numpy(images[:, None]))
    assert found.labels == tuple(str(i % 10) for i in range(20))
    some = read(tmp_path / "samples.npz", samples=12)
    assert some.labels == tuple(str(int(name) % 10) for name in some.names)
    assert torch.equal(some.images, torch.from_numpy(images[list(map(int, some.names)), None]))
    assert read(tmp_path / "samples.npz", COLOUR).images.shape == (20, 3, 8, 8)


def test_another_set_can_be_the_samples() -> None:
    found = read("digits", samples=30)
    assert found.images.shape == (30, 1, 8, 8)
    assert found.found == 1797
    assert found.labels is not None


def test_tensors_are_taken_as_they_would_be_written(images: np.ndarray) -> None:
    whole = torch.from_numpy(images[:, None])
    assert torch.equal(read(whole).images, whole)
    assert torch.equal(read(whole.float() / 127.5 - 1).images, whole)
    assert read(whole).fingerprint == read(whole.flip(0)).fingerprint != read(255 - whole).fingerprint
    with pytest.raises(DataError, match=r"expected \(N, 3, 8, 8\)"):
        read(whole, COLOUR)
    with pytest.raises(DataError, match="expected"):
        read(whole.long())
    with pytest.raises(DataError, match="not finite"):
        read(torch.full((20, 1, 8, 8), float("nan")))


def test_what_does_not_fit_in_memory_is_read_all_the_same(
    images: np.ndarray, tmp_path: Path, write_images: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, images)
    here = read(tmp_path), read(tmp_path, COLOUR)
    monkeypatch.setattr(pixels, "fits", lambda *_: False)
    there = read(tmp_path), read(tmp_path, COLOUR)
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.images, other.images)


def test_at_most_so_many_are_scored_unless_more_are_asked_for(
    images: np.ndarray, tmp_path: Path, write_images: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, images)
    monkeypatch.setattr(fakes, "MOST_SCORED", 15)
    assert len(read(tmp_path)) == 15
    assert len(read(tmp_path, samples=18)) == 18
