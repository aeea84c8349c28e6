"""What a training leaves for people to look at: pictures of samples, texts, and what was copied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from maestune.data import ImageData, TextData, to_float
from maestune.data.grid import grid_image, save_png
from maestune.execution.copies import copies_of, copies_path, copies_text, pairs_of
from maestune.execution.folder import writing
from maestune.execution.jobs import Job, Setup, Split
from maestune.folder_files import replace_file
from maestune.quality.copied import CopiedImages
from maestune.types import Report

PICTURE_SAMPLES = 64
TEXT_SAMPLES = 8
PICTURE_COLUMNS = 8
PICTURE_MAX_PIXELS = 1024


def draw(images: torch.Tensor, path: Path, columns: int = PICTURE_COLUMNS) -> None:
    """Images (n, C, H, W) in [-1, 1] as a picture, in rows of eight or as many as are asked for; the first 64 of them."""
    with writing(path.parent):
        save_png(_grid(images, columns), path)


def real_picture(images: torch.Tensor, path: Path) -> None:
    """The grid of real images (uint8) that samples are held beside."""
    save_png(_grid(to_float(images[:PICTURE_SAMPLES]), PICTURE_COLUMNS), path)


def _grid(images: torch.Tensor, columns: int) -> Image.Image:
    """The first 64 images as one picture of at most about a thousand pixels a side, which a report can show."""
    images = images[:PICTURE_SAMPLES].detach().cpu()
    side = max(images.shape[-2:]) * PICTURE_COLUMNS
    if side > PICTURE_MAX_PIXELS:  # large images: a smaller picture, antialiased
        images = torch.nn.functional.interpolate(images, scale_factor=PICTURE_MAX_PIXELS / side, mode="area")
    return grid_image(images, columns=columns)


def write_texts(data: TextData, split: Split, samples: torch.Tensor, path: Path) -> None:
    """A few of the texts (n, T), evenly spread, each as what was asked for and what came."""
    chosen = torch.linspace(0, len(samples) - 1, min(TEXT_SAMPLES, len(samples))).round().long()
    prompts, samples = data.prompts(split, len(samples))["prompt"][chosen], samples.cpu()[chosen]
    texts = [
        (data.tokenizer.decode(prompt), data.tokenizer.decode(sample[len(prompt) :]))
        for prompt, sample in zip(prompts, samples, strict=True)
    ]
    with writing(path.parent):
        replace_file(path, json.dumps(texts, ensure_ascii=False))


def write_copies(setup: Setup, job: Job, report: Report, features: Any) -> None:
    """What samples that the evaluator saw have copied; of images with a picture, training images below them."""
    found = copies_of(setup.evaluators[job.split], features)
    if found is None:
        return
    path = copies_path(job.folder, report.step)
    if isinstance(found, CopiedImages):
        assert isinstance(setup.data, ImageData)
        assert report.samples is not None  # they were looked at
        draw(pairs_of(found, report.samples, setup.data.train), path.with_suffix(".png"), columns=len(found.nearest))
    with writing(job.folder):
        replace_file(path, copies_text(found))
