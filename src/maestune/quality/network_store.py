"""Networks of ours on disk: what they are known by, where they lie, and how they are written and read.

One safetensors file each, named by what it depends on. Written to a temporary file and moved into place, so that a reader
never meets half a file; a file that cannot be read, or whose mark does not match its content, is made anew.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from maestune.data.machine import cache_folder
from maestune.errors import StoreError
from maestune.quality.metric import Array

Kept = TypeVar("Kept")

UNFINISHED_SECONDS = 3600.0  # no write takes so long


def mark_of(network: nn.Module, named: str = "", arrays: Iterable[Array] = ()) -> str:
    """What a network is known by: its weights, what it is `named`, and what `arrays` go with it. Changes when any of them does."""
    mark = hashlib.sha256(named.encode())
    for name, tensor in sorted(network.state_dict().items()):
        mark.update(name.encode())
        mark.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for array in arrays:
        mark.update(array.tobytes())
    return mark.hexdigest()[:16]


def file_of(folder: str, depends: Sequence[Any], cache: Path | None = None) -> Path:
    """Where something lies in a folder of the cache (the usual one, or `cache`), by the plain data that it `depends` on."""
    key = hashlib.sha256(json.dumps(depends).encode()).hexdigest()
    return (cache or cache_folder()) / folder / f"{key[:24]}.safetensors"


def write(path: Path, what: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and plain data, whole or not at all; StoreError naming the folder and the repair when that fails.

    `what`: whom the message names as not to be kept.
    """
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"about": json.dumps(dict(about))})
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_old(path.parent)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StoreError(
            f"{what} cannot be kept in {path.parent}: {error}. "
            "Set MAESTUNE_CACHE to a folder that can be written, with a few free megabytes."
        ) from error


def _remove_old(folder: Path) -> None:
    """Remove what killed processes were writing. A file of seconds ago may be another process's at work."""
    for unfinished in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if time.time() - unfinished.stat().st_mtime > UNFINISHED_SECONDS:
                unfinished.unlink()


def read(path: Path, rebuilt: Callable[[Mapping[str, Tensor], Mapping[str, Any]], Kept | None]) -> Kept | None:
    """What `rebuilt` makes of a file's tensors and plain data; None where there is none or where it is not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return rebuilt(tensors, about)
    # Whatever a damaged file makes of its reader, the repair is the same: the caller makes the content again.
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, struct.error):
        return None


def state(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
