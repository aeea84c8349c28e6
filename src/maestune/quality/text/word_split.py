"""Text as words, in one simple way that works for prose, for code, and for what a model of bytes makes.

A word is a run of letters, digits and underscores, with apostrophes inside it; every other sign is a word of its own, an end of
line too, since lines are a matter of style in verse and in code. Other white space only separates. Scripts that write no spaces
(Chinese, Japanese, Thai, Lao, Burmese, Khmer) fall back to characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_LETTERS = rf"[^\W{_UNSPACED}]+"
_WORD = re.compile(rf"[{_UNSPACED}]|{_LETTERS}(?:['’]{_LETTERS})*|\n|[^\w\s]")


def words(text: str) -> list[str]:
    """The words of a text, in their order.

    >>> words("Don't  print(x_1)!\\n")
    ["Don't", 'print', '(', 'x_1', ')', '!', '\\n']
    >>> words("語言 model")
    ['語', '言', 'model']
    """
    return _WORD.findall(text)


def vocabulary(texts: Iterable[str]) -> int:
    """How many different words there are in all texts together."""
    found: set[str] = set()
    for text in texts:
        found.update(words(text))
    return len(found)
