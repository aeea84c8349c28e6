"""One function for every kind of data."""

from __future__ import annotations

from collections.abc import Callable

from maestune.data.image_data import ImageData
from maestune.data.load import load_images
from maestune.data.spec import Modality
from maestune.data.text import TextData, load_text

Data = ImageData | TextData


def load_data(
    source: str,
    modality: Modality,
    *,
    size: int | None = None,
    tokens: str | None = None,
    captions: tuple[str, ...] = (),
    progress: Callable[[str], None] | None = None,
) -> Data:
    """The data that a model learns from, in their three parts: see `load_images` and `load_text`.

    `size` and `captions` (templates for class names) are for images, `tokens` ("characters", "bytes", or a tokenizer's path)
    for text; DataError where one is given for the other.
    """
    if modality == "text":
        return load_text(source, tokens=tokens or "characters", progress=progress)
    return load_images(source, size=size, captions=captions, progress=progress)
