"""Campaigns end as those that were recorded: every column but seconds is equal to the last bit."""

import pytest

from recorded_campaigns import MODELS, RECORDED, SEEDS, arithmetic, recorded, run

IN_CI = [("gan", 0), ("loop", 1)]
REST = [(case, seed) for case in MODELS for seed in SEEDS if (case, seed) not in IN_CI]


@pytest.mark.parametrize(("case", "seed"), [*IN_CI, *(pytest.param(*c, marks=pytest.mark.slow) for c in REST)])
def test_a_campaign_ends_as_it_was_recorded(case, seed, tmp_path):
    if arithmetic() != (RECORDED / "arithmetic.txt").read_text(encoding="utf-8").strip():
        pytest.skip("this processor or these libraries round otherwise than where the campaigns were recorded")
    rows, summary = run(case, seed, tmp_path / "campaign")
    old_rows, old_summary = recorded(case, seed)
    assert list(rows[0]) == list(old_rows[0]), "the columns"
    assert rows == old_rows
    assert summary == old_summary
