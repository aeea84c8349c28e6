"""How much memory a worker may fill."""

from __future__ import annotations

import torch

from maestune.data.machine import free_memory_bytes


def worker_memory(device: str, workers: int) -> float:
    """Bytes that a worker may fill with a group: half of what is free, divided among the workers; of a GPU most of it."""
    if device.startswith("cuda"):
        return 0.8 * torch.cuda.mem_get_info(device)[0] / workers
    return 0.5 * free_memory_bytes() / workers
