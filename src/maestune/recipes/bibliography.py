"""The bibliography: an entry for every work that the package cites, found by its arXiv number, DOI or short name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from maestune.errors import SettingsError

ARXIV = re.compile(r"arxiv[:\s]\s*(\d{4}\.\d{4,5})", re.IGNORECASE)
DOI = re.compile(r"\bdoi[:\s]\s*(10\.\d{4,}/[^\s;,]+)", re.IGNORECASE)
_YEAR_OR_NUMBER = re.compile(r"\b(19|20)\d\d\b|arxiv|doi", re.IGNORECASE)
_HEAD = re.compile(r"@(\w+)\s*\{\s*([^,\s]+)\s*,")
_FIELD = re.compile(r"\s*(\w+)\s*=\s*")


@dataclass(frozen=True)
class Entry:
    """One work: its key, its BibTeX type, its fields as they stand in BibTeX."""

    key: str
    kind: str
    fields: Mapping[str, str] = field(repr=False, hash=False)

    @property
    def arxiv(self) -> str:
        """Its arXiv number, "" where it has none."""
        return self.fields.get("eprint", "")

    @property
    def first_author(self) -> str:
        """Family name of its first author, letters as they are printed."""
        return _printed(self.fields.get("author", "").split(" and ")[0].split(",")[0])

    @property
    def short(self) -> str:
        """What it is called in our citations, where these give no arXiv number; "" where nothing."""
        return self.fields.get("shorthand", "")


_ACCENTS = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303"}
_LETTERS = {"o": "ø", "i": "ı", "l": "ł", "L": "Ł"}


def _printed(text: str) -> str:
    """Letters as they are printed, without the braces and accents of TeX."""
    text = re.sub(r"\{?\\([\"'`^~])\{?(\w)\}?\}?", lambda m: m[2] + _ACCENTS[m[1]], text)
    text = re.sub(r"\{\\([oilL])\}", lambda m: _LETTERS[m[1]], text)
    return unicodedata.normalize("NFC", text.replace("{", "").replace("}", ""))


@cache
def bibliography() -> Mapping[str, Entry]:
    """All entries by key."""
    text = (files("maestune.recipes") / "bibliography.bib").read_text(encoding="utf-8")
    return {entry.key: entry for entry in read_bibtex(text)}


def cite(texts: Iterable[str]) -> tuple[Entry, ...]:
    """The entries of what citations name, each once, in the order of the texts.

    >>> [entry.key for entry in cite(["Radford et al. 2016, arXiv 1511.06434; pytorch/examples"])]
    ['radford2016unsupervised', 'pytorchexamples']
    """
    return tuple(dict.fromkeys(entry for text in texts for part in text.split(";") for entry in _entries(part)))


def unknown(texts: Iterable[str]) -> tuple[str, ...]:
    """Those parts of citations (between semicolons) for which there is no entry.

    A part with neither year nor number is a remark, or names the code of the work before it.

    >>> unknown(["Peebles & Xie 2023, arXiv 2212.09748; facebookresearch/DiT", "Nobody 1999"])
    ('Nobody 1999',)
    """
    parts = [part.strip() for text in texts for part in text.split(";") if _YEAR_OR_NUMBER.search(part)]
    return tuple(dict.fromkeys(part for part in parts if not _entries(part)))


def bibtex(entry: Entry) -> str:
    """An entry as BibTeX, without the field that is only of use to us (and would be printed by some styles)."""
    fields = {name: value for name, value in entry.fields.items() if name != "shorthand"}
    width = max(map(len, fields), default=0)
    lines = [f"  {name:{width}} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{entry.kind}{{{entry.key},", *lines, "}"])


def read_bibtex(text: str) -> tuple[Entry, ...]:
    """The entries of a BibTeX text, with values in braces or quotes; raises SettingsError where it is malformed."""
    entries: list[Entry] = []
    position = 0
    while (head := _HEAD.search(text, position)) is not None:
        kind, key = head[1].lower(), head[2]
        fields: dict[str, str] = {}
        position = head.end()
        while (named := _FIELD.match(text, position)) is not None:
            value, position = _value(text, named.end(), key)
            fields[named[1].lower()] = " ".join(value.split())
            comma = re.compile(r"\s*,?").match(text, position)
            position = comma.end() if comma else position
        end = re.compile(r"\s*\}").match(text, position)
        if end is None:
            raise SettingsError(f"BibTeX entry {key}: no closing brace after the field {list(fields)[-1:]}.")
        position = end.end()
        entries.append(Entry(key, kind, fields))
    return tuple(entries)


def _value(text: str, start: int, key: str) -> tuple[str, int]:
    # A bare number, a text in quotes, or one in braces that may hold braces.
    bare = re.compile(r"\w+").match(text, start)
    if bare is not None:
        return bare[0], bare.end()
    opening = text[start : start + 1]
    depth = 0
    for i in range(start + 1, len(text)):
        if opening == "{" and text[i] == "}" and depth == 0:
            return text[start + 1 : i], i + 1
        if opening == '"' and text[i] == '"' and depth == 0:
            return text[start + 1 : i], i + 1
        depth += {"{": 1, "}": -1}.get(text[i], 0)
    raise SettingsError(f"BibTeX entry {key}: a value that begins at character {start} has no end.")


def _entries(part: str) -> tuple[Entry, ...]:
    """By arXiv number or DOI, else by short name, else by first author and year, where that leaves no doubt."""
    by_number, by_short = _index()
    numbers = [*ARXIV.findall(part), *DOI.findall(part)]
    if numbers:
        return tuple(by_number[number] for number in numbers if number in by_number)
    folded = part.casefold()
    found = tuple(entry for short, entry in by_short.items() if short in folded)
    if found:
        return found
    words = set(_words(part))
    alike = [e for e in bibliography().values() if {*_words(e.first_author), e.fields.get("year", "")} <= words]
    return (alike[0],) if len(alike) == 1 else ()


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


@cache
def _index() -> tuple[Mapping[str, Entry], Mapping[str, Entry]]:
    entries = bibliography().values()
    numbers = {number: e for e in entries for number in (e.arxiv, e.fields.get("doi", "")) if number}
    return numbers, {e.short.casefold(): e for e in entries if e.short}
