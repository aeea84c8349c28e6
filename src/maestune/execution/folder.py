"""A trial's folder: where what a training leaves lies in it, and what is said when nothing can be written there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maestune.errors import CheckpointError, StoreError
from maestune.training.checkpoint import load_checkpoint


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where a trial's checkpoint at a step lies."""
    return folder / f"checkpoint-{step:08d}.safetensors"


def picture_path(folder: Path, step: int) -> Path:
    """Where a trial's sample grid at a step lies."""
    return folder / f"samples-{step:08d}.png"


def text_path(folder: Path, step: int) -> Path:
    """Where a trial's texts at a step lie."""
    return folder / f"samples-{step:08d}.json"


def exhibit_path(folder: Path, name: str, step: int) -> Path:
    """Where one of a trial's other pictures lies."""
    return folder / f"exhibit-{name}-{step:08d}.png"


def checkpoints(folder: Path) -> list[Path]:
    """A trial's checkpoints, newest first."""
    return sorted(folder.glob("checkpoint-*.safetensors"), reverse=True)


def newest_checkpoint(folder: Path, until_steps: int) -> Mapping[str, Any] | None:
    """The newest readable checkpoint not beyond `until_steps`; an unreadable one is passed over for the one before."""
    for path in checkpoints(folder):
        if int(path.stem.split("-")[1]) <= until_steps:
            try:
                return load_checkpoint(path)
            except CheckpointError:
                continue
    return None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns an operating system's error on writing into a StoreError that names the folder and the space left."""
    try:
        yield
    except OSError as error:
        raise disk_error(folder, error) from error


def disk_error(folder: Path, error: OSError) -> StoreError:
    """A StoreError for a failed write, with what to do about it."""
    try:
        left = f"{shutil.disk_usage(folder).free / 2**20:,.0f} MiB free"
    except OSError:
        left = "free space unknown"
    return StoreError(
        f"Cannot write to {folder}: {error.strerror or error} ({left}). Free some space or make the folder writable, then run "
        "the same command again: everything computed so far is kept and the campaign goes on from there."
    )
