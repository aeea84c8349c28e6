"""Schedules of the learning rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.errors import SettingsError
from maestune.training.schedules import constant, schedule_of, warmup_stable_decay
from maestune.types import Config

share = st.floats(0.0, 0.5)
inside = st.floats(0.001, 0.999)


@given(inside, share, share)
def test_the_factor_lies_between_nothing_and_all(progress: float, warmup: float, decay: float) -> None:
    assert 0 <= warmup_stable_decay(progress, warmup, decay) <= constant(progress, warmup) <= 1


@given(share, share)
def test_it_is_stable_between_warmup_and_decay(warmup: float, decay: float) -> None:
    middle = (warmup + 1 - decay) / 2
    assert warmup_stable_decay(middle, warmup, decay) == pytest.approx(1.0)


@given(st.floats(0.05, 0.45), st.floats(0.05, 0.45), st.floats(0.0, 1.0))
def test_it_rises_and_falls_linearly(warmup: float, decay: float, x: float) -> None:
    assert warmup_stable_decay(warmup * x, warmup, decay) == pytest.approx(x, abs=1e-9)
    assert warmup_stable_decay(1 - decay * x, warmup, decay) == pytest.approx(x, abs=1e-9)


def test_configs_choose_their_schedule() -> None:
    assert schedule_of(Config.of(schedule="constant", warmup=0.0)) is None
    assert schedule_of(Config.of()) is None
    warm = schedule_of(Config.of(schedule="constant", warmup=0.1))
    assert warm is not None
    assert [warm(p) for p in (0.05, 0.1, 0.99)] == pytest.approx([0.5, 1, 1])
    wsd = schedule_of(Config.of(schedule="wsd", warmup=0.1, decay=0.4))
    assert wsd is not None
    assert [wsd(p) for p in (0.05, 0.5, 0.8, 1.0)] == pytest.approx([0.5, 1, 0.5, 0])
    with pytest.raises(SettingsError, match="'cosine' is not known"):
        schedule_of(Config.of(schedule="cosine"))
