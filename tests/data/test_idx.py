from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maestune.data import load_images
from maestune.data.idx import parse_idx, read_idx
from maestune.errors import DataError

RNG = np.random.default_rng(3)


def idx_bytes(array: np.ndarray, kind: int = 8) -> bytes:
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write(path: Path, array: np.ndarray) -> Path:
    data = idx_bytes(array)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def images(n: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, 256, (n, *(shape or (8, 8))), dtype=np.uint8)


def labels(n: int, first: int = 0, classes: int = 4) -> np.ndarray:
    return (np.arange(n) % classes + first).astype(np.uint8)


@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)), packed=st.booleans())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, packed: bool) -> None:
    path = write(tmp_path_factory.mktemp("idx") / ("a.gz" if packed else "a"), array)
    assert np.array_equal(parse_idx(path, (array.ndim,)), array)


@given(cut=st.integers(0, 200), packed=st.booleans())
def test_every_truncation_is_an_error_naming_the_file(
    tmp_path_factory: pytest.TempPathFactory, cut: int, packed: bool
) -> None:
    data = idx_bytes(images(3))
    data = gzip.compress(data) if packed else data
    path = tmp_path_factory.mktemp("idx") / "cut-file"
    path.write_bytes(data[: min(cut, len(data) - 1)])
    with pytest.raises(DataError, match="cut-file"):
        parse_idx(path, (3,))


def test_gzip_in_several_streams(tmp_path: Path) -> None:
    array = images(4)
    data = idx_bytes(array)
    (tmp_path / "a.gz").write_bytes(gzip.compress(data[:50]) + gzip.compress(data[50:]))
    assert np.array_equal(parse_idx(tmp_path / "a.gz", (3,)), array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (idx_bytes(images(3))[:-7], r"3×8×8 bytes and the header make 208 bytes, found 201: it is damaged"),
        (idx_bytes(images(3)) + b"x", r"make 208 bytes, found 209"),
        (idx_bytes(images(3), kind=0x0D), r"numbers of type 0x0d; expected 0x08"),
        (idx_bytes(labels(3)), r"has 1 dimensions; expected 3 or 4"),
        (b"PK\x03\x04 a zip archive", r"begins with two zero bytes; found '50 4b 03 04'"),
        (b"", r"expected an IDX file"),
        (idx_bytes(images(3))[:9], r"its header takes 16 bytes, found 9: cut short"),
        (idx_bytes(np.zeros((0, 8, 8))), r"its header says 0×8×8; there is nothing in it"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", *[2**32 - 1] * 3) + b"abc", r"found 19: it is damaged"),
        (gzip.compress(idx_bytes(images(300)))[:-3000], r"its compressed data ends early"),
        (gzip.compress(idx_bytes(images(3)))[:-4], r"208 bytes, found 208: its compressed data ends early"),
        (gzip.compress(idx_bytes(images(3)))[:-4] + b"oops", r"its compressed data is damaged"),
        (gzip.compress(idx_bytes(images(3))) + b"tail", r"its compressed data is damaged"),
    ],
)
def test_damage_is_named_with_what_was_expected(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as error:
        load_images(tmp_path)
    assert str(path) in str(error.value)


def test_folder_with_test_files_holds_them_for_the_report(tmp_path: Path) -> None:
    learn, test = images(100), images(30)
    write(tmp_path / "train-images-idx3-ubyte.gz", learn)
    write(tmp_path / "train-labels-idx1-ubyte.gz", labels(100))
    write(tmp_path / "t10k-images-idx3-ubyte.gz", test)
    write(tmp_path / "t10k-labels-idx1-ubyte.gz", labels(30))
    data = load_images(tmp_path)
    assert data.name == tmp_path.name
    assert (len(data.train), len(data.search), len(data.report)) == (80, 20, 30)
    assert data.class_names == ("0", "1", "2", "3")
    assert {i.numpy().tobytes() for i in data.report.images} == {i.tobytes() for i in test}
    label_of = {i.tobytes(): v for i, v in zip((*learn, *test), (*labels(100), *labels(30)), strict=True)}
    for part in (data.train, data.search, data.report):
        assert part.labels is not None
        assert part.labels.tolist() == [label_of[i.numpy().tobytes()] for i in part.images]


def test_images_of_the_test_part_are_not_learnt_from(tmp_path: Path) -> None:
    learn = images(100)
    write(tmp_path / "train-images-idx3-ubyte", learn)
    write(tmp_path / "test-images-idx3-ubyte", np.concatenate([learn[:5], images(20)]))
    data = load_images(tmp_path)
    assert (len(data.train) + len(data.search), len(data.report)) == (95, 25)
    assert "5 images to learn from are also in the test part and were dropped" in data.note


def test_a_file_alone_is_taken_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "train-images-idx3-ubyte", images(100))
    write(tmp_path / "t10k-images-idx3-ubyte", images(30))
    data = load_images(path)
    assert len(data.train) + len(data.search) + len(data.report) == 100
    assert not data.labelled


def test_a_lone_test_file_is_all_there_is(tmp_path: Path) -> None:
    write(tmp_path / "t10k-images-idx3-ubyte", images(100))
    data = load_images(tmp_path)
    assert (len(data.train), len(data.search), len(data.report)) == (60, 20, 20)


def test_colour_images_and_other_spellings(tmp_path: Path) -> None:
    array = images(70, 8, 8, 3)
    write(tmp_path / "my-train-images.idx4-ubyte", array)
    write(tmp_path / "my-train-labels.idx1-ubyte.gz", labels(70))
    data = load_images(tmp_path)
    assert data.shape == (3, 8, 8)
    assert data.labelled
    assert {i.permute(1, 2, 0).numpy().tobytes() for i in data.train.images} <= {i.tobytes() for i in array}
    write(tmp_path / "my-train-images.idx4-ubyte", images(70, 8, 8, 2))
    with pytest.raises(DataError, match=r"2 channels; expected 1 \(grey\) or 3 \(colour\)"):
        load_images(tmp_path)


def test_labels_are_numbered_without_gaps(tmp_path: Path) -> None:
    write(tmp_path / "emnist-train-images-idx3-ubyte", images(80))
    write(tmp_path / "emnist-train-labels-idx1-ubyte", labels(80, first=1) * 10)
    data = load_images(tmp_path)
    assert data.class_names == ("10", "20", "30", "40")
    assert data.train.labels is not None
    assert set(data.train.labels.tolist()) == {0, 1, 2, 3}


def test_labels_for_one_file_only_are_not_used(tmp_path: Path) -> None:
    write(tmp_path / "train-images-idx3-ubyte", images(80))
    write(tmp_path / "train-labels-idx1-ubyte", labels(80))
    write(tmp_path / "t10k-images-idx3-ubyte", images(20))
    data = load_images(tmp_path)
    assert not data.labelled
    assert data.class_names == ()
    assert "one of the two image files only" in data.note


def test_wrong_number_of_labels(tmp_path: Path) -> None:
    write(tmp_path / "train-images-idx3-ubyte", images(80))
    write(tmp_path / "train-labels-idx1-ubyte", labels(79))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: 79 labels for the 80 images.*remove it"):
        load_images(tmp_path)


def test_several_sets_in_one_folder_are_ambiguous_but_packed_and_plain_are_not(tmp_path: Path) -> None:
    array = images(80)
    write(tmp_path / "train-images-idx3-ubyte", array)
    write(tmp_path / "train-images-idx3-ubyte.gz", array)
    assert len(load_images(tmp_path).train) == 48
    write(tmp_path / "more-images-idx3-ubyte", array)
    with pytest.raises(DataError, match=r"several IDX files .*more-images-idx3-ubyte, train-images-idx3-ubyte"):
        load_images(tmp_path)


def test_test_part_of_another_shape_or_too_small(tmp_path: Path) -> None:
    write(tmp_path / "train-images-idx3-ubyte", images(80))
    write(tmp_path / "t10k-images-idx3-ubyte", images(20, 9, 8))
    with pytest.raises(DataError, match=r"8×9 grey, those of train-images-idx3-ubyte are 8×8 grey"):
        load_images(tmp_path)
    write(tmp_path / "t10k-images-idx3-ubyte", images(11))
    with pytest.raises(DataError, match=r"test part has 11 different images; expected at least 12"):
        load_images(tmp_path)


def test_odd_and_asked_sizes_are_fitted(tmp_path: Path) -> None:
    path = write(tmp_path / "train-images-idx3-ubyte", images(80, 30, 40))
    assert load_images(path).shape == (1, 28, 28)
    assert "40×30 were brought to 28×28" in load_images(path).note
    assert load_images(path, size=12).shape == (1, 12, 12)
    constant = write(tmp_path / "flat-images-idx3-ubyte", np.full((2, 30, 40), 77))
    assert (read_idx(constant).images.pixels == 77).all()


def test_digits_are_built_in() -> None:
    data = load_images("digits")
    assert (len(data.train), len(data.search), len(data.report)) == (1079, 359, 359)
    assert data.shape == (1, 8, 8)
    assert data.class_names == tuple("0123456789")
    assert (int(data.train.images.min()), int(data.train.images.max())) == (0, 255)
    assert load_images("digits", size=16).shape == (1, 16, 16)
    assert torch.equal(load_images("digits").train.images, data.train.images)


@pytest.mark.skipif("MAESTUNE_MNIST" not in os.environ, reason="MAESTUNE_MNIST names no folder with MNIST's files")
def test_mnist() -> None:
    data = load_images(os.environ["MAESTUNE_MNIST"])
    assert (len(data.train), len(data.search), len(data.report)) == (50_000, 10_000, 10_000)
    assert data.train.labels is not None
    assert torch.bincount(data.train.labels).min() > 4_000
