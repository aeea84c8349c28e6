"""Text of others without what a terminal, a browser or a table would obey: the only place that cleans it."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

_KEPT = "\n\t\u200c\u200d"  # Persian, Indic scripts and emoji need the joiners
_DROPPED = (
    "Cc",
    "Cf",
    "Cs",
    "Zl",
    "Zp",
)  # C0, C1, ESC, bidi and other format controls, lone surrogates, line separators
_FORMULA = re.compile(r"[=+\-@\t\r]")


def clean(text: str) -> str:
    """The text without control characters, bidi controls and lone surrogates; line breaks and tabs stay.

    >>> clean("red \\x1b[31mtext\\n"), clean("a\\u202eb\\x9b\\ud800c")
    ('red [31mtext\\n', 'abc')
    """
    if text.isprintable():
        return text
    return "".join(c for c in text if not _is_control(c))


def one_line(text: str) -> str:
    """The cleaned text on one line."""
    return " ".join(clean(" ".join(text.split())).split())


def shortened(text: str, letters: int) -> str:
    """The cleaned text on one line, cut to a number of letters.

    >>> shortened("pneumonia bacterial", 12)
    'pneumonia b…'
    """
    line = one_line(text[: 20 * letters])
    return line if len(line) <= letters and len(text) <= 20 * letters else line[: letters - 1] + "…"


def table_cell(value: object) -> object:
    """A cell of a CSV file: a spreadsheet reads a text as text, never as a formula; numbers stay numbers.

    >>> table_cell("=1+1"), table_cell(-0.5), table_cell("hinge")
    ("'=1+1", -0.5, 'hinge')
    """
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if _FORMULA.match(value) or _FORMULA.match(text) else text


def json_text(data: Any, indent: int | None = 2) -> str:
    """Strict JSON, with the characters that `clean` drops as escapes: the same data, harmless in a terminal."""
    text = json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False)
    return "".join(json.dumps(c)[1:-1] if _is_control(c) else c for c in text) if not text.isascii() else text


def _is_control(character: str) -> bool:
    return character not in _KEPT and unicodedata.category(character) in _DROPPED
