"""Campaigns of a GAN on digits whose trials are trained several as one: what is killed or interrupted goes on as it was."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maestune.campaign import Campaign, Settings
from maestune.campaign.build_record import read_record
from maestune.types import TrialState

DYING = f"{Path(__file__).parent / 'dying.py'}:family"
# One structure, so that groups grow: of one, and one more for every four trials so far.
FIXED = {
    "width": 64, "depth": 2, "latent_dim": 32, "batch_size": 32, "d_steps": 1, "norm_g": "batch", "norm_d": "none",
    "activation_g": "relu", "activation_d": "leaky_relu", "loss": "ns", "penalty": "none", "optimizer": "adam",
}  # fmt: skip
GROUPS = {"model": DYING, "budget": "32trials", "steps": 90, "samples": 300, "members": 4, "set": FIXED}


def settings(out, **values):
    return Settings.make(**{**GROUPS, "workers": 1, "out": str(out), **values})


def command(out):
    fixed = [text for name, value in FIXED.items() for text in ("--set", f"{name}={value}")]
    given = ["--budget", "32trials", "--steps", "90", "--samples", "300", "--members", "4", "--workers", "1"]
    return [sys.executable, "-m", "maestune", "tune", DYING, *given, *fixed, "--out", str(out)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Campaign(settings(tmp_path_factory.mktemp("whole") / "c")).run()


def events(record, number):
    text = (record.trial_folder(number) / "events.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def groups(record, stage="search"):
    """The numbers of the trials that began together to be trained as one, of each group's first segment."""
    found: dict[int, list[int]] = {}
    for trial in record.trials:
        training_modes = [e for e in events(record, trial.number) if e["kind"] == "manner"]
        if trial.stage == stage and training_modes and training_modes[0]["manner"] == "fused":
            found.setdefault(training_modes[0]["members"], []).append(trial.number)
    return found


def assert_nothing_is_doubled(record):
    for trial in record.trials:
        steps = [(e["kind"], e["step"]) for e in events(record, trial.number) if "step" in e]
        assert len(steps) == len(set(steps))
        assert steps == sorted(steps, key=lambda pair: pair[1])


class Acting:
    """Does something once, as soon as so many trials are trained at a time and it was asked so often."""

    def __init__(self, action, at_once=0, asked=1, event=None):
        self.action, self.at_once, self.asked, self.event_number = action, at_once, asked, event
        self.done = False

    def start(self, record):
        pass

    def event(self, text):
        if self.event_number is not None:
            self.event_number -= 1
            if self.event_number == 0:
                self._act()

    def update(self, record, elapsed_seconds, left_seconds, activity):
        if self.event_number is None and len(activity) >= self.at_once:
            self.asked -= 1
            if self.asked == 0:
                self._act()

    def finish(self, record):
        pass

    def _act(self):
        self.done = True
        self.action()


# Whole ----------------------------------------------------------------------------------------------------------------


def test_trials_are_trained_as_one_and_the_record_says_so(whole):
    assert whole.done
    assert whole.verdicts
    (mode,) = whole.training_modes
    assert (mode.name, mode.members) == ("fused", 4)
    assert mode.groups >= 5
    assert mode.trials >= 2 * mode.groups
    assert mode.reason == "4 members of one structure"
    searched = groups(whole)
    assert {2, 3, 4} <= set(searched), searched
    assert [len(found) % members for members, found in searched.items()] == [0] * len(searched)
    assert groups(whole, "finals"), "the seeds of a finalist are trained as one"
    assert any(t.state == TrialState.DIVERGED for t in whole.trials), "otherwise the tests below say less"
    assert_nothing_is_doubled(whole)


def test_without_members_every_trial_is_trained_alone(tmp_path):
    small = {"budget": "9trials", "workers": 0}
    for values in ({"members": 1}, {"fuse": "off"}):
        record = Campaign(settings(tmp_path / next(iter(values)), **small, **values)).run()
        assert record.done
        assert record.training_modes == ()
        assert not any(t.fused for t in record.trials)
        assert not any(e["kind"] == "manner" for t in record.trials for e in events(record, t.number))


def test_how_many_are_trained_as_one_is_part_of_a_campaign(tmp_path):
    folder = tmp_path / "c"
    first = Acting(lambda: os.kill(os.getpid(), signal.SIGINT), event=3)
    Campaign(settings(folder, workers=0)).run([first])
    with pytest.raises(Exception, match="trained as one: at most 4 → at most 2"):
        Campaign(settings(folder, workers=0, members=2)).run()


# Interrupted ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_inline(tmp_path_factory):
    # Not compared with `whole`: with another number of threads sums are added in another order.
    return Campaign(settings(tmp_path_factory.mktemp("inline") / "c", workers=0)).run()


def _interrupted_and_resumed(folder, expected, table, watcher):
    record = Campaign(settings(folder, workers=0)).run([watcher])
    assert watcher.done
    assert not record.done
    again = Campaign.resume(folder).run()
    assert table(again) == table(expected)
    assert_nothing_is_doubled(again)


@pytest.mark.parametrize("at_once", [2, 4])
def test_a_group_that_is_interrupted_goes_on_as_if_it_had_not_been(whole_inline, tmp_path, monkeypatch, at_once, table):
    monkeypatch.setattr("maestune.campaign.run.WAIT_SECONDS", 0.0)  # the watcher is told of every event
    watcher = Acting(lambda: os.kill(os.getpid(), signal.SIGINT), at_once)
    _interrupted_and_resumed(tmp_path / "c", whole_inline, table, watcher)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(30))
def test_interrupted_at_many_moments(whole_inline, tmp_path, moment, table):
    watcher = Acting(lambda: os.kill(os.getpid(), signal.SIGINT), event=2 + moment)
    _interrupted_and_resumed(tmp_path / "c", whole_inline, table, watcher)


# Killed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_a_worker_killed_in_the_middle_of_a_group_costs_only_its_segment(whole, tmp_path, monkeypatch, at_once, table):
    monkeypatch.setenv("DYING_FOLDER", str(tmp_path))
    (tmp_path / "kill-worker-once").write_text(str(at_once))
    record = Campaign(settings(tmp_path / "c")).run()
    assert table(record) == table(whole)
    repeated = sum("SIGKILL" in note and "repeated" in note for note in record.notes)
    assert repeated == at_once
    assert_nothing_is_doubled(record)
    hurt = [t.number for t in record.trials if any(e["kind"] == "note" for e in events(record, t.number))]
    assert len(hurt) == repeated
    for number in hurt:  # in the group, then alone, as a member of it
        training_modes = [(e["manner"], e["members"]) for e in events(record, number) if e["kind"] == "manner"]
        assert ("fused", 1) in training_modes, training_modes


def _killed_and_resumed(folder, expected, table, begun, delay_seconds):
    """Kill the whole campaign some time after a trial has begun, start it again; True if the kill came in time."""
    environment = {**os.environ, "DYING_FOLDER": str(folder.parent)}
    (folder.parent / "slow").touch()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(folder), env=environment, start_new_session=True, **quiet)
    deadline = time.monotonic() + 120
    while not (folder / "trials" / f"{begun:04d}").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(delay_seconds)
    in_time = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (folder.parent / "slow").unlink()
    subprocess.run(command(folder), check=True, stdout=subprocess.DEVNULL)
    record = read_record(folder)
    assert record.done
    assert table(record) == table(expected)
    assert record.training_modes == expected.training_modes
    assert_nothing_is_doubled(record)
    return in_time


def test_kill_9_in_the_middle_of_a_group(whole, tmp_path, table):
    assert _killed_and_resumed(tmp_path / "c", whole, table, groups(whole)[4][0], 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_kill_9_at_many_random_moments(whole, tmp_path, moment, table):
    rng = random.Random(moment)
    _killed_and_resumed(tmp_path / "c", whole, table, rng.randrange(len(whole.trials)), rng.uniform(0.0, 0.3))
