"""Text from where it lies: Python's own documentation, a file, or a folder of files, strictly UTF-8."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from maestune.data.spec import Split
from maestune.errors import DataError, did_you_mean

PROSE = (".txt", ".text", ".md", ".rst", ".tex", ".org", ".adoc", ".tokens", ".raw")
CODE = [
    ".py",
    ".pyi",
    ".ipynb",
    ".js",
    ".ts",
    ".jsx",
    ".tsx",
    ".c",
    ".h",
    ".cc",
    ".cpp",
    ".hpp",
    ".cs",
    ".java",
    ".kt",
    ".go",
    ".rs",
    ".rb",
    ".php",
    ".pl",
    ".r",
    ".jl",
    ".lua",
    ".swift",
    ".scala",
    ".hs",
    ".ml",
    ".clj",
    ".lisp",
    ".el",
    ".sh",
    ".sql",
    ".m",
    ".f90",
    ".html",
    ".htm",
    ".css",
    ".xml",
    ".svg",
    ".json",
    ".jsonl",
    ".yaml",
    ".yml",
    ".toml",
    ".ini",
    ".csv",
    ".tsv",
    ".abc",
    ".srt",
    ".bib",
]
SUFFIXES = (*PROSE, *CODE)
# Names that say what a file is held out for. Only files of prose count: "parser_test.go" is code like any other.
VALIDATION = re.compile(r"(^|[^a-z])(val|valid|validation)$", re.IGNORECASE)
TEST = re.compile(r"(^|[^a-z])(test|held[-_]?out)$", re.IGNORECASE)
BUILT_IN = ("pydoc",)
PROGRESS_EVERY = 1_000


@dataclass(frozen=True)
class Document:
    """A file's text. `split`: the part that it is held out for, whole; None for text that is divided here."""

    text: str
    split: Split | None = None


@dataclass(frozen=True)
class Found:
    """What was read, in a fixed order; files that could not be read, with the reason; sentences on what was decided."""

    name: str
    documents: tuple[Document, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def is_text(path: Path) -> bool:
    """Whether a file's name ends as those of text files do."""
    return path.suffix.lower() in SUFFIXES


def find_text(source: str | Path, tell: Callable[[str], None]) -> Found:
    """The text of a built-in name, a file or a folder; DataError where there is none."""
    if source == "pydoc":
        return Found("pydoc", (Document(_python_documentation()),))
    path = Path(source)
    if path.is_dir():
        return _folder(path, tell)
    if not path.exists():
        raise DataError(
            f"{source}: no such file or folder; give a text file, a folder of text files, or a built-in text. "
            f"{did_you_mean(str(source), BUILT_IN)}"
        )
    text, reason = _read(path)
    if reason:
        raise DataError(f"{path}: {reason}")
    return Found(path.resolve().name, (Document(text),))


def _python_documentation() -> str:
    # The language reference as `help()` shows it: about half a million characters, without any download.
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name].strip("\n") for name in sorted(topics)) + "\n"


def _folder(root: Path, tell: Callable[[str], None]) -> Found:
    paths = sorted(_walk(root))
    if not paths:
        raise DataError(
            f"{root}: no text files found; expected files ending in {' '.join(PROSE)} or those of code, in it or in its "
            "sub-folders. Give the folder they are in."
        )
    tell(f"Reading {len(paths):,} text files from {root}")
    splits, note = _own_parts(root, paths)
    documents: list[Document] = []
    skipped: list[str] = []
    for i, path in enumerate(paths):
        text, reason = _read(path)
        if not reason:
            documents.append(Document(text, splits.get(path)))
        elif path in splits:
            raise DataError(f"{path}: {reason}")
        else:
            skipped.append(f"{_printable(path.relative_to(root))}: {reason}")
        if (i + 1) % PROGRESS_EVERY == 0:
            tell(f"{i + 1:,} of {len(paths):,} text files read")
    if 2 * len(skipped) > len(paths):
        raise DataError(
            f"{root}: {len(skipped):,} of {len(paths):,} text files cannot be read ({'; '.join(skipped[:3])}"
            f"{' …' if len(skipped) > 3 else ''}) Expected at least half of them to be text in UTF-8; convert or remove them."
        )
    return Found(_printable(root.resolve().name) or str(root), tuple(documents), tuple(skipped), note)


def _own_parts(root: Path, paths: list[Path]) -> tuple[dict[Path, Split], tuple[str, ...]]:
    """Files directly in the folder that are held out by their names, and a sentence that says so."""
    prose = [path for path in paths if path.parent == root and path.suffix.lower() in PROSE]
    named = [[path for path in prose if pattern.search(path.stem)] for pattern in (VALIDATION, TEST)]
    validation, test = (found[0] if len(found) == 1 else None for found in named)
    report, search = (test, validation) if test else (validation, None)
    if report is None or len(paths) < (2 if search is None else 3):
        return {}, ()
    splits: dict[Path, Split] = {report: "report"}
    note = f"{report.name} is for the verdict."
    if search is not None:
        splits[search] = "search"
        note = f"{report.name} is for the verdict, {search.name} to search with."
    return splits, (note,)


def _walk(root: Path) -> Iterator[Path]:
    # Links to files are followed, links to folders are not: one of them may lead back to a folder above.
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(folder, name) for name in files if not name.startswith("."))
        yield from (path for path in paths if is_text(path) and path.is_file())


def _read(path: Path) -> tuple[str, str]:
    """A file's text with plain line ends, or the reason why it has none, with the repair."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return "", f"cannot be read ({error.strerror}). Check its permissions."
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", "is UTF-16; expected UTF-8. Save it as UTF-8 (iconv -f utf-16 -t utf-8)."
    zero = data.find(b"\0")
    if zero >= 0:
        return "", f"is binary (a zero byte at byte {zero:,}); expected text in UTF-8. Give a text file."
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return "", (
            f"is not UTF-8 (byte 0x{data[error.start]:02x} at byte {error.start:,}, line {line:,}); expected text in UTF-8. "
            "Save it as UTF-8 (for example iconv -f latin1 -t utf-8)."
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return (text, "") if text.strip() else ("", "is empty; expected text.")


def _printable(path: Path | str) -> str:
    # Names that are not UTF-8 must not break a report or a log later on.
    return os.fsencode(path).decode("utf-8", "replace")
