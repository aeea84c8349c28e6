"""How much memory a worker may fill."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch


def worker_memory(device: str, workers: int) -> float:
    """Bytes that a worker may fill with a group: half of what is free, divided among the workers; of a GPU most of it."""
    if device.startswith("cuda"):
        return 0.8 * torch.cuda.mem_get_info(device)[0] / workers
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # where nothing says how much of it is available
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    for group, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            limit = int(Path("/sys/fs/cgroup", group).read_text())
            free = min(free, limit - int(Path("/sys/fs/cgroup", used).read_text()))
    return 0.5 * free / workers
