"""Trainings that are watched: which weights they end with, early ends, pauses, crashes, and the verdict's split."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from maestune.errors import StoreError
from maestune.execution.best_weights import kept_state
from maestune.execution.folder import checkpoints
from maestune.execution.jobs import Job, Outcome, Scored, Setup
from maestune.execution.segment import run_segment
from maestune.training.checkpoint import load_checkpoint
from maestune.types import Config, Objective, Report, Score

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


SETUP = Setup("own", "cpu", None, {}, (), (), (Objective("score"),), report_every=5)


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
    assert kept_state(load_checkpoint(checkpoints(tmp_path)[0]))["weights"] == weights


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


# What chooses does not judge ------------------------------------------------------------------------------------------

EVALUATED = (
    100.0,
    101.0,
    108.0,
    103.0,
    90.0,
    102.0,
    104.0,
    107.0,
)  # on the report part, at the looks: the best is the fifth


def chosen(config, run):
    """A training that tells, in the finals, one curve to choose by and quite another to be evaluated by."""
    for step in run.steps():
        if run.due(step):
            look = max(0, math.ceil(step / 10) - 1)
            choice = {"score": CURVE[look]} if step in run.validation_steps and run.split == "report" else {}
            value = EVALUATED[look] if run.split == "report" else CURVE[look]
            yield Report(step, scores={"score": value}, choice=choice, state=lambda s=step: {"weights": s})


@pytest.mark.parametrize(
    ("config", "value", "weights"),
    [
        ({"keep": "best"}, 104.0, 70),  # the seventh look is best by the search part: 2.0, whatever it is worth here
        ({"keep": "best", "patience": 2}, 108.0, 30),  # ends at the fifth, though it is the best by the report part
        ({"patience": 2}, 90.0, 50),
        ({}, 107.0, 80),
    ],
)
def test_in_the_finals_the_search_part_chooses_and_the_report_part_judges(tmp_path, config, value, weights):
    events = run(job(tmp_path, split="report", rungs=(), **config), training=chosen)
    assert told(events) == [(80, value)]
    assert kept_state(load_checkpoint(checkpoints(tmp_path)[0]))["weights"] == weights
    if "keep" in config:
        assert value not in CURVE, "what is shown is not the value that it was chosen by"
        assert value != min(EVALUATED), "nor the best of the verdict's own"


class OneNumber:
    """An evaluator of samples that are one number each: their mean; knows how many it wants, and remembers what it saw."""

    def __init__(self, split, n_samples):
        self.split, self.n_samples, self.metrics, self.seen = split, n_samples, ("score",), []

    def extract(self, samples):
        assert len(samples) == self.n_samples, "judged on other terms than its own"
        self.seen.append(float(samples.mean()))
        return self.seen[-1]

    def score(self, seen, metrics, intervals=False):
        return {"score": Score(seen)}

    def classes(self, seen):
        return ()


def sampling(config, run):
    """A training whose samples show a curve, those for the choice another."""
    for step in run.steps():
        if run.due(step):
            look = max(0, math.ceil(step / 10) - 1)
            validated = step in run.validation_steps and run.split == "report"
            curve = EVALUATED if run.split == "report" else CURVE
            yield Report(
                step,
                samples=torch.full((run.n_samples(step), 1, 1, 1), curve[look]) if run.n_samples(step) else None,
                choice_samples=torch.full((run.n_choice, 1, 1, 1), CURVE[look]) if validated else None,
                state=lambda s=step: {"weights": s},
            )


@pytest.mark.parametrize(("split", "value", "weights"), [("report", 104.0, 70), ("search", 2.0, 70)])
def test_each_part_has_a_judge_and_a_number_of_samples_of_its_own(tmp_path, split, value, weights):
    evaluators = {"search": OneNumber("search", 3), "report": OneNumber("report", 7)}
    setup = replace(
        SETUP, evaluators=evaluators, metrics=("score",), full_metrics=("score",), verdict_metrics=("score",)
    )
    events = run(job(tmp_path, split=split, rungs=(), keep="best"), training=sampling, setup=setup)
    assert told(events) == [(80, value)]
    assert kept_state(load_checkpoint(checkpoints(tmp_path)[0]))["weights"] == weights
    # Every look is chosen by; only what is kept in the end is evaluated in full.
    assert evaluators["search"].seen == pytest.approx([*CURVE, *([value] if split == "search" else [])])
    assert evaluators["report"].seen == ([value] if split == "report" else [])


@pytest.mark.parametrize("at", range(5, 85, 5))
@pytest.mark.parametrize("split", ["search", "report"])
def test_samples_that_wait_to_be_judged_survive_an_interruption(tmp_path, split, at):
    evaluators = {"search": OneNumber("search", 3), "report": OneNumber("report", 7)}
    setup = replace(
        SETUP, evaluators=evaluators, metrics=("score",), full_metrics=("score",), verdict_metrics=("score",)
    )
    asked = job(tmp_path, split=split, rungs=(), keep="best", patience=4)
    step = iter(range(5, 200, 5))
    run(asked, stop=lambda: next(step) == at, training=sampling, setup=setup)
    assert told(run(asked, training=sampling, setup=setup)) == [(80, 104.0 if split == "report" else 2.0)]
