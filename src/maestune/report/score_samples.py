"""What people should look at, on the page of a score: samples as pictures, or passages of text."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup
from PIL import Image
from torch import Tensor

from maestune.data import grid_image
from maestune.quality.scoring.result import Excerpt, Highlights, Picture
from maestune.report import formats

MOST_SIDE = 192  # pixels of a picture; larger ones are shrunk, so that the page stays light
NAME_LETTERS = 60


def pictures(highlights: Highlights) -> tuple[str, Markup]:
    """Lead and body: worst, best and most copied samples."""
    parts: list[str] = []
    if highlights.worst:
        parts.append(
            Markup(
                '<h3 class="apart">Worst</h3><p class="lead">Farthest from every held-out real image; 1 is how far '
                'those are usually from each other.</p><div class="gallery">{}</div>'
            ).format(_figures(highlights.worst))
        )
    if highlights.best:
        parts.append(
            Markup(
                '<h3 class="apart">Best</h3><p class="lead">Nearest to a held-out real image, which no model has '
                'learnt from.</p><div class="gallery">{}</div>'
            ).format(_figures(highlights.best))
        )
    if highlights.copied:
        parts.append(
            Markup(
                '<h3 class="apart">Most copied</h3><p class="lead">The samples (left) that come nearest to a '
                "training image (right). A distance of 0 is the same image, 1 is as far as held-out real images "
                "usually are from their nearest one. Some sample is always the nearest: whether it is a copy, your "
                'eyes must say.</p><div class="gallery pairs-of">{}</div>'
            ).format(_figures(highlights.copied))
        )
    return "Chosen by distances in the evaluator's features.", Markup("").join(parts)


def _figures(highlights: Iterable[Picture | Excerpt]) -> Markup:
    return Markup("").join(_figure(one) for one in highlights if isinstance(one, Picture))


def _figure(picture: Picture) -> Markup:
    name = short(picture.name)
    image = Markup('<img src="{}" alt="{}">').format(data_uri(picture.image), f"Sample {name}")
    if picture.beside is not None:
        beside = Markup('<img src="{}" alt="{}">').format(
            data_uri(picture.beside), f"The training image nearest to {name}"
        )
        image = Markup('<div class="both">{}{}</div>').format(image, beside)
    note = f" · {picture.note}" if picture.note else ""
    return Markup("<figure>{}<figcaption><strong>{}</strong>{}<br>{}</figcaption></figure>").format(
        image, formats.number(picture.value, 2), note, name
    )


def data_uri(image: Tensor) -> str:
    """A picture (C, H, W) uint8 as a PNG in the page, at most 192 pixels high and wide."""
    drawn = grid_image(image[None], columns=1, gap=0)
    if max(drawn.size) > MOST_SIDE:
        drawn.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def passages(highlights: Highlights) -> tuple[str, Markup]:
    """Lead and body: the most copied, most repetitive and worst texts."""
    groups: tuple[tuple[str, str, Sequence[Picture | Excerpt], Callable[[float], str]], ...] = (
        (
            "Most copied",
            "The longest passages that stand in the training text letter by letter, marked.",
            highlights.copied,
            lambda value: formats.count(round(value), "character"),
        ),
        (
            "Most repetitive",
            "Texts that say most often what they have said before, in sequences of two to four words.",
            highlights.repetitive,
            lambda value: f"{formats.number(100 * value, 2)} % repeated",
        ),
        (
            "Worst",
            "Least like any held-out text, as the evaluator's embedder sees them.",
            highlights.worst,
            lambda value: f"{formats.number(value, 2)} times the usual distance of held-out texts",
        ),
    )
    parts = [
        Markup('<h3 class="apart">{}</h3><p class="lead">{}</p><div class="texts">{}</div>').format(
            title, lead, _passages(some, told)
        )
        for title, lead, some, told in groups
        if some
    ]
    missing = (
        ""
        if highlights.copied
        else Markup("<p>No passage stands in the training text that is long enough to count as copied.</p>")
    )
    return "", Markup("").join(parts) + missing


def _passages(highlights: Iterable[Picture | Excerpt], told: Callable[[float], str]) -> Markup:
    return Markup("").join(
        Markup(
            '<figure><figcaption><strong>{}</strong> · {}</figcaption><pre class="text">{}{}{}</pre></figure>'
        ).format(_named(one.name), told(one.value), one.before, _marked(one), one.after)
        for one in highlights
        if isinstance(one, Excerpt)
    )


def _named(name: str) -> str:
    return f"text {name}" if name.isdigit() else short(name)


def _marked(excerpt: Excerpt) -> Markup:
    return Markup("<mark>{}</mark>").format(excerpt.marked) if excerpt.marked else Markup("")


def short(text: str) -> str:
    """A name on one line; of a long one its end, which tells files apart."""
    line = formats.one_line(text)
    return line if len(line) <= NAME_LETTERS else "…" + line[1 - NAME_LETTERS :]
