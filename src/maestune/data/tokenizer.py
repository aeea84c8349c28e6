"""Text as numbers and back: characters, bytes, or a tokenizer that others have trained.

A tokenizer is a frozen value that holds all it needs, so that a campaign's folder can decode its samples wherever the folder
goes: `to_dict` makes plain data of it, `tokenizer_from_dict` reads them back.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from maestune.errors import DataError, did_you_mean

UNKNOWN = "\ufffd"  # Unicode's replacement character stands for what a vocabulary does not have
KINDS = ("characters", "bytes")


class Tokenizer(Protocol):
    """Turns text into numbers of tokens 0 … size - 1, and back."""

    @property
    def size(self) -> int:
        """How many different tokens there are."""
        ...

    def encode(self, text: str) -> Tensor:
        """The text as numbers of tokens (N,) int64."""
        ...

    def decode(self, tokens: Tensor) -> str:
        """The text of numbers of tokens (N,)."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """As plain data, which `tokenizer_from_dict` reads back."""
        ...


@dataclass(frozen=True)
class Characters:
    """One token a character, in the order of their code points; the last token stands for all that are not among them.

    >>> tokenizer = Characters.of("hello")
    >>> tokenizer.size, tokenizer.encode("hole!").tolist(), tokenizer.decode(torch.tensor([1, 0, 2, 2, 3]))
    (5, [1, 3, 2, 0, 4], 'hello')
    """

    vocabulary: str
    _codes: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = _code_points(self.vocabulary)
        if (codes[1:] <= codes[:-1]).any():
            raise DataError(
                "The vocabulary of characters is not sorted, or has one twice; make it with Characters.of(text)."
            )
        object.__setattr__(self, "_codes", codes)

    @staticmethod
    def of(text: str) -> Characters:
        """The tokenizer whose vocabulary is the characters of a text."""
        return Characters("".join(sorted(set(text))))

    @property
    def size(self) -> int:
        """Number of characters, and one more for the unknown."""
        return len(self.vocabulary) + 1

    def encode(self, text: str) -> Tensor:
        """Numbers of the characters (N,) int64."""
        codes = _code_points(text)
        places = np.searchsorted(self._codes, codes).astype(np.int64)
        known = places < len(self._codes)
        known[known] = self._codes[places[known]] == codes[known]
        return torch.from_numpy(np.where(known, places, len(self._codes)))

    def decode(self, tokens: Tensor) -> str:
        """The characters of numbers (N,); the unknown as U+FFFD."""
        signs = self.vocabulary + UNKNOWN
        return "".join([signs[token] for token in tokens.tolist()])

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": "characters", "vocabulary": self.vocabulary}


@dataclass(frozen=True)
class Bytes:
    """One token a byte of the text in UTF-8: nothing is unknown.

    >>> Bytes().encode("é").tolist(), Bytes().decode(torch.tensor([195, 169]))
    ([195, 169], 'é')
    """

    size: int = field(default=256, init=False)

    def encode(self, text: str) -> Tensor:
        """The bytes (N,) int64."""
        # What came from a terminal that is not UTF-8 holds lone surrogates, which UTF-8 has no bytes for.
        data = text.encode("utf-8", "replace")
        return torch.from_numpy(np.frombuffer(data, np.uint8).astype(np.int64))

    def decode(self, tokens: Tensor) -> str:
        """The text of bytes (N,); what is no UTF-8 as U+FFFD."""
        return bytes(tokens.tolist()).decode("utf-8", "replace")

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": "bytes"}


@dataclass(frozen=True)
class HuggingFace:
    """A trained tokenizer in the format of the `tokenizers` library; `definition` is its JSON, whole."""

    definition: str = field(repr=False)
    _tokenizer: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            made = _library().Tokenizer.from_str(self.definition)
        except Exception as error:  # the library raises a bare Exception for every fault of a definition
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"The tokenizer's definition cannot be read ({error}); give a tokenizer.json as the tokenizers library writes it."
            ) from error
        object.__setattr__(self, "_tokenizer", made)

    @staticmethod
    def load(source: str | Path) -> HuggingFace:
        """The tokenizer of a `tokenizer.json`, of a folder with one, or of that name on the Hugging Face hub.

        Raises DataError where there is none, or where the extra `hf` is not installed.
        """
        path = Path(source)
        file = path / "tokenizer.json" if path.is_dir() else path
        if file.is_file():
            try:
                return HuggingFace(file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{file}: cannot be read ({error}); expected a tokenizer.json in UTF-8.") from error
        if path.is_dir():
            raise DataError(f"{path}: has no tokenizer.json; give a folder with one, or the file itself.")
        library = _library()
        try:
            return HuggingFace(library.Tokenizer.from_pretrained(str(source)).to_str())
        except Exception as error:  # whatever the network, the hub or the library has to say
            raise DataError(
                f"tokens: {str(source)!r} is neither one of {', '.join(KINDS)}, nor a tokenizer.json, nor a name on the Hugging "
                f"Face hub ({error}). {did_you_mean(str(source), KINDS)}"
            ) from error

    @property
    def size(self) -> int:
        """Number of tokens, added ones included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> Tensor:
        """Numbers of tokens (N,) int64, without marks of beginning and end."""
        return torch.tensor(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=torch.int64)

    def decode(self, tokens: Tensor) -> str:
        """The text of numbers of tokens (N,)."""
        return str(self._tokenizer.decode(tokens.tolist(), skip_special_tokens=False))

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"kind": "huggingface", "definition": self.definition}


def make_tokenizer(tokens: str | Path, text: str) -> Tokenizer:
    """The tokenizer called `tokens`: "characters" (those of the text), "bytes", or where `HuggingFace.load` finds it."""
    if tokens == "characters":
        return Characters.of(text)
    return Bytes() if tokens == "bytes" else HuggingFace.load(tokens)


def tokenizer_from_dict(data: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a `to_dict` wrote; DataError for anything else."""
    kind = data.get("kind")
    try:
        if kind == "characters":
            return Characters(str(data["vocabulary"]))
        if kind == "bytes":
            return Bytes()
        if kind == "huggingface":
            return HuggingFace(str(data["definition"]))
    except KeyError as error:
        raise DataError(
            f"A stored tokenizer of kind {kind!r} lacks {error}; the file it comes from is damaged."
        ) from error
    raise DataError(f"A stored tokenizer is of kind {kind!r}; expected characters, bytes or huggingface.")


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _library() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise DataError(
            "Trained tokenizers need the tokenizers library: pip install 'maestune[hf]'; or use --tokens characters or bytes."
        ) from error
