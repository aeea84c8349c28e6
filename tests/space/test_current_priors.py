"""Priors that practice has moved on from: the search starts at the centre and draws elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from maestune.errors import SpaceError
from maestune.space import Choice, Float, Prior, Space, with_current_priors

SINCE = Prior(0.99, "high", "a later paper")
EMA = Float("ema", 0.9, 0.999, scale="logit", prior=Prior(0.0, "low", "a paper", practice=SINCE), off=0.0)
GAME = Choice("loss", ("ns", "ls", "hinge"), prior=Prior("ns", practice=Prior("hinge", "high", "others")))
FREE = Float("lr", 1e-5, 1e-2, scale="log", prior=Prior(1e-3, "medium", "a paper"))
SPACE = Space((EMA, GAME, FREE))


def test_draws_are_as_practised_and_the_centre_stays() -> None:
    current, _ = with_current_priors(SPACE)
    assert dict(SPACE.centre()) == {"ema": 0.0, "loss": "ns", "lr": 1e-3}
    assert current["ema"].prior == SINCE
    rng = np.random.default_rng(0)
    drawn = [current.sample_prior(rng) for _ in range(200)]
    assert sum(config["loss"] == "hinge" for config in drawn) > 150
    decays = np.array([config["ema"] for config in drawn], dtype=float)
    assert 0.98 < np.median(decays) < 0.995
    before = [SPACE.sample_prior(rng) for _ in range(200)]
    assert sum(config["loss"] == "hinge" for config in before) < 60


def test_a_note_says_what_moved_and_who_says_so() -> None:
    _, notes = with_current_priors(SPACE)
    assert notes == (
        "Draws are centred on what has become practice since: ema 0.99 in place of 0 (a later paper); loss hinge in place "
        "of ns (others).",
    )


def test_ranges_and_what_has_no_practice_stay() -> None:
    current, _ = with_current_priors(SPACE)
    assert current["lr"] is FREE
    assert [(p.name, p.points) for p in current] == [(p.name, p.points) for p in SPACE]
    assert with_current_priors(Space((FREE,))) == (Space((FREE,)), ())


def test_what_is_fixed_is_not_drawn() -> None:
    current, notes = with_current_priors(Space((FREE, GAME)).fix("loss", "ns"))
    assert dict(current.sample_prior(np.random.default_rng(0)))["loss"] == "ns"
    assert notes == ()


def test_a_narrower_range_holds_both() -> None:
    prior = SPACE.restrict("ema", 0.95, 0.98)["ema"].prior
    assert prior is not None
    assert prior.practice is not None
    assert (prior.centre, prior.practice.centre) == (0.0, 0.98)


def test_it_is_written_down_and_read_back() -> None:
    assert Space.from_dict(SPACE.to_dict()) == SPACE
    data = EMA.name, {**SPACE.to_dict()["ema"], "prior": {"centre": 0.0, "practice": {"confidence": "low"}}}
    with pytest.raises(SpaceError, match="ema: a prior is"):
        Space.from_dict(dict([data]))
    data = EMA.name, {**SPACE.to_dict()["ema"], "prior": {"centre": 0.0, "practice": "0.99"}}
    with pytest.raises(SpaceError, match="ema: its practice is"):
        Space.from_dict(dict([data]))


def test_a_practice_outside_the_range_is_refused() -> None:
    with pytest.raises(SpaceError, match="prior centre"):
        Float("ema", 0.9, 0.999, prior=Prior(0.95, practice=Prior(2.0)))
