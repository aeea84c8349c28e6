"""Bounds as people read them: kept or broken, why a best is not better, and on what terms scores are compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import records

from maestune.campaign.record import Record
from maestune.campaign.verdict import verdict, winner
from maestune.report.comparing import compared, finalist, recipe_trial
from maestune.report.console import head_lines
from maestune.report.environment_views import environment_view
from maestune.report.front_views import front
from maestune.report.html import page
from maestune.report.summary import summary
from maestune.report.trial_views import trials_view
from maestune.report.trials_text import trials_csv
from maestune.report.verdict_views import bounds_view, verdict_view
from maestune.types import Constraint, Objective, Score

FD = Objective("fd")


def bounded(record: Record, *constraints: Constraint) -> Record:
    """The record of the same campaign with bounds, judged anew."""
    best = winner(record.finalists, FD, constraints)
    assert best is not None
    told = verdict(record.finalists, best, FD, record.trials, {}, constraints)
    assert told is not None
    return replace(record, constraints=constraints, verdicts=(told,), best=best.trial)


@pytest.fixture(scope="module")
def middle(full: Record) -> float:
    """A coverage between that of the recipe and those of all candidates."""
    recipe, *others = (f.scores["coverage"].value for f in full.finalists)
    assert recipe < min(others)
    return (recipe + min(others)) / 2


def test_a_best_within_the_bounds_is_judged_as_ever(full: Record) -> None:
    record = bounded(full, Constraint("coverage", ">=", 0.01), Constraint("kid", "<", 10.0))
    assert verdict_view(record).decision == verdict_view(bounded(full)).decision == "better"
    assert verdict_view(record).finding == verdict_view(bounded(full)).finding
    rows = bounds_view(record)
    assert [row.text for row in rows] == ["coverage at least 0.01", "kernel distance (KID) below 10"]
    assert page(record).count(": kept</td>") == 4


def test_a_best_that_breaks_a_bound_is_not_better(full: Record, middle: float) -> None:
    record = bounded(full, Constraint("coverage", "<=", middle))
    view = verdict_view(record)
    assert view.decision == "infeasible"
    assert view.headline == "Nothing better within the bounds"
    assert "not better, because it breaks a bound (coverage at most " in view.finding
    assert "that the starting configuration keeps, so keep that." in view.finding
    assert "better than" not in view.text
    shown = page(record)
    assert shown.count(": kept</td>") == shown.count(": broken</td>") == 1
    assert '<section class="card verdict infeasible"' in shown


def test_where_nothing_keeps_the_bounds_the_nearest_is_named(full: Record) -> None:
    far = bounded(full, Constraint("coverage", ">=", 2.0))
    assert far.best == max(full.finalists[1:], key=lambda f: f.scores["coverage"].value).trial
    view = verdict_view(far)
    assert view.headline == "Nothing within the bounds"
    assert "no configuration was found within the bounds (coverage at least 2, and it has 0." in view.finding
    assert "this one is the nearest" in view.finding
    below = verdict_view(bounded(full, Constraint("coverage", "<=", 0.001)))
    assert "the starting configuration is the nearest, so keep that" in below.finding


def test_a_recipe_outside_the_bounds_is_no_reason_to_keep_it(full: Record, middle: float) -> None:
    record = bounded(full, Constraint("coverage", ">=", middle))
    told = record.verdicts[0]
    assert told.decision == "better"
    assert not told.keep_recipe
    worse = replace(record, verdicts=(replace(told, decision="worse"),))
    assert not worse.verdicts[0].keep_recipe
    assert (
        "worse than the starting configuration, which breaks the bounds that this one keeps" in verdict_view(worse).text
    )


def test_bounds_are_told_everywhere(full: Record, middle: float) -> None:
    record = bounded(full, Constraint("coverage", "<=", middle))
    assert "bounds: coverage at most " in head_lines(record)[1]
    assert dict(environment_view(record).settings)["Bounds"].startswith("coverage at most ")
    data = json.loads(json.dumps(summary(record), allow_nan=False))
    (row,) = data["constraints"]
    assert (row["score"], row["sign"], row["bound"]) == ("coverage", "<=", middle)
    assert (row["recipe"]["met"], row["best"]["met"]) == (True, False)
    assert (data["verdict"]["decision"], data["verdict"]["keep_recipe"]) == ("infeasible", True)
    assert trials_view(record).metrics == ("fd", "coverage")
    assert "coverage" in trials_csv(record).splitlines()[0]


def test_without_bounds_nothing_is_told_of_them(full: Record) -> None:
    assert summary(full)["constraints"] == []
    assert "bounds" not in head_lines(full)[1]
    assert '<table class="bounds">' not in page(full)


def test_the_front_is_of_trials_within_the_bounds_where_there_are_any(folder: Path) -> None:
    two = (FD, Objective("coverage", higher_is_better=True))
    record = records.build(folder, objectives=two, files=False)
    everyone = front(record)
    bound = sorted(t.score("kid").value for t in everyone)[0] * 1.5  # type: ignore[union-attr]
    some = front(replace(record, constraints=(Constraint("kid", "<=", bound),)))
    assert some
    assert all(t.score("kid").value <= bound for t in some)  # type: ignore[union-attr]
    assert front(replace(record, constraints=(Constraint("kid", "<=", -1.0),))) == everyone


# Terms ----------------------------------------------------------------------------------------------------------------


def test_scores_of_search_and_finals_never_meet(full: Record) -> None:
    pair = compared(full)
    assert pair.stage == "finals"
    assert pair.floor == full.floor
    recipe_alone = replace(full, finalists=full.finalists[:1])  # the best was not retrained
    pair = compared(recipe_alone)
    assert pair.stage == "search"
    assert pair.floor == full.search_floor
    recipe = recipe_trial(full)
    assert recipe is not None
    assert pair.recipe["fd"] == recipe.score("fd") != finalist(full, recipe).scores["fd"]  # type: ignore[union-attr]
    assert summary(recipe_alone)["search_floor"]["fd"]["value"] == 1.4


def test_the_figures_say_on_what_terms_their_scores_are(full: Record) -> None:
    shown = page(full)
    assert "Each score rests on 1,000 samples; those of the finals on 1,257 samples and other real data" in shown
    assert "Each score rests on 1,257 samples; those of the search on 1,000 samples and other real data" in shown
    assert "Each score rests on" not in page(replace(full, terms={}))


def test_before_the_finals_the_floor_is_that_of_the_search(folder: Path) -> None:
    record = replace(records.build(folder, finals=False, files=False), floor={"fd": Score(77.0)})
    assert compared(record).floor["fd"].value == 1.4
    assert '<td class="n">77.0' not in page(record)
