"""What samples have copied, as the report and --json tell it of recipe and best."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import records

from maestune.campaign.record import Record
from maestune.execution.copies import Copied, copies_path, copies_text
from maestune.plain_text import clean
from maestune.quality.copied import CopiedImages, CopiedPassage, CopiedTexts, NearImage
from maestune.report import html
from maestune.report.copied_views import CopiedImagesView, CopiedTextsView, copied_views
from maestune.report.sample_html import samples_section
from maestune.report.summary import summary


def passage(length: int, marked: str = "") -> CopiedPassage:
    return CopiedPassage(length % 7, length, "…before ", marked or f"a passage of {length}", " after…")


@pytest.fixture
def record(full: Record, tmp_path: Path) -> Record:
    shutil.copytree(full.folder, tmp_path / "copy")
    return replace(full, folder=tmp_path / "copy")


def leave(record: Record, who: str, found: Sequence[Copied], step: int = 1000) -> None:
    """What the first final trainings of recipe or best wrote down."""
    number = 0 if who == "recipe" else record.best
    final = next(f for f in record.finalists if f.trial == number)
    for run, copied in zip(final.runs, found, strict=False):
        path = copies_path(record.trial_folder(run), step)
        path.write_text(copies_text(copied), encoding="utf-8")
        if isinstance(copied, CopiedImages):
            shutil.copy(record.folder / "real.png", path.with_suffix(".png"))


TEXTS = (
    CopiedTexts(200, 3, 0.07, 40, (passage(70), passage(55), passage(41))),
    CopiedTexts(200, 2, 0.07, 40, (passage(90, records.HOSTILE), passage(55))),
)
NOTHING = (CopiedTexts(200, 0, 0.07, 40, ()),) * 2
IMAGES = (
    CopiedImages(1000, 30, 0.0111, (NearImage(7, 3, 0.0, True), NearImage(5, 8, 0.52, False))),
    CopiedImages(1000, 10, 0.0111, (NearImage(1, 2, 0.25, True),)),
)


def test_passages_of_all_final_trainings_are_told_each_once(record: Record) -> None:
    assert copied_views(record) == {}
    leave(record, "best", TEXTS)
    leave(record, "recipe", NOTHING)
    views = copied_views(record)
    best, recipe = views["best"], views["recipe"]
    assert isinstance(best, CopiedTextsView)
    assert (best.samples, best.copying, best.share, best.usual, best.shortest) == (400, 5, 5 / 400, 0.07, 40)
    assert [one.length for one in best.passages] == [90, 70, 55, 41]
    assert recipe == CopiedTextsView(400, 0, 0.07, 40, ())


def test_the_newest_file_of_a_training_holds(record: Record) -> None:
    leave(record, "best", TEXTS[:1], step=125)
    leave(record, "best", NOTHING[:1], step=1000)
    assert copied_views(record)["best"].copying == 0


def test_torn_files_are_passed_over(record: Record) -> None:
    leave(record, "best", TEXTS)
    final = next(f for f in record.finalists if f.trial == record.best)
    path = copies_path(record.trial_folder(final.runs[0]), 1000)
    for text in (path.read_text(encoding="utf-8")[:-9], "null", '{"texts": 1}'):
        path.write_text(text, encoding="utf-8")
        assert copied_views(record)["best"].samples == 200, text


def test_the_page_marks_what_was_copied_and_takes_no_markup_from_it(record: Record) -> None:
    leave(record, "best", TEXTS)
    leave(record, "recipe", NOTHING)
    body = samples_section(record)[1]
    assert "What is copied" in body
    assert "Passages of 40 characters or more that stand in the training text" in body
    assert (
        "<strong>The recipe:</strong> Nothing is copied: none of 400 texts holds such a passage; of held-out texts 7.0 % do."
        in body
    )
    assert "<strong>The best found:</strong> 5 of 400 texts (1.2 %) hold such a passage" in body
    assert "<figcaption>70 characters</figcaption>" in body
    assert '<pre class="text">…before <mark>a passage of 70</mark> after…</pre>' in body
    page = html.page(record)
    assert clean(body) in page
    assert "<script>alert" not in page
    assert "<mark>&lt;script&gt;alert" in page
    assert "\x1b" not in page


def test_one_text_holds_and_two_hold(record: Record) -> None:
    leave(record, "best", [replace(TEXTS[0], copying=1)])
    assert "1 of 200 texts (0.50 %) holds such a passage" in samples_section(record)[1]


def test_images_stand_above_what_they_are_nearest_to(record: Record) -> None:
    before = samples_section(record)[1]
    leave(record, "best", IMAGES)
    leave(record, "recipe", [replace(IMAGES[0], copying=0)])
    views = copied_views(record)
    best = views["best"]
    assert isinstance(best, CopiedImagesView)
    assert (best.samples, best.copying, best.nearest) == (2000, 40, IMAGES[0].nearest)
    assert best.picture is not None
    body = samples_section(record)[1]
    assert body.startswith(before)
    assert "40 of 2,000 images (2.0 %) are as near to a training image as the nearest 1.1 % of held-out images." in body
    assert "Nothing is copied: none of 1,000 images is as near" in body
    assert "Distances, from the left: 0 · 0.52." in body
    assert body.count("<img ") == before.count("<img ") + 2
    assert 'alt="The best found: samples above the training images nearest to them.' in body


def test_a_picture_that_is_gone_leaves_the_numbers(record: Record) -> None:
    leave(record, "best", IMAGES)
    for path in record.folder.rglob("copied-*.png"):
        path.unlink()
    assert "40 of 2,000 images" in samples_section(record)[1]


def test_json_tells_it_too(record: Record) -> None:
    assert summary(record)["copied"] == {}
    leave(record, "best", TEXTS)
    leave(record, "recipe", NOTHING)
    told = json.loads(json.dumps(summary(record), allow_nan=False))["copied"]
    assert told["recipe"] == {
        "samples": 400,
        "copying": 0,
        "share": 0.0,
        "held_out": 0.07,
        "shortest": 40,
        "longest": [],
    }
    assert told["best"]["copying"] == 5
    assert told["best"]["longest"][0] == {"length": 90, "passage": records.HOSTILE}
    leave(record, "best", IMAGES)
    nearest = summary(record)["copied"]["best"]["nearest"]
    assert nearest == [{"distance": 0.0, "copy": True}, {"distance": 0.52, "copy": False}]


def test_before_the_finals_nothing_is_told(folder: Path) -> None:
    record = records.build(folder, n=9, finals=False)
    assert copied_views(record) == {}
    assert "What is copied" not in html.page(record)
