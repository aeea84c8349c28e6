from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import records

from maestune.campaign.record import Record
from maestune.report.history_views import history_view
from maestune.report.importance_views import Importance, ImportanceView, importance_view
from maestune.report.slice_views import slice_views
from maestune.space import Choice, Space
from maestune.types import Config


def test_slices_show_every_trial_that_has_the_parameter(full: Record) -> None:
    views = {view.name: view for view in slice_views(full, importance_view(full))}
    assert len(views) == 6
    lr = views["lr"]
    having = [t for t in full.search_trials if t.rungs or t.state.failed]
    assert [p.number for p in lr.points] == [t.number for t in having]
    assert {p.mark for p in lr.points} == {"", "best", "recipe"}
    for point in lr.points:
        assert (point.objective is None) == full.trial(point.number).state.failed
        assert 0 <= point.position <= 1


def test_ticks_are_round_numbers_at_their_places(full: Record) -> None:
    def ticks(*names: str) -> dict[str, list[tuple[float, str]]]:
        wanted = ImportanceView(tuple(Importance(name, 1.0, 0.0) for name in names), 1.0, 40)
        return {v.name: list(v.ticks) for v in slice_views(full, wanted)[: len(names)]}

    views = ticks("lr", "beta1", "beta2", "depth", "lr_ratio") | ticks("r1", "loss")
    texts = {name: [text for _, text in view] for name, view in views.items()}
    assert texts["lr"] == ["1e−5", "1e−4", "0.001", "0.01"]
    assert texts["beta1"] == ["0", "0.2", "0.4", "0.6", "0.8"]
    assert texts["beta2"] == ["0.9", "0.99", "0.999"]
    assert texts["depth"] == ["1", "2", "3", "4"]
    assert texts["lr_ratio"] == ["0.5", "1", "2", "5"]
    assert texts["r1"] == ["off", "0.1", "1", "10", "100"]  # 0.01 would touch "off"
    assert texts["loss"] == ["ns", "hinge", "ls", "wgan"]
    for view in views.values():
        places = [place for place, _ in view]
        assert places == sorted(places)
        assert all(0 <= place <= 1 for place in places)


def test_no_slices_without_scores(folder: Path) -> None:
    record = records.all_diverged(folder)
    assert slice_views(record, importance_view(record)) == ()
    assert history_view(record).points == ()
    assert len(history_view(record).failed) == 5


def test_a_panel_needs_a_few_trials(folder: Path) -> None:
    few = records.build(folder, n=2, finals=False, files=False)
    assert slice_views(few, importance_view(few)) == ()
    more = records.build(folder / "more", n=9, finals=False, files=False)
    views = slice_views(more, importance_view(more))
    assert views
    assert all(len(view.points) >= 4 for view in views)


def test_long_names_of_choices_are_cut_at_the_axis(full: Record) -> None:
    space = Space((*full.space.params, Choice("augment", ("none", "colour+translation+cutout"))))
    trials = tuple(t.with_(config=Config.of(**t.config, augment="none")) for t in full.trials)
    wanted = ImportanceView((Importance("augment", 1.0, 0.0),), 1.0, 40)
    (view, *_) = slice_views(replace(full, space=space, trials=trials), wanted)
    assert [text for _, text in view.ticks] == ["none", "colour+transl…"]
