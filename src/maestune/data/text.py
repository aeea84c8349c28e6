"""Text to learn from: found, read strictly as UTF-8, divided by content, and turned into tokens.

A text is divided in units: files of a folder, and blocks of long files, cut at blank lines. Units go to the three parts by a
hash of their content, so that equal ones never stand on both sides, and keep their order within a part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maestune.data.spec import Batch, DataSpec, Split
from maestune.data.text_files import Document, find_text
from maestune.data.tokenizer import Tokenizer, make_tokenizer
from maestune.errors import DataError

PROMPT_TOKENS = 32
BLOCK_CHARACTERS = 2_000
SMALL_BLOCKS = 40  # a short text is cut finer, so that a tenth of it is still drawn from several places
HELD_OUT_SHARE = 0.1
# Short texts give more away, since a loss over a few hundred characters says nothing, but never more than a fifth; long
# ones no more than this, which makes a loss precise to a thousandth of a nat.
FEWEST_HELD_OUT = 20_000
MOST_HELD_OUT = 1_000_000
LARGEST_SHARE = 0.2
FEWEST_CHARACTERS = 4_000
UNKNOWN_WORTH_TELLING = 1e-3  # of the held-out characters


@dataclass(frozen=True)
class TextData:
    """A text in its three fixed parts, as numbers of tokens (N,), uint8 where they fit and int32 otherwise.

    `train`: models learn from it. `search`: scores during the search are held against it. `report`: seen by nobody before
    the verdict. `characters_per_token`: of the part to learn from. `skipped` names files that could not be read, with the
    reason. `fingerprint` changes when any token, part or the tokenizer changes.
    """

    name: str
    train: Tensor
    search: Tensor
    report: Tensor
    tokenizer: Tokenizer
    fingerprint: str
    characters_per_token: float = 1.0
    skipped: tuple[str, ...] = ()
    note: str = ""

    @property
    def spec(self) -> DataSpec:
        """What networks are built for."""
        return DataSpec(tokens=self.tokenizer.size, characters_per_token=self.characters_per_token)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Text has no classes."""
        return ()

    @property
    def size(self) -> int:
        """How many tokens there are to learn from."""
        return len(self.train)

    def part(self, split: Split) -> Tensor:
        """A held-out part."""
        return self.search if split == "search" else self.report

    def prompts(self, split: Split, n: int) -> Batch:
        """What n samples go on from: `prompt` (n, 32) int64, pieces of a held-out part, evenly spread over it.

        They begin where lines do, if there are as many lines.
        """
        part = self.part(split)
        length = min(PROMPT_TOKENS, len(part))
        places = _line_beginnings(part[: len(part) - length + 1], self.tokenizer)
        if len(places) < n:
            places = torch.arange(len(part) - length + 1)
        chosen = torch.linspace(0, len(places) - 1, max(n, 1), dtype=torch.float64)[:n].round().long()
        return {"prompt": part.unfold(0, length, 1)[places[chosen]].long()}

    def held_out(self, split: Split, n: int, context: int) -> Batch:
        """`tokens` (up to n, context + 1) int64: windows evenly spread over a held-out part.

        No token is to be predicted in two of them. Raises DataError where the part is shorter than a window.
        """
        part = self.part(split)
        fitting = (len(part) - 1) // context
        if fitting < 1:
            raise DataError(
                f"{self.name}: windows of {context + 1} tokens do not fit into the {len(part)} tokens held out; give more text, "
                f"or --set context={max(len(part) - 1, 1)} or less."
            )
        chosen = torch.linspace(0, fitting - 1, min(n, fitting), dtype=torch.float64).round().long()
        return {"tokens": part.unfold(0, context + 1, 1)[chosen * context].long()}

    def describe(self) -> str:
        """One line for people: name, how much text, how many kinds of tokens, how many files could not be read."""
        skipped = f", {len(self.skipped)} unreadable files skipped" if self.skipped else ""
        return (
            f"{self.name}: text, {self.size:,} tokens to learn from, {len(self.search):,} to search with, "
            f"{len(self.report):,} for the verdict, {self.tokenizer.size:,} kinds of tokens{skipped}"
        )


def load_text(
    source: str | Path, tokens: str | Path = "characters", progress: Callable[[str], None] | None = None
) -> TextData:
    """Text to learn from, in its three parts.

    `source`: the built-in text "pydoc" (Python's own documentation), a text file, or a folder of them. `tokens`:
    "characters", "bytes", or a trained tokenizer (a `tokenizer.json`, a folder with one, a name on the Hugging Face hub; needs
    the extra `hf`). `progress` is called with sentences on the way.

    A tenth of the text is for the verdict and a tenth to search with, of short texts up to a fifth. Where a folder has a
    held-out file of its own (`test`, `val`, `valid` or `heldout` at the end of its name), that file, whole, is for the
    verdict; where it has one for validation and one for tests, the first is to search with.

    Raises DataError, naming the path, what was expected and the repair: no such path, binary or not UTF-8, too short.
    """
    tell = progress or (lambda _: None)
    found = find_text(source, tell)
    name, documents, notes = found.name, found.documents, list(found.notes)
    parts, note = _divided(name, documents)
    notes.append(note)
    texts = {part: "".join(units) for part, units in parts.items()}
    for part, text in texts.items():
        if len(text) < FEWEST_CHARACTERS // 20:
            raise DataError(
                f"{source}: {len(text):,} characters for the part {part!r}; expected at least {FEWEST_CHARACTERS // 20}. "
                "Give more text."
            )
    tokenizer = make_tokenizer(tokens, texts["train"])
    tell(f"Turning {sum(map(len, texts.values())):,} characters into tokens")
    numbers = {part: _compact(tokenizer, text) for part, text in texts.items()}
    if tokens == "characters":
        notes.append(_unknown_note(tokenizer, numbers))
    return TextData(
        name=name,
        train=numbers["train"],
        search=numbers["search"],
        report=numbers["report"],
        tokenizer=tokenizer,
        fingerprint=_fingerprint(tokenizer, numbers),
        characters_per_token=len(texts["train"]) / len(numbers["train"]),
        skipped=found.skipped,
        note=" ".join(filter(None, notes)),
    )


def blocks(text: str, size: int = BLOCK_CHARACTERS) -> list[str]:
    """The text cut into blocks of about so many characters; together they are the text.

    Each ends at the first blank line behind its size; where none comes soon, at the end of a line, else anywhere.

    >>> blocks("one\\n\\ntwo\\n\\n\\nthree", 3)
    ['one\\n\\n', 'two\\n\\n\\n', 'thr', 'ee']
    """
    cuts = [0]
    while cuts[-1] < len(text):
        cuts.append(_next_cut(text, cuts[-1] + size, size))
    return [text[a:b] for a, b in pairwise(cuts)]


def _next_cut(text: str, aim: int, size: int) -> int:
    if aim >= len(text):
        return len(text)
    for mark in ("\n\n", "\n"):
        # From one character earlier: the mark may lie across the aim.
        place = text.find(mark, aim - 1, aim + 2 * size)
        if place >= 0:
            place += len(mark)
            while place < len(text) and text[place] == "\n":
                place += 1
            return place
    return aim


def _divided(name: str, documents: Sequence[Document]) -> tuple[dict[str, list[str]], str]:
    """The units of each part, in their order, and a sentence on what was decided."""
    total = sum(len(d.text) for d in documents if not d.split)
    if total < FEWEST_CHARACTERS:
        raise DataError(
            f"{name}: {total:,} characters of text to learn from; expected at least {FEWEST_CHARACTERS:,}. Give more text."
        )
    size = min(BLOCK_CHARACTERS, max(total // SMALL_BLOCKS, 1))
    given = {d.split: [d.text] for d in documents if d.split}
    held_out_keys = {_key(unit) for d in documents if d.split for unit in (d.text, *blocks(d.text, size))}
    units = list(_units([d.text for d in documents if not d.split], size))
    fresh = [unit for unit in units if _key(unit) not in held_out_keys]
    note = ""
    if len(fresh) < len(units):
        note = (
            f"{len(units) - len(fresh):,} pieces of text to learn from are also in the held-out files and were dropped."
        )
    left = sum(map(len, fresh))
    amount = min(max(HELD_OUT_SHARE * left, FEWEST_HELD_OUT), LARGEST_SHARE * left, MOST_HELD_OUT)
    wanted = [part for part in ("report", "search") if part not in given]
    assigned = _assigned(fresh, wanted, amount)
    parts: dict[str, list[str]] = {"train": [], "search": [], "report": []}
    for unit in fresh:
        parts[assigned.get(_key(unit), "train")].append(unit)
    return parts | given, note


def _units(texts: Iterable[str], size: int) -> Iterable[str]:
    # Short files whole, long ones in blocks: a file that is much longer than a block would make the parts uneven.
    for text in texts:
        yield from [text] if len(text) <= 2 * size else blocks(text, size)


def _assigned(units: Sequence[str], wanted: Sequence[str], amount: float) -> dict[bytes, str]:
    """The part of each held-out unit, by key: units in the order of their hash fill the wanted parts one after the other."""
    sizes: dict[bytes, int] = {}
    for unit in units:
        sizes[_key(unit)] = sizes.get(_key(unit), 0) + len(unit)
    assigned: dict[bytes, str] = {}
    filled = 0
    for key in sorted(sizes):
        part = int(filled / amount)
        if part >= len(wanted):
            break
        assigned[key] = wanted[part]
        filled += sizes[key]
    return assigned


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _compact(tokenizer: Tokenizer, text: str) -> Tensor:
    return tokenizer.encode(text).to(torch.uint8 if tokenizer.size <= 256 else torch.int32)


def _unknown_note(tokenizer: Tokenizer, numbers: dict[str, Tensor]) -> str:
    held_out = torch.cat((numbers["search"], numbers["report"]))
    share = float((held_out == tokenizer.size - 1).double().mean())
    if share < UNKNOWN_WORTH_TELLING:
        return ""
    return f"{share:.1%} of the held-out characters do not occur in the text to learn from; --tokens bytes has no unknown ones."


def _line_beginnings(part: Tensor, tokenizer: Tokenizer) -> Tensor:
    # Positions behind an end of line, of lines that are not empty; none where that is not a token of its own.
    newline = tokenizer.encode("\n")
    if len(newline) != 1:
        return torch.empty(0, dtype=torch.int64)
    ends = part == newline.to(part.dtype)
    return (ends[:-1] & ~ends[1:]).nonzero().squeeze(1) + 1


def _fingerprint(tokenizer: Tokenizer, numbers: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(repr(sorted(tokenizer.to_dict().items())).encode("utf-8", "surrogatepass"), digest_size=8)
    for part, tokens in numbers.items():
        digest.update(f"{part} {len(tokens)}".encode())
        digest.update(np.ascontiguousarray(tokens.numpy()).tobytes())
    return digest.hexdigest()
