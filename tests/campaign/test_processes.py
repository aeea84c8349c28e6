"""Campaigns in worker processes: killed workers, killed campaigns, full disks."""

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
from maestune.errors import SettingsError, StoreError
from maestune.report.summary import summary
from maestune.types import TrialState

SYNTHETIC = str(Path(__file__).parent / "synthetic.py")
COMMAND = [sys.executable, "-m", "maestune", "tune", SYNTHETIC, "--budget", "14trials", "--workers", "1"]


def settings(out, **values):
    return Settings.make(**{"model": SYNTHETIC, "budget": "14trials", "workers": 1, "out": str(out), **values})


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return Campaign(settings(tmp_path_factory.mktemp("whole") / "c")).run()


def test_two_workers_lose_and_double_nothing(tmp_path):
    record = Campaign(settings(tmp_path / "c", workers=2)).run()
    assert record.done
    assert [t.number for t in record.trials] == list(range(len(record.trials)))
    assert len({t.config for t in record.search_trials}) == len(record.search_trials)
    assert all(t.state.final for t in record.trials)


def test_inline_and_process_agree(uninterrupted, tmp_path, table):
    assert table(Campaign(settings(tmp_path / "c", workers=0)).run()) == table(uninterrupted)


def test_a_killed_worker_costs_only_its_segment(uninterrupted, tmp_path, monkeypatch, table):
    monkeypatch.setenv("SYNTHETIC_FOLDER", str(tmp_path))
    (tmp_path / "kill-worker-once").touch()
    record = Campaign(settings(tmp_path / "c")).run()
    assert table(record) == table(uninterrupted)
    assert any("SIGKILL" in note and "repeated" in note for note in record.notes)


def test_a_trial_that_kills_every_worker_is_told_to_the_search_as_bad(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHETIC_FOLDER", str(tmp_path))
    (tmp_path / "always-kill").touch()
    with pytest.raises(SettingsError, match="killed by SIGKILL"):
        Campaign(settings(tmp_path / "c")).run()
    crashed = read_record(tmp_path / "c").trials
    assert [t.state for t in crashed] == [TrialState.CRASHED] * 3


def _killed_and_resumed(folder, expected, table, delay_seconds, command=COMMAND):
    """Start the command, kill its whole process group after a while, start it again; True if the kill came in time."""
    command = [*command, "--out", str(folder)]
    environment = {**os.environ, "SYNTHETIC_FOLDER": str(folder.parent)}
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (folder / "study.db").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay_seconds)
    in_time = process.poll() is None
    if in_time:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    record = read_record(folder)
    assert record.done
    assert table(record) == table(expected)
    assert _timeless(record) == _timeless(expected)
    for trial in record.trials:  # each event is there once
        events = map(json.loads, (record.trial_folder(trial.number) / "events.jsonl").read_text().splitlines())
        steps = [(e["kind"], e["step"]) for e in events if "step" in e]
        assert len(steps) == len(set(steps))
    return in_time


def _timeless(record):
    """The numbers of the summary but for times."""
    return {name: value for name, value in summary(record).items() if name not in ("campaign", "seconds")}


@pytest.mark.parametrize("moment", range(3))
def test_kill_9_and_the_same_command_again(uninterrupted, tmp_path, moment, table):
    (tmp_path / "slow").touch()
    delay = random.Random(moment).uniform(0.0, 1.5)
    assert _killed_and_resumed(tmp_path / "c", uninterrupted, table, delay)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(24))
def test_kill_9_at_many_random_moments(uninterrupted, tmp_path, moment, table):
    (tmp_path / "slow").touch()
    delay = random.Random(1000 + moment).uniform(0.0, 3.5)
    _killed_and_resumed(tmp_path / "c", uninterrupted, table, delay)


GAN = [
    *COMMAND[:4],
    "gan",
    "--data",
    "digits",
    "--budget",
    "24trials",
    "--members",
    "4",
    "--steps",
    "90",
    "--samples",
    "300",
    "--workers",
    "1",
]


@pytest.fixture(scope="module")
def uninterrupted_gan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gan") / "c"
    subprocess.run([*GAN, "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return read_record(folder)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_kill_9_of_a_gan_campaign_at_many_random_moments(uninterrupted_gan, tmp_path, moment, table):
    delay = random.Random(2000 + moment).uniform(0.0, 6.0)
    _killed_and_resumed(tmp_path / "c", uninterrupted_gan, table, delay, GAN)


def test_workers_do_not_outlive_a_killed_campaign(tmp_path):
    (tmp_path / "slow").touch()
    environment = {**os.environ, "SYNTHETIC_FOLDER": str(tmp_path)}
    process = subprocess.Popen(
        [*COMMAND, "--out", str(tmp_path / "c")],
        env=environment,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while not list((tmp_path / "c").rglob("trials/*")) and process.poll() is None:
        time.sleep(0.05)
    process.kill()  # the campaign alone
    process.wait()
    assert _group_ends(process.pid)


def _group_ends(group, within_seconds=10):
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_ctrl_c_checkpoints_and_resume_goes_on(uninterrupted, tmp_path, table):
    (tmp_path / "slow").touch()
    environment = {**os.environ, "SYNTHETIC_FOLDER": str(tmp_path)}
    command = [*COMMAND, "--out", str(tmp_path / "c")]
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list((tmp_path / "c").rglob("trials/*")) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "maestune resume" in output
    assert "Traceback" not in errors
    subprocess.run(
        [sys.executable, "-m", "maestune", "resume", str(tmp_path / "c")],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert table(read_record(tmp_path / "c")) == table(uninterrupted)


def test_ctrl_c_twice_quits_at_once(tmp_path):
    (tmp_path / "endless.py").write_text(
        "import time\n"
        "from maestune import Float, Report, Space\n"
        "space, objective = Space((Float('x', 0.0, 1.0),)), 'score:max'\n"
        "def train(config, run):\n"
        "    time.sleep(600)\n"
        "    yield Report(run.until_steps, scores={'score': 1.0})\n"
    )
    command = [*COMMAND[:4], "endless.py", "--budget", "4trials", "--workers", "1", "--out", "c"]
    process = subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list((tmp_path / "c").rglob("trials/*")) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first waits for checkpoints"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert _group_ends(process.pid)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_an_error_and_loses_nothing(uninterrupted, small_disk, table):
    ballast = small_disk / "ballast"
    folder = small_disk / "c"
    with pytest.raises(StoreError, match=r"Cannot write to .*same command again"):
        Campaign(settings(folder)).run([_Filler(ballast)])
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    record = Campaign(settings(folder)).run()
    assert table(record) == table(uninterrupted)


class _Filler:
    """Fills the disk once the campaign is under way."""

    def __init__(self, ballast):
        self.ballast, self.events = ballast, 0

    def start(self, record):
        pass

    def event(self, text):
        self.events += 1
        if self.events == 6:
            with contextlib.suppress(OSError), self.ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 1024)

    def update(self, record, elapsed_seconds, left_seconds, activity):
        pass

    def finish(self, record):
        pass
