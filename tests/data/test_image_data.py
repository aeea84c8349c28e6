"""Images as values: what networks are told of them, what samples are asked for, and what is held out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maestune.data import DataSpec, ImageData, Images, to_float
from maestune.data.captions import Vocabulary
from maestune.data.image_data import COLUMNS, ROWS


def images(n: int, seed: int = 0, *, classes: int = 0, words: int = 0) -> Images:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=rng) if classes else None
    captions = torch.randint(2, words, (n, 3), generator=rng) if words else None
    return Images(torch.randint(0, 256, (n, 3, 4, 5), dtype=torch.uint8, generator=rng), labels, captions)


def data_of(search: Images, report: Images | None = None, classes: int = 0, words: int = 0) -> ImageData:
    return ImageData(
        name="noise",
        train=images(30, 9, classes=classes, words=words),
        search=search,
        report=search if report is None else report,
        class_names=tuple(f"class {k}" for k in range(classes)),
        fingerprint="test",
        vocabulary=Vocabulary(("", "?", *map(str, range(2, words))), 3) if words else None,
    )


def test_networks_are_told_shapes_and_counts() -> None:
    assert data_of(images(9)).spec == DataSpec((3, 4, 5))
    assert data_of(images(9, classes=7), classes=7).spec == DataSpec((3, 4, 5), classes=7)
    assert data_of(images(9, words=20), words=20).spec == DataSpec((3, 4, 5), words=20, caption_words=3)
    both = data_of(images(9, classes=2, words=5), classes=2, words=5)
    assert both.spec == DataSpec((3, 4, 5), classes=2, words=5, caption_words=3)
    assert DataSpec.from_dict(both.spec.to_dict()) == both.spec
    unlabelled = replace(data_of(images(9, classes=2), classes=2), train=images(30))
    assert unlabelled.spec.classes == 0
    assert both.size == 30


def test_a_specification_of_text_has_no_image() -> None:
    with pytest.raises(ValueError, match="unpack"):
        _ = DataSpec(tokens=5).image
    assert DataSpec(shape=(1, 2, 3)).image == (1, 2, 3)


def test_nothing_is_asked_where_there_is_nothing_to_ask_for() -> None:
    assert data_of(images(9)).prompts("search", 5) == {}


@pytest.mark.parametrize("split", ["search", "report"])
def test_a_picture_has_a_row_for_each_of_eight_classes(split: str) -> None:
    data = data_of(images(90, 1, classes=10), images(80, 2, classes=10), classes=10)
    labels = data.part(split).labels  # type: ignore[arg-type]
    assert labels is not None
    asked = data.prompts(split, 300)  # type: ignore[arg-type]
    assert list(asked) == ["label"]
    grid = asked["label"][: ROWS * COLUMNS].view(ROWS, COLUMNS)
    assert bool((grid == grid[:, :1]).all()), "one class in a row"
    assert len(grid[:, 0].unique()) == ROWS, "and another in each"
    assert grid[:, 0].tolist() == list(dict.fromkeys(labels.tolist()))[:ROWS], "in the order in which they appear"
    # The others go through the split, over and over.
    rest = asked["label"][ROWS * COLUMNS :]
    assert rest.tolist() == [int(labels[i % len(labels)]) for i in range(300 - ROWS * COLUMNS)]
    assert asked["label"].dtype == torch.int64


@given(n=st.integers(0, 200), size=st.integers(1, 40), classes=st.integers(1, 12), words=st.sampled_from([0, 4]))
def test_fewer_are_the_first_of_more(n: int, size: int, classes: int, words: int) -> None:
    data = data_of(images(size, classes=classes, words=words), classes=classes, words=words)
    asked, more = data.prompts("search", n), data.prompts("search", 250)
    assert list(asked) == ["label", "caption"] if words else ["label"]
    for name, values in asked.items():
        assert len(values) == n
        assert torch.equal(values, more[name][:n])


@pytest.mark.parametrize("classes", [1, 2, 3, 7])
def test_with_fewer_classes_than_rows_they_come_again(classes: int) -> None:
    data = data_of(images(50, classes=classes), classes=classes)
    rows = data.prompts("search", 64)["label"].view(8, 8)[:, 0].tolist()
    assert rows == [rows[i % classes] for i in range(8)]
    assert len(set(rows)) == classes


def test_labels_and_captions_are_those_of_one_image() -> None:
    part = images(40, classes=4, words=30)
    data = data_of(part, classes=4, words=30)
    assert part.labels is not None
    assert part.captions is not None
    pairs = {(int(a), tuple(b.tolist())) for a, b in zip(part.labels, part.captions, strict=True)}
    asked = data.prompts("search", 120)
    assert {(int(a), tuple(b.tolist())) for a, b in zip(asked["label"], asked["caption"], strict=True)} == pairs


def test_without_labels_rows_have_different_captions() -> None:
    part = replace(images(20, words=30), captions=torch.tensor([[2, 3, 0], [2, 3, 0], [4, 0, 0]]).repeat(7, 1)[:20])
    rows = data_of(part, words=30).prompts("search", 64)["caption"].view(8, 8, 3)
    assert bool((rows == rows[:, :1]).all())
    assert [row.tolist() for row in rows[:3, 0]] == [[2, 3, 0], [4, 0, 0], [2, 3, 0]]


def test_what_is_held_out() -> None:
    data = data_of(images(20, 1, classes=4, words=9), images(12, 2, classes=4, words=9), classes=4, words=9)
    for split, part in (("search", data.search), ("report", data.report)):
        batch = data.held_out(split, 7)  # type: ignore[arg-type]
        assert list(batch) == ["image", "label", "caption"]
        assert torch.equal(batch["image"], to_float(part.images[:7]))
        assert part.labels is not None
        assert part.captions is not None
        assert torch.equal(batch["label"], part.labels[:7])
        assert torch.equal(batch["caption"], part.captions[:7])
        assert len(data.held_out(split, 100, context=5)["image"]) == len(part), "all there are"  # type: ignore[arg-type]
    assert list(data_of(images(20)).held_out("search", 3)) == ["image"]


def test_images_are_taken_with_their_labels_and_captions() -> None:
    part = images(20, classes=4, words=9)
    taken = part.take(torch.tensor([3, 0, 3]))
    assert torch.equal(taken.images, part.images[[3, 0, 3]])
    assert taken.conditions.keys() == {"label", "caption"}
    for name, values in taken.conditions.items():
        assert torch.equal(values, part.conditions[name][[3, 0, 3]])
    assert images(5).take(torch.tensor([1])).conditions == {}
