"""The section of the report that shows what the models make: pictures or texts, recipe beside best."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from maestune.campaign.record import Record
from maestune.report import labels
from maestune.report.comparing import best_name
from maestune.report.copied_html import copied_part
from maestune.report.html_parts import picture
from maestune.report.sample_views import Grid, Passage, SamplesView, samples_view


def samples_section(record: Record) -> tuple[str, Markup]:
    """Lead and body of the section."""
    view = samples_view(record)
    best = "The best found" if best_name(record) == "best" else "The best candidate"
    copied = copied_part(record, {"recipe": "The recipe", "best": best})
    if view.texts:
        lead = (
            "How recipe and best go on from the same beginnings (in grey), which neither has seen, with the same random numbers; "
            "the first few, none hand-picked."
        )
        return lead, Markup("").join((_pair(before, after, best) for before, after in view.texts)) + copied
    items = ((view.real, "Real images", "from the data"), (view.recipe, "The recipe", ""), (view.best, best, ""))
    shown = [_picture(record.folder, grid, title, note) for grid, title, note in items if grid is not None]
    if not shown:
        return "", Markup("<p>There are no pictures yet.</p>{}").format(copied)
    body = Markup('<div class="pictures main">{}</div>{}').format(Markup("").join(shown), _rows(view))
    if view.training:
        strip = Markup("").join(_picture(record.folder, grid, "", f"{grid.step:,} steps") for grid in view.training)
        body += Markup('<h3 class="apart">{} over its training</h3><div class="strip">{}</div>').format(best, strip)
    if view.exhibits:
        named = ((labels.exhibit(name), grid) for name, grid in view.exhibits)
        shown = [
            _picture(record.folder, grid, title, f"{meaning} {best}, {grid.step:,} steps.")
            for (title, meaning), grid in named
        ]
        body += Markup('<h3 class="apart">More of it</h3><div class="pictures">{}</div>').format(Markup("").join(shown))
    return "Recipe and best are drawn with the same seed of latents; none of the images is hand-picked.", body + copied


def _rows(view: SamplesView) -> Markup:
    """What the rows of the pictures were asked for."""
    if not view.rows:
        return Markup("")
    items = Markup("").join(Markup("<li>{}</li>").format(row) for row in view.rows)
    return Markup(
        '<p class="soft">Each row of recipe and best was asked for one thing, from the top:</p><ol '
        'class="asked">{}</ol>'
    ).format(items)


def _pair(before: Passage, after: Passage, best: str) -> Markup:
    sides = ((before, "The recipe"), (after, best))
    columns = Markup("").join(
        (
            Markup(
                '<figure><figcaption><strong>{}</strong></figcaption><pre class="text"><span class="soft">{}</span>'
                "{}</pre></figure>"
            ).format(title, passage.begun, passage.made)
            for passage, title in sides
        )
    )
    return Markup('<div class="texts">{}</div>').format(columns)


def _picture(folder: Path, grid: Grid, title: str, note: str) -> Markup:
    if not note and grid.step is not None:
        note = f"{grid.source} {grid.step:,} steps"
    alt = f"Grid of images. {title or 'The best found'}, {note}."
    head = Markup("<strong>{}</strong>").format(title) if title else ""
    return Markup("<figure>{}<figcaption>{}{}</figcaption></figure>").format(
        picture(folder, grid.path, alt), head, note
    )
