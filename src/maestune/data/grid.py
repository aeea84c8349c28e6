"""Many images as one picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maestune.data.image_data import to_uint8
from maestune.errors import DataError
from maestune.folder_files import replace_file

PAPER = 255  # between the images and in cells without one


def grid_image(images: Tensor, columns: int = 8, gap: int = 1, scale: int = 1) -> Image.Image:
    """Images (N, C, H, W), uint8 or float in [-1, 1], row by row in one picture.

    `gap` white pixels lie between neighbours; `scale` enlarges the whole by repeating pixels. Fewer images than columns
    make a narrower picture. Raises DataError when there is nothing to draw.
    """
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise DataError(f"A grid of images {tuple(images.shape)}: expected (N, C, H, W) with N ≥ 1 and C = 1 or 3.")
    for name, value, least in (("columns", columns, 1), ("gap", gap, 0), ("scale", scale, 1)):
        if value < least:
            raise DataError(f"A grid of images with {name}={value}: expected at least {least}.")
    tiles = (images if images.dtype == torch.uint8 else to_uint8(images)).cpu().numpy()
    n, c, height, width = tiles.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    # Every cell carries its gap to the right and below; the outermost gaps are cut off again.
    cells = np.full((rows * columns, c, height + gap, width + gap), PAPER, np.uint8)
    cells[:n, :, :height, :width] = tiles
    sheet = cells.reshape(rows, columns, c, height + gap, width + gap).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * (height + gap), columns * (width + gap), c)
    sheet = sheet[: rows * (height + gap) - gap, : columns * (width + gap) - gap]
    sheet = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    return Image.fromarray(np.ascontiguousarray(sheet[..., 0] if c == 1 else sheet))


def save_png(image: Image.Image, path: str | Path) -> None:
    """Write a picture as PNG so that a reader sees the old file or the whole new one; raises OSError."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    replace_file(Path(path), content.getvalue())
