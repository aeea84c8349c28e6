"""Extractors kept on disk, so that every process and every later campaign on the same data extracts the same features.

A file each, named by what it depends on: the data's fingerprint, the kind, the seed, and `VERSION`.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maestune.data import ImageData
from maestune.quality.features.extractor import Extractor, Scale, rebuilt_extractor
from maestune.quality.features.fitting import fit_named
from maestune.quality.features.networks import empty_encoder
from maestune.quality.network_store import file_of, read, state, write

VERSION = 2  # of networks and their training: raise it whenever either changes what is learnt
ABOUT = ("kind", "shape", "classes", "fingerprint", "description", "accuracy")


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
    return file_of("extractors", [VERSION, data.fingerprint, data.shape, data.labelled, kind, seed], cache)


def save_extractor(extractor: Extractor, path: Path) -> None:
    """Write an extractor whole or not at all; StoreError naming the folder and the repair when that fails."""
    tensors = {f"network.{name}": tensor for name, tensor in extractor.network.state_dict().items()}
    for name, scale in (("scale", extractor.scale), ("place_scale", extractor.place_scale)):
        if scale is not None:
            tensors |= {f"{name}.mean": torch.from_numpy(scale.mean), f"{name}.spread": torch.from_numpy(scale.spread)}
    write(path, "The extractor", tensors, {name: getattr(extractor, name) for name in ABOUT})


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
