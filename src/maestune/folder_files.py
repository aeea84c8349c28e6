"""Files of a campaign's folder, which may be somebody else's: read without following links, written by replacing."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
from pathlib import Path

from maestune.errors import FileRefusedError

MIB = 2**20
MOST_NAMES = 100_000  # files of one folder that are looked at
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_bytes(folder: Path, relative: str | Path, limit: int) -> bytes | None:
    """The content of a regular file of at most `limit` bytes below a folder; None where there is none.

    Raises FileRefusedError for a link (the file's, or that of a folder on the way), a pipe, a device, a folder, a path
    that leaves the folder, or a file that is larger: none of them is opened or followed.
    """
    relative = Path(relative)
    mode = _mode(folder, relative)
    if mode is None:
        return None
    if not stat.S_ISREG(mode):
        raise _refused(relative, "is not a regular file")
    try:
        descriptor = os.open(folder / relative, _FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(relative, f"cannot be read: {error.strerror or error}") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _refused(relative, "is not a regular file")
        content = file.read(limit + 1) if found.st_size <= limit else b""
    if max(found.st_size, len(content)) > limit:
        raise _refused(relative, f"is larger than {limit / MIB:,.0f} MiB")
    return content


def read_text(folder: Path, relative: str | Path, limit: int) -> str | None:
    """The text of such a file; broken UTF-8 is replaced."""
    content = read_bytes(folder, relative, limit)
    return None if content is None else content.decode("utf-8", errors="replace")


def list_names(folder: Path, relative: str | Path, pattern: str) -> list[str]:
    """Sorted names of the entries of a folder below a folder that match a pattern; none where that is missing or a link."""
    try:
        mode = _mode(folder, Path(relative))
    except FileRefusedError:
        return []
    if mode is None or not stat.S_ISDIR(mode):
        return []
    with contextlib.suppress(OSError), os.scandir(folder / relative) as entries:
        names = (entry.name for entry, _ in zip(entries, range(MOST_NAMES), strict=False))
        return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))
    return []


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: whatever has its name (a link, a pipe) is replaced, never followed.

    Raises OSError. Lone surrogates of a text become escapes, which JSON reads back.
    """
    data = content.encode("utf-8", errors="backslashreplace") if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        with partial.open("xb") as file:  # a link that waits at this name is not followed either
            file.write(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_no_link(folder: Path, relative: Path) -> None:
    """Raise FileRefusedError where a path below a folder, or a folder on the way, is a link, or leaves the folder."""
    _mode(folder, relative)


def check_appendable(path: Path) -> None:
    """Raise FileRefusedError where a path is there and no regular file: appending would follow a link."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise _refused(path, "is not a regular file")


def _mode(folder: Path, relative: Path) -> int | None:
    """The mode of a path below a folder, None where nothing is; no component below the folder may be a link."""
    if relative.is_absolute() or ".." in relative.parts:
        raise _refused(relative, "lies outside the campaign's folder")
    mode, place = None, folder
    for part in relative.parts:
        place = place / part
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise _refused(relative, f"cannot be read: {error}") from error
        if stat.S_ISLNK(mode):
            raise _refused(place.relative_to(folder), "is a link, which is not followed")
    return mode


def _refused(relative: Path, why: str) -> FileRefusedError:
    return FileRefusedError(f"{relative.as_posix()} {why}")
