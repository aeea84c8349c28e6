"""What a campaign or a score rests on, as a list for readers: every work once, with its title."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from maestune.recipes.bibliography import Entry, cite, unknown

_PRINTED = {"$\\beta$": "β", "$\\pi$": "π", " -- ": ": ", "{": "", "}": ""}  # of titles in TeX


def sources(citations: Iterable[str]) -> tuple[str, ...]:
    """The works that citations name, each once, in their order; a citation without an entry stands as it is.

    >>> sources(["Radford et al. 2016, arXiv 1511.06434; Goodfellow et al. 2014, arXiv 1406.2661", "a note of ours"])[1:]
    ('Goodfellow et al. 2014, Generative Adversarial Nets, arXiv 1406.2661', 'a note of ours')
    """
    told: list[str] = []
    for text in citations:
        entries = cite([text])
        told += [*map(_work, entries), *unknown([text])] if entries else [text]
    return tuple(dict.fromkeys(told))


def _work(entry: Entry) -> str:
    authors = entry.fields.get("author", "").split(" and ")
    names = [replace(entry, fields={"author": author}).first_author for author in authors[:2]]
    name = f"{names[0]} et al." if len(authors) > 2 else " & ".join(names)
    who = " ".join(part for part in (name, entry.fields.get("year", "")) if part)
    title = entry.fields.get("title", "")
    for written, printed in _PRINTED.items():
        title = title.replace(written, printed)
    number = f"arXiv {entry.arxiv}" if entry.arxiv else ""
    return ", ".join(part for part in (who, title, number) if part)
