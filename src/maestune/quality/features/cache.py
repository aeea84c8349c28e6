"""Networks of ours kept on disk, so that every process and every later campaign on the same data sees with the same eyes.

One safetensors file each, named by what it depends on: the data's fingerprint, the kind, the seed, and `VERSION`. Written to
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from maestune.data import ImageData
from maestune.data.machine import cache_folder as cache_folder
from maestune.errors import StoreError
from maestune.quality.features.extractor import Extractor, Scale, rebuilt_extractor
from maestune.quality.features.fitting import fit_named
from maestune.quality.features.networks import empty_encoder

VERSION = 2  # of networks and their training: raise it whenever either changes what is learnt
ABOUT = ("kind", "shape", "classes", "fingerprint", "description", "accuracy")
Kept = TypeVar("Kept")


def prepare_extractor(
    data: ImageData,
    *,
    kind: str = "auto",
    seed: int = 0,
    cache: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Extractor:
    """The extractor of a data set: from the cache, or trained now and kept there.

    `kind`: see `fit_named`. The default seed is fixed, so that scores of two campaigns on the same data can be compared.
    `progress` is told before training begins. Raises StoreError where the cache folder cannot be written.
    """
    path = cache_file(data, kind, seed, cache)
    extractor = load_extractor(path)
    if extractor is None:
        if progress is not None and kind != "random":
            progress(
                f"training the extractor: a small network that learns to see {data.name} (once; then kept in {path})"
            )
        extractor = fit_named(kind, data, torch.Generator().manual_seed(seed))
        save_extractor(extractor, path)
    return extractor


def cache_file(data: ImageData, kind: str, seed: int, cache: Path | None = None) -> Path:
    """Where what was made of a data set lies: by its kind and seed."""
    marks = [VERSION, data.fingerprint, data.shape, data.labelled, kind, seed]
    key = hashlib.sha256(json.dumps(marks).encode()).hexdigest()
    return (cache or cache_folder()) / "extractors" / f"{key[:24]}.safetensors"


def save_extractor(extractor: Extractor, path: Path) -> None:
    """Write an extractor whole or not at all; StoreError naming the folder and the repair when that fails."""
    tensors = {f"network.{name}": tensor for name, tensor in extractor.network.state_dict().items()}
    for name, scale in (("scale", extractor.scale), ("place_scale", extractor.place_scale)):
        if scale is not None:
            tensors |= {f"{name}.mean": torch.from_numpy(scale.mean), f"{name}.spread": torch.from_numpy(scale.spread)}
    write(path, tensors, {name: getattr(extractor, name) for name in ABOUT})


def load_extractor(path: Path) -> Extractor | None:
    """The extractor in a file; None where there is none or where what is there is not whole."""
    return read(path, _extractor)


def _extractor(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Extractor | None:
    shape: tuple[int, int, int] = tuple(about["shape"])
    network = empty_encoder(shape, about["classes"])
    network.load_state_dict(state(tensors, "network."))
    extractor = rebuilt_extractor(
        about["kind"],
        network,
        _scale(tensors, "scale"),
        _scale(tensors, "place_scale"),
        shape,
        about["classes"],
        about["description"],
        about["accuracy"],
    )
    return extractor if extractor.fingerprint == about["fingerprint"] else None


def _scale(tensors: Mapping[str, Tensor], name: str) -> Scale:
    mean, spread = (tensors[f"{name}.{part}"].numpy().astype(np.float64) for part in ("mean", "spread"))
    return Scale(mean, spread)


def state(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and plain data, whole or not at all; StoreError naming the folder and the repair when that fails."""
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"about": json.dumps(dict(about))})
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
