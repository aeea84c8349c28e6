from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.data import ImageData, load_images
from maestune.data.npz import read_npz
from maestune.errors import DataError

RNG = np.random.default_rng(11)


def images(n: int = 80, *shape: int) -> np.ndarray:
    return RNG.integers(0, 256, (n, *(shape or (8, 8))), dtype=np.uint8)


def write(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "set.npz"
    np.savez(path, **arrays)
    return path


def parts(data: ImageData):
    return (data.train, data.search, data.report)


@pytest.mark.parametrize("name", ["images", "x", "X", "data", "arr_0", "x_train", "train_images", "x_test"])
def test_images_are_found_under_every_usual_name(tmp_path: Path, name: str) -> None:
    array = images()
    data = load_images(write(tmp_path, **{name: array}))
    assert data.name == "set"
    assert {i.numpy().tobytes() for part in parts(data) for i in part.images} == {i.tobytes() for i in array}
    assert not data.labelled


@pytest.mark.parametrize(
    ("learn", "held_out"),
    [
        (("x_train", "y_train"), ("x_test", "y_test")),
        (("X_train", "y_train"), ("X_test", "y_test")),
        (("train_images", "train_labels"), ("test_images", "test_labels")),
    ],
)
def test_test_arrays_are_held_out_for_the_report(
    tmp_path: Path, learn: tuple[str, str], held_out: tuple[str, str]
) -> None:
    train, test = images(100), images(30)
    arrays = {learn[0]: train, learn[1]: np.arange(100) % 4 + 3, held_out[0]: test, held_out[1]: np.arange(30) % 3 + 3}
    data = load_images(write(tmp_path, **arrays))
    assert (len(data.train), len(data.search), len(data.report)) == (80, 20, 30)
    assert {i.numpy().tobytes() for i in data.report.images} == {i.tobytes() for i in test}
    assert data.class_names == ("3", "4", "5", "6")
    codes = [*(np.arange(100) % 4), *(np.arange(30) % 3)]
    label_of = {i.tobytes(): v for i, v in zip((*train, *test), codes, strict=True)}
    for part in parts(data):
        assert part.labels is not None
        assert part.labels.tolist() == [label_of[i.numpy().tobytes()] for i in part.images]


def test_channels_first_and_last_are_the_same(tmp_path: Path) -> None:
    array = images(70, 9, 8, 3)
    (tmp_path / "first").mkdir()
    last = read_npz(write(tmp_path, images=array), 8)
    first = read_npz(write(tmp_path / "first", images=array.transpose(0, 3, 1, 2)), 8)
    assert last.images.pixels.shape == (70, 3, 8, 8)
    assert np.array_equal(last.images.pixels, first.images.pixels)
    assert "8×9 were brought to 8×8" in last.note
    grey = read_npz(write(tmp_path, images=array[..., :1]), 8)
    assert grey.images.pixels.shape == (70, 1, 8, 8)


@given(low=st.sampled_from([0.0, -1.0]), dtype=st.sampled_from([np.float16, np.float32, np.float64]))
def test_floats_are_scaled_from_their_range(
    tmp_path_factory: pytest.TempPathFactory, low: float, dtype: type[np.floating]
) -> None:
    array = images(3)
    array[0, 0, :2] = (0, 255)
    floats = (low + array / 255 * (1 - low)).astype(dtype)
    pixels = read_npz(write(tmp_path_factory.mktemp("npz"), x=floats)).images.pixels
    # Sixteen bits do not tell all values near 1 apart, at most to the next one.
    assert np.abs(pixels[:, 0].astype(int) - array).max() <= (1 if dtype is np.float16 else 0)


def test_the_range_is_that_of_both_arrays(tmp_path: Path) -> None:
    train = np.linspace(-1, 1, 64 * 10, dtype=np.float32).reshape(10, 8, 8)
    test = np.zeros((2, 8, 8), np.float32)  # mid grey, though in 0…1 it would be black
    held_out = read_npz(write(tmp_path, x_train=train, x_test=test)).held_out
    assert held_out is not None
    assert set(held_out.pixels.ravel().tolist()) <= {127, 128}


def test_whole_numbers_of_every_width_and_truth_values(tmp_path: Path) -> None:
    array = images(5)
    for dtype in (np.int16, np.int64, np.uint32):
        assert np.array_equal(read_npz(write(tmp_path, x=array.astype(dtype))).images.pixels[:, 0], array)
    truths = array > 127
    assert np.array_equal(read_npz(write(tmp_path, x=truths)).images.pixels[:, 0], truths * np.uint8(255))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.arange(70) % 2 * 10, ("0", "10")),
        ((np.arange(70) % 2)[:, None], ("0", "1")),
        ((np.arange(70) % 2).astype(np.float32), ("0", "1")),
        (np.array(["cat", "ant"] * 35), ("ant", "cat")),
        (np.array([b"cat", b"ant"] * 35), ("ant", "cat")),
        (np.arange(70) % 2 == 0, ("False", "True")),
    ],
)
def test_labels_in_every_form(tmp_path: Path, labels: np.ndarray, names: tuple[str, ...]) -> None:
    collection = read_npz(write(tmp_path, images=images(70), labels=labels))
    assert collection.class_names == names
    codes = collection.images.labels
    assert codes is not None
    assert codes.dtype == np.int64
    first = np.unique(labels.ravel())[0]
    assert np.array_equal(codes == 0, labels.ravel() == first)


def test_captions_go_with_their_images(tmp_path: Path) -> None:
    array = images()
    texts = np.array([f"a picture of {'a red' if i % 2 else 'the blue'} thing" for i in range(80)])
    data = load_images(write(tmp_path, images=array, captions=texts))
    of = {i.tobytes(): str(t) for i, t in zip(array, texts, strict=True)}
    assert data.vocabulary is not None
    for part in parts(data):
        assert part.captions is not None
        said = [data.vocabulary.decode(row) for row in part.captions]
        assert said == [of[i.numpy().tobytes()] for i in part.images]


def test_labels_or_captions_of_one_array_only_are_not_used(tmp_path: Path) -> None:
    path = write(
        tmp_path, x_train=images(), x_test=images(20), y_train=np.arange(80), captions_test=np.array(["a"] * 20)
    )
    collection = read_npz(path)
    assert collection.images.labels is None
    assert collection.held_out is not None
    assert collection.held_out.captions is None
    assert "Labels were found for one of the two arrays" in collection.note
    assert "Captions were found for one of the two arrays" in collection.note


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": images(3)}, r"found pictures \(3, 8, 8\) uint8; expected images .* named images, x or arr_0"),
        ({}, r"found no arrays; expected"),
        ({"x": images(4, 8, 8, 4)}, r"found x \(4, 8, 8, 4\) uint8; expected .*1 \(grey\) or 3 \(colour\)"),
        ({"x": images(4, 64)}, r"found x \(4, 64\) uint8; expected \(N, H, W\)"),
        ({"x": np.zeros((0, 8, 8))}, r"found x \(0, 8, 8\) float64; .* empty"),
        ({"x": np.full((3, 8, 8), 16.0)}, r"float64 with values from 16 to 16; expected .* floats in 0…1 or -1…1"),
        ({"x": np.full((3, 8, 8), np.nan)}, r"float64 with values from nan to nan"),
        ({"x": np.full((3, 8, 8), 256)}, r"int64 with values from 256 to 256; expected whole numbers 0…255"),
        ({"x": np.full((3, 8, 8), -1)}, r"int64 with values from -1 to -1"),
        ({"x": images(3), "y": np.arange(4)}, r"found x \(3, 8, 8\) uint8, y \(4,\) int64; expected one of y for each"),
        ({"x": images(3), "y": np.eye(3)}, r"y \(3, 3\) float64; expected one of y for each"),
        ({"x": images(3), "y": np.array([0.5, 1, 2])}, r"y \(3,\) float64; expected labels as whole numbers or text"),
        ({"x": images(3), "captions": np.arange(3)}, r"captions \(3,\) int64; expected captions as text"),
        ({"x_train": images(3), "x_test": images(3, 9, 8)}, r"x_test \(3, 9, 8\) uint8; expected images of one size"),
        ({"x": images(3), "y": np.array([{}, 1, 2])}, r"array 'y' holds Python objects, which are not read"),
    ],
)
def test_what_was_found_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = write(tmp_path, **arrays)
    with pytest.raises(DataError, match=message) as error:
        load_images(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("keep", [0, 1, 10, 0.5, 0.99])
def test_damaged_files_are_named(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path, images=images())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])
    with pytest.raises(DataError, match=r"set\.npz: not a whole \.npz file"):
        load_images(path)


def test_damage_inside_and_files_of_another_kind_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, images=images())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"not a whole \.npz file"):
        load_images(path)
    with path.open("wb") as file:
        np.save(file, images())
    with pytest.raises(DataError, match=r"a single array under the name of an \.npz file"):
        load_images(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"no array")
    with pytest.raises(DataError, match=r"set\.npz"):
        load_images(path)
