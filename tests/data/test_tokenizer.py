"""Tokenizers: what is encoded comes back, and plain data make the same tokenizer."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maestune.data.tokenizer import Bytes, Characters, HuggingFace, make_tokenizer, tokenizer_from_dict
from maestune.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
def test_what_is_encoded_comes_back(text: str) -> None:
    for tokenizer in (Characters.of(text), Bytes()):
        tokens = tokenizer.encode(text)
        assert tokens.dtype == torch.int64
        assert tokens.ndim == 1
        assert tokenizer.decode(tokens) == text
        assert all(0 <= token < tokenizer.size for token in tokens.tolist())


@given(TEXTS, TEXTS)
def test_characters_agree_with_a_plain_lookup(vocabulary: str, text: str) -> None:
    tokenizer = Characters.of(vocabulary)
    table = {sign: number for number, sign in enumerate(sorted(set(vocabulary)))}
    assert tokenizer.encode(text).tolist() == [table.get(sign, len(table)) for sign in text]
    assert tokenizer.size == len(table) + 1


@given(TEXTS)
def test_plain_data_make_the_same_tokenizer(text: str) -> None:
    for tokenizer in (Characters.of(text), Bytes()):
        again = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())))
        assert again == tokenizer
        assert hash(again) == hash(tokenizer)
        assert torch.equal(again.encode(text + "ß☃"), tokenizer.encode(text + "ß☃"))


def test_the_unknown_is_the_last_token() -> None:
    tokenizer = Characters.of("ba\n")
    assert tokenizer.encode("a!b\n").tolist() == [1, 3, 2, 0]
    assert tokenizer.decode(torch.tensor([3, 2])) == "\ufffdb"


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert Bytes().decode(torch.tensor([0xC3, 65])) == "\ufffdA"
    assert Bytes().encode("a\udcff").tolist() == [97, 63]  # from a terminal that is not UTF-8
    assert Characters.of("a").encode("a\udcff").tolist() == [0, 1]


@pytest.mark.parametrize(
    "data", [{}, {"kind": "words"}, {"kind": "characters"}, {"kind": "characters", "vocabulary": "ba"}]
)
def test_damaged_data_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        tokenizer_from_dict(data)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match=r"maestune\[hf\]"):
        make_tokenizer("gpt2", "text")
    with pytest.raises(DataError, match=r"maestune\[hf\]"):
        tokenizer_from_dict({"kind": "huggingface", "definition": "{}"})


class _Words:
    """In place of the library's tokenizer: words between blanks, numbered in the definition."""

    def __init__(self, definition: str) -> None:
        self.words: list[str] = json.loads(definition)

    @staticmethod
    def from_str(definition: str) -> _Words:
        return _Words(definition)

    @staticmethod
    def from_pretrained(name: str) -> _Words:
        if name != "known":
            raise Exception("404")
        return _Words('["a", "b", "c"]')

    def to_str(self) -> str:
        return json.dumps(self.words)

    def get_vocab_size(self, with_added_tokens: bool) -> int:
        assert with_added_tokens
        return len(self.words)

    def encode(self, text: str, add_special_tokens: bool) -> Any:
        assert not add_special_tokens
        found = ModuleType("encoding")
        found.ids = [self.words.index(word) for word in text.split()]  # type: ignore[attr-defined]
        return found

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        assert not skip_special_tokens
        return " ".join(self.words[i] for i in ids)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tokenizers")
    module.Tokenizer = _Words  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tokenizers", module)


@pytest.mark.usefixtures("library")
def test_a_trained_tokenizer_is_found_and_kept_whole(tmp_path: Any) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text('["one", "two"]', encoding="utf-8")
    for source in (file, tmp_path, str(file)):
        tokenizer = make_tokenizer(source, "ignored")
        assert tokenizer.size == 2
        assert tokenizer.encode("two one two").tolist() == [1, 0, 1]
        assert tokenizer.decode(torch.tensor([0, 1])) == "one two"
    file.unlink()
    again = tokenizer_from_dict(tokenizer.to_dict())
    assert again == tokenizer
    assert make_tokenizer("known", "").size == 3


@pytest.mark.usefixtures("library")
def test_what_is_no_tokenizer_is_named(tmp_path: Any) -> None:
    with pytest.raises(DataError, match=r"no tokenizer.json"):
        HuggingFace.load(tmp_path)
    with pytest.raises(DataError, match=r"'charakters'.*Did you mean characters"):
        HuggingFace.load("charakters")
    (tmp_path / "tokenizer.json").write_text("not json", encoding="utf-8")
    with pytest.raises(DataError, match="definition cannot be read"):
        HuggingFace.load(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match="UTF-8"):
        HuggingFace.load(tmp_path)
