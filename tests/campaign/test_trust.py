"""Files of a user's own that a campaign's folder names: executed for whoever has run them, and for nobody else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maestune.campaign import Campaign, trust
from maestune.campaign.samples import draw_samples
from maestune.campaign.store import Store
from maestune.errors import FileRefusedError, MaestuneError, SettingsError, StoreError

OWN = """
from pathlib import Path
import torch
from maestune import Float, Report, Space
Path(__file__).with_name("executed").touch()
space, objective, full_steps = Space((Float("x", -2.0, 2.0),)), "miss:min", 9
def train(config, run):
    for step in run.steps():
        if run.due(step):
            yield Report(step, {}, scores={"miss": config["x"] ** 2 + 1 / step}, state=lambda: {"x": torch.zeros(1)})
def generate(config, state, n, generator):
    return torch.zeros(n, 1, 4, 4)
"""


class Told:
    """An observer that keeps the sentences it is told."""

    def __init__(self):
        self.events = []

    def event(self, text):
        self.events.append(text)

    def start(self, record): ...
    def update(self, record, elapsed_seconds, left_seconds, activity): ...
    def finish(self, record): ...


@pytest.fixture
def finished(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    campaign = Campaign(model=f"{tmp_path / 'own.py'}:train", budget="6trials", workers=0, out=str(tmp_path / "c"))
    campaign.run()
    (tmp_path / "executed").unlink()
    return tmp_path


def refused(finished):
    """Whether resume, generate and tune on campaign.toml all refuse, and execute nothing."""
    folder = finished / "c"
    for executing in (lambda: Campaign.resume(folder), lambda: draw_samples(folder, 4)):
        with pytest.raises(SettingsError, match=r"own\.py to be executed.*--trust"):
            executing()
    assert not (finished / "executed").exists()
    command = [sys.executable, "-m", "maestune", "tune", str(folder / "campaign.toml"), "--out", str(finished / "d")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--trust" in done.stderr
    assert not (finished / "executed").exists()


def test_whoever_has_run_a_file_goes_on_with_it(finished):
    assert Campaign.resume(finished / "c").run().done
    assert draw_samples(finished / "c", 4).images.shape == (4, 1, 4, 4)


def test_a_changed_file_is_refused_until_it_is_trusted(finished):
    (finished / "own.py").write_text(OWN + "\n# changed\n")
    refused(finished)
    assert draw_samples(finished / "c", 4, trust=True).images is not None
    assert (finished / "executed").exists()


@pytest.mark.parametrize("way", ["--trust", "by hand"])
def test_a_finished_campaign_is_signed_anew(finished, way):
    (finished / "own.py").write_text(OWN + "\n# changed\n")
    folder, by_hand = finished / "c", Campaign(model=f"{finished / 'own.py'}:train", out=str(finished / "c"))
    (Campaign.resume(folder, trust=True) if way == "--trust" else by_hand).run()
    assert Campaign.resume(folder).run().done


def test_a_campaign_begun_is_signed_anew(finished):
    folder = finished / "c"
    store = Store(folder)
    store.set_facts(done=False)
    store.close()
    (finished / "own.py").write_text(OWN + "\n# changed\n")
    refused(finished)
    Campaign.resume(folder, trust=True).run()
    assert Campaign.resume(folder).run().done


def test_another_users_campaign_is_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody else"))
    refused(finished)
    assert not (tmp_path / "somebody else").exists(), "refusing needs no key"


def test_a_signature_holds_for_its_campaign_and_path_alone(finished):
    one = trust.signature("a" * 32, f"{finished / 'own.py'}:train")
    shutil.copy(finished / "own.py", finished / "other.py")
    assert one == trust.signature("a" * 32, f"{finished / 'own.py'}:generate")
    assert one != trust.signature("b" * 32, f"{finished / 'own.py'}:train")
    assert one != trust.signature("a" * 32, f"{finished / 'other.py'}:train")
    assert trust.signature("a" * 32, "gan") is None


def test_the_key_is_this_users_alone(finished):
    key = trust.state_folder() / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32


def test_where_no_key_can_be_kept_campaigns_run_and_trust_nothing(finished, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    campaign = Campaign(model=f"{finished / 'own.py'}:train", budget="6trials", workers=0, out=str(finished / "e"))
    told = Told()
    assert campaign.run([told]).done
    assert sum("/dev/null" in text and "--trust" in text for text in told.events) == 1
    with pytest.raises(MaestuneError, match="--trust"):
        Campaign.resume(finished / "e")


@pytest.mark.parametrize("name", ["trials", "trials/0001", ".lock", "calibration", "campaign.toml"])
def test_a_campaign_is_not_resumed_through_links(finished, tmp_path, name):
    place, elsewhere = finished / "c" / name, tmp_path / "elsewhere"
    if place.exists():
        place.rename(elsewhere)
    elsewhere.touch()
    place.symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*")) if elsewhere.is_dir() else elsewhere.read_bytes()
    with pytest.raises(StoreError, match=f"{name} is a link"):
        Campaign.resume(finished / "c", trust=True).run()
    assert before == (sorted(elsewhere.rglob("*")) if elsewhere.is_dir() else elsewhere.read_bytes())


def test_samples_are_not_drawn_through_links(finished, tmp_path):
    (finished / "c" / "trials").rename(tmp_path / "elsewhere")
    (finished / "c" / "trials").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileRefusedError, match="trials is a link"):
        draw_samples(finished / "c", 4)


@pytest.mark.parametrize("read_only", [False, True])
def test_drawing_samples_changes_no_byte(finished, tmp_path, read_only):
    folder, place = finished / "c", tmp_path / "mount"
    if read_only:
        place.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True).returncode:
            pytest.skip("mounting a tmpfs needs root")
    try:
        if read_only:
            folder = Path(shutil.copytree(folder, place / "c"))
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        before = {p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in (folder, *folder.rglob("*"))}
        assert draw_samples(folder, 4).images is not None
        assert {
            p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in (folder, *folder.rglob("*"))
        } == before
    finally:
        if read_only:
            subprocess.run(["umount", "-l", str(place)], check=True)


def test_what_only_reads_executes_nothing(finished):
    for command in (["report"], ["trials"], ["cite"], ["recipes", "--save", str(finished / "r.toml"), "--from"]):
        done = subprocess.run(
            [sys.executable, "-m", "maestune", *command, str(finished / "c")],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert not (finished / "executed").exists()


@pytest.mark.parametrize("name", ["notebook.py", "linked.py", "plain"])
def test_whatever_could_be_executed_has_to_be_trusted(finished, name):
    path = finished / name
    if name == "linked.py":
        (finished / "payload.txt").write_text(OWN)
        path.symlink_to(finished / "payload.txt")
    else:
        path.write_text(OWN)
    with pytest.raises(SettingsError, match="--trust"):
        trust.check_trusted(finished / "c", f"{path}:train")
