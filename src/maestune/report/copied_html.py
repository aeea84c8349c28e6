"""The part of the report that shows what samples have copied from the training data, recipe beside best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from maestune.campaign.record import Record
from maestune.quality.copied import CopiedPassage
from maestune.report import formats
from maestune.report.copied_views import CopiedImagesView, CopiedTextsView, CopiedView, copied_views
from maestune.report.html_parts import picture


def copied_part(record: Record, names: Mapping[str, str]) -> Markup:
    """What "recipe" and "best" have copied, under their names; empty before the finals."""
    views = copied_views(record)
    texts = [(names[who], view) for who, view in views.items() if isinstance(view, CopiedTextsView)]
    images = [(names[who], view) for who, view in views.items() if isinstance(view, CopiedImagesView)]
    if texts:
        lead = (
            f"Passages of {texts[0][1].shortest:,} characters or more that stand in the training text letter by letter, marked: "
            "the longest in all texts of the final trainings, each once."
        )
        body = Markup("").join((_texts(name, view) for name, view in texts))
    elif images:
        lead = (
            "Above, the samples of one final training that come nearest to a training image; below each, that training image. "
            "A distance of 0 is the same image, 1 is as far as held-out real images usually are from their nearest one. Some sample "
            "is always the nearest: whether it is a copy, your eyes must say."
        )
        body = Markup("").join((_images(record.folder, name, view) for name, view in images))
    else:
        return Markup("")
    return Markup('<h3 class="apart">What is copied</h3><p class="lead">{}</p><div class="copied">{}</div>').format(
        lead, body
    )


def _texts(name: str, view: CopiedTextsView) -> Markup:
    what = "hold" if view.copying > 1 else "holds"
    told = f"{_counted(view, 'text')} {what} such a passage; of held-out texts {_percent(view.usual)} do."
    return Markup("<div><p><strong>{}:</strong> {}</p>{}</div>").format(
        name, told, Markup("").join(map(_passage, view.passages))
    )


def _passage(passage: CopiedPassage) -> Markup:
    length = formats.count(passage.length, "character")
    return Markup('<figure><figcaption>{}</figcaption><pre class="text">{}<mark>{}</mark>{}</pre></figure>').format(
        length, passage.before, passage.marked, passage.after
    )


def _images(folder: Path, name: str, view: CopiedImagesView) -> Markup:
    what, near = "are" if view.copying > 1 else "is", _percent(view.usual)
    told = f"{_counted(view, 'image')} {what} as near to a training image as the nearest {near} of held-out images."
    distances = " · ".join(formats.number(one.distance, 2) for one in view.nearest)
    alt = f"{name}: samples above the training images nearest to them. Distances {distances}."
    image = "" if view.picture is None else picture(folder, view.picture, alt)
    return Markup(
        "<figure>{}<figcaption><strong>{}:</strong> {}<br>Distances, from the left: {}.</figcaption></figure>"
    ).format(image, name, told, distances)


def _counted(view: CopiedView, noun: str) -> str:
    """How many of the samples copy."""
    if not view.copying:
        return f"Nothing is copied: none of {formats.count(view.samples, noun)}"
    return f"{view.copying:,} of {formats.count(view.samples, noun)} ({_percent(view.share)})"


def _percent(share: float) -> str:
    return f"{formats.number(100 * share, 2)} %"
