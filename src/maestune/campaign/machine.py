"""The machine that a campaign runs on: what it is, and how much memory processes take of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path


def environment(device: str, workers: int) -> dict[str, str]:
    """Versions and hardware, for the record."""
    import torch

    packages = ("maestune", "torch", "optuna", "numpy", "scipy", "scikit-learn")
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    return {
        **{package: metadata.version(package) for package in packages},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": f"{device} ({name})",
        "cores": str(os.cpu_count()),
        "workers": str(workers),
    }


def memory_mib(pids: Sequence[int]) -> float:
    """Peak resident memory of processes, added up, in MiB; NaN where the system does not tell."""
    total = 0.0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return float("nan")
        total += next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024
    return total
