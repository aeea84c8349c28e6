"""Reports as users' code yields them."""

import json
import os
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from maestune.execution.jobs import Job, Outcome, Progress, Setup
from maestune.execution.reports import TrainingError, checked_report
from maestune.execution.segment import run_segment
from maestune.types import Config, Objective, Report

SETUP = Setup("own", "cpu", None, {}, (), (), (Objective("score"),), report_every=5)
ONES = (
    torch.ones((), requires_grad=True) * 1.5,
    torch.tensor([[1.5]]),
    torch.tensor(1.5, dtype=torch.bfloat16),
    np.float32(1.5),
    np.array([1.5]),
    Fraction(3, 2),
    1.5,
)


@pytest.mark.parametrize("value", ONES, ids=lambda v: type(v).__name__)
def test_what_is_one_number_is_that_number(value):
    report = checked_report(Report(3, {"a": value}, scores={"b": value}, choice={"c": value}), 0, 9)
    assert (report.signals, report.scores, report.choice) == ({"a": 1.5}, {"b": 1.5}, {"c": 1.5})
    assert type(report.signals["a"]) is float


@pytest.mark.parametrize("step", [4, np.int64(4), torch.tensor(4), 4.0, np.float32(4)], ids=lambda s: type(s).__name__)
def test_whole_steps_are_ints(step):
    assert type(checked_report(Report(step), 3, 4).step) is int


def test_nan_stays_for_divergence():
    assert str(checked_report(Report(1, {"a": torch.tensor(float("nan"))}), 0, 9).signals["a"]) == "nan"


class Unprintable:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "value", ["x", None, 1 + 2j, 10**400, torch.ones(3), [1.0], Decimal, Unprintable()], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize("place", ["signals", "scores", "choice"])
def test_anything_else_is_named(value, place):
    with pytest.raises(TrainingError, match=r"'loss' is .*one real number was expected"):
        checked_report(Report(1, **{place: {"loss": value}}), 0, 9)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"loss": 1.0}, r"yielded \{'loss': 1.0\} \(dict\); yield maestune.Report"),
        (None, r"yielded None"),
        (Report(1.5), r"step 1.5 \(float\); a whole number was expected"),
        (Report("4"), r"step '4' \(str\)"),
        (Report(True), r"step True"),
        (Report(float("nan")), r"step nan"),
        (Report(10), r"step 10, beyond step 9"),
        (Report(2), r"step 2 after step 2; steps must grow"),
        (Report(3, [1.0]), r"signals of a report are \[1.0\] \(list\); a dict"),
        (Report(3, {1: 1.0}), r"name of a signal is 1 \(int\); text was expected"),
    ],
)  # fmt: skip
def test_reports_that_break_the_contract(report, message):
    with pytest.raises(TrainingError, match=message):
        checked_report(report, 2, 9)


def end(folder, training):
    events = list(run_segment(training, SETUP, Job(0, Config.of(), 0, 0, "search", folder, 20, 40, (10, 20), ()), bool))
    return events[-1]


def beyond(config, run):
    yield Report(10, scores={"score": 1.0})
    yield Report(21, scores={"score": 1.0})


def test_the_traceback_names_the_line_of_the_training(tmp_path):
    assert end(tmp_path, beyond).outcome == Outcome.FAILED
    text = (tmp_path / "error.txt").read_text()
    assert "yield Report(21" in text
    assert "beyond step 20" in text


def stubborn(config, run):
    while True:
        try:
            yield Report(1.5)
        except Exception:
            continue


def dropping(config, run):
    try:
        yield Report(1.5)
    except Exception:
        return


@pytest.mark.parametrize("training", [stubborn, dropping])
def test_a_training_cannot_swallow_its_error(tmp_path, training):
    assert "a whole number was expected" in end(tmp_path, training).message


def leaving(config, run):
    sys.exit("enough")
    yield


def own_base(config, run):
    raise type("Stop", (BaseException,), {})("now")
    yield


def surrogate(config, run):
    raise ValueError("\x1b[31m\ud800 \u202e <b>")
    yield


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def speechless(config, run):
    raise Speechless
    yield


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (leaving, "SystemExit: enough"),
        (own_base, "Stop: now"),
        (surrogate, "ValueError: \\x1b[31m\\ud800 \\x202e <b>"),
        (speechless, "Speechless: no message"),
        (lambda config, run: None, "The training returned a NoneType; it must be a generator: yield Report(step, …)."),
        (
            lambda config, run: [Report(5)],
            "The training returned a list; it must be a generator: yield Report(step, …).",
        ),
    ],
)
def test_whatever_a_training_raises_ends_its_trial(tmp_path, training, message):
    ended = end(tmp_path, training)
    assert (ended.outcome, ended.message) == (Outcome.FAILED, message)
    assert json.loads(json.dumps(ended.message)).encode("utf-8").decode() == message
    assert "Error" in (tmp_path / "error.txt").read_text(encoding="utf-8") or message.split(":")[0] in (
        tmp_path / "error.txt"
    ).read_text(encoding="utf-8")


def test_a_copy_of_the_process_that_comes_back_is_ended(tmp_path):
    children = []

    def forking(config, run):
        for step in run.steps():
            if step == 1:
                child = os.fork()
                if child:
                    children.append(child)
            if run.due(step):
                yield Report(step, {}, scores={"score": 1.0}, state=dict)

    assert end(tmp_path, forking).outcome == Outcome.REACHED
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 1


def test_a_checkpoint_tells_again_what_may_not_have_reached_the_disk(tmp_path):
    def counting(config, run):
        for step in run.steps():
            yield Report(step, {"loss": float(step)}, scores={"score": 1.0}, state=dict)

    job = Job(0, Config.of(), 0, 0, "search", Path(tmp_path), 20, 40, (10, 20), ())
    list(run_segment(counting, SETUP, job, bool))
    again = [e for e in run_segment(counting, SETUP, job, bool) if isinstance(e, Progress)]
    assert [(e.step, e.signals["loss"], e.replayed) for e in again] == [(s, float(s), True) for s in range(1, 21)]
