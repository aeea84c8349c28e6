from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import records

from maestune.campaign.record import Record
from maestune.report.training_views import POINTS_A_CURVE, classes_view, curves_view, read_events
from maestune.types import TrialState


def _write(record: Record, number: int, text: str) -> None:
    folder = record.trial_folder(number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.jsonl").write_text(text)


def test_events_survive_torn_and_foreign_lines(folder: Path) -> None:
    record = records.build(folder, n=1, finals=False, files=False)
    good = {"kind": "signals", "step": 1, "signals": {"loss": 1.0}}
    _write(record, 0, json.dumps(good) + "\n[1, 2]\n\nnonsense\n" + json.dumps(good)[:-7])
    told = tuple(f"trials/0000/events.jsonl line {line} is damaged and left out" for line in (2, 3, 4))
    assert read_events(folder, 0) == ((good,), told)
    assert read_events(folder, 77) == ((), ())


def test_events_with_broken_bytes_are_read(folder: Path) -> None:
    record = records.build(folder, n=1, finals=False, files=False)
    _write(record, 0, '{"kind": "note", "text": "a"}\n')
    path = record.trial_folder(0) / "events.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "note", "te\xff\xfe')
    assert [e["text"] for e in read_events(folder, 0)[0]] == ["a"]


def test_curves_choose_best_recipe_and_one_that_went_wrong(full: Record) -> None:
    curves = curves_view(full).curves
    assert [c.title for c in curves] == ["best", "recipe", "diverged"]
    assert curves[0].number == full.best
    assert curves[1].number == 0
    assert full.trial(curves[2].number).state == TrialState.DIVERGED
    assert [step for step, _ in curves[0].scores["fd"]] == [111, 333, 1000]
    assert any("segment repeated" in note for note in curves[1].notes)


def test_a_repeated_segment_is_told_once_and_the_later_telling_holds(folder: Path) -> None:
    record = records.build(folder, n=1, finals=False, files=False)
    events = [
        {"kind": "signals", "step": step, "signals": {"loss": value}} for step, value in ((20, 1), (10, 2), (20, 3))
    ]
    events += [{"kind": "signals", "step": 30, "signals": {"loss": "much"}}, {"kind": "signals", "signals": None}]
    _write(record, 0, "".join(json.dumps(e) + "\n" for e in events))
    assert curves_view(record).curves[0].signals == {"loss": ((10, 2.0), (20, 3.0))}


def test_long_curves_are_thinned_to_the_last_point(folder: Path) -> None:
    record = records.build(folder, n=1, finals=False, files=False)
    lines = [json.dumps({"kind": "signals", "step": s, "signals": {"loss": float(s)}}) + "\n" for s in range(1, 1502)]
    _write(record, 0, "".join(lines))
    points = curves_view(record).curves[0].signals["loss"]
    assert len(points) <= POINTS_A_CURVE
    assert points[-1] == (1501, 1501.0)


def test_the_best_may_be_the_recipe(folder: Path) -> None:
    record = replace(records.build(folder, n=9, finals=False), best=0)
    assert curves_view(record).curves[0].title == "best (the recipe)"


def test_values_that_are_not_finite_stay_marked(full: Record) -> None:
    points = dict(curves_view(full).curves[0].signals["real_score"])
    assert math.isnan(points[60])


def test_classes_are_those_of_the_finals_where_there_are_such(full: Record) -> None:
    view = classes_view(full)
    assert view is not None
    assert view.names == full.class_names
    winner = next(f for f in full.finalists if f.trial == full.best)
    assert view.shares == {"real": (0.1,) * 10, "recipe": full.finalists[0].classes, "best": winner.classes}


def test_classes_of_the_search_before_the_finals(folder: Path) -> None:
    record = records.build(folder, n=9, finals=False, files=False)
    assert classes_view(record) is None  # nothing has told its classes yet
    recipe = record.trials[0]
    last = replace(recipe.rungs[-1], classes=(0.2,) * 5 + (0.0,) * 5)
    told = replace(record, trials=(recipe.with_(rungs=(last,)), *record.trials[1:]), best=None)
    view = classes_view(told)
    assert view is not None
    assert set(view.shares) == {"real", "recipe"}
    assert classes_view(replace(told, real_classes=(), class_names=())) is None
