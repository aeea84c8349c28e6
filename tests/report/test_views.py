from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import records
from hypothesis import given
from hypothesis import strategies as st

from maestune.campaign.record import Record
from maestune.report import formats
from maestune.report.views import (
    changes_between,
    environment_view,
    front,
    progress_view,
    scores_of,
    state_counts,
    trials_view,
    verdict_view,
)
from maestune.types import Objective, Score, TrialState

TWO = (Objective("fd"), Objective("coverage", higher_is_better=True))


def test_verdict_is_one_sentence_with_number_interval_and_cost(full: Record) -> None:
    text = verdict_view(full).text
    verdict = full.verdicts[0]
    assert text.startswith(
        f"Fréchet distance {formats.number(verdict.recipe.value)} → {formats.number(verdict.best.value)}"
    )
    low, high = formats.percent(verdict.relative_low), formats.percent(verdict.relative_high)
    assert f"95 % interval {low} … {high} %, 5 paired seeds): better than the starting configuration." in text
    assert "What changed most: " in text
    assert "Cost: 2 min 3 s, 40 configurations, " in text


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ("worse", "worse than the starting configuration"),
        ("inconclusive", "inconclusive, because the interval includes zero"),
    ],
)
def test_other_verdicts_say_so(folder: Path, decision: str, words: str) -> None:
    view = verdict_view(records.build(folder, decision=decision, files=False))
    assert view.decision == decision
    assert words in view.text


def test_a_verdict_from_one_seed_claims_no_interval(folder: Path) -> None:
    record = records.build(folder, decision="inconclusive", files=False)
    nan = {"low": math.nan, "high": math.nan, "relative_low": math.nan, "relative_high": math.nan, "seeds": 1}
    view = verdict_view(replace(record, verdicts=(replace(record.verdicts[0], **nan),)))
    assert "interval –" not in view.text
    assert "(1 paired seed)" in view.text.replace("%, ", "(").replace("((", "(")
    assert "few seeds" in view.text


def test_a_recipe_of_value_zero_gives_a_difference_in_units(folder: Path) -> None:
    record = records.build(folder, files=False)
    nan = {"relative": math.nan, "relative_low": math.nan, "relative_high": math.nan}
    view = verdict_view(replace(record, verdicts=(replace(record.verdicts[0], **nan),)))
    assert "Fréchet distance lower by " in view.headline
    assert "%, 95" not in view.finding


def test_while_the_finals_run_nothing_is_decided(folder: Path) -> None:
    view = verdict_view(replace(records.build(folder, files=False), done=False))
    assert view.decision == ""
    assert view.text.startswith("So far ")


def test_without_scores_the_verdict_names_what_happened(folder: Path) -> None:
    assert "No trial has a score so far (5 diverged)" in verdict_view(records.all_diverged(folder)).text
    assert verdict_view(records.empty(folder)).text.startswith("No verdict yet. No trial has a score so far.")


def test_changes_follow_importance_and_leave_out_what_is_equal(full: Record) -> None:
    space = full.space
    recipe = space.centre()
    best = recipe.with_(lr=8e-4, beta1=0.0, depth=3)
    by_size = changes_between(space.params, recipe, best, {})
    assert [c.name for c in by_size] == ["beta1", "depth", "lr"]
    assert by_size[2].text == "lr 0.0002 → 0.0008 (×4.0)"
    by_weight = changes_between(space.params, recipe, best, {"lr": 0.5, "beta1": 0.01, "depth": -1.0})
    assert [c.name for c in by_weight] == ["lr", "beta1", "depth"]
    wgan = space.complete({"loss": "wgan"})
    texts = {c.name: c.text for c in changes_between(space.params, recipe, wgan, {})}
    assert texts == {"loss": "loss ns → wgan", "clip": "clip unused → 0.01"}


def test_finalists_are_shown_with_their_held_out_scores(full: Record) -> None:
    recipe = full.trials[0]
    assert scores_of(full, recipe) == full.finalists[0].scores
    assert scores_of(full, recipe)["fd"] != recipe.score("fd")
    assert progress_view(full).recipe_score == full.finalists[0].scores["fd"]


def test_trials_view_has_every_trial_and_says_what_finals_are(full: Record) -> None:
    rows = trials_view(full).rows
    assert [row.number for row in rows] == list(range(55))
    assert rows[0].title == "recipe"
    assert rows[0].changes == ""
    assert rows[40].title == "final of the recipe"
    assert rows[41].title == f"final of trial {full.finalists[1].trial}"


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


def test_states_are_those_of_the_search_alone(full: Record) -> None:
    counts = state_counts(full)
    assert sum(counts.values()) == 40
    assert counts["crashed"] == 1
    assert counts["diverged"] == sum(t.state == TrialState.DIVERGED for t in full.search_trials)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12), st.integers(2, 4))
def test_numbers_keep_their_leading_digits(value: float, digits: int) -> None:
    text = formats.number(value, digits)
    back = float(text.replace("−", "-").replace(",", ""))
    assert back == pytest.approx(value, rel=0.5 * 10.0 ** (1 - digits) * 1.001, abs=1e-300)
    assert sum(c.isdigit() for c in text.split("e")[0].lstrip("−0.,").rstrip("0")) <= digits


@given(st.floats(min_value=0, max_value=1e9))
def test_durations_grow_with_the_seconds(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    words = formats.duration(seconds).split()
    told = sum(float(n) * units[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert told <= seconds + 0.51
    assert seconds - told <= max(0.51, units[words[1]] / 24 + 1800 * (words[1] == "d"))


def test_the_environment_tells_how_trials_were_trained(full: Record) -> None:
    settings = dict(environment_view(full).settings)
    assert settings["Trained as one"] == (
        "7 groups of together 31 trials, up to 8 at a time; the newest: a step takes 1.2 ms alone, 0.4 ms as one of 8"
    )
    assert "BatchNorm2d" in settings["Trained one by one"]
    assert "Trained as one" not in dict(environment_view(replace(full, manners=())).settings)
