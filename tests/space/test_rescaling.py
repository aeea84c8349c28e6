"""Priors that are moved to the length of a training."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.errors import SpaceError
from maestune.space import Choice, Float, Int, Prior, Space, rescale_rates
from maestune.space.rescaling import CITATION, EXPONENT, FARTHEST

PUBLISHED = 100_000
RATE = Float("lr", 1e-5, 1e-1, scale="log", prior=Prior(1e-3, "low", "a paper", PUBLISHED))


def moved(steps: int, *params: Float | Int | Choice) -> Space:
    return rescale_rates(Space(params or (RATE,)), steps)[0]


def centre(space: Space, name: str = "lr") -> float:
    prior = space[name].prior
    assert prior is not None
    return float(prior.centre)


@given(st.integers(PUBLISHED // 90, PUBLISHED * 90))
def test_rates_follow_the_power_law(steps: int) -> None:
    assert centre(moved(steps)) == pytest.approx(1e-3 * (PUBLISHED / steps) ** EXPONENT, rel=1e-4)


def test_ten_times_shorter_is_about_twice_the_rate() -> None:
    assert centre(moved(PUBLISHED // 10)) / 1e-3 == pytest.approx(2.09, abs=0.01)


@pytest.mark.parametrize("factor", [100, 1_000, 100_000])
def test_nobody_is_trusted_farther_than_a_hundred_times(factor: int) -> None:
    most = FARTHEST**EXPONENT
    assert centre(moved(PUBLISHED // factor)) == pytest.approx(1e-3 * most, rel=1e-4)
    assert centre(moved(PUBLISHED * factor)) == pytest.approx(1e-3 / most, rel=1e-4)


def test_a_centre_stays_in_the_range() -> None:
    narrow = Float("lr", 5e-4, 2e-3, scale="log", prior=Prior(1e-3, steps=PUBLISHED))
    assert centre(moved(1_000, narrow)) == 2e-3
    assert centre(moved(10_000_000, narrow)) == 5e-4


def test_a_centre_at_the_end_of_its_range_goes_unmentioned() -> None:
    top = Space((Float("lr", 1e-5, 1e-3, scale="log", prior=Prior(1e-3, steps=PUBLISHED)),))
    assert rescale_rates(top, 1_000) == (top, ())


def test_whole_numbers_stay_whole() -> None:
    found = moved(1_000, Int("heat", 1, 100, scale="log", prior=Prior(10, steps=10_000)))
    assert found["heat"].check(centre(found, "heat")) == 21


def test_ranges_confidence_and_everything_else_stay() -> None:
    others = (
        Float("decay", 0.0, 1.0, prior=Prior(0.5)),
        Choice("kind", ("a", "b"), prior=Prior("a", steps=PUBLISHED)),
        Float("noise", 0.1, 1.0, prior=Prior(0.0, steps=PUBLISHED), off=0.0),
        Float("free", 0.0, 1.0),
    )
    before = Space((RATE, *others))
    after, notes = rescale_rates(before, 1_000)
    assert after.params[1:] == before.params[1:]
    found = after["lr"]
    assert isinstance(found, Float)
    assert (found.low, found.high, found.prior) == (1e-5, 1e-1, Prior(centre(after), "low", "a paper", PUBLISHED))
    assert notes == (
        "lr: draws are centred on 0.0044 in place of 0.001, which is known from trainings of 100,000 steps; one has 1,000 "
        f"here ({CITATION}).",
    )


def test_nothing_moves_for_the_published_length() -> None:
    space = Space((RATE,))
    assert rescale_rates(space, PUBLISHED) == (space, ())


def test_the_length_of_a_prior_is_written_down_and_read_back() -> None:
    space = Space((RATE,))
    assert Space.from_dict(space.to_dict()) == space


@pytest.mark.parametrize("steps", [0, -5, 2.5, "many", True, math.nan])
def test_a_length_must_be_a_number_of_steps(steps: object) -> None:
    data = Space((RATE,)).to_dict()
    data["lr"]["prior"]["steps"] = steps
    with pytest.raises(SpaceError, match="steps"):
        Space.from_dict(data)
