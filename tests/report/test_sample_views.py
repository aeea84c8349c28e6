"""What models make, as their trials left it in the folder: pictures, texts, and what they were asked for."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import records

from maestune.campaign.record import Record
from maestune.plain_text import clean
from maestune.report import html
from maestune.report.sample_html import samples_section
from maestune.report.sample_views import Passage, samples_view


def test_samples_pair_recipe_and_best_from_the_finals(full: Record) -> None:
    view = samples_view(full)
    assert view.real is not None
    assert view.recipe is not None
    assert view.best is not None
    final_recipe = full.finalists[0].runs[0]
    assert view.recipe.path.parent.name == f"{final_recipe:04d}"
    assert view.best.step == view.recipe.step == 1000
    assert [g.step for g in view.training] == [111, 333, 1000]


def test_samples_of_the_search_where_there_are_no_finals(folder: Path) -> None:
    view = samples_view(records.build(folder, n=9, finals=False))
    assert view.recipe is not None
    assert view.recipe.source == "trial 0,"
    nothing = samples_view(records.empty(folder / "none"))
    assert (nothing.real, nothing.recipe, nothing.best, nothing.training) == (None, None, None, ())


def test_many_grids_are_spread_over_the_training(folder: Path) -> None:
    record = records.build(folder, n=1, finals=False)
    picture = (folder / "real.png").read_bytes()
    for step in range(10, 111, 10):
        (record.trial_folder(0) / f"samples-{step:08d}.png").write_bytes(picture)
    steps = [g.step for g in samples_view(replace(record, best=0)).training]
    assert len(steps) == 6
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (10, 1000)


# Other pictures, and what was asked for -------------------------------------------------------------------------------


def with_exhibits(record: Record, number: int, *names: str) -> None:
    for name in names:
        shutil.copy(record.folder / "real.png", record.trial_folder(number) / f"exhibit-{name}.png")


def test_the_newest_of_each_kind_of_other_pictures_is_shown(folder: Path) -> None:
    record = records.build(folder, n=9, finals=False)
    best = replace(record, best=0)
    assert samples_view(best).exhibits == ()
    with_exhibits(record, 0, "walk-00000333", "walk-00001000", "reconstructions-00001000", "walk-00000100")
    view = samples_view(best)
    assert [(name, grid.step) for name, grid in view.exhibits] == [("reconstructions", 1000), ("walk", 1000)]
    page = samples_section(best)[1]
    assert "Held-out images above what encoder and decoder make of them" in page
    assert page.count("<img ") == page.count('alt="Grid of images.')


def test_other_pictures_are_those_of_the_final_training_where_it_has_them(full: Record, tmp_path: Path) -> None:
    shutil.copytree(full.folder, tmp_path / "copy")
    record = replace(full, folder=tmp_path / "copy")
    final = next(f for f in record.finalists if f.trial == record.best).runs[0]
    assert record.best is not None
    with_exhibits(record, record.best, "walk-00000999")
    assert samples_view(record).exhibits[0][1].step == 999
    with_exhibits(record, final, "guidance-00001000")
    ((name, grid),) = samples_view(record).exhibits
    assert (name, grid.path.parent) == ("guidance", record.trial_folder(final))


def test_rows_are_told_where_the_pictures_are_of_the_finals(full: Record, folder: Path) -> None:
    asked = ("a red bird", *(f"class {k}" for k in range(6)), records.HOSTILE)
    assert samples_view(replace(full, prompts=asked)).rows == asked
    assert samples_view(full).rows == ()
    search = replace(records.build(folder, n=9, finals=False), prompts=asked)
    assert samples_view(search).rows == ()  # the search asked for other things
    page = html.page(replace(full, prompts=asked))
    assert re.findall(r"<li>(a red bird|class \d)</li>", page) == list(asked[:-1])
    assert "<script>alert" not in page


# Texts ----------------------------------------------------------------------------------------------------------------


def speaking(record: Record, texts: dict[int, list[tuple[str, str]]], step: int = 1000) -> Record:
    """The record as one of a language model: no pictures, and texts of some trials."""
    for path in record.folder.rglob("*.png"):
        path.unlink()
    for number, passages in texts.items():
        path = record.trial_folder(number) / f"samples-{step:08d}.json"
        path.write_text(json.dumps(passages, ensure_ascii=False), encoding="utf-8")
    return record


@pytest.fixture
def said(full: Record, tmp_path: Path) -> Record:
    shutil.copytree(full.folder, tmp_path / "copy")
    record = replace(full, folder=tmp_path / "copy")
    recipe, best = (next(f for f in record.finalists if f.trial == number).runs[0] for number in (0, record.best))
    before = [(f"{k} Once ", f"é {k}\nand on" if k % 2 == 0 else records.HOSTILE) for k in range(6)]
    after = [(begun, f"better {i}") for i, (begun, _) in enumerate(before)]
    return speaking(record, {recipe: before, best: after})


def test_texts_of_recipe_and_best_go_on_from_the_same(said: Record) -> None:
    view = samples_view(said)
    assert (view.real, view.recipe, view.best) == (None, None, None)
    assert len(view.texts) == 4
    assert all(before.begun == after.begun for before, after in view.texts)
    assert [after.made for _, after in view.texts] == [f"better {i}" for i in range(4)]
    assert view.texts[0][0] == Passage("0 Once ", "é 0\nand on")


def test_a_page_shows_texts_in_pairs_and_takes_no_markup_from_them(said: Record) -> None:
    lead, body = samples_section(said)
    assert "from the same beginnings" in lead
    assert "<img" not in body
    assert body.count("The best found") == body.count("The recipe") == 4
    assert "é 0\nand on" in body, "ends of lines are kept"
    page = html.page(said)
    assert clean(body) in page
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "There are no pictures yet" not in page


def test_texts_of_other_beginnings_or_torn_files_are_not_compared(said: Record, folder: Path) -> None:
    recipe = said.finalists[0].runs[0]
    path = next(said.trial_folder(recipe).glob("samples-*.json"))
    whole = path.read_text(encoding="utf-8")
    for text in (whole[:-5], "null", '[["a"]]', json.dumps([("another beginning", "x")])):
        path.write_text(text, encoding="utf-8")
        assert samples_view(said).texts == (), text
        assert "There are no pictures yet" in samples_section(said)[1]
    search = speaking(records.build(folder, n=9, finals=False), {0: [("a", "b")]})
    ((before, after),) = samples_view(replace(search, best=0)).texts
    assert before == after == Passage("a", "b")
    speaking(search, {0: [("a", "newest")]}, step=1001)
    assert samples_view(replace(search, best=0)).texts[0][0].made == "newest"
