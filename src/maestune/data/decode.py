"""One picture, from a file or from bytes, to pixels of one size; run as a program it does so for another process.

Imports nothing of this package, so that such a process starts in a tenth of a second and fills 40 MB: with PyTorch it would
take seconds and some hundred MB, once for each core.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM", "AVIF")
AT_A_TIME = 64  # images in a batch, so that handing one over costs little beside the work in it
BATCH_BYTES = 8 * 2**20  # of its pixels at most

READY = b"ready"  # what a decoding process says first

Source = str | bytes  # a path, or what a file holds


class Read(NamedTuple):
    """What came of one picture: the reason why it cannot be used (then nothing else counts), its (width, height), its kind."""

    reason: str = ""
    size: tuple[int, int] = (0, 0)
    grey: bool = False
    transparent: bool = False


def look_at(source: Source) -> Read:
    """The size alone, from the header."""
    try:
        with _opened(source) as image:
            return Read(size=image.size)
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file; each is named to the user
        return Read(reason=_reason(error))


def decode(source: Source, target: NDArray[np.uint8]) -> Read:
    """The picture into target (3, side, side)."""
    side = target.shape[-1]
    try:
        with _opened(source) as image:
            size = image.size
            image.draft(None, (2 * side, 2 * side))  # large JPEGs: decode no finer than antialiasing needs
            ImageOps.exif_transpose(image, in_place=True)
            flat, transparent = _flat(image)
        array = np.asarray(fit(flat, side))
    except MemoryError:
        raise
    except Exception as error:  # as in look_at
        return Read(reason=_reason(error))
    if array.ndim == 2:
        target[:] = array
        return Read(size=size, grey=True, transparent=transparent)
    target[:] = array.transpose(2, 0, 1)
    grey = bool((target[0] == target[1]).all() and (target[0] == target[2]).all())
    return Read(size=size, grey=grey, transparent=transparent)


def fit(image: Image.Image, side: int) -> Image.Image:
    """The central square of an image, scaled to (side, side) with an antialiasing (Lanczos) filter."""
    width, height = image.size
    if (width, height) == (side, side):
        return image
    edge = min(width, height)
    left, top = (width - edge) / 2, (height - edge) / 2
    return image.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))


def batch_size(side: int | None) -> int:
    """How many images are decoded to a side (None: only looked at) in one go."""
    return AT_A_TIME if side is None else max(1, min(AT_A_TIME, BATCH_BYTES // (3 * side * side)))


def read_batch(sources: Sequence[Source], side: int | None) -> tuple[list[Read], NDArray[np.uint8]]:
    """What came of each picture, and the pixels (n, 3, side, side) of those that can be used; without a side, of none."""
    if side is None:
        return [look_at(source) for source in sources], np.empty((0, 3, 0, 0), np.uint8)
    pixels = np.empty((len(sources), 3, side, side), np.uint8)
    reads: list[Read] = []
    n_good = 0
    for source in sources:
        reads.append(decode(source, pixels[n_good]))
        n_good += not reads[-1].reason
    return reads, pixels[:n_good]


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Oversized images (decompression bombs) are refused instead of warned about; remarks on odd metadata are of no use.

    Around all threads that decode, since warning filters belong to the process.
    """
    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _opened(source: Source) -> Image.Image:
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)


def _flat(image: Image.Image) -> tuple[Image.Image, bool]:
    # The image in mode L or RGB, and whether anything of it was transparent.
    if image.mode.startswith("I"):
        deep = np.clip(np.asarray(image), 0, 65535).astype(np.int64)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8)), False
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no known range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if layer.getchannel("A").getextrema() != (255, 255):
            return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"), True
        return layer.convert("RGB"), False
    return image.convert("L" if image.mode in ("1", "L") else "RGB"), False


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or damaged at its beginning"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def ask(pipe: BinaryIO, sources: Sequence[Source], side: int | None) -> None:
    """Send a batch to a decoding process (standard input of one)."""
    pickle.dump((list(sources), side, Image.MAX_IMAGE_PIXELS), pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def answer(pipe: BinaryIO) -> tuple[list[Read], NDArray[np.uint8]]:
    """What a decoding process made of a batch, as `read_batch` says; EOFError where the process is gone."""
    reads, shape = pickle.load(pipe)
    pixels = np.empty(shape, np.uint8)
    if pixels.size and pipe.readinto(memoryview(pixels).cast("B")) != pixels.size:  # type: ignore[attr-defined]
        raise EOFError
    return [Read(*read) for read in reads], pixels


def main() -> None:
    """Batches from standard input, answers to standard output, until the one who asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the asker's affair, who then closes the pipe
    requests: Any = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb") as answers, strict_pillow():
        os.dup2(2, 1)  # nothing that a library prints may get between the answers
        answers.write(READY)
        answers.flush()
        while True:
            try:
                sources, side, Image.MAX_IMAGE_PIXELS = pickle.load(requests)
            except EOFError:
                return
            reads, pixels = read_batch(sources, side)
            pickle.dump(([tuple(read) for read in reads], pixels.shape), answers, pickle.HIGHEST_PROTOCOL)
            answers.write(pixels.data)
            answers.flush()


if __name__ == "__main__":
    main()
