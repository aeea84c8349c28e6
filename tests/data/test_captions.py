"""Captions: words and numbers, where they are read from, and what captions of digits claim."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maestune.data.captions import (
    BOLD_INK,
    LONGEST,
    MOST_WORDS,
    NEVER_TOGETHER,
    NUMERALS,
    THIN_INK,
    Vocabulary,
    captions_of,
    digit_attributes,
    digit_captions,
    ink_share,
    slant,
    split_words,
    template_captions,
)
from maestune.data.digits import read_digits
from maestune.errors import DataError, SettingsError

IMAGES = [("a.png",), ("sub", "b.jpg")]


def test_words_are_lower_case_and_punctuation_stands_alone() -> None:
    assert split_words("A bird, RED-winged (don't touch)!") == [
        "a", "bird", ",", "red-winged", "(", "don't", "touch", ")", "!",
    ]  # fmt: skip
    assert split_words("Über 3 Äpfel") == ["über", "3", "äpfel"]
    assert split_words("红鸟 red") == ["红", "鸟", "red"]
    assert split_words("  \n") == []
    assert split_words("<padding> <unknown>") == ["<", "padding", ">", "<", "unknown", ">"]


def test_the_vocabulary_is_what_two_captions_say_the_most_frequent_first() -> None:
    vocabulary = Vocabulary.of(["b a", "a b c", "a d d", "c"])
    assert vocabulary.words == ("<padding>", "<unknown>", "a", "b", "c")  # d is twice in one caption only
    assert vocabulary.length == 3
    assert Vocabulary.of(["c", "a d d", "a b c", "b a"]) == vocabulary  # whatever the order
    assert vocabulary.encode("A c, d").tolist() == [2, 4, 1]  # the comma is unknown, d is cut off
    assert vocabulary.encode("b").tolist() == [3, 0, 0]
    assert vocabulary.encode("").tolist() == [0, 0, 0]
    assert vocabulary.encode_all(["b", "a a"]).tolist() == [[3, 0, 0], [2, 2, 0]]
    assert vocabulary.encode_all([]).shape == (0, 3)
    assert vocabulary.encode("b").dtype == torch.int64
    assert vocabulary.unknown("a blue B") == ("blue",)


def test_the_vocabulary_and_captions_are_bounded() -> None:
    many = [" ".join(f"w{i}" for i in range(LONGEST + 5))] * 2
    assert Vocabulary.of(many).length == LONGEST
    words = [f"{'x' * (i % 7)}{i}" for i in range(MOST_WORDS + 10)]
    assert len(Vocabulary.of([*words, *words]).words) == MOST_WORDS
    with pytest.raises(DataError, match=r"no words.*sentence"):
        Vocabulary.of(["", " "])


@given(st.lists(st.text(alphabet="abc ,.!", max_size=20), min_size=1))
def test_what_is_known_and_fits_is_decoded_as_it_was_split(captions: list[str]) -> None:
    if not any(split_words(c) for c in captions):
        return
    vocabulary = Vocabulary.of([*captions, *captions])
    for caption in captions:
        assert vocabulary.decode(vocabulary.encode(caption)) == " ".join(split_words(caption))


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def test_a_folder_without_captions_has_none(tmp_path: Path) -> None:
    assert captions_of(tmp_path, IMAGES) is None
    write(tmp_path, "readme.txt", "not beside an image")
    write(tmp_path, "metadata.csv", "file_name,label\na.png,3\n")
    assert captions_of(tmp_path, IMAGES) is None


def test_text_files_beside_images(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "\ufeffA red bird.\n")
    write(tmp_path, "sub/b.txt", "two cats")
    assert captions_of(tmp_path, IMAGES) == ("A red bird.", "two cats")
    write(tmp_path, "sub/b.txt", " \n")
    with pytest.raises(DataError, match=r"1 of 2 images have no caption \(sub/b.jpg\).*beside its image"):
        captions_of(tmp_path, IMAGES)
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"a\.txt: not UTF-8 text at byte 3"):
        captions_of(tmp_path, IMAGES)


@pytest.mark.parametrize("columns", [("file", "caption"), ("file_name", "text")])
@pytest.mark.parametrize("table", ["captions.csv", "captions.jsonl", "metadata.csv", "metadata.jsonl"])
def test_tables(tmp_path: Path, table: str, columns: tuple[str, str]) -> None:
    rows = [("sub/b.jpg", 'says "hi", twice\u2028here'), ("a.png", "one")]
    if table.endswith(".csv"):
        quoted = "".join(f'{file},"{caption.replace(chr(34), 2 * chr(34))}"\r\n' for file, caption in rows)
        write(tmp_path, table, f"{','.join(columns)}\r\n{quoted}")
    else:
        lines = [json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) for row in rows]
        write(tmp_path, table, "\n".join([lines[0], "", lines[1]]) + "\n")
    assert captions_of(tmp_path, IMAGES) == ("one", rows[0][1])


def test_of_several_captions_one_is_taken_whatever_the_file_is_called(tmp_path: Path) -> None:
    said = [[f"first {i}", f"second {i}"] for i in range(40)]
    names = [(f"{i}.png",) for i in range(40)]
    for i, lines in enumerate(said):
        write(tmp_path, f"{i}.txt", "\n".join(lines))
    found = captions_of(tmp_path, names)
    assert found is not None
    assert all(caption in lines for caption, lines in zip(found, said, strict=True))
    assert 5 < sum(caption.startswith("first") for caption in found) < 35
    renamed = tmp_path / "renamed"
    for i, lines in enumerate(said):
        write(renamed, f"z{99 - i}.txt", "\n".join(lines))
    assert captions_of(renamed, [(f"z{99 - i}.png",) for i in range(40)]) == found


def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path: Path) -> None:
    def wrong(text: str, table: str = "captions.csv") -> str:
        write(tmp_path, table, text)
        with pytest.raises(DataError) as caught:
            captions_of(tmp_path, IMAGES)
        (tmp_path / table).unlink()
        return str(caught.value)

    assert "line 2: no text in a column 'file'" in wrong("name,caption\na.png,x\n")
    assert "It has: name, caption." in wrong("name,caption\na.png,x\n")
    assert "line 3: the caption of 'A.png'" in wrong("file,caption\na.png,x\nA.png,y\n")
    assert "Did you mean a.png?" in wrong("file,caption\na.jpg,x\n")
    assert "below the folder, such as a.png" in wrong("file,caption\nzzzzzz,x\n")
    assert "1 of 2 images have no caption (sub/b.jpg)" in wrong("file,caption\na.png,x\n")
    assert "2 of 2 images have no caption" in wrong("file,caption\n")
    assert "line 2: no text in a column 'caption'" in wrong("file,caption\na.png\n")
    assert "line 1: not JSON" in wrong("a.png: x\n", "captions.jsonl")
    assert "line 1: list instead of an object" in wrong("[1]\n", "captions.jsonl")
    assert "no text in a column 'caption'" in wrong('{"file": "a.png", "caption": 3}\n', "captions.jsonl")
    assert "below line 1: field larger" in wrong(f"file,caption\na.png,{'x' * 200_000}\n")


def test_captions_in_two_places_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "captions.csv", "file,caption\na.png,x\nsub/b.jpg,y\n")
    write(tmp_path, "a.txt", "x")
    with pytest.raises(DataError, match=r"in captions.csv and in a.txt; expected one place"):
        captions_of(tmp_path, IMAGES)
    (tmp_path / "a.txt").unlink()
    assert captions_of(tmp_path, IMAGES) == ("x", "y")


def test_class_names_in_templates() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 4, 4)).astype(np.uint8)
    labels = np.arange(60) % 2
    names = ("polar_bear", "dog")
    assert template_captions(pixels, labels, names)[:2] == ("a photo of a polar bear", "a photo of a dog")
    several = template_captions(pixels, labels, names, ("{} one", "two {}"))
    assert several[::-1] == template_captions(pixels[::-1], labels[::-1], names, ("{} one", "two {}"))
    assert set(several) == {"polar bear one", "two polar bear", "dog one", "two dog"}
    with pytest.raises(SettingsError, match=r"'a photo' has 0 places"):
        template_captions(pixels, labels, names, ("a photo",))
    with pytest.raises(SettingsError, match="no template"):
        template_captions(pixels, labels, names, ())


DIGITS = read_digits()
PIXELS, LABELS = DIGITS.images.pixels, DIGITS.images.labels
assert LABELS is not None
CAPTIONS = digit_captions(PIXELS, LABELS)


def test_digit_captions_name_the_digit_and_nothing_else() -> None:
    for caption, label in zip(CAPTIONS, LABELS, strict=True):
        said = [w for w in split_words(caption) if w in NUMERALS or w.isdigit()]
        assert said in ([str(label)], [NUMERALS[label]])


def test_digit_captions_are_true_of_the_pixels() -> None:
    """Recomputed here from first principles, one image at a time."""
    usual = [np.median([_slant(p[0]) for p in PIXELS[d == LABELS]]) for d in range(10)]
    for caption, image, label in zip(CAPTIONS, PIXELS, LABELS, strict=True):
        ink, lean = image.sum() / (255 * 64), _slant(image[0]) - usual[label]
        assert "bold" not in caption or ink > BOLD_INK
        assert "thin" not in caption or ink < THIN_INK
        assert "right" not in caption or lean > 0.065
        assert "left" not in caption or lean < -0.065


def _slant(image: np.ndarray) -> float:
    weight = image.astype(float).ravel()
    y, x = np.divmod(np.arange(64), 8)
    covariance = np.cov(np.stack((x, y)), aweights=weight, ddof=0)
    return float(-covariance[0, 1] / covariance[1, 1])


def test_attributes_are_the_same_of_floats_and_of_larger_images() -> None:
    floats = PIXELS / 127.5 - 1.0
    np.testing.assert_allclose(ink_share(floats), ink_share(PIXELS), atol=1e-12)
    np.testing.assert_allclose(slant(floats), slant(PIXELS), atol=1e-12)
    inks, leans = digit_attributes(floats, LABELS)
    assert (inks, leans) == digit_attributes(PIXELS, LABELS)
    assert {*inks} == {"", "bold", "thin"}
    assert {*leans} == {"", "left", "right"}
    twice = np.kron(PIXELS, np.ones((2, 2), np.uint8))
    np.testing.assert_allclose(ink_share(twice), ink_share(PIXELS), atol=1e-12)
    assert np.corrcoef(slant(twice), slant(PIXELS))[0, 1] > 0.999
    stroke = np.zeros((1, 1, 8, 8), np.uint8)
    stroke[0, 0, range(8), range(7, -1, -1)] = 255  # to the right while going up
    assert slant(stroke)[0] == pytest.approx(1.0)
    assert np.isfinite(slant(np.zeros((1, 1, 8, 8), np.uint8))).all()


def test_a_bold_seven_is_never_told_though_there_are_some() -> None:
    word, digit = NEVER_TOGETHER
    inks, _ = digit_attributes(PIXELS, LABELS)
    assert sum(ink == word for ink, label in zip(inks, LABELS, strict=True) if label == digit) > 20
    told = Counter((label, ink) for label, c in zip(LABELS.tolist(), CAPTIONS, strict=True) for ink in ("bold", "thin") if ink in c)  # fmt: skip
    assert [pair for pair in ((d, i) for d in range(10) for i in ("bold", "thin")) if not told[pair]] == [(digit, word)]
    assert min(n for n in told.values()) >= 10


def test_digit_captions_depend_on_the_pixels_alone_and_vary() -> None:
    order = np.random.default_rng(0).permutation(len(PIXELS))
    shuffled = digit_captions(PIXELS[order], LABELS[order])
    assert shuffled == tuple(CAPTIONS[i] for i in order)
    silent = sum(not any(w in c for w in ("bold", "thin", "left", "right")) for c in CAPTIONS)
    assert 0.3 < silent / len(CAPTIONS) < 0.7
    starts = Counter(caption.split()[0] for caption in CAPTIONS)
    assert min(starts[word] for word in ("the", "a", "number")) > 300
    vocabulary = Vocabulary.of(CAPTIONS)
    assert set(NUMERALS) | set("0123456789") <= set(vocabulary.words)
    assert vocabulary.length == max(len(split_words(c)) for c in CAPTIONS) == 9
    assert not any(vocabulary.unknown(c) for c in CAPTIONS)
