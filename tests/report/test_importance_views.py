from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import records

from maestune.campaign.record import Record
from maestune.report.importance_views import ENOUGH_TRIALS, importance_view
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
    # No order is shown, and none weighs what changed, where nothing can be predicted.
    assert view.rows == ()
    assert view.weights == {}
    assert "cannot be told from these 40 trials" in view.why_not


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
    assert few.why_not.startswith(f"It takes {ENOUGH_TRIALS} trials")
    assert few.why_not.endswith("there are 8 so far.")
    ended = importance_view(replace(records.build(folder / "ended", n=8, finals=False, files=False), done=True))
    assert ended.why_not.endswith("there are 8.")
    same = importance_view(records.all_diverged(folder, n=20))
    assert "same result" in same.why_not
    assert "It takes" in importance_view(records.empty(folder)).why_not
