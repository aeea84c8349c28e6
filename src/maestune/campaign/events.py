"""The events of a trial: JSON lines that are written as they come and read back whatever a crash has left of them.

Strict JSON has no NaN and no infinity: such a number is null, and `nonfinite` beside it names its place (a JSON pointer, RFC 6901)
and its kind: {"signals": {"loss": null}, "nonfinite": {"/signals/loss": "nan"}}.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maestune.folder_files import check_appendable

NAME = "events.jsonl"


@dataclass(frozen=True)
class Events:
    """The entries of a file, oldest first, and the numbers (from 1) of lines that are not a whole JSON object.

    `torn`: whether the last line is damaged, as a killed write leaves it.
    """

    entries: tuple[dict[str, Any], ...]
    damaged: tuple[int, ...] = ()
    torn: bool = False


def parse_events(content: bytes) -> Events:
    """Read what an events file holds. A damaged last line and damaged lines elsewhere are left out and told."""
    lines = content.split(b"\n")
    torn = lines.pop() != b""  # every whole line ends in a line break
    entries: list[dict[str, Any]] = []
    damaged: list[int] = []
    for number, line in enumerate(lines, start=1):
        entry = _entry(line)
        if entry is not None:
            entries.append(entry)
        elif number == len(lines) and not torn:
            torn = True
        else:
            damaged.append(number)
    return Events(tuple(entries), tuple(damaged), torn)


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def event_line(entry: Mapping[str, Any]) -> bytes:
    """An event as a line of strict JSON."""
    nonfinite: dict[str, str] = {}
    strict = _strict(entry, "", nonfinite)
    if nonfinite:
        strict["nonfinite"] = nonfinite
    return json.dumps(strict, allow_nan=False).encode() + b"\n"


def _strict(node: Any, place: str, nonfinite: dict[str, str]) -> Any:
    if isinstance(node, Mapping):
        return {key: _strict(value, f"{place}/{_escaped(str(key))}", nonfinite) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_strict(value, f"{place}/{i}", nonfinite) for i, value in enumerate(node)]
    if isinstance(node, float) and not math.isfinite(node):
        nonfinite[place] = str(node)
        return None
    return node


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


class EventLog:
    """Appends events to a trial's file, each as soon as it is told: a killed process loses what it was about to write.

    A step that the file has already (a repeated segment) is not written twice. `problems`: damaged lines found in the file,
    as sentences; a torn last line is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        check_appendable(path)
        self._last: dict[str, int] = {}
        self.problems = tuple(self._recover())
        self._file = path.open("ab", buffering=0)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write an event to the file; OSError where that fails."""
        if "step" in entry:
            if entry["step"] <= self._last.get(entry["kind"], -1):
                return
            self._last[entry["kind"]] = entry["step"]
        line = event_line(entry)
        written = self._file.write(line)
        if written < len(line):  # a disk that is nearly full takes a part
            self._file.write(line[written:])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _recover(self) -> Iterator[str]:
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        found = parse_events(content)
        for entry in found.entries:
            if isinstance(entry.get("step"), int) and isinstance(entry.get("kind"), str):
                self._last[entry["kind"]] = entry["step"]
        name = f"{self.path.parent.name}/{self.path.name}"
        if found.torn:
            lines = content.split(b"\n")
            damaged = len(lines[-1]) if lines[-1] else len(lines[-2]) + 1
            with self.path.open("r+b") as file:
                file.truncate(len(content) - damaged)
            yield f"{name}: the last line was damaged, as by a killed process, and is dropped"
        for number in found.damaged:
            yield f"{name}: line {number} is damaged and left out"
