"""Samples of text as somebody else left them, and pieces of real text of the same lengths to hold them against.

A folder: one text a file. A .jsonl file: one text a line, as {"text": …}, {"prompt": …, "text": …} or a bare string. Any other
file: texts one after the other, numbered by lines "--- 1 ---" as `maestune generate` writes them, else separated by blank
lines. Where a text begins with what it was asked to go on from, that is taken off: only what was made is scored.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from maestune.data.text_files import is_text
from maestune.errors import DataError
from maestune.quality.scoring.fakes import check_enough
from maestune.quality.scoring.measuring import Tell
from maestune.quality.scoring.prompts import CAPTIONS, PROMPTS, Row, read_prompts

MOST_TEXTS = 2_000  # unless another number is asked for: beyond that values hardly change, and reading takes minutes
MOST_CHARACTERS = 2_000  # of each
NUMBERED = re.compile(r"^--- (\d+) ---\n", re.MULTILINE)
JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class FakeTexts:
    """N texts with the name of each, of `found` in all: how it had `begun`, and what was `made` of it."""

    begun: tuple[str, ...]
    made: tuple[str, ...]
    names: tuple[str, ...]
    found: int
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.made)

    @property
    def prompted(self) -> bool:
        """Whether it is known how each had begun."""
        return all(self.begun)


@dataclass(frozen=True)
class _Text:
    name: str
    text: str
    begun: str = ""
    reason: str = ""  # why it cannot be used


def read_fake_texts(
    source: str | Path | Sequence[str], samples: int | None, seed: int, prompts: Path | None, tell: Tell
) -> FakeTexts:
    """Texts to be scored: all, 2,000 at most, or as many as are asked for, drawn by the seed.

    Raises DataError for what is not there, cannot be read, or is fewer than 12.
    """
    if isinstance(source, str | Path):
        found = list(_read(Path(source).expanduser(), tell))
    else:
        found = [_Text(str(i), text, reason="" if text.strip() else "is empty") for i, text in enumerate(source)]
    good = [text for text in found if not text.reason]
    skipped = tuple(f"{text.name}: {text.reason}" for text in found if text.reason)
    limit = MOST_TEXTS if samples is None else samples
    notes: list[str] = []
    if len(good) > limit:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(good))[:limit])
        good = [good[int(i)] for i in drawn]
        notes.append(f"{limit:,} of {len(found):,} texts are scored, drawn by the seed.")
    elif samples is not None and samples > len(good):
        notes.append(f"{samples:,} texts were asked for, and there are {len(good):,}.")
    check_enough(len(good), "texts", skipped)
    if prompts is not None:
        rows = read_prompts(prompts, [text.name for text in good])
        good = [replace(one, begun=_told(row, prompts)) for one, row in zip(good, rows, strict=True)]
    made = [one.text.removeprefix(one.begun) or one.text for one in good]
    long = sum(len(text) > MOST_CHARACTERS for text in made)
    if long:
        notes.append(
            f"{long:,} texts are longer than {MOST_CHARACTERS:,} characters; what is beyond that is not scored."
        )
    return FakeTexts(
        begun=tuple(one.begun[-MOST_CHARACTERS:] for one in good),
        made=tuple(text[:MOST_CHARACTERS] for text in made),
        names=tuple(one.name for one in good),
        found=len(found),
        skipped=skipped,
        notes=tuple(notes),
    )


def pieces_like(
    text: str, begun: Sequence[str], made: Sequence[str], order: NDArray[np.float64]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pieces of a text as long as given ones, character for character, what begins them apart from what follows.

    `order` (N,) in [0, 1): where in the text each begins; at the beginning of a line where there are enough of them.
    """
    longest = max(len(a) + len(b) for a, b in zip(begun, made, strict=True))
    places = [m.end() for m in re.finditer(r"\n+(?=\S)", text) if m.end() <= len(text) - longest]
    last = len(text) - longest
    starts = (
        [places[int(at * len(places))] for at in order]
        if len(places) >= len(made)
        else [int(at * (last + 1)) for at in order]
    )
    cuts = [(start, start + len(a), start + len(a) + len(b)) for start, a, b in zip(starts, begun, made, strict=True)]
    return tuple(text[i:j] for i, j, _ in cuts), tuple(text[j:k] for _, j, k in cuts)


def _told(row: Row, path: Path) -> str:
    for column in (*PROMPTS, *CAPTIONS):
        if row.get(column):
            return row[column]
    raise DataError(f"{path}: a row has no prompt; expected a column prompt with what each text goes on from.")


def _read(path: Path, tell: Tell) -> Iterator[_Text]:
    if path.is_dir():
        paths = sorted(_files(path))
        if not paths:
            raise DataError(
                f"{path}: no text files found; expected one text a file, such as 0001.txt. Give their folder."
            )
        if len(paths) > 1:
            tell(f"Reading {len(paths):,} texts from {path}")
            yield from (_file(one, os.fsencode(one.relative_to(path)).decode("utf-8", "replace")) for one in paths)
            return
        (path,) = paths
    if not path.exists():
        raise DataError(
            f"{path}: no such file or folder; expected a folder of texts, a .jsonl file, or a file of texts."
        )
    whole = _file(path, path.name)
    if whole.reason:
        raise DataError(f"{path}: {whole.reason}. Save it as UTF-8 text.")
    if path.suffix.lower() in JSON_LINES:
        yield from (_line(i, line) for i, line in enumerate(filter(str.strip, whole.text.split("\n"))))
        return
    numbered = NUMBERED.split(whole.text)
    parts = numbered[2::2] if len(numbered) > 1 and not numbered[0].strip() else re.split(r"\n[ \t]*\n\s*", whole.text)
    yield from (_Text(str(i), part.strip("\n")) for i, part in enumerate(part for part in parts if part.strip()))


def _files(root: Path) -> Iterator[Path]:
    # Links to folders are not followed: one of them may lead back to a folder above.
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(folder, name) for name in files if not name.startswith("."))
        yield from (path for path in paths if is_text(path) and path.is_file())


def _file(path: Path, name: str) -> _Text:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return _Text(name, "", reason=f"cannot be read ({error.strerror})")
    except UnicodeDecodeError as error:
        return _Text(name, "", reason=f"is not UTF-8 (byte {error.start:,})")
    text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    reason = "is binary (a zero byte)" if "\0" in text else "" if text.strip() else "is empty"
    return _Text(name, text, reason=reason)


def _line(i: int, line: str) -> _Text:
    try:
        row: Any = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        return _Text(str(i), "", reason=f"is no JSON ({error})")
    told = cast(dict[str, Any], row if isinstance(row, dict) else {"text": row})
    text, prompt = told.get("text"), told.get("prompt")
    if not isinstance(text, str):
        return _Text(str(i), "", reason='has no "text"')
    return _Text(str(i), text, prompt if isinstance(prompt, str) else "", "" if text.strip() else "is empty")
