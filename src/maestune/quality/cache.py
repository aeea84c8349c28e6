"""Extractors kept on disk, so that every process and every later campaign on the same data sees with the same eyes.

One safetensors file each, named by what it depends on: the data's fingerprint, the seed, and `VERSION`. Written to
a temporary file and moved into place, so that a reader never meets half a file; a file that cannot be read, or whose
fingerprint does not match its content, is made anew.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from maestune.data import ImageData
from maestune.data.machine import cache_folder as cache_folder
from maestune.errors import StoreError
from maestune.quality.extractor import Extractor, rebuilt_extractor
from maestune.quality.fitting import fit_extractor
from maestune.quality.networks import empty_encoder

VERSION = 1  # of networks and their training: raise it whenever either changes what is learnt


def prepare_extractor(
    data: ImageData, *, seed: int = 0, cache: Path | None = None, progress: Callable[[str], None] | None = None
) -> Extractor:
    """The extractor of a data set: from the cache, or trained now and kept there.

    The default seed is fixed, so that scores of two campaigns on the same data can be compared. `progress` is told
    before training begins. Raises StoreError where the cache folder cannot be written.
    """
    path = cache_file(data, seed, cache)
    extractor = load_extractor(path)
    if extractor is None:
        if progress is not None:
            progress(
                f"training the extractor: a small network that learns to see {data.name} (once; then kept in {path})"
            )
        extractor = fit_extractor(data, torch.Generator().manual_seed(seed))
        save_extractor(extractor, path)
    return extractor


def cache_file(data: ImageData, seed: int, cache: Path | None = None) -> Path:
    """Where the extractor of a data set and seed lies."""
    key = hashlib.sha256(json.dumps([VERSION, data.fingerprint, data.shape, data.labelled, seed]).encode()).hexdigest()
    return (cache or cache_folder()) / "extractors" / f"{key[:24]}.safetensors"


def save_extractor(extractor: Extractor, path: Path) -> None:
    """Write an extractor whole or not at all; StoreError naming the folder and the repair when that fails."""
    tensors = {f"network.{name}": tensor.contiguous() for name, tensor in extractor.network.state_dict().items()}
    tensors |= {"mean": torch.from_numpy(extractor.mean), "spread": torch.from_numpy(extractor.spread)}
    about = {
        name: getattr(extractor, name)
        for name in ("kind", "shape", "classes", "fingerprint", "description", "accuracy")
    }
    content = save(tensors, {"extractor": json.dumps(about)})
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise StoreError(
            f"The extractor cannot be kept in {path.parent}: {error}. "
            "Set MAESTUNE_CACHE to a folder that can be written, with a few free megabytes."
        ) from error


def load_extractor(path: Path) -> Extractor | None:
    """The extractor in a file; None where there is none or where what is there is not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["extractor"])
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        shape: tuple[int, int, int] = tuple(about["shape"])
        network = empty_encoder(shape, about["classes"])
        weights = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
        network.load_state_dict(weights)
        extractor = rebuilt_extractor(
            about["kind"],
            network,
            np.asarray(tensors["mean"].numpy(), dtype=np.float64),
            np.asarray(tensors["spread"].numpy(), dtype=np.float64),
            shape,
            about["classes"],
            about["description"],
            about["accuracy"],
        )
        return extractor if extractor.fingerprint == about["fingerprint"] else None
    # Whatever a damaged file makes of its reader, the repair is the same: the caller makes the extractor again.
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, struct.error):
        return None
