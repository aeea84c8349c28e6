from __future__ import annotations

from dataclasses import replace

import pytest

from maestune.campaign.record import Record
from maestune.report.comparing import best_trial, scores_of, trained
from maestune.report.environment_views import environment_view
from maestune.report.history_views import history_view
from maestune.report.html import page
from maestune.report.importance_views import importance_view
from maestune.report.sample_views import samples_view
from maestune.report.slice_views import slice_views
from maestune.report.training_views import curves_view
from maestune.report.trial_views import progress_view
from maestune.types import Config, Rung


@pytest.fixture
def drawn(full: Record) -> Record:
    """A campaign whose best has the weights of a search trial and draws samples in another way."""
    source = best_trial(full)
    assert source is not None
    drawing = replace(
        source,
        number=len(full.trials),
        stage="sampling",
        source=source.number,
        config=Config.of(**{**source.config, "beta1": 0.111}),
        rungs=(Rung(1000, source.rungs[-1].scores, 1.0),),
    )
    finalists = tuple(
        replace(f, trial=drawing.number) if f.trial == source.number and f.role != "recipe" else f
        for f in full.finalists
    )
    return replace(full, trials=(*full.trials, drawing), best=drawing.number, finalists=finalists)


def test_finalists_are_shown_with_their_held_out_scores(full: Record) -> None:
    recipe = full.trials[0]
    assert scores_of(full, recipe) == full.finalists[0].scores
    assert scores_of(full, recipe)["fd"] != recipe.score("fd")
    assert progress_view(full).recipe_score == full.finalists[0].scores["fd"]


def test_a_best_that_was_only_drawn_shows_the_training_of_its_weights(full: Record, drawn: Record) -> None:
    source = best_trial(full)
    assert trained(drawn, best_trial(drawn)) == source
    assert history_view(drawn).best == full.best
    assert curves_view(drawn) == curves_view(full)
    assert samples_view(drawn).training == samples_view(full).training
    marked = {p.number for v in slice_views(drawn, importance_view(drawn)) for p in v.points if p.mark == "best"}
    assert marked == {full.best}
    assert dict(environment_view(drawn).cost)["Ways of sampling"] == "1"
    assert "Ways of sampling" not in dict(environment_view(full).cost)
    shown = page(drawn)
    assert f"drawn from trial {full.best}" in shown
    assert "beta1" in shown
