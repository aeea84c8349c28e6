"""What several sections of the report are made of: headings, figures, pictures, pairs of words."""

from __future__ import annotations

import base64
import io
import struct
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from maestune.errors import FileRefusedError
from maestune.execution.folder_files import MIB, read_bytes
from maestune.report.drawing import Drawing
from maestune.report.formats import escape

PICTURE_BYTES = 150_000  # larger pictures are recompressed, so that the page stays light
PICTURE_SIDE = 1024
PICTURE_LIMIT = 20 * MIB
PICTURE_PIXELS = 25_000_000  # of a picture that is decoded


def section(key: str, title: str, lead: str, body: str) -> str:
    """A section with its heading; `title`, `lead` and `body` are HTML."""
    lead = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{lead}{body}</section>'


def plots(shown: Sequence[Drawing]) -> str:
    """Places of figures, which the page's script fills: large ones first, small ones below."""
    large, small = [d for d in shown if not d.small], [d for d in shown if d.small]
    # An odd number of large figures: the first takes the whole width.
    first_wide = len(large) % 2 == 1
    text = "".join(_plot(d, wide=first_wide and i == 0) for i, d in enumerate(large))
    few = "".join(_plot(d) for d in small)
    margin = " apart" if large else ""
    return (f'<div class="plots">{text}</div>' if text else "") + (
        f'<div class="plots small{margin}">{few}</div>' if few else ""
    )


def _plot(drawing: Drawing, wide: bool = False) -> str:
    key = escape(drawing.key)
    caption = f"<figcaption>{drawing.caption}</figcaption>" if drawing.caption else ""
    return (
        f'<figure class="card{" wide" if wide else ""}"><h3>{escape(drawing.title)}</h3>'
        f'<div class="plot" id="plot-{key}" style="min-height:{drawing.figure.layout.height}px" role="img" '
        f'aria-label="{escape(drawing.title)}. {drawing.caption}"></div>{caption}</figure>'
    )


def pairs(told: Iterable[tuple[str, str]]) -> str:
    """Names with texts, of data too, as the inside of a list."""
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in told)


def picture(folder: Path, path: Path, alt: str) -> str:
    """A picture of a campaign's folder as an element of the page, or a sentence where it is left out."""
    try:
        return f'<img src="{picture_uri(folder, path)}" alt="{escape(alt)}">'
    except FileRefusedError as refused:
        return f'<div class="left-out soft">picture left out: {escape(str(refused))}</div>'


def picture_uri(folder: Path, path: Path) -> str:
    """A PNG or JPEG of a campaign's folder, in the page; large ones are recompressed.

    Raises FileRefusedError for a link, or for what is no picture, or too large to be decoded safely.
    """
    name = path.relative_to(folder)
    data = read_bytes(folder, name, PICTURE_LIMIT)
    if data is None:
        raise FileRefusedError(f"{name.as_posix()} is gone")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below is tighter
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if image.width * image.height > PICTURE_PIXELS:
            raise FileRefusedError(f"{name.as_posix()} has {image.width:,} × {image.height:,} pixels, too many to show")
        image.load()
        if len(data) <= PICTURE_BYTES:
            return f"data:image/{str(image.format).lower()};base64,{base64.b64encode(data).decode()}"
        small = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise FileRefusedError(f"{name.as_posix()} cannot be read as a PNG or JPEG picture") from error
    small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
