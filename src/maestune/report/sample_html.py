"""The section of the report that shows what the models make: pictures or texts, recipe beside best."""

from __future__ import annotations

from pathlib import Path

from maestune.campaign.record import Record
from maestune.report import labels
from maestune.report.comparing import best_name
from maestune.report.copied_html import copied_part
from maestune.report.formats import escape, escape_lines
from maestune.report.html_parts import picture
from maestune.report.sample_views import Grid, Passage, SamplesView, samples_view


def samples_section(record: Record) -> tuple[str, str]:
    """Lead and body of the section."""
    view = samples_view(record)
    best = "The best found" if best_name(record) == "best" else "The best candidate"
    copied = copied_part(record, {"recipe": "The recipe", "best": best})
    if view.texts:
        lead = (
            "How recipe and best go on from the same beginnings (in grey), which neither has seen, with the same random numbers; "
            "the first few, none hand-picked."
        )
        return lead, "".join(_pair(before, after, best) for before, after in view.texts) + copied
    items = ((view.real, "Real images", "from the data"), (view.recipe, "The recipe", ""), (view.best, best, ""))
    shown = [_picture(record.folder, grid, title, note) for grid, title, note in items if grid is not None]
    if not shown:
        return "", f"<p>There are no pictures yet.</p>{copied}"
    body = f'<div class="pictures main">{"".join(shown)}</div>{_rows(view)}'
    if view.training:
        strip = "".join(_picture(record.folder, grid, "", f"{grid.step:,} steps") for grid in view.training)
        body += f'<h3 class="apart">{best} over its training</h3><div class="strip">{strip}</div>'
    if view.exhibits:
        named = ((labels.exhibit(name), grid) for name, grid in view.exhibits)
        shown = [
            _picture(record.folder, grid, title, f"{meaning} {best}, {grid.step:,} steps.")
            for (title, meaning), grid in named
        ]
        body += f'<h3 class="apart">More of it</h3><div class="pictures">{"".join(shown)}</div>'
    return "Recipe and best are drawn with the same seed of latents; none of the images is hand-picked.", body + copied


def _rows(view: SamplesView) -> str:
    """What the rows of the pictures were asked for."""
    if not view.rows:
        return ""
    items = "".join(f"<li>{escape(row)}</li>" for row in view.rows)
    return f'<p class="soft">Each row of recipe and best was asked for one thing, from the top:</p><ol class="asked">{items}</ol>'


def _pair(before: Passage, after: Passage, best: str) -> str:
    sides = ((before, "The recipe"), (after, best))
    columns = "".join(
        f'<figure><figcaption><strong>{escape(title)}</strong></figcaption><pre class="text">'
        f'<span class="soft">{escape_lines(passage.begun)}</span>{escape_lines(passage.made)}</pre></figure>'
        for passage, title in sides
    )
    return f'<div class="texts">{columns}</div>'


def _picture(folder: Path, grid: Grid, title: str, note: str) -> str:
    if not note and grid.step is not None:
        note = f"{grid.source} {grid.step:,} steps"
    alt = f"Grid of images. {title or 'The best found'}, {note}."
    head = f"<strong>{escape(title)}</strong>" if title else ""
    return f"<figure>{picture(folder, grid.path, alt)}<figcaption>{head}{escape(note)}</figcaption></figure>"
