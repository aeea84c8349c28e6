from dataclasses import replace
from pathlib import Path

import pytest
import torch

from maestune.data import ImageData
from maestune.data.captions import Vocabulary
from maestune.errors import DataError
from maestune.quality.scoring.prompts import conditions_by_names, conditions_by_table, read_prompts

NAMES = ("a/0.png", "a/1.png", "b/2.png")


@pytest.fixture
def captioned(real: ImageData) -> ImageData:
    return replace(real, vocabulary=Vocabulary.of(["a red bird", "a red cat", "a cat"]))


def write(tmp_path: Path, text: str, name: str = "asked.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("asked.csv", "file,class\na/0.png,3\na/1.png,4\nb/2.png,5\n"),
        (
            "asked.csv",
            "\ufeffFile_Name, Label \na/0.png,3\na/1.png,4\nb/2.png,5\nb/9.png,7\n".replace(", Label ", ",Label"),
        ),
        ("asked.csv", "class,file\n3,0.png\n4,1.png\n5,2.png\n"),
        ("asked.tsv", "path\tprompt\na\\0.png\t3\n./a/1.png\t4\nb/2.png\t5\n"),
        (
            "asked.jsonl",
            '{"file": "b/2.png", "class": 5}\n{"file": "0.png", "class": 3}\n\n{"file": "a/1.png", "class": "4"}',
        ),
    ],
)
def test_tables_in_any_order_and_spelling(real: ImageData, tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path, text, name)
    assert conditions_by_table(read_prompts(path, NAMES), path, real)["label"].tolist() == [3, 4, 5]


def test_samples_without_names_of_files_take_rows_in_order(real: ImageData, tmp_path: Path) -> None:
    path = write(tmp_path, "class\n3\n4\n5\n6\n")
    assert conditions_by_table(read_prompts(path, ("0", "2", "3")), path, real)["label"].tolist() == [3, 5, 6]


def test_captions_are_put_in_the_words_of_the_real_images(captioned: ImageData, tmp_path: Path) -> None:
    for column in ("caption", "prompt", "text"):
        path = write(tmp_path, f"file,{column}\n" + "".join(f"{name},a red cat\n" for name in NAMES))
        asked = conditions_by_table(read_prompts(path, NAMES), path, captioned)
        assert set(asked) == {"caption"}
        assert captioned.vocabulary is not None
        assert torch.equal(asked["caption"], captioned.vocabulary.encode_all(["a red cat"] * 3))


def test_a_prompt_that_is_a_class_is_one(captioned: ImageData, tmp_path: Path) -> None:
    path = write(tmp_path, "file,prompt\n" + "".join(f"{name},7\n" for name in NAMES))
    assert conditions_by_table(read_prompts(path, NAMES), path, captioned)["label"].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,class\na/0.png,3\na/1.png,4\n", r"1 of 3 samples have no row \(b/2.png\)"),
        ("file,class\na/0.png,3\na/0.png,4\nb/2.png,5\n", "line 3: 'a/0.png' stands there twice"),
        ("file,class\n", "no rows"),
        ("", "no rows"),
        ("class\n3\n4\n5\n", "3 of 3 samples have no row"),
        ("file,class\na/0.png,3\na/1.png,4\nb/2.png,zebra\n", "'zebra' is no class of the real images"),
        ("file,class\na/0.png,3\na/1.png,\nb/2.png,4\n", "no column says what each sample was asked for"),
        (
            "file,mood\na/0.png,3\na/1.png,1\nb/2.png,4\n",
            "no column says what each sample was asked for; it has file, mood",
        ),
        ("file,caption\na/0.png,x\na/1.png,y\nb/2.png,z\n", "it tells captions, and the real images have none"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(real: ImageData, tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError, match=said):
        conditions_by_table(read_prompts(path, NAMES), path, real)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("asked.jsonl", b'{"file": 3', "line 1: not JSON"),
        ("asked.jsonl", b"[1]", "line 1: list instead of an object"),
        ("asked.jsonl", b"[" * 100_000, "line 1"),
        ("asked.csv", b"file,class\n\xff\xfe", "not UTF-8"),
        ("asked.txt", b"3", "not a table"),
        ("missing.csv", None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_prompts(tmp_path / name, NAMES)


def test_bare_names_must_be_unique(tmp_path: Path) -> None:
    path = write(tmp_path, "file,class\n0.png,3\n")
    with pytest.raises(DataError, match="2 of 2 samples have no row"):
        read_prompts(path, ("a/0.png", "b/0.png"))


def test_classes_need_classes(real: ImageData, tmp_path: Path) -> None:
    path = write(tmp_path, "file,class\n" + "".join(f"{name},7\n" for name in NAMES))
    bare = replace(real, class_names=())
    with pytest.raises(DataError, match="the real images have none"):
        conditions_by_table(read_prompts(path, NAMES), path, bare)
    assert conditions_by_names(("3/a.png", "4/b.png"), None, bare) == ({}, "")


def test_folders_and_labels_say_what_was_asked(real: ImageData) -> None:
    asked, said = conditions_by_names(("out/3/a.png", "4/b.png"), None, real)
    assert asked["label"].tolist() == [3, 4]
    assert "Folders name the class" in said
    assert conditions_by_names(("0", "1"), ("7", "8"), real)[0]["label"].tolist() == [7, 8]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("3/a.png", "b.png"), "1 of 2 samples"),
        (("3/a.png", "3/b.png"), "one class only"),
        (("3.png", "4.png"), ""),
    ],
)
def test_folders_that_leave_it_open_say_nothing(real: ImageData, names: tuple[str, ...], said: str) -> None:
    asked, sentence = conditions_by_names(names, None, real)
    assert asked == {}
    assert said in sentence
    assert bool(said) == bool(sentence)
