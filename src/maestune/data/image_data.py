"""Images as values: what is learnt from, what the search is scored against, and what only the verdict may see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maestune.data.captions import Vocabulary
from maestune.data.spec import Batch, DataSpec, Split

ROWS = COLUMNS = 8  # of a picture of samples


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) as uint8 in 0…255, with labels (N,) and captions (N, L), both int64, where there are any.

    A caption is made of numbers of words, padded with 0.
    """

    images: Tensor
    labels: Tensor | None = None
    captions: Tensor | None = None

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def take(self, index: Tensor) -> Images:
        """The images at the given positions."""
        labels = None if self.labels is None else self.labels[index]
        return Images(self.images[index], labels, None if self.captions is None else self.captions[index])

    @property
    def conditions(self) -> Batch:
        """Labels and captions, as a batch names them."""
        found = {"label": self.labels, "caption": self.captions}
        return {name: tensor for name, tensor in found.items() if tensor is not None}


@dataclass(frozen=True)
class ImageData:
    """A data set in its three fixed parts.

    `train`: models and feature extractors learn from it. `search`: scores during the search are held against it.
    `report`: seen by nobody before the verdict. `class_names` is empty where there are no labels. `skipped` names
    files that could not be read, with the reason. `fingerprint` changes when any image, label or caption changes.
    `vocabulary`: the words of captions; None where there are none.
    """

    name: str
    train: Images
    search: Images
    report: Images
    class_names: tuple[str, ...]
    fingerprint: str
    skipped: tuple[str, ...] = ()
    note: str = ""
    vocabulary: Vocabulary | None = None

    @property
    def spec(self) -> DataSpec:
        """What networks are built for."""
        return DataSpec(
            shape=self.shape,
            classes=len(self.class_names) if self.labelled else 0,
            words=0 if self.vocabulary is None else len(self.vocabulary.words),
            caption_words=0 if self.vocabulary is None else self.vocabulary.length,
        )

    @property
    def size(self) -> int:
        """How many images there are to learn from."""
        return len(self.train)

    def prompts(self, split: Split, n: int) -> Batch:
        """What n samples are asked for: labels and captions of held-out images, empty where there are none.

        The first 64 ask for eight things eight times each, of different classes where there are labels, so that a picture of
        them has a row for each; the others go through the split, over and over.
        """
        part = self.part(split)
        conditions = part.conditions
        if not conditions:
            return {}
        rows = torch.tensor(_distinct(part)[:ROWS])
        grid = rows[torch.arange(ROWS * COLUMNS) // COLUMNS % len(rows)]
        index = torch.cat((grid, torch.arange(max(n - len(grid), 0)) % len(part)))
        return {name: tensor[index[:n]] for name, tensor in conditions.items()}

    def held_out(self, split: Split, n: int, context: int = 0) -> Batch:
        """The first n images of a held-out part, with their conditions, as a batch."""
        part = self.part(split)
        return {"image": to_float(part.images[:n]), **{name: tensor[:n] for name, tensor in part.conditions.items()}}

    def part(self, split: Split) -> Images:
        """A held-out part."""
        return self.search if split == "search" else self.report

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


def _distinct(part: Images) -> list[int]:
    """Positions of images, those whose label (or caption) is a new one before all others."""
    keys = part.labels if part.labels is not None else part.captions
    assert keys is not None
    seen: set[tuple[int, ...]] = set()
    first: list[int] = []
    for position, key in enumerate(keys.reshape(len(part), -1).tolist()):
        if tuple(key) not in seen:
            seen.add(tuple(key))
            first.append(position)
    return first


def to_float(images: Tensor) -> Tensor:
    """uint8 0…255 to float (the default type) in [-1, 1], shape unchanged."""
    return images.to(torch.get_default_dtype()).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Float in [-1, 1] to uint8 0…255 (rounded, clipped; NaN becomes mid grey), shape unchanged."""
    clean = torch.nan_to_num(images.detach().to(torch.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    return clean.clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)
