"""Samples of a finished campaign's models, as tensors and as pictures."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from maestune.campaign.reading import record_of
from maestune.campaign.settings import resolve_device
from maestune.campaign.store import Store
from maestune.data.grid import grid_image, save_png
from maestune.errors import CheckpointError
from maestune.execution.generate import generate
from maestune.execution.segment import disk_error


def draw_samples(folder: Path, n: int, *, seed: int = 0, recipe: bool = False, device: str = "auto") -> Tensor:
    """Samples (n, C, H, W) in [-1, 1] from the best configuration of a campaign (or from its recipe)."""
    store = Store(folder, read_only=True)
    try:
        record = record_of(store, 0.0)
        shape = store.facts["shape"]
    finally:
        store.close()
    finals = [f for f in record.finalists if (f.role == "recipe" if recipe else f.trial == record.best)]
    number = finals[0].runs[0] if finals else record.best
    if number is None:
        raise CheckpointError(f"{folder} has no trained model yet; go on with it: maestune resume {folder}")
    config, where = record.trial(number).config, record.trial_folder(number)
    return generate(record.model, config, where, tuple(shape) if shape else None, n, seed, resolve_device(device))


def write_samples(images: Tensor, out: Path) -> Path:
    """Write samples as one grid (a file name) or as one PNG each (a folder); returns the path."""
    try:
        if out.suffix:
            out.parent.mkdir(parents=True, exist_ok=True)
            save_png(grid_image(images.cpu()), out)
        else:
            out.mkdir(parents=True, exist_ok=True)
            for index, image in enumerate(images.cpu()):
                save_png(grid_image(image[None], columns=1, gap=0), out / f"{index:06d}.png")
    except OSError as error:
        raise disk_error(out, error) from error
    return out
