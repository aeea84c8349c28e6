import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from maestune.data import ImageData, load_images
from maestune.data.text import blocks
from maestune.quality.text import text_models
from maestune.quality.text.byte_lm import fit_reader

HELD_BACK = 400  # digits that are in no part of the real data: what a perfect model would make


@pytest.fixture(scope="package", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAESTUNE_CACHE", str(folder))
        # Readers that have learnt a sixtieth of what they would: enough to tell words from noise.
        patch.setattr(text_models, "fit_reader", partial(fit_reader, multiply_adds=1e9))
        yield folder


def _write_images(folder: Path, images: np.ndarray, labels: np.ndarray | None = None) -> Path:
    for i, image in enumerate(images):
        place = folder if labels is None else folder / str(labels[i])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:04d}.png")
    return folder


@pytest.fixture(scope="session")
def write_images() -> Callable[..., Path]:
    """Images (N, H, W) or (N, H, W, 3) uint8 as files, in a folder for each label where there are any."""
    return _write_images


@pytest.fixture(scope="session")
def handwritten() -> tuple[np.ndarray, np.ndarray]:
    """Digits (N, 8, 8) uint8 in a random order, and their classes."""
    pixels, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    return (pixels / 16 * 255).round().astype(np.uint8).reshape(-1, 8, 8)[order], classes[order]


@pytest.fixture(scope="session")
def real_folder(handwritten: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels, classes = handwritten
    return _write_images(tmp_path_factory.mktemp("real"), pixels[HELD_BACK:], classes[HELD_BACK:])


@pytest.fixture(scope="session")
def real(real_folder: Path) -> ImageData:
    return load_images(real_folder)


@pytest.fixture(scope="session")
def fresh(handwritten: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
    """Real images (N, 1, 8, 8) that the real data do not have."""
    return torch.from_numpy(handwritten[0][:HELD_BACK, None].copy())


@pytest.fixture(scope="session")
def fresh_classes(handwritten: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return handwritten[1][:HELD_BACK]


@pytest.fixture(scope="session")
def prose() -> tuple[str, str]:
    """A text, and another one of the same kind: every fourth block of it."""
    parts = blocks("\n\n".join(topics[name].strip("\n") for name in sorted(topics))[:240_000], 500)
    return "".join(part for i, part in enumerate(parts) if i % 4), "".join(parts[::4])


@pytest.fixture(scope="session")
def real_text(prose: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "real.txt"
    file.write_text(prose[0], encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def pieces(prose: tuple[str, str]) -> Callable[..., list[str]]:
    """As many pieces of text, of so many characters, that the real text does not have."""

    def made(n: int, length: int = 240) -> list[str]:
        places = [m.end() for m in re.finditer(r"\n+(?=\S)", prose[1]) if m.end() + length <= len(prose[1])]
        return [prose[1][i : i + length] for i in (places[int(k * len(places) / n)] for k in range(n))]

    return made
