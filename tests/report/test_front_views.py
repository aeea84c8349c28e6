from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import records

from maestune.campaign.record import Record
from maestune.report.front_views import front, pareto_view
from maestune.types import Objective, Score, TrialState

TWO = (Objective("fd"), Objective("coverage", higher_is_better=True))


def test_front_keeps_what_no_other_beats(folder: Path) -> None:
    record = records.build(folder, n=4, finals=False, objectives=TWO, files=False)
    points = [(5.0, 0.5), (4.0, 0.4), (6.0, 0.45), (4.0, 0.4)]
    trials = []
    for trial, (fd, coverage) in zip(record.trials, points, strict=True):
        rung = record.trials[0].rungs[-1]
        scores = {"fd": Score(fd), "coverage": Score(coverage)}
        trials.append(trial.with_(state=TrialState.COMPLETE, rungs=(replace(rung, scores=scores),)))
    short = trials[0].with_(
        number=9, rungs=(replace(trials[0].rungs[0], step=111, scores={"fd": Score(0.1)} | scores),)
    )
    record = replace(record, trials=(*trials, short))
    assert [t.number for t in front(record)] == [0, 1, 3]  # equal points do not beat each other
    assert [trial.number for trial in front(record)] == [0, 1, 3]


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
