"""Watching a training: what is kept and when it ends, against the plain rule applied to the whole history."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.errors import SettingsError
from maestune.training.early_stopping import (
    VALIDATIONS,
    BestSoFar,
    EarlyStopping,
    Keep,
    early_stopping_of,
    validation_steps,
)
from maestune.types import Config, Objective

values = st.lists(st.one_of(st.floats(-5, 5), st.sampled_from([math.nan, math.inf, 1.0])), min_size=1, max_size=12)


def validated(early_stopping: EarlyStopping, found: list[float]) -> tuple[BestSoFar, int]:
    """What was seen until the end, and after how many looks that was."""
    best, validations = BestSoFar(), 0
    for validations, value in enumerate(found, start=1):
        best = early_stopping.update(best, 10 * validations, value)
        if early_stopping.stops(best):
            break
    return best, validations


@given(values, st.booleans(), st.integers(0, 4))
def test_it_is_the_rule_applied_to_all_that_was_seen(found: list[float], higher: bool, patience: int) -> None:
    early_stopping = EarlyStopping(Objective("score", higher), "best", patience)
    best, validations = validated(early_stopping, found)
    shown = found[:validations]
    finite = [v for v in shown if math.isfinite(v)]
    if not finite:
        assert best.step == 0
        assert best.since == validations
    else:
        value = max(finite) if higher else min(finite)
        assert best.value == value
        assert best.step == 10 * (shown.index(value) + 1)  # of equal ones the first
        assert best.since == validations - best.step // 10
    assert early_stopping.stops(best) == (patience > 0 and best.since >= patience)
    assert early_stopping.stops(best) or validations == len(found)


@given(values, st.integers(1, 11), st.integers(0, 3))
def test_a_training_that_was_paused_is_watched_as_if_it_had_not_been(
    found: list[float], pause: int, patience: int
) -> None:
    early_stopping = EarlyStopping(Objective("score"), "best", patience)
    best, validations = validated(early_stopping, found)
    first, before = validated(early_stopping, found[:pause])
    again = BestSoFar.from_dict(json.loads(json.dumps(first.to_dict())))
    for look in range(before + 1, validations + 1):
        again = early_stopping.update(again, 10 * look, found[look - 1])
    assert again.to_dict() == best.to_dict()


@given(st.integers(1, 10_000))
def test_looks_are_spread_over_a_full_training_and_end_with_it(full_steps: int) -> None:
    steps = validation_steps(full_steps)
    assert steps[-1] == full_steps
    assert steps[0] >= 1
    assert len(steps) == min(VALIDATIONS, full_steps)
    assert (
        all(abs(step - full_steps * (k + 1) / VALIDATIONS) <= 0.5 for k, step in enumerate(steps))
        or full_steps < VALIDATIONS
    )


def test_weights_are_kept_of_the_best_look_alone_and_only_where_they_are_wanted() -> None:
    kept: dict[Keep, list[int]] = {"last": [], "best": []}
    for keep, steps in kept.items():
        early_stopping, best = EarlyStopping(Objective("fd"), keep), BestSoFar()
        for step, value in ((10, math.nan), (20, 5.0), (30, 6.0), (40, 5.0), (50, 1.0), (60, math.nan)):
            best = early_stopping.update(best, step, value)
            steps += [step] * early_stopping.is_best(best, step)
    assert kept == {"last": [], "best": [20, 50]}


def test_configs_say_how_they_are_watched() -> None:
    objective = Objective("fd")
    assert early_stopping_of(Config.of(), objective) is None
    assert early_stopping_of(Config.of(keep="last", patience=0), objective) is None
    assert early_stopping_of(Config.of(keep="best"), objective) == EarlyStopping(objective, "best", 0)
    assert early_stopping_of(Config.of(patience=3), objective) == EarlyStopping(objective, "last", 3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config.of(keep="bst"), r"keep: 'bst' is not known\. Did you mean best"),
        (Config.of(patience=-1), "patience: -1 is no number of validations"),
        (Config.of(patience=1.5), r"patience: 1\.5 is no number of validations"),
    ],
)
def test_what_cannot_be_used_is_named(config: Config, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        early_stopping_of(config, Objective("fd"))
