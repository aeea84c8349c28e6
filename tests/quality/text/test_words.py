import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.data.tokenizer import Bytes
from maestune.quality.text.word_split import vocabulary, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t  ", []),
        ("It's 3.5 o'clock.", ["It's", "3", ".", "5", "o'clock", "."]),
        ("def f(x_1):\n    return x_1\n", ["def", "f", "(", "x_1", ")", ":", "\n", "return", "x_1", "\n"]),
        ("naïve Grüße, Łódź", ["naïve", "Grüße", ",", "Łódź"]),
        ("日本語のテスト ok", ["日", "本", "語", "の", "テ", "ス", "ト", "ok"]),
        ("x日y", ["x", "日", "y"]),
        ("''quoted''", ["'", "'", "quoted", "'", "'"]),
    ],
)
def test_prose_code_and_scripts_without_spaces(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text())
def test_nothing_but_white_space_is_lost(text: str) -> None:
    kept = "".join(words(text))
    assert kept == "".join(c for c in text if c == "\n" or not c.isspace())


def test_bytes_that_are_no_text_are_words_too() -> None:
    import torch

    assert words(Bytes().decode(torch.tensor([255, 97, 98, 254]))) == ["\ufffd", "ab", "\ufffd"]


def test_vocabulary_counts_words_once() -> None:
    assert vocabulary(["a b a", "b c", ""]) == 3
