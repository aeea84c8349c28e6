from __future__ import annotations

from maestune.campaign.record import Record
from maestune.report.trial_views import state_counts, trials_view
from maestune.types import TrialState


def test_trials_view_has_every_trial_and_says_what_finals_are(full: Record) -> None:
    rows = trials_view(full).rows
    assert [row.number for row in rows] == list(range(55))
    assert rows[0].title == "recipe"
    assert rows[0].changes == ()
    assert rows[40].title == "final of the recipe"
    assert rows[41].title == f"final of trial {full.finalists[1].trial}"


def test_states_are_those_of_the_search_alone(full: Record) -> None:
    counts = state_counts(full)
    assert sum(counts.values()) == 40
    assert counts["crashed"] == 1
    assert counts["diverged"] == sum(t.state == TrialState.DIVERGED for t in full.search_trials)
