"""Trainings that hang, requests to stop at any moment, and folders that hold another campaign's trials."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from maestune import Float, Report, Space
from maestune.campaign import Campaign
from maestune.campaign.build_record import read_record
from maestune.campaign.store import set_aside
from maestune.campaign.watchdog import GRACE_SECONDS
from maestune.errors import CheckpointError, StoreError
from maestune.execution.folder import checkpoints, newest_checkpoint
from maestune.execution.jobs import Identity
from maestune.types import Config, TrialState

HANGING = """
import time
from maestune import Float, Report, Space
space, objective, full_steps = Space((Float("x", -2.0, 2.0),)), "loss:min", 27
def train(config, run):
    for step in run.steps():
        if config["x"] != 0 and step == 1:
            time.sleep(10**6)
        if run.due(step):
            yield Report(step, {}, scores={"loss": 1.0 / step}, state=lambda: {"s": step})
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_that_hangs_is_an_outcome_of_its_trial(tmp_path, workers):
    (tmp_path / "hanging.py").write_text(HANGING)
    campaign = Campaign(
        model=f"{tmp_path / 'hanging.py'}:train",
        budget="6trials",
        trial_timeout="1",
        workers=workers,
        out=str(tmp_path / "c"),
        data=None,
    )
    record = campaign.run()
    others = [t for t in record.search_trials if t.role != "recipe"]
    assert others
    assert all(t.state == TrialState.CRASHED for t in others)
    assert all("no report for 1 s" in t.decision for t in others)
    assert record.trial(0).state == TrialState.COMPLETE
    assert "in train" in (record.trial_folder(others[0].number) / "error.txt").read_text(), "where it hung"


@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_first_ctrl_c_ends_a_campaign_whose_training_hangs(tmp_path, workers):
    (tmp_path / "hanging.py").write_text(HANGING)
    process = started(["hanging.py", "--budget", "6trials", "--workers", workers, "--out", "c"], tmp_path)
    while not (tmp_path / "c" / "trials" / "0001").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=GRACE_SECONDS + 30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "maestune resume" in output
    record = read_record(tmp_path / "c")
    assert record.trial(1).state == TrialState.RUNNING, "resumable"


def started(arguments, folder, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "maestune", "tune", *arguments],
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # these tests may run under nohup
    )


@pytest.mark.parametrize(
    ("number", "seconds"),
    [(signal.SIGINT, 0.5), (signal.SIGTERM, 1.0), (signal.SIGHUP, 2.0), (signal.SIGINT, 3.0), (signal.SIGTERM, 4.5)],
)
def test_a_stop_in_the_first_seconds_is_one_sentence_and_leaves_a_folder_to_go_on_in(tmp_path, number, seconds):
    # An empty cache: scoring models are trained meanwhile.
    command = ["gan", "--data", "digits", "--budget", "4trials", "--steps", "20", "--workers", "2", "--out", "c"]
    process = started(command, tmp_path, MAESTUNE_CACHE=str(tmp_path / "cache"))
    time.sleep(seconds)
    os.killpg(process.pid, number)  # as the end of a terminal does: to the whole group
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, (output, errors)
    assert "Traceback" not in errors
    told = errors.strip().splitlines() or output.strip().splitlines()
    assert "run the same command again" in told[-1] or "maestune resume" in output
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(process.pid):
        time.sleep(0.1)
    assert not _alive(process.pid), "a worker is left"


def _alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_closed_pipe_does_not_stop_a_campaign(tmp_path):
    (tmp_path / "quick.py").write_text(HANGING.replace("time.sleep(10**6)", "pass"))
    process = started(["quick.py", "--budget", "6trials", "--workers", "1", "--out", "c"], tmp_path)
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0, errors
    assert "Traceback" not in errors
    record = read_record(tmp_path / "c")
    assert record.done
    assert any("PlainConsole failed (BrokenPipeError" in note for note in record.notes)


# Checkpoints of others ------------------------------------------------------------------------------------------


def counting(config, run):
    begun = run.state["count"] if run.state else 0
    for step in run.steps():
        if run.due(step):
            count = begun + step - run.start_steps
            yield Report(step, scores={"miss": (config["x"] - 0.3) ** 2 + 1 / step}, state=lambda c=count: {"count": c})


SPACE = Space((Float("x", -2.0, 2.0),))


def campaign(folder, seed=0, fresh=False):
    return Campaign(
        fresh=fresh,
        model="notebook.py:counting",
        space=SPACE.to_dict(),
        objective=("miss:min",),
        budget="8trials",
        steps=30,
        seed=seed,
        out=str(folder),
    ).run(training=counting)


def test_trials_without_records_are_no_campaign_to_begin_in(tmp_path, table):
    campaign(tmp_path / "c")
    (tmp_path / "c" / "study.db").unlink()
    with pytest.raises(StoreError, match=r"holds trials, but no records.*--fresh"):
        campaign(tmp_path / "c", seed=5)
    record = campaign(tmp_path / "c", seed=5, fresh=True)
    assert table(record) == table(campaign(tmp_path / "d", seed=5))
    assert (tmp_path / "c" / "previous-1" / "trials" / "0000").is_dir()
    assert campaign(tmp_path / "c", seed=6, fresh=True).seed == 6
    assert sorted(p.name for p in (tmp_path / "c").glob("previous-*")) == ["previous-1", "previous-2"]


@pytest.mark.parametrize("change", [{"campaign": "0" * 32}, {"trial": 7}, {"seed": 1}, {"config": {"x": 0.1}}], ids=str)
def test_a_checkpoint_of_another_is_refused(tmp_path, change):
    record = campaign(tmp_path / "c")
    number = next(t.number for t in record.trials if checkpoints(record.trial_folder(t.number)))
    trial, folder = record.trial(number), record.trial_folder(number)
    (name,) = change
    owner = Identity(record.id, number, trial.config, trial.seed)
    assert newest_checkpoint(folder, 30, owner) is not None
    other = replace(owner, **{name: Config.of(change[name]) if name == "config" else change[name]})
    with pytest.raises(CheckpointError, match=rf"is not of this trial: its {name} is .* was expected"):
        newest_checkpoint(folder, 30, other)


def test_a_trial_that_meets_a_foreign_checkpoint_does_not_use_it(tmp_path):
    other = campaign(tmp_path / "other", seed=3)
    donor = next(t.number for t in other.trials if checkpoints(other.trial_folder(t.number)))
    (source,) = checkpoints(other.trial_folder(donor))
    target = tmp_path / "c" / "trials" / "0001"

    class Smuggling:
        def start(self, record):
            target.mkdir(parents=True)
            shutil.copy(source, target / "checkpoint-00000001.safetensors")

        update = event = finish = lambda *_: None

    record = Campaign(
        model="notebook.py:counting",
        space=SPACE.to_dict(),
        objective=("miss:min",),
        budget="8trials",
        steps=30,
        out=str(tmp_path / "c"),
    ).run([Smuggling()], training=counting)
    assert record.trial(1).state == TrialState.CRASHED
    assert "is not of this trial: its campaign is" in record.trial(1).decision


def test_what_killed_processes_were_writing_is_removed(tmp_path):
    class Leaving:
        def start(self, record):
            for folder in (record.folder, record.trial_folder(0)):
                folder.mkdir(exist_ok=True, parents=True)
                (folder / ".checkpoint-00000001.safetensors.999999999.part").touch()
                (folder / f".report.html.{os.getppid()}.partial").touch()  # a process that runs

        update = event = finish = lambda *_: None

    record = Campaign(
        model="notebook.py:counting",
        space=SPACE.to_dict(),
        objective=("miss:min",),
        budget="4trials",
        steps=30,
        out=str(tmp_path / "c"),
    ).run([Leaving()], training=counting)
    left = [p.name for p in record.folder.rglob(".*.part*")]
    assert left == [f".report.html.{os.getppid()}.partial"] * 2


def test_fresh_moves_what_a_campaign_wrote_and_nothing_else(tmp_path):
    (tmp_path / "train.py").write_text(HANGING)
    (tmp_path / "data").mkdir()
    for name in ("study.db", "study.db-wal", "campaign.toml", "report.html"):
        (tmp_path / name).write_text("old")
    (tmp_path / "trials").mkdir()
    assert set_aside(tmp_path) == tmp_path / "previous-1"
    assert sorted(p.name for p in (tmp_path / "previous-1").iterdir()) == [
        "campaign.toml",
        "report.html",
        "study.db",
        "study.db-wal",
        "trials",
    ]
    assert {"train.py", "data"} <= {p.name for p in tmp_path.iterdir()}
    assert set_aside(tmp_path) is None


FORKING = """
import os, time
from maestune import Float, Report, Space
space, objective, full_steps = Space((Float("x", -2.0, 2.0),)), "loss:min", 3
def train(config, run):
    if config["x"] != 0:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        (time.sleep(600) if HANG else os._exit(3))
    for step in run.steps():
        if run.due(step):
            yield Report(step, {}, scores={"loss": 1.0 / step}, state=lambda: {"s": step})
"""


@pytest.mark.parametrize(("hang", "told"), [(True, "no report for 1 s"), (False, "worker exited with status 3")])
def test_a_worker_that_is_gone_is_noticed_though_its_child_lives(tmp_path, hang, told):
    (tmp_path / "forking.py").write_text(FORKING.replace("HANG", str(hang)))
    campaign = Campaign(
        model=f"{tmp_path / 'forking.py'}:train",
        budget="4trials",
        trial_timeout="1",
        workers=1,
        out=str(tmp_path / "c"),
    )
    begun = time.monotonic()
    record = campaign.run()
    assert time.monotonic() - begun < 300, "not for as long as the children live"
    others = [t for t in record.search_trials if t.role != "recipe"]
    assert others
    assert all(told in t.decision for t in others)


CLOSING = """
import time
from maestune import Float, Report, Space
space, objective, full_steps = Space((Float("x", -2.0, 2.0),)), "loss:min", 3
def train(config, run):
    try:
        for step in run.steps():
            if run.due(step):
                yield Report(step, {}, scores={"loss": 1.0 / step}, state=lambda: {"s": step})
    finally:
        if config["x"] != 0:
            WHAT
"""


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("what", "told"), [("time.sleep(600)", "no report for 1 s"), ("raise OSError('tidy')", "tidy")]
)
def test_what_a_training_does_in_its_own_finally_is_its_own_affair(tmp_path, workers, what, told):
    (tmp_path / "closing.py").write_text(CLOSING.replace("WHAT", what))
    campaign = Campaign(
        model=f"{tmp_path / 'closing.py'}:train",
        budget="4trials",
        trial_timeout="1",
        workers=workers,
        out=str(tmp_path / "c"),
    )
    record = campaign.run()
    assert all(t.state == TrialState.COMPLETE for t in record.trials if t.config["x"] == 0), "the recipe, finals too"
    others = [t for t in record.search_trials if t.role != "recipe"]
    assert others
    assert all(t.state == TrialState.CRASHED and told in t.decision for t in others)


SWALLOWING = """
import time
from maestune import Float, Report, Space
space, objective, full_steps = Space((Float("x", -2.0, 2.0),)), "loss:min", 3
def train(config, run):
    for step in run.steps():
        for _ in range(3 if config["x"] != 0 else 0):
            try:
                time.sleep(600)
            except:
                pass
        if run.due(step):
            yield Report(step, {}, scores={"loss": 1.0 / step}, state=lambda: {"s": step})
"""


def test_a_training_in_this_process_that_swallows_the_alarm_is_interrupted_again(tmp_path):
    (tmp_path / "swallowing.py").write_text(SWALLOWING)
    campaign = Campaign(
        model=f"{tmp_path / 'swallowing.py'}:train",
        budget="4trials",
        trial_timeout="1",
        workers=0,
        out=str(tmp_path / "c"),
    )
    assert campaign.run().done


def test_a_third_ctrl_c_ends_a_training_in_this_process_that_swallows_everything(tmp_path):
    (tmp_path / "swallowing.py").write_text(SWALLOWING.replace("range(3 ", "range(10**6 "))
    process = started(["swallowing.py", "--budget", "4trials", "--workers", "0", "--out", "c"], tmp_path)
    while not (tmp_path / "c" / "trials" / "0001").exists() and process.poll() is None:
        time.sleep(0.05)
    for _ in range(3):
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert read_record(tmp_path / "c").trials, "what was stored is whole"


SLOW = """
import time
from maestune import Float, Report, Space
space, objective, full_steps = Space((Float("x", -2.0, 2.0),)), "loss:min", 30
def train(config, run):
    for step in run.steps():
        time.sleep(0.3)
        yield Report(step, {}, scores={"loss": 1.0 / step} if run.due(step) else {}, state=lambda: {"s": step})
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_leaves_a_checkpoint(tmp_path, number):
    (tmp_path / "slow.py").write_text(SLOW)
    process = started(["slow.py", "--budget", "4trials", "--workers", "1", "--out", "c"], tmp_path)
    events = tmp_path / "c" / "trials" / "0000" / "events.jsonl"
    while not (events.exists() and events.read_text().count('"signals"') > 2) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, (output, errors)
    assert list(events.parent.glob("checkpoint-*.safetensors"))
    assert "killed by" not in output + errors
