"""Trainings that are watched: which weights they end with, early ends, pauses, crashes, and the verdict's split."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from maestune.errors import StoreError
from maestune.execution.jobs import Job, Outcome, Scored, Setup
from maestune.execution.segment import newest_checkpoint, run_segment
from maestune.execution.watching import kept_state
from maestune.types import Config, Objective, Report

CURVE = (9.0, 5.0, 3.0, 4.0, 3.5, 3.2, 2.0, 6.0)  # at the looks of 80 steps


def curved(config, run):
    """A training whose score follows a curve; its weights are the step at which they were. On the report split it is 100 more."""
    asked = run.split == "report"

    def told(step, weights):
        return Report(step, scores={"score": CURVE[max(0, math.ceil(weights / 10) - 1)] + 100 * asked},
                      state=lambda: {"weights": weights})  # fmt: skip

    weights = run.state["weights"] if run.state is not None else 0
    if not run.steps():
        yield told(run.start_steps, weights)
    for step in run.steps():
        weights += 1
        if run.due(step):
            yield told(step, weights)


SETUP = Setup("own", "cpu", None, {}, (), (), (Objective("score"),), 0, report_every=5)


def job(folder, until=80, split="search", rungs=(20, 80), **config):
    return Job(0, Config.of(x=1.0, **config), 0, 0, split, Path(folder), until, 80, rungs, ())


def run(asked, stop=lambda: False, training=curved, setup=SETUP):
    return list(run_segment(training, setup, asked, stop))


def told(events):
    return [(e.rung.step, e.rung.scores["score"].value) for e in events if isinstance(e, Scored)]


@pytest.mark.parametrize(
    ("config", "expected", "ended_at", "weights"),
    [
        ({}, [(20, 5.0), (80, 6.0)], 80, 80),
        ({"keep": "best"}, [(20, 5.0), (80, 2.0)], 80, 70),
        ({"patience": 2}, [(20, 5.0), (80, 3.5)], 50, 50),
        ({"keep": "best", "patience": 2}, [(20, 5.0), (80, 3.0)], 50, 30),
        ({"keep": "best", "patience": 4}, [(20, 5.0), (80, 2.0)], 80, 70),
    ],
)
def test_what_a_training_ends_with(tmp_path, config, expected, ended_at, weights):
    events = run(job(tmp_path, **config))
    assert told(events) == expected
    assert (events[-1].outcome, events[-1].step) == (Outcome.REACHED, ended_at)
    assert kept_state(newest_checkpoint(tmp_path, 80))["weights"] == weights


def test_rungs_are_no_looks(tmp_path):
    config = {"keep": "best", "patience": 2}
    plain = run(job(tmp_path / "a", rungs=(80,), **config))
    more = run(job(tmp_path / "b", rungs=(12, 15, 35, 80), **config))
    assert plain[-1].step == more[-1].step


@pytest.mark.parametrize("config", [{"keep": "best"}, {"patience": 2}, {"keep": "best", "patience": 2}])
def test_pauses_change_nothing(tmp_path, config):
    whole = told(run(job(tmp_path / "a", **config)))
    run(job(tmp_path / "b", until=20, **config))
    assert told(run(job(tmp_path / "b", **config))) == whole


@pytest.mark.parametrize("at", range(5, 85, 5))
@pytest.mark.parametrize("config", [{"keep": "best"}, {"patience": 2}, {"keep": "best", "patience": 2}])
def test_interruptions_change_nothing(tmp_path, config, at):
    whole = told(run(job(tmp_path / "a", **config)))
    step = iter(range(5, 200, 5))
    run(job(tmp_path / "b", **config), stop=lambda: next(step) == at)
    again = run(job(tmp_path / "b", **config))
    assert told(again) == whole
    assert told(run(job(tmp_path / "b", **config))) == whole  # and told again it is the same


@pytest.mark.parametrize("writes", range(6))
@pytest.mark.parametrize("config", [{"keep": "best"}, {"keep": "best", "patience": 2}])
def test_a_crash_at_any_checkpoint_changes_nothing(tmp_path, monkeypatch, config, writes):
    from maestune.execution import segment

    whole = told(run(job(tmp_path / "a", **config)))
    real, left = segment.save_checkpoint, [writes]

    def dying(path, state):
        if not left[0]:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        real(path, state)

    monkeypatch.setattr(segment, "save_checkpoint", dying)
    setup = replace(SETUP, checkpoint_seconds=0.0)
    with pytest.raises(StoreError):
        run(job(tmp_path / "b", **config), setup=setup)
    monkeypatch.setattr(segment, "save_checkpoint", real)
    assert told(run(job(tmp_path / "b", **config), setup=setup)) == whole


def test_a_training_that_ended_early_before_a_rung_is_promoted_as_it_is(tmp_path):
    first = run(job(tmp_path, until=60, rungs=(60,), keep="best", patience=2))
    assert told(first) == [(60, 3.0)]
    second = run(job(tmp_path, rungs=(60, 80), keep="best", patience=2))
    assert told(second) == [(60, 3.0), (80, 3.0)]
    assert second[-1].step == 50
