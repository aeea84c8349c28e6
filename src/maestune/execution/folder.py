"""A trial's folder: where what a training leaves lies in it, and what is said when nothing can be written there."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maestune.errors import CheckpointError, StoreError
from maestune.execution.jobs import Identity
from maestune.training.checkpoint import load_checkpoint

SHOWN_CHARACTERS = 60  # of a value that a message quotes
EXHIBIT_CHARACTERS = 80  # of a picture's name
_NO_FILE_NAME = re.compile(r"[^\w.+ -]|\.\.")


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
    """Where one of a trial's other pictures lies; characters of its name that no file name should have become dashes."""
    return folder / f"exhibit-{_NO_FILE_NAME.sub('-', name)[:EXHIBIT_CHARACTERS]}-{step:08d}.png"


def checkpoints(folder: Path) -> list[Path]:
    """A trial's checkpoints, newest first; a link, a pipe or a device of that name is none."""
    found = folder.glob("checkpoint-*.safetensors")
    return sorted((path for path in found if stat.S_ISREG(path.lstat().st_mode)), reverse=True)


def newest_checkpoint(folder: Path, until_steps: int, owner: Identity) -> Mapping[str, Any] | None:
    """The newest readable checkpoint not beyond `until_steps`; an unreadable one is passed over for the one before.

    Raises CheckpointError where it is not of the `owner`: weights of another training would be taken for this one's.
    """
    for path in checkpoints(folder):
        if int(path.stem.split("-")[1]) <= until_steps:
            try:
                saved = load_checkpoint(path)
            except CheckpointError:
                continue
            check_owner(path, saved, owner)
            return saved
    return None


def check_owner(path: Path, saved: Mapping[str, Any], owner: Identity) -> None:
    """Raise CheckpointError where a checkpoint was written by another campaign, trial, config or seed.

    Campaigns that were begun before checkpoints carried an identity have no id, nor have their checkpoints.
    """
    written: Mapping[str, Any] = saved.get("identity") or {"campaign": ""}
    watched = saved.get("watched")
    # What the state is, a user's training decides: a list or a number is one too.
    whole = "state" in saved and (watched is None or (isinstance(watched, Mapping) and "state" in watched))
    if not whole or not isinstance(written, Mapping):
        raise CheckpointError(f"{path}: the checkpoint is damaged. Delete it; the trial then starts again.")
    expected = owner.to_dict()
    if not owner.campaign and not written.get("campaign"):
        return
    differing = [name for name in expected if written.get(name) != expected[name]]
    if differing:
        name = differing[0]
        raise CheckpointError(
            f"{path} is not of this trial: its {name} is {_short(written.get(name))}, {_short(expected[name])} was expected. It was "
            f"left by another campaign; remove the folder {path.parent}, or start anew with --fresh or another --out."
        )


def _short(value: Any) -> str:
    text = str(value) if value not in (None, "") else "none"
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def remove_partial(folder: Path) -> None:
    """Remove files that a process which no longer runs was writing: .NAME.PID.part (or .partial) beside their place."""
    for path in folder.glob(".*.part*"):
        process = path.name.split(".")[-2]
        if path.suffix in (".part", ".partial") and process.isdigit() and not _runs(int(process)):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    if process == os.getpid():  # a number that is used again: this process has begun to write nothing
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


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
