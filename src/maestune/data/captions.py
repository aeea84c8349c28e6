"""Captions: where they are read from, how a sentence becomes numbers of words, and captions of the built-in digits.

A caption is taken apart into lower-case words and single punctuation marks. The vocabulary is made of the captions that
are learnt from, so that a word of a held-out caption that no training caption has is unknown, as it would be in a prompt.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maestune.data.collection import Labels, Pixels
from maestune.errors import DataError, SettingsError, did_you_mean

PADDING, UNKNOWN = 0, 1  # numbers of words
RESERVED = ("<padding>", "<unknown>")  # no sentence has them: their signs are taken apart
MOST_WORDS = 8192  # in a vocabulary, the most frequent
FEWEST_CAPTIONS = 2  # that have a word: of a single one nothing can be learnt but that caption
LONGEST = 32  # words of a caption; the rest is cut off

# Words are letters and digits with what joins them inside (don't, t-shirt); of scripts without spaces each sign.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|(?:(?![\u3040-\u30ff\u3400-\u9fff])\w)+(?:['’-]\w+)*|[^\w\s]"
)

TABLES = ("captions.csv", "captions.jsonl", "metadata.csv", "metadata.jsonl")
FILE_COLUMNS, CAPTION_COLUMNS = ("file", "file_name"), ("caption", "text")

Names = tuple[str, ...]  # parts of an image's path below its folder


def split_words(text: str) -> list[str]:
    """A sentence as words and punctuation marks.

    >>> split_words("A t-shirt, RED!")
    ['a', 't-shirt', ',', 'red', '!']
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The words of captions by number, and how many numbers a caption has.

    `words`: the first two stand for padding and for every unknown word.

    >>> v = Vocabulary.of(["a red bird", "a red cat", "a blue bird", "the cat"])
    >>> v.words, v.encode("A red dog").tolist(), v.decode(v.encode("a red dog"))
    (('<padding>', '<unknown>', 'a', 'bird', 'cat', 'red'), [2, 5, 1], 'a red <unknown>')
    """

    words: tuple[str, ...]
    length: int

    @staticmethod
    def of(captions: Iterable[str]) -> Vocabulary:
        """The words of at least two training captions, the most frequent first; the length of the longest, at most 32.

        Raises DataError where no caption has a word.
        """
        counts: Counter[str] = Counter()
        longest = 0
        for caption in captions:
            words = split_words(caption)
            counts.update(set(words))
            longest = max(longest, len(words))
        if not longest:
            raise DataError(
                "The captions have no words; expected a sentence for each image. Write what each image shows."
            )
        often = [word for word, n in counts.items() if n >= FEWEST_CAPTIONS]
        often.sort(key=lambda word: (-counts[word], word))
        return Vocabulary((*RESERVED, *often[: MOST_WORDS - len(RESERVED)]), min(longest, LONGEST))

    def encode(self, text: str) -> Tensor:
        """A caption as numbers (L,) int64, padded with 0; words that are not known are 1, what is too long is cut off."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> Tensor:
        """Captions as numbers (N, L) int64."""
        number = {word: i for i, word in enumerate(self.words)}
        rows = torch.full((len(texts), self.length), PADDING, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            numbers = [number.get(word, UNKNOWN) for word in split_words(text)[: self.length]]
            row[: len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
        return rows

    def decode(self, numbers: Tensor) -> str:
        """The caption of numbers (L,), in lower case, its punctuation set apart by spaces."""
        return " ".join(self.words[n] for n in numbers.tolist() if n != PADDING)

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of a caption that no training caption taught."""
        known = set(self.words)
        return tuple(word for word in split_words(text) if word not in known)


def captions_of(root: Path, names: Sequence[Names]) -> tuple[str, ...] | None:
    """A caption for each image of a folder, or None where the folder has no captions.

    `names`: the images' paths below the folder, as parts. Captions are in a table in the folder (captions.csv or
    captions.jsonl with `file` and `caption`; metadata.csv and metadata.jsonl with `file_name` and `text`, as Hugging Face
    has them), or in a text file beside each image (bird.txt beside bird.png). Of several captions of one image (rows of
    the table, lines of the text file) one is taken, by a hash of what they say.

    Raises DataError, naming file and line, for a table without these columns, a caption of an image that is not there, an
    image without a caption, or captions in two places.
    """
    tables = [root / name for name in TABLES if (root / name).is_file()]
    tables = [table for table in tables if table.name.startswith("captions") or _tells_captions(table)]
    beside = {name: root.joinpath(*name).with_suffix(".txt") for name in names}
    texts = [path for path in beside.values() if path.is_file()]
    places = [*tables, *texts[:1]]
    if not places:
        return None
    if len(places) > 1:
        raise DataError(
            f"{root}: captions are in {places[0].name} and in {places[1].name}; expected one place. Remove the other."
        )
    if tables:
        found = _by_image(tables[0], names)
        repair = f"Add a line to {tables[0].name} for each."
    else:
        found = {name: _lines(path) for name, path in beside.items() if path.is_file()}
        repair = f"Write each into a text file beside its image, such as {beside[names[0]].name}."
    without = ["/".join(name) for name in names if not found.get(name)]
    if without:
        raise DataError(
            f"{root}: {len(without):,} of {len(names):,} images have no caption ({', '.join(without[:3])}"
            f"{', …' if len(without) > 3 else ''}); expected one for every image. {repair}"
        )
    return tuple(one_wording(found[name]) for name in names)


def template_captions(
    pixels: Pixels, labels: Labels, class_names: Sequence[str], templates: Sequence[str] = ("a photo of a {}",)
) -> tuple[str, ...]:
    """The name of each image's class put into a template; of several, the one that a hash of its pixels chooses.

    Raises SettingsError for no template or one without its place for the name, `{}`.
    """
    if not templates:
        raise SettingsError("captions: no template was given; expected some such as 'a photo of a {}'.")
    for template in templates:
        if template.count("{}") != 1:
            raise SettingsError(
                f"captions: the template {template!r} has {template.count('{}')} places for the name of the class; "
                "expected one, written {}, as in 'a photo of a {}'."
            )
    spoken = [re.sub(r"[_\s]+", " ", name).strip() for name in class_names]
    keys = _keys(pixels)
    return tuple(
        templates[int(key % len(templates))].replace("{}", spoken[int(label)])
        for key, label in zip(keys, labels, strict=True)
    )


# Of the digits, in the order of their hash: ink below and above the outer quarters of the set, and a slant that differs
# from what is usual for the digit by as much as about a fifth of them do to each side.
THIN_INK, BOLD_INK = 0.278, 0.33
LEANING = 0.07
USUAL_SLANT = np.array([-0.031, -0.010, -0.141, -0.079, 0.005, -0.014, -0.203, 0.133, -0.004, -0.098])
NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDINGS = (
    "the {ink}digit {name}",
    "a {ink}handwritten {name}",
    "{ink}{name}, written by hand",
    "number {name}{after}",
)
# These never stand together in a caption, so that it can be seen whether a model puts together what it was never told.
NEVER_TOGETHER = ("bold", 7)


def digit_captions(images: Pixels, labels: Labels) -> tuple[str, ...]:
    """A true caption for each handwritten digit: its number in words or as a numeral, in one of several wordings.

    `images`: (N, 1, H, W), light ink on black. Where it is so, captions may add "bold" or "thin" (`ink_share`) and
    "leaning left" or "leaning right" (`slant`, against what is usual for the digit); many are silent about either. What a
    caption says is chosen by a hash of the pixels. No caption of a seven says "bold", though some sevens are.
    """
    inks, leans = digit_attributes(images, labels)
    return tuple(
        _digit_caption(int(key), int(label), ink, lean)
        for key, label, ink, lean in zip(_keys(images), labels, inks, leans, strict=True)
    )


def digit_attributes(images: NDArray[Any], labels: Labels) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is true of each digit: "thin", "bold" or "", and "left", "right" or "".

    `images`: (N, 1, H, W), uint8 in 0…255 or float in [-1, 1].
    """
    shares, slants = ink_share(images), slant(images) - USUAL_SLANT[labels]
    inks = tuple("thin" if s < THIN_INK else "bold" if s > BOLD_INK else "" for s in shares)
    return inks, tuple("left" if s < -LEANING else "right" if s > LEANING else "" for s in slants)


def ink_share(images: NDArray[Any]) -> NDArray[np.float64]:
    """The mean darkness of ink of each image, 0 for an empty one, 1 for a full one (N,)."""
    return _ink(images).mean((1, 2))


def slant(images: NDArray[Any]) -> NDArray[np.float64]:
    """How far the ink moves to the right for each pixel upwards (N,): minus its covariance over its vertical variance.

    0 for upright, 1 for leaning to the right by 45 degrees; from second moments, as digits are made upright with them.
    """
    ink = _ink(images)
    total = ink.sum((1, 2)) + 1e-12
    y, x = np.arange(ink.shape[1])[:, None], np.arange(ink.shape[2])[None, :]
    from_y = y - ((ink * y).sum((1, 2)) / total)[:, None, None]
    from_x = x - ((ink * x).sum((1, 2)) / total)[:, None, None]
    return -(ink * from_x * from_y).sum((1, 2)) / ((ink * from_y**2).sum((1, 2)) + 1e-12)


def _ink(images: NDArray[Any]) -> NDArray[np.float64]:
    # (N, H, W) in [0, 1].
    grey = images.astype(np.float64).mean(1)
    return grey / 255.0 if images.dtype == np.uint8 else (grey + 1.0) / 2.0


def _digit_caption(key: int, label: int, ink: str, lean: str) -> str:
    # Bits of the key decide: two the wording, one words or numeral, two whether ink (3 of 4) and one whether slant is told.
    name = str(label) if key >> 2 & 1 else NUMERALS[label]
    told = ink if key >> 3 & 3 and (ink, label) != NEVER_TOGETHER else ""
    caption = WORDINGS[key & 3].format(name=name, ink=told and f"{told} ", after=told and f", {told}")
    return f"{caption}, leaning {lean}" if lean and key >> 5 & 1 else caption


def _keys(pixels: Pixels) -> list[int]:
    # A 64-bit number for the content of each image. Not that which orders the parts of a set: wordings must not depend on
    # the part.
    return [_hash(np.ascontiguousarray(image).tobytes()) for image in pixels]


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, person=b"captions").digest(), "big")


def one_wording(wordings: Sequence[str]) -> str:
    """One of several wordings of a caption, by a hash of all of them: the same in every run."""
    return wordings[_hash("\n".join(wordings).encode()) % len(wordings)]


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in _text(path).splitlines() if line.strip()]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}. Save it as UTF-8.") from error


def _by_image(table: Path, names: Sequence[Names]) -> dict[Names, list[str]]:
    # The captions of each image, in the order of the table.
    known = set(names)
    found: dict[Names, list[str]] = defaultdict(list)
    for line, row in _rows(table):
        file, caption = _column(row, FILE_COLUMNS, table, line), _column(row, CAPTION_COLUMNS, table, line)
        name = PurePosixPath(file.strip().replace("\\", "/")).parts
        if name not in known:
            near = did_you_mean("/".join(name), ["/".join(n) for n in names])
            raise DataError(
                f"{table}, line {line}: the caption of {file!r}, which is no image of this folder. "
                + (
                    near
                    if near.startswith("Did")
                    else "Give the path below the folder, such as " + "/".join(names[0]) + "."
                )
            )
        if caption.strip():
            found[name].append(caption.strip())
    return found


def _rows(table: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Each row with the line on which it ends.
    text = _text(table)
    if table.suffix == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""))
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise DataError(
                f"{table}, below line {reader.line_num}: {error}. Save it as comma-separated text."
            ) from error
        return
    for i, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{table}, line {i}: not JSON ({error.msg}). {_EXAMPLE}") from error
            if not isinstance(row, dict):
                raise DataError(f"{table}, line {i}: {type(row).__name__} instead of an object. {_EXAMPLE}")
            yield i, row


_EXAMPLE = 'Expected on each line one such as {"file": "bird.png", "caption": "a red bird"}.'


def _column(row: Mapping[str, Any], columns: tuple[str, ...], table: Path, line: int) -> str:
    for column in columns:
        if isinstance(row.get(column), str):
            return row[column]
    has = ", ".join(str(name) for name in row if name is not None) or "nothing"
    raise DataError(
        f"{table}, line {line}: no text in a column {columns[0]!r}; expected the columns file and caption. It has: {has}."
    )


def _tells_captions(table: Path) -> bool:
    # Whether a table that may tell other things (labels, boxes) has captions.
    first = next((row for _, row in _rows(table)), {})
    return any(column in first for column in CAPTION_COLUMNS) and any(column in first for column in FILE_COLUMNS)
