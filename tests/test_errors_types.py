from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune import errors
from maestune.errors import MaestuneError, did_you_mean
from maestune.types import Config, Decision, History, Objective, Report, Rung, Score, Trial, TrialState

# Errors


def test_every_error_of_ours_is_one_that_the_command_line_can_print() -> None:
    ours = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(ours) == 8
    assert all(issubclass(e, MaestuneError) and e.__doc__ for e in ours)


@pytest.mark.parametrize(
    ("name", "known", "sentence"),
    [
        ("lr_rat", ["lr", "lr_ratio", "beta1"], "Did you mean lr_ratio?"),
        ("fd", ["kid"], "Known: kid."),
        ("beta3", ["beta1", "beta2", "lr"], "Did you mean beta2 or beta1?"),
        ("", ["a", "b"], "Known: a, b."),
    ],
)
def test_did_you_mean(name: str, known: list[str], sentence: str) -> None:
    assert did_you_mean(name, known) == sentence
    assert did_you_mean(name, iter(known)) == sentence


# Config

names = st.text("abcdef_", min_size=1, max_size=5)
values = st.one_of(st.floats(allow_nan=False), st.integers(), st.booleans(), st.text('aä "<', max_size=5))
mappings = st.dictionaries(names, values, max_size=6)


@given(mapping=mappings)
def test_config_is_the_mapping_it_was_made_from(mapping: dict) -> None:
    config = Config.of(mapping)
    assert dict(config) == mapping
    assert list(config) == list(mapping)
    assert len(config) == len(mapping)
    assert Config.of(config) == config
    assert hash(Config.of(mapping)) == hash(config)


@given(mapping=mappings, name=names, value=values)
def test_changing_a_config_leaves_the_old_one(mapping: dict, name: str, value) -> None:
    config = Config.of(mapping)
    changed = config.with_(**{name: value})
    assert dict(changed) == {**mapping, name: value}
    assert dict(config) == mapping


def test_config_is_frozen_and_names_what_is_missing() -> None:
    config = Config.of(lr=1e-3, loss="hinge", depth=2)
    with pytest.raises(FrozenInstanceError):
        config.items_ = ()  # type: ignore[misc]
    with pytest.raises(KeyError, match="beta1"):
        config["beta1"]
    assert "beta1" not in config
    assert config.get("beta1") is None


def test_typed_reading_of_a_config() -> None:
    config = Config.of(lr=1e-3, loss="hinge", depth=2, flag=True)
    assert repr(config.number("depth")) == "2.0"
    assert config.number("beta1", 0.5) == 0.5
    assert config.number("lr", 7.0) == 1e-3
    assert config.text("loss") == "hinge"
    assert config.text("norm", "none") == "none"
    assert config.text("depth") == "2"
    with pytest.raises(KeyError, match="beta1"):
        config.number("beta1")
    with pytest.raises(KeyError, match="norm"):
        config.text("norm")


# Trials


def rung(step: int, **scores: float) -> Rung:
    return Rung(step, {name: Score(value) for name, value in scores.items()}, seconds=step / 100)


def test_newest_score_of_a_trial() -> None:
    trial = Trial(0, Config.of(lr=1.0), 7, "search", TrialState.PAUSED, 300, "prior")
    assert trial.step == 0
    assert trial.score("fd") is None
    longer = trial.with_(rungs=(rung(100, fd=9.0, kid=1.0), rung(300, fd=4.0)))
    assert longer.step == 300
    assert longer.score("fd") == Score(4.0)
    assert longer.score("kid") == Score(1.0)
    assert longer.score("coverage") is None
    assert trial.rungs == ()


def test_states_of_trials() -> None:
    assert {s for s in TrialState if not s.final} == {TrialState.RUNNING, TrialState.PAUSED}
    assert {s for s in TrialState if s.failed} == {TrialState.DIVERGED, TrialState.CRASHED}
    assert TrialState("paused") is TrialState.PAUSED
    assert [str(d) for d in Decision] == ["pause", "stop", "complete"]


def test_objective_turns_scores_so_that_smaller_is_better() -> None:
    assert Objective("fd").loss(3.0) == 3.0
    assert Objective("coverage", higher_is_better=True).loss(0.8) == -0.8


def test_history_knows_the_full_training_and_the_first_objective() -> None:
    history = History((), (Objective("fd"), Objective("coverage", True)), (111, 333, 1000))
    assert history.full_steps == 1000
    assert history.objective == Objective("fd")


def test_defaults_are_not_shared() -> None:
    assert Report(1).signals is not Report(2).signals
    assert math.isnan(Score(1.0).low)
    assert math.isnan(Score(1.0).high)
