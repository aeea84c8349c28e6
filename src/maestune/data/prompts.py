"""How a trained model is asked for something in words, long after its data were closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from maestune.data.captions import Vocabulary
from maestune.data.image_data import COLUMNS, ROWS
from maestune.data.source import Data
from maestune.data.spec import Batch
from maestune.data.text import TextData
from maestune.data.tokenizer import Tokenizer, tokenizer_from_dict
from maestune.errors import SettingsError, did_you_mean


@dataclass(frozen=True)
class Prompts:
    """What samples can be asked for: classes by name, captions in known words, or how a text begins.

    `examples`: held-out conditions, as lists; asked for where nobody says what.
    """

    class_names: tuple[str, ...] = ()
    vocabulary: Vocabulary | None = None
    tokenizer: Tokenizer | None = None
    examples: Mapping[str, list[Any]] = field(default_factory=dict[str, list[Any]])

    @staticmethod
    def of(data: Data) -> Prompts:
        """Of data, with examples that only the verdict has seen."""
        examples = {name: tensor.tolist() for name, tensor in data.prompts("report", ROWS * COLUMNS).items()}
        if isinstance(data, TextData):
            return Prompts(tokenizer=data.tokenizer, examples=examples)
        return Prompts(data.class_names if data.labelled else (), data.vocabulary, examples=examples)

    def prompts(self, texts: Sequence[str], n: int) -> Batch:
        """What n samples are asked for: each of the texts in turn, in pictures for a row of eight; the examples where
        there are none.

        Raises SettingsError for what cannot be asked: a class or words that the model has never seen, or anything of a
        model that cannot be asked.
        """
        if not texts:
            known = {name: torch.tensor(values) for name, values in self.examples.items()}
            return {name: values[torch.arange(n) % len(values)] for name, values in known.items()}
        rows = torch.arange(n) // COLUMNS % len(texts)
        if self.tokenizer is not None:
            return {"prompt": self._beginnings(texts)[torch.arange(n) % len(texts)]}
        if self.vocabulary is None and not self.class_names:
            raise SettingsError(
                "This model was trained on images without labels or captions: it cannot be asked for anything."
            )
        asked: dict[str, torch.Tensor] = {}
        if self.vocabulary is not None:
            for text in texts:
                if unknown := self.vocabulary.unknown(text):
                    raise SettingsError(
                        f"{text!r}: the model was never taught {', '.join(map(repr, unknown))}. "
                        f"{did_you_mean(unknown[0], self.vocabulary.words)}"
                    )
            asked["caption"] = self.vocabulary.encode_all(texts)[rows]
        if self.vocabulary is None or all(text in self.class_names for text in texts):
            for text in texts:
                if text not in self.class_names:
                    raise SettingsError(f"{text!r} is no class of the data. {did_you_mean(text, self.class_names)}")
            asked["label"] = torch.tensor([self.class_names.index(text) for text in texts])[rows]
        return asked

    def _beginnings(self, texts: Sequence[str]) -> torch.Tensor:
        """Texts as tokens (N, P), cut on the left to the shortest: samples that are made together begin together."""
        assert self.tokenizer is not None
        tokens = [self.tokenizer.encode(text) for text in texts]
        if not all(map(len, tokens)):
            raise SettingsError("A text to go on from must have at least one character.")
        shortest = min(map(len, tokens))
        return torch.stack([one[len(one) - shortest :] for one in tokens])

    @property
    def rows(self) -> tuple[str, ...]:
        """What the rows of a picture of the examples are asked for; empty where nothing is."""
        first = range(0, ROWS * COLUMNS, COLUMNS)
        if self.vocabulary is not None:
            return tuple(self.vocabulary.decode(torch.tensor(self.examples["caption"][i])) for i in first)
        if self.class_names:
            return tuple(self.class_names[self.examples["label"][i]] for i in first)
        return ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "class_names": list(self.class_names),
            "vocabulary": None if self.vocabulary is None else [list(self.vocabulary.words), self.vocabulary.length],
            "tokenizer": None if self.tokenizer is None else self.tokenizer.to_dict(),
            "examples": dict(self.examples),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Prompts:
        """What `to_dict` wrote."""
        words, tokens = data["vocabulary"], data["tokenizer"]
        return Prompts(
            class_names=tuple(data["class_names"]),
            vocabulary=None if words is None else Vocabulary(tuple(words[0]), words[1]),
            tokenizer=None if tokens is None else tokenizer_from_dict(tokens),
            examples=data["examples"],
        )
