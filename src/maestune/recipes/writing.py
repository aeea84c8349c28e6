"""Plain data as TOML: what settings, configs and recipes are written with. The standard library only reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def toml_text(data: Mapping[str, Any], _path: tuple[str, ...] = ()) -> str:
    """Plain data as TOML: values first, then tables. Only what our settings, configs and recipes are made of.

    >>> print(toml_text({"a": 1, "b": {"c": "x"}}))
    a = 1
    <BLANKLINE>
    [b]
    c = "x"
    """
    lines = [f"{_key(k)} = {_toml(v)}" for k, v in data.items() if not _is_table(v)]
    text = "\n".join(lines)
    for key, value in data.items():
        if _is_table(value):
            path = (*_path, _key(key))
            many = not isinstance(value, Mapping)
            head = f"[[{'.'.join(path)}]]" if many else f"[{'.'.join(path)}]"
            for table in value if many else (value,):
                body = toml_text(table, path)
                text += ("\n\n" if text else "") + head + (f"\n{body}" if body else "")
    return text


def _is_table(value: Any) -> bool:
    # A table, or several of one kind.
    many = isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping) or many


def _key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name) else _quoted(name)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return _paragraph(value) if "\n" in value else _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    raise TypeError(f"{type(value).__name__} has no TOML form here")


def _quoted(text: str) -> str:
    return f'"{"".join(map(_escape, text))}"'


def _paragraph(text: str) -> str:
    # The line break after the opening quotes is not part of the text.
    lines = ("".join(map(_escape, line)) for line in text.split("\n"))
    return '"""\n' + "\n".join(lines) + '"""'


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character >= " " and character != "\x7f" else f"\\u{ord(character):04x}"
