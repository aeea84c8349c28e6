"""What several sections of the report are made of: headings, figures, pictures, pairs of words."""

from __future__ import annotations

import base64
import io
import struct
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from maestune.errors import FileRefusedError
from maestune.folder_files import MIB, read_bytes
from maestune.report.charts import Chart

PICTURE_BYTES = 150_000  # larger pictures are recompressed, so that the page stays light
PICTURE_SIDE = 1024
PICTURE_LIMIT = 20 * MIB
PICTURE_PIXELS = 25_000_000  # of a picture that is decoded


def section(key: str, title: str, lead: str, body: str | Markup) -> Markup:
    """A section with its heading; what of it is no `Markup` is escaped."""
    lead = Markup('<p class="lead">{}</p>').format(lead) if lead else ""
    return Markup('<section id="{}" aria-labelledby="{}-title"><h2 id="{}-title">{}</h2>{}{}</section>').format(
        key, key, key, title, lead, body
    )


def plots(shown: Sequence[Chart]) -> Markup:
    """Places of figures, which the page's script fills: large ones first, small ones below."""
    large, small = [d for d in shown if not d.small], [d for d in shown if d.small]
    # An odd number of large figures: the first takes the whole width.
    first_wide = len(large) % 2 == 1
    text = Markup("").join((_plot(d, wide=first_wide and i == 0) for i, d in enumerate(large)))
    few = Markup("").join(_plot(d) for d in small)
    margin = " apart" if large else ""
    parts = [Markup('<div class="plots">{}</div>').format(text)] if text else []
    parts += [Markup('<div class="plots small{}">{}</div>').format(margin, few)] if few else []
    return Markup("").join(parts)


def _plot(chart: Chart, wide: bool = False) -> Markup:
    key = chart.key
    caption = Markup("<figcaption>{}</figcaption>").format(chart.caption) if chart.caption else ""
    return Markup(
        '<figure class="card{}"><h3>{}</h3><div class="plot" id="plot-{}" style="min-height:{}px" role="img" '
        'aria-label="{}. {}"></div>{}</figure>'
    ).format(
        " wide" if wide else "",
        chart.title,
        key,
        chart.figure.layout.height,
        chart.title,
        chart.caption,
        caption,
    )


def pairs(told: Iterable[tuple[str, str]]) -> Markup:
    """Names with texts, of data too, as the inside of a list."""
    return Markup("").join((Markup("<dt>{}</dt><dd>{}</dd>").format(name, text) for name, text in told))


def picture(folder: Path, path: Path, alt: str) -> Markup:
    """A picture of a campaign's folder as an element of the page, or a sentence where it is left out."""
    try:
        return Markup('<img src="{}" alt="{}">').format(picture_uri(folder, path), alt)
    except FileRefusedError as refused:
        return Markup('<div class="left-out soft">picture left out: {}</div>').format(str(refused))


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
    except Image.DecompressionBombError as error:  # PIL has a bound of its own, far above ours
        raise FileRefusedError(f"{name.as_posix()} has too many pixels to show") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise FileRefusedError(f"{name.as_posix()} cannot be read as a PNG or JPEG picture") from error
    small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
