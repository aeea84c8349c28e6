from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from maestune.data import ImageData, load_images
from maestune.data.columns import find_columns
from maestune.data.hub import Address, is_hub, read_hub
from maestune.data.load import resolved_source
from maestune.errors import DataError

RNG = np.random.default_rng(2)


# A small library with the part of the real one's contract that is used: features, rows by slice and by list, columns by
# name, images as files. The real one, where it is installed, is tested at the end.


@dataclass(frozen=True)
class Value:
    dtype: str


@dataclass(frozen=True)
class ClassLabel:
    names: tuple[str, ...]
    dtype: str = "int64"


@dataclass(frozen=True)
class Image:
    decode: bool = True
    dtype: str = "PIL.Image.Image"


@dataclass(frozen=True)
class List:
    feature: Any


@dataclass(frozen=True)
class Dataset:
    columns: Mapping[str, list[Any]]
    features: Mapping[str, Any]
    _fingerprint: str = "0"
    decoded: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def select_columns(self, names: list[str]) -> Dataset:
        return Dataset(
            {name: self.columns[name] for name in names}, {name: self.features[name] for name in names}, "selected"
        )

    def cast_column(self, name: str, feature: Any) -> Dataset:
        return Dataset(self.columns, {**self.features, name: feature}, "cast")

    def __getitem__(self, rows: slice | list[int]) -> dict[str, list[Any]]:
        assert isinstance(rows, slice | list)
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        for feature in self.features.values():
            assert not (isinstance(feature, Image) and feature.decode), "decoded by the library"
        return {name: [column[i] for i in chosen] for name, column in self.columns.items()}


class Library(ModuleType):
    """What is found under which name, and what was asked for."""

    Image = Image

    def __init__(self) -> None:
        super().__init__("datasets")
        self.sets: dict[str, Any] = {}
        self.asked: list[Any] = []

    def load_dataset(self, name: str, config: str | None = None, **more: Any) -> Any:
        self.asked.append(("load_dataset", name, config, more))
        if name not in self.sets:
            raise ValueError(f"Dataset {name!r} doesn't exist on the Hub.\nMore about it.")
        return self.sets[name]

    def load_from_disk(self, path: str) -> Any:
        self.asked.append(("load_from_disk", path))
        return self.sets["disk"]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    fake = Library()
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


def png(array: np.ndarray) -> dict[str, Any]:
    buffer = io.BytesIO()
    PillowImage.fromarray(array).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def pictures(n: int, *shape: int) -> list[np.ndarray]:
    return list(RNG.integers(0, 256, (n, *(shape or (8, 8))), dtype=np.uint8))


def table(arrays: list[np.ndarray], image: str = "image", **columns: tuple[Any, list[Any]]) -> Dataset:
    cells = {image: [png(array) for array in arrays], **{name: values for name, (_, values) in columns.items()}}
    features = {image: Image(), **{name: feature for name, (feature, _) in columns.items()}}
    fingerprint = str(hash(json.dumps({k: list(map(str, v)) for k, v in cells.items()})))
    return Dataset(cells, features, fingerprint)


def parts(data: ImageData):
    return (data.train, data.search, data.report)


def test_images_and_labels_with_the_test_split_held_out(library: Library) -> None:
    train, test = pictures(100), pictures(30)
    names = ClassLabel(("cat", "dog", "never seen"))
    library.sets["org/pets"] = {
        "train": table(train, label=(names, [i % 2 for i in range(100)])),
        "test": table(test, label=(names, [i % 2 for i in range(30)])),
    }
    said: list[str] = []
    data = load_images("hf:org/pets", progress=said.append)
    assert library.asked == [("load_dataset", "org/pets", None, {})]
    assert (data.name, data.class_names) == ("org/pets", ("cat", "dog", "never seen"))
    assert (len(data.train), len(data.search), len(data.report)) == (80, 20, 30)
    label_of = {a.tobytes(): i % 2 for some in (train, test) for i, a in enumerate(some)}
    for part in parts(data):
        assert part.labels is not None
        assert part.labels.tolist() == [label_of[i.numpy().tobytes()] for i in part.images]
    assert {i.numpy().tobytes() for i in data.report.images} == {a.tobytes() for a in test}
    assert "Images are taken from the column 'image', labels from 'label'." in data.note
    assert said[:2] == ["Opening org/pets with the datasets library", "Reading 130 images of org/pets"]


def test_configuration_and_a_split_that_is_told(library: Library) -> None:
    library.sets["birds"] = {"train": table(pictures(80)), "extra": table(pictures(70))}
    data = load_images("hf:birds:small?split=extra")
    assert library.asked == [("load_dataset", "birds", "small", {})]
    assert sum(map(len, parts(data))) == 70


def test_captions_are_read_and_one_of_several_is_taken(library: Library) -> None:
    arrays = pictures(80)
    texts = [[f"a red {i % 7} ", f"the blue {i % 7}"] for i in range(80)]
    library.sets["flickr"] = table(arrays, caption=(List(Value("string")), texts))
    collection = read_hub("hf:flickr")
    assert collection.images.captions is not None
    assert all(c in (t[0].strip(), t[1]) for c, t in zip(collection.images.captions, texts, strict=True))
    assert {c.split()[0] for c in collection.images.captions} == {"a", "the"}
    data = load_images("hf:flickr")
    assert data.vocabulary is not None
    of = {a.tobytes(): c for a, c in zip(arrays, collection.images.captions, strict=True)}
    for part in parts(data):
        assert part.captions is not None
        assert [data.vocabulary.decode(c) for c in part.captions] == [of[i.numpy().tobytes()] for i in part.images]
    assert read_hub("hf:flickr?caption=none").images.captions is None


def test_missing_captions_are_counted(library: Library) -> None:
    texts = ["a bird"] * 70 + [None, "", "  "]
    library.sets["x"] = table(pictures(73), text=(Value("string"), texts))
    with pytest.raises(
        DataError, match=r"3 of 73 images of the split train have no caption in 'text' \(.* row 70\).*\?caption=none"
    ):
        read_hub("hf:x")


def test_plain_columns_of_labels_are_numbered(library: Library) -> None:
    for values, feature, names in (
        ([i % 3 * 5 for i in range(70)], Value("int64"), ("0", "5", "10")),
        (["ox" if i % 2 else "ant" for i in range(70)], Value("string"), ("ant", "ox")),
    ):
        library.sets["x"] = table(pictures(70), category=(feature, values))
        collection = read_hub("hf:x")
        assert collection.class_names == names
        assert collection.images.labels is not None
        assert collection.images.labels.dtype == np.int64
        assert [names[c] for c in collection.images.labels] == list(map(str, values))


def test_plain_labels_of_both_parts_are_numbered_together(library: Library) -> None:
    library.sets["x"] = {
        "train": table(pictures(70), label=(Value("string"), ["b", "c"] * 35)),
        "validation": table(pictures(20), label=(Value("string"), ["c", "a"] * 10)),
    }
    collection = read_hub("hf:x")
    assert collection.class_names == ("a", "b", "c")
    assert collection.held_out is not None
    assert collection.held_out.labels is not None
    assert collection.held_out.labels.tolist() == [2, 0] * 10


def test_a_test_split_without_labels_is_passed_over(library: Library) -> None:
    names = ClassLabel(("a", "b"))
    validation = pictures(25)
    library.sets["x"] = {
        "train": table(pictures(70), label=(names, [0, 1] * 35)),
        "test": table(pictures(20), label=(names, [-1] * 20)),
        "validation": table(validation, label=(names, [0] * 25)),
    }
    collection = read_hub("hf:x")
    assert collection.held_out is not None
    assert len(collection.held_out) == 25
    assert "The split test has no labels and is not used" in collection.note
    del library.sets["x"]["validation"]
    assert read_hub("hf:x").held_out is None
    assert len(read_hub("hf:x?label=none").held_out or ()) == 20


def test_missing_labels_to_learn_from_mean_no_labels(library: Library) -> None:
    library.sets["x"] = table(pictures(70), label=(ClassLabel(("a", "b")), [0, -1] * 35))
    collection = read_hub("hf:x")
    assert (collection.images.labels, collection.class_names) == (None, ())
    assert "Some labels in 'label' are missing" in collection.note


def test_unreadable_rows_are_named_and_left_out(library: Library) -> None:
    arrays = pictures(80)
    rows = table(arrays, label=(ClassLabel(("a", "b")), [i % 2 for i in range(80)]))
    rows.columns["image"][7] = {"bytes": b"broken", "path": None}
    rows.columns["image"][9] = None
    library.sets["x"] = rows
    collection = read_hub("hf:x")
    assert [text.split(":")[0] for text in collection.skipped] == ["train, row 7", "train, row 9"]
    expected = [i for i in range(80) if i not in (7, 9)]
    assert np.array_equal(collection.images.pixels[:, 0], np.stack([arrays[i] for i in expected]))
    assert collection.images.labels is not None
    assert collection.images.labels.tolist() == [i % 2 for i in expected]
    rows.columns["image"][:45] = [{"bytes": b"broken", "path": None}] * 45
    with pytest.raises(DataError, match=r"x: 45 of 80 image files cannot be read"):
        read_hub("hf:x")


def test_images_as_paths_bytes_and_untyped_structs(library: Library, tmp_path: Path) -> None:
    arrays = pictures(70)
    files = [png(array)["bytes"] for array in arrays]
    for i, content in enumerate(files):
        (tmp_path / f"{i}.png").write_bytes(content)
    paths = [str(tmp_path / f"{i}.png") for i in range(70)]
    struct = {"bytes": Value("binary"), "path": Value("string")}
    for cells, feature in (
        ([{"bytes": None, "path": path} for path in paths], Image()),
        ([{"bytes": content, "path": "x"} for content in files], struct),
        (files, Value("binary")),
    ):
        library.sets["x"] = Dataset({"picture": cells}, {"picture": feature})
        assert np.array_equal(read_hub("hf:x").images.pixels[:, 0], np.stack(arrays))
    library.sets["x"] = Dataset({"where": paths}, {"where": Value("string")})
    assert np.array_equal(read_hub("hf:x?image=where").images.pixels[:, 0], np.stack(arrays))


def test_sizes_and_modes_are_brought_together(library: Library) -> None:
    library.sets["x"] = {
        "train": table([*pictures(60, 20, 30), *pictures(10, 40, 40)]),
        "test": table(pictures(20, 20, 20, 3)),
    }
    collection = read_hub("hf:x")
    assert collection.images.pixels.shape == (70, 3, 20, 20)
    assert collection.held_out is not None
    assert collection.held_out.pixels.shape == (20, 3, 20, 20)
    assert "3 different sizes (mostly 30×20) were brought to 20×20" in collection.note
    assert read_hub("hf:x", size=12).images.pixels.shape == (70, 3, 12, 12)


def test_what_does_not_fit_in_memory_is_kept(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAESTUNE_CACHE", str(tmp_path))
    train = pictures(90)
    library.sets["x"] = {
        "train": table(train, label=(ClassLabel(("a", "b")), [i % 2 for i in range(90)])),
        "test": table([*pictures(20), *train[:5]], label=(ClassLabel(("a", "b")), [0] * 25)),
    }
    in_memory = load_images("hf:x")
    in_a_file = load_images("hf:x", limit_bytes=0)
    monkeypatch.setattr("maestune.data.hub.Decoders", None)
    found = load_images("hf:x", limit_bytes=0)
    for other in (in_a_file, found):
        assert (in_memory.fingerprint, in_memory.note) == (other.fingerprint, other.note)
        for one, two in zip(parts(in_memory), parts(other), strict=True):
            assert torch.equal(one.images, two.images)
            assert one.labels is not None
            assert two.labels is not None
            assert torch.equal(one.labels, two.labels)
    assert "5 images to learn from are also in the test part" in found.note


@pytest.mark.parametrize(
    ("features", "told", "expected"),
    [
        ({"image": Image()}, {}, ("image", None, None)),
        ({"whatever": Image(), "x": Value("string")}, {}, ("whatever", None, None)),
        ({"mask": Image(), "img": Image()}, {}, ("img", None, None)),
        ({"a": Image(), "b": Image()}, {"image": "b"}, ("b", None, None)),
        ({"img": Image(), "species": ClassLabel(("x",))}, {}, ("img", "species", None)),
        (
            {"img": Image(), "coarse_label": ClassLabel(("x",)), "fine_label": ClassLabel(("x",))},
            {},
            ("img", "fine_label", None),
        ),
        ({"img": Image(), "text": Value("string")}, {}, ("img", None, "text")),
        ({"img": Image(), "caption": Value("string"), "text": Value("string")}, {}, ("img", None, "caption")),
        ({"img": Image(), "text": Value("int64")}, {}, ("img", None, None)),
        ({"img": Image(), "captions": [Value("string")]}, {}, ("img", None, "captions")),
        ({"img": Image(), "text": Value("string")}, {"label": "text"}, ("img", "text", None)),
        ({"img": Image(), "label": ClassLabel(("x",))}, {"label": "none"}, ("img", None, None)),
    ],
)
def test_columns_are_found(features: dict[str, Any], told: dict[str, str], expected: tuple[Any, ...]) -> None:
    found = find_columns("set", features, told)
    assert (found.image, found.label, found.caption) == expected


@pytest.mark.parametrize(
    ("features", "told", "message"),
    [
        ({"x": Value("int64")}, {}, r"0 of its columns hold images.*It has x\. Say which: hf:set\?image=COLUMN"),
        ({"a": Image(), "b": Image()}, {}, r"2 of its columns hold images.*It has a, b"),
        ({"image": Image()}, {"image": "imag"}, r"no column 'imag' for the image\. Did you mean image"),
        ({"image": Image()}, {"image": "none"}, r"no column 'none' for the image"),
        ({"image": Image()}, {"caption": "txt"}, r"no column 'txt' for the caption"),
        (
            {"image": Image(), "kind": ClassLabel(("a",)), "age": ClassLabel(("a",))},
            {},
            r"columns kind, age hold labels; expected one\. Say which: hf:set\?label=kind \(or label=none\)",
        ),
    ],
)
def test_columns_that_leave_open_what_to_take(features: dict[str, Any], told: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_columns("set", features, told)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "hf:nothing",
            r"nothing: the datasets library cannot load it \(ValueError: Dataset 'nothing' doesn't exist on the Hub\.\)",
        ),
        ("hf:", r"names no set; expected hf:NAME"),
        ("hf:x?img=a", r"'img=a' is not understood; expected OPTION=NAME .*Did you mean image"),
        ("hf:x?image", r"'image' is not understood"),
        ("hf:two", r"two: has the splits first, second; expected one named train\. Say which .*hf:two\?split=first"),
        ("hf:empty", r"empty: its split train has no rows"),
        ("hf:two?split=secnd", r"no split 'secnd'\. Did you mean second"),
    ],
)
def test_sets_that_cannot_be_opened(library: Library, source: str, message: str) -> None:
    library.sets["empty"] = table([])
    library.sets["two"] = {"first": table(pictures(2)), "second": table(pictures(2))}
    with pytest.raises(DataError, match=message):
        load_images(source)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"hf:mnist: .*pip install 'maestune\[hf\]'.*class folders"):
        load_images("hf:mnist")


def test_files_here_are_opened_as_what_they_are(library: Library, tmp_path: Path) -> None:
    library.sets |= {name: table(pictures(60)) for name in ("parquet", "arrow", "disk")}
    for name in ("a.parquet", "a.arrow", "saved/state.json", "splits/dataset_dict.json", "clone/data/x.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("")
    library.sets[str(tmp_path / "clone")] = table(pictures(60))
    for name in ("a.parquet", "a.arrow", "saved", "splits", "clone"):
        assert is_hub(tmp_path / name)
        assert sum(map(len, parts(load_images(tmp_path / name)))) == 60
    assert load_images(f"hf:{tmp_path / 'a.parquet'}?image=image").name == "a"
    assert library.asked == [
        ("load_dataset", "parquet", None, {"data_files": str(tmp_path / "a.parquet")}),
        ("load_dataset", "arrow", None, {"data_files": str(tmp_path / "a.arrow")}),
        ("load_from_disk", str(tmp_path / "saved")),
        ("load_from_disk", str(tmp_path / "splits")),
        ("load_dataset", str(tmp_path / "clone"), None, {}),
        ("load_dataset", "parquet", None, {"data_files": str(tmp_path / "a.parquet")}),
    ]
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "metadata.parquet").write_text("")
    assert not any(map(is_hub, (tmp_path / "plain", tmp_path / "nothing.parquet", "digits")))


def test_sources_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.parquet").write_text("")
    for name in ("digits", "mnist"):
        (tmp_path / name).mkdir()
    assert resolved_source("a.parquet") == str(tmp_path / "a.parquet")
    assert resolved_source("hf:a.parquet?label=none") == f"hf:{tmp_path / 'a.parquet'}?label=none"
    for name in ("hf:org/name:config?label=none", "hf:mnist", "digits", "nowhere"):
        assert resolved_source(name) == name


def test_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Address.parse("hf:org/birds:small?image=a&split=b") == Address(
        "org/birds", "small", None, {"image": "a", "split": "b"}
    )
    (tmp_path / "mnist").mkdir()  # of other files than the library's: not what is meant
    monkeypatch.chdir(tmp_path)
    assert Address.parse("hf:mnist") == Address("mnist", None, None, {})


def test_the_real_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    arrays = pictures(90)
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"]), "text": datasets.Value("string")}
    )
    columns = {
        "img": [png(array) for array in arrays],
        "label": [i % 2 for i in range(90)],
        "text": ["a red one", "the blue one"] * 45,
    }
    rows = datasets.Dataset.from_dict(columns, features=features)
    rows.save_to_disk(str(tmp_path / "alone"))
    splits = datasets.DatasetDict({"train": rows.select(range(70)), "test": rows.select(range(70, 90))})
    splits.save_to_disk(str(tmp_path / "splits"))
    rows.to_parquet(str(tmp_path / "file.parquet"))
    (tmp_path / "clone" / "data").mkdir(parents=True)
    rows.to_parquet(str(tmp_path / "clone" / "data" / "train-00000-of-00001.parquet"))
    of = {a.tobytes(): i for i, a in enumerate(arrays)}
    for name in ("alone", "splits", "file.parquet", "clone"):
        data = load_images(tmp_path / name)
        assert data.class_names == ("a", "b")
        assert data.vocabulary is not None
        assert sum(map(len, parts(data))) == 90
        for part in parts(data):
            rank = [of[i.numpy().tobytes()] for i in part.images]
            assert part.labels is not None
            assert part.captions is not None
            assert part.labels.tolist() == [i % 2 for i in rank]
            assert [data.vocabulary.decode(c) for c in part.captions] == [columns["text"][i] for i in rank]
    assert len(load_images(tmp_path / "splits").report) == 20
