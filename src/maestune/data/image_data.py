"""Images as values: what is learnt from, what the search is scored against, and what only the verdict may see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) as uint8 in 0…255, with labels (N,) int64 where there are any."""

    images: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def take(self, index: Tensor) -> Images:
        """The images at the given positions."""
        return Images(self.images[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True)
class ImageData:
    """A data set in its three fixed parts.

    `train`: models and feature extractors learn from it. `search`: scores during the search are held against it.
    `report`: seen by nobody before the verdict. `class_names` is empty where there are no labels. `skipped` names
    files that could not be read, with the reason. `fingerprint` changes when any image or label changes.
    """

    name: str
    train: Images
    search: Images
    report: Images
    class_names: tuple[str, ...]
    fingerprint: str
    skipped: tuple[str, ...] = ()
    note: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, c, h, w = self.train.images.shape
        return int(c), int(h), int(w)

    @property
    def labelled(self) -> bool:
        """Whether every image has a label."""
        return self.train.labels is not None

    def describe(self) -> str:
        """One line for people: name, size, how many images, how many could not be read."""
        c, h, w = self.shape
        colour = {1: "grey", 3: "colour"}.get(c, f"{c}-channel")
        parts = f"{len(self.train):,} to learn from, {len(self.search):,} to search with, {len(self.report):,} for the verdict"
        classes = f", {len(self.class_names)} classes" if self.class_names else ", no labels"
        skipped = f", {len(self.skipped)} unreadable skipped" if self.skipped else ""
        return f"{self.name}: {h}×{w} {colour} images, {parts}{classes}{skipped}"


def to_float(images: Tensor) -> Tensor:
    """uint8 0…255 to float (the default type) in [-1, 1], shape unchanged."""
    return images.to(torch.get_default_dtype()).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Float in [-1, 1] to uint8 0…255 (rounded, clipped; NaN becomes mid grey), shape unchanged."""
    clean = torch.nan_to_num(images.detach().to(torch.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    return clean.clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)
