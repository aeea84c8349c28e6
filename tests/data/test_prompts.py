"""What a model can be asked for, in words, and what it is then given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from maestune.data import ImageData, Images, load_text
from maestune.data.captions import Vocabulary
from maestune.data.prompts import Prompts
from maestune.data.tokenizer import Bytes, Characters
from maestune.errors import SettingsError


def data_of(report: Images, classes: int = 0, words: int = 0) -> ImageData:
    return ImageData(
        name="noise",
        train=report,
        search=report.take(torch.tensor([0, 1])),
        report=report,
        class_names=tuple(f"class {k}" for k in range(classes)),
        fingerprint="test",
        vocabulary=Vocabulary(("", "?", *map(str, range(2, words))), 3) if words else None,
    )


def images(n: int, classes: int = 0, words: int = 0) -> Images:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (n,), generator=rng) if classes else None
    captions = torch.randint(2, words, (n, 3), generator=rng) if words else None
    return Images(torch.zeros(n, 1, 2, 2, dtype=torch.uint8), labels, captions)


VOCABULARY = Vocabulary(("<padding>", "<unknown>", "a", "red", "bird", "cat"), 4)
CLASSES = Prompts(("red bird", "cat"), examples={"label": [1, 1, 0]})
CAPTIONS = Prompts(vocabulary=VOCABULARY, examples={"caption": [[2, 3, 4, 0], [2, 5, 0, 0]]})
BOTH = Prompts(("red bird", "cat"), VOCABULARY, examples={"label": [1], "caption": [[2, 5, 0, 0]]})
TEXT = Prompts(tokenizer=Characters.of("abc \n"), examples={"prompt": [[1, 2], [3, 1]]})
NOTHING = Prompts()


@pytest.mark.parametrize("asking", [CLASSES, CAPTIONS, BOTH, TEXT, NOTHING, Prompts(tokenizer=Bytes())])
def test_it_comes_back_from_a_file(asking: Prompts) -> None:
    again = Prompts.from_dict(json.loads(json.dumps(asking.to_dict())))
    assert again == asking
    assert again.prompts((), 5).keys() == asking.prompts((), 5).keys()


def test_of_images_it_has_names_words_and_what_the_verdict_saw() -> None:
    data = data_of(images(80, classes=10, words=9), classes=10, words=9)
    asking = Prompts.of(data)
    assert (asking.class_names, asking.vocabulary, asking.tokenizer) == (data.class_names, data.vocabulary, None)
    for name, values in data.prompts("report", 64).items():
        assert torch.equal(asking.prompts((), 64)[name], values)
        again = asking.prompts((), 150)[name]
        assert torch.equal(again, values[torch.arange(150) % 64])
        assert again.dtype == torch.int64
    plain = Prompts.of(data_of(images(9)))
    assert plain == NOTHING
    assert plain.prompts((), 5) == {}


def test_of_text_it_has_the_tokenizer_and_what_the_verdict_saw(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("\n".join(map(str, range(2000))))
    data = load_text(tmp_path / "t.txt")
    asking = Prompts.of(data)
    assert asking.tokenizer == data.tokenizer
    assert torch.equal(asking.prompts((), 4)["prompt"], data.prompts("report", 64)["prompt"][:4])
    again = Prompts.from_dict(json.loads(json.dumps(asking.to_dict())))
    asked = again.prompts(["17\n18"], 3)["prompt"]
    assert [data.tokenizer.decode(tokens) for tokens in asked] == ["17\n18"] * 3


def test_classes_have_a_row_of_eight_each_and_come_again() -> None:
    labels = CLASSES.prompts(["cat", "red bird"], 20)["label"]
    assert labels.tolist() == [1] * 8 + [0] * 8 + [1] * 4
    assert labels.dtype == torch.int64
    assert CLASSES.prompts(["cat"], 3).keys() == {"label"}


def test_captions_are_known_words() -> None:
    asked = CAPTIONS.prompts(["A red cat", "bird"], 16)
    assert asked.keys() == {"caption"}
    assert asked["caption"].dtype == torch.int64
    assert asked["caption"][::8].tolist() == [[2, 3, 5, 0], [4, 0, 0, 0]]


def test_a_class_of_captioned_images_is_asked_for_as_both() -> None:
    asked = BOTH.prompts(["cat", "red bird"], 16)
    assert asked["label"][::8].tolist() == [1, 0]
    assert asked["caption"][::8].tolist() == [[5, 0, 0, 0], [3, 4, 0, 0]]
    assert BOTH.prompts(["cat", "a red cat"], 16).keys() == {"caption"}


def test_texts_are_cut_on_the_left_to_the_shortest() -> None:
    tokens = TEXT.prompts(["abc", "ca"], 16)["prompt"]
    assert TEXT.tokenizer is not None
    assert [TEXT.tokenizer.decode(row) for row in tokens[:2]] == ["bc", "ca"]


@pytest.mark.parametrize(
    ("asking", "texts", "says"),
    [
        (CLASSES, ["cat", "red brid"], "'red brid' is no class of the data.*Did you mean red bird"),
        (CAPTIONS, ["a red brid"], "'a red brid': the model was never taught 'brid'.*Did you mean bird"),
        (BOTH, ["dog"], "'dog': the model was never taught 'dog'"),
        (TEXT, ["abc", ""], "must have at least one character"),
        (NOTHING, ["cat"], "without labels or captions: it cannot be asked for anything"),
    ],
)
def test_what_cannot_be_asked_for_is_named(asking: Prompts, texts: list[str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        asking.prompts(texts, 8)


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({"classes": 10}, 8),
        ({"classes": 3, "words": 9}, 8),
        ({}, 0),
    ],
)
def test_rows_of_a_picture_are_told_in_words(values: dict[str, Any], rows: int) -> None:
    data = data_of(images(90, **values), **values)
    asking = Prompts.of(data)
    assert len(asking.rows) == rows
    if rows and not values.get("words"):
        first = data.prompts("report", 64)["label"][::8].tolist()
        assert asking.rows == tuple(data.class_names[k] for k in first)
    if values.get("words"):
        captions = data.prompts("report", 64)["caption"]
        for text, caption in zip(asking.rows, captions[::8], strict=True):
            assert torch.equal(asking.prompts([text], 1)["caption"][0], caption)


def test_one_caption_is_told_in_every_row() -> None:
    part = Images(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), None, torch.tensor([[2, 3, 0]]).repeat(3, 1))
    data = data_of(part, words=4)
    assert Prompts.of(data).rows == ("2 3",) * 8
