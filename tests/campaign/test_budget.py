import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.campaign.budget import MIN_FINAL_SEEDS, Budget, seconds_text
from maestune.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("90s", "seconds", 90),
        ("2m", "seconds", 120),
        ("4h", "seconds", 14400),
        ("1h30m", "seconds", 5400),
        ("1d", "seconds", 86400),
        ("1.5h", "seconds", 5400),
        ("40trials", "trials", 40),
        ("1 trial", "trials", 1),
        ("10full", "full", 10),
        ("2.5full", "full", 2.5),
    ],
)
def test_parse(text, kind, amount):
    assert Budget.parse(text) == Budget(kind, amount)


@pytest.mark.parametrize("text", ["", "10", "s", "ten", "-5m", "5x", "0s", "0trials", "2.5trials", "m5"])
def test_what_is_no_budget_is_named_with_what_would_be(text):
    with pytest.raises(SettingsError, match=r"Budget"):
        Budget.parse(text)


@given(st.integers(1, 10_000), st.sampled_from(["trials", "full"]))
def test_the_search_leaves_room_for_two_seeds_each(amount, kind):
    budget = Budget(kind, amount)
    assert budget.search_amount >= 2
    if amount >= 2 * MIN_FINAL_SEEDS + 2:
        assert amount - budget.search_amount >= 2 * MIN_FINAL_SEEDS


def test_seconds_in_words():
    assert [seconds_text(s) for s in (0.4, 59.7, 60, 3599, 3600, 90061)] == [
        "0 s",
        "1 min",
        "1 min",
        "59 min 59 s",
        "1 h 0 min",
        "25 h 1 min",
    ]
