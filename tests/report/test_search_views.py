from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import records

from maestune.campaign.record import Record
from maestune.report.search_views import (
    ENOUGH_TRIALS,
    Importance,
    ImportanceView,
    finals_view,
    history_view,
    importance_view,
    pareto_view,
    slice_views,
)
from maestune.types import Objective, Rung, Score, TrialState


def test_importance_finds_what_made_the_scores(full: Record) -> None:
    view = importance_view(full)
    # The fixture's scores are made from lr, beta1, depth and a little of the loss; the others are decoys.
    assert view.rows[0].name == "lr"
    # Which of them come next is for chance: with few trials they are within each other's standard errors.
    assert {row.name for row in view.rows[:2]} <= {"lr", "beta1", "depth", "loss"}
    assert view.explained > 0.5
    assert len(view.rows) == len(full.space.varying)


def test_importance_is_deterministic_and_blind_to_scores_that_are_noise(full: Record) -> None:
    assert importance_view(full) == importance_view(full)
    rng = np.random.default_rng(1)
    noise = tuple(
        t.with_(state=TrialState.STOPPED, rungs=(Rung(111, {"fd": Score(float(rng.random()))}, 1.0),))
        for t in full.search_trials
    )
    view = importance_view(replace(full, trials=noise, finalists=(), verdicts=(), best=0))
    assert view.explained < 0.2
    assert max(row.value for row in view.rows) < importance_view(full).rows[0].value


def test_importance_follows_the_direction_of_the_objective(full: Record) -> None:
    flipped = tuple(
        t.with_(rungs=tuple(replace(r, scores={"fd": Score(-r.scores["fd"].value)}) for r in t.rungs))
        for t in full.search_trials
    )
    higher = replace(full, trials=flipped, objectives=(Objective("fd", higher_is_better=True),))
    assert importance_view(higher) == importance_view(full)


def test_importance_says_why_it_has_no_answer(folder: Path) -> None:
    few = importance_view(records.build(folder, n=8, finals=False, files=False))
    assert (few.rows, few.trials) == ((), 8)
    assert f"needs {ENOUGH_TRIALS} trials" in few.why_not
    same = importance_view(records.all_diverged(folder, n=20))
    assert "same result" in same.why_not
    assert "needs" in importance_view(records.empty(folder)).why_not


def test_history_orders_by_what_it_is_over_and_never_gets_worse(full: Record) -> None:
    reversed_clock = tuple(t.with_(clock_seconds=1000.0 - t.number) for t in full.trials)
    record = replace(full, trials=reversed_clock)
    by_number, by_time = history_view(record), history_view(record, "seconds")
    assert [p.number for p in by_time.points] == [p.number for p in by_number.points][::-1]
    for view in (by_number, by_time):
        values = [value for _, value in view.best_so_far]
        assert values == sorted(values, reverse=True)
        assert values[-1] == min(p.score.value for p in view.points if p.step == 1000)
    failed = {t.number for t in full.search_trials if t.state.failed}
    assert {number for number, _ in by_number.failed} == failed
    assert failed.isdisjoint(p.number for p in by_number.points)
    assert by_number.floor == 1.4, "the floor of the search, not the verdict's"


def test_history_of_a_score_that_should_grow(full: Record) -> None:
    record = replace(full, objectives=(Objective("coverage", higher_is_better=True),))
    values = [value for _, value in history_view(record).best_so_far]
    assert values == sorted(values)


def test_finals_are_paired_by_seed(full: Record) -> None:
    view = finals_view(full)
    assert view is not None
    assert [c.role for c in view.columns] == ["recipe", "candidate", "candidate"]
    assert all([seed for seed, _ in c.seeds] == [900, 901, 902, 903, 904] for c in view.columns)
    recipe = view.columns[0]
    assert recipe.mean.value == pytest.approx(np.mean([value for _, value in recipe.seeds]))
    assert finals_view(replace(full, finalists=())) is None


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
    assert texts["r1"] == ["off", "0.01", "0.1", "1", "10", "100"]
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


def test_pareto_needs_two_objectives(full: Record, folder: Path) -> None:
    assert pareto_view(full) is None
    two = replace(full, objectives=(Objective("fd"), Objective("coverage", higher_is_better=True)))
    view = pareto_view(two)
    assert view is not None
    complete = [t for t in full.search_trials if t.step == 1000]
    best = min(complete, key=lambda t: s.value if (s := t.score("fd")) else math.inf)
    # In the fixture coverage is a function of the distance: one trial is best in both.
    assert view.front == (best.number,)
    assert pareto_view(replace(records.empty(folder), objectives=two.objectives)) is None
