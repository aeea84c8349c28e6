from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import records

from maestune.campaign.record import Record
from maestune.report import formats, html
from maestune.report.comparing import best_name, best_trial, chosen, recipe_trial
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


def test_a_worse_best_is_no_headline_and_no_best(full: Record) -> None:
    found = full.verdicts[0]
    worse = replace(full, verdicts=(replace(found, decision="worse", recipe=found.best, best=found.recipe),))
    assert verdict_view(worse).headline == "Nothing better than the recipe"
    assert (best_name(full), best_name(worse)) == ("best", "best candidate")
    assert best_name(replace(worse, done=False)) == "best"
    assert (chosen(full), chosen(worse)) == (best_trial(full), recipe_trial(full))
    page = html.page(worse)
    assert "What changed most, best candidate against recipe:" in page
    assert '<th scope="col" class="n">Best candidate</th>' in page
    assert '<tr data-state="complete" class=best><td data-v="0">' in page
    outside = replace(full, verdicts=(replace(full.verdicts[0], decision="worse", recipe_outside=0.1),))
    assert verdict_view(outside).headline == verdict_view(full).headline


def test_the_bar_of_an_interval_keeps_its_letters_on_a_narrow_page(full: Record) -> None:
    figure = re.findall(r'<figure class="interval">.*?</figure>', html.page(full), re.DOTALL)[0]
    assert "viewBox" not in figure
    (zero,) = re.findall(r'class="zero" x1="([\d.]+)%"', figure)
    low, high = (float(x) for x in re.findall(r'class="bar" x1="([\d.]+)%" x2="([\d.]+)%"', figure)[0])
    assert 0 < low < high < float(zero) < 100, "all of the interval is below no difference"
    twice = {"relative": 1.0, "relative_low": -0.5, "relative_high": 1.0}
    wide = replace(full, verdicts=(replace(full.verdicts[0], **twice),))
    figure = re.findall(r'<figure class="interval">.*?</figure>', html.page(wide), re.DOTALL)[0]
    (zero,) = re.findall(r'class="zero" x1="([\d.]+)%"', figure)
    assert float(zero) == pytest.approx(50.0, abs=0.1), "half and twice are equally far"
