from __future__ import annotations

from maestune.campaign.record import Record
from maestune.report.comparing import scores_of
from maestune.report.trial_views import progress_view


def test_finalists_are_shown_with_their_held_out_scores(full: Record) -> None:
    recipe = full.trials[0]
    assert scores_of(full, recipe) == full.finalists[0].scores
    assert scores_of(full, recipe)["fd"] != recipe.score("fd")
    assert progress_view(full).recipe_score == full.finalists[0].scores["fd"]
