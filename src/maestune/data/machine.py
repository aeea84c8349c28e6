"""What this machine offers: memory that is free, and a folder for what can be made again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def cache_folder() -> Path:
    """MAESTUNE_CACHE, else the XDG cache folder's `maestune`."""
    if chosen := os.environ.get("MAESTUNE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maestune"


def free_memory_bytes() -> int:
    """Memory that can be filled without another program's loss; in a container no more than its limit leaves."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # where nothing says how much of it is available
    with contextlib.suppress(OSError, StopIteration):
        free = _entry(Path("/proc/meminfo"), "MemAvailable:") * 1024
    for group, limit, used, cached in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        folder = Path("/sys/fs/cgroup", group)
        with contextlib.suppress(OSError, ValueError, StopIteration):  # "max": no limit
            # Files that were read lie in memory until something else wants it.
            freed = _entry(folder / "memory.stat", cached)
            free = min(free, int((folder / limit).read_text()) - int((folder / used).read_text()) + freed)
    return max(free, 0)


def _entry(table: Path, name: str) -> int:
    lines = map(str.split, table.read_text().splitlines())
    return next(int(words[1]) for words in lines if words[:1] == [name])
