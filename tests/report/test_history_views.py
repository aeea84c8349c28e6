from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maestune.campaign.record import Record
from maestune.report.history_views import finals_view, history_view
from maestune.types import Objective


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
