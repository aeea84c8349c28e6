from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import records

from maestune.campaign.record import Record
from maestune.report import formats
from maestune.report.verdict_views import verdict_view


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
