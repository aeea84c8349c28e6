"""Campaigns that are read: nothing in their folder changes, whoever writes it meanwhile."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from maestune import Float, Report, Space
from maestune.campaign import Campaign
from maestune.campaign.reader import read_campaign
from maestune.campaign.store import Store
from maestune.errors import StoreError

SPACE = Space((Float("x", -2.0, 2.0),))


def train(config, run):
    for step in run.steps():
        if run.due(step):
            yield Report(step, {"loss": 1.0}, scores={"miss": config["x"] ** 2 + 1 / step}, state=dict)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("read") / "c"
    Campaign(
        model="notebook.py:train",
        space=SPACE.to_dict(),
        objective=("miss:min",),
        budget="6trials",
        steps=9,
        out=str(folder),
    ).run(training=train)
    return folder


@pytest.fixture
def read_only(tmp_path, finished):
    """The finished campaign on a mount that nobody can write to, not even root."""
    place = tmp_path / "mount"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    shutil.copytree(finished, place / "c")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def freeze(place):
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


def content(folder):
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.is_file() and hashlib.sha256(p.read_bytes()).hexdigest())
        for p in sorted(folder.rglob("*"))
    }


def run(*arguments):
    command = [sys.executable, "-m", "maestune", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_whatever_reads_changes_no_byte(finished, tmp_path):
    before = content(finished)
    for command in (["trials", finished], ["trials", finished, "--csv"], ["cite", finished]):
        assert run(*command).returncode == 0
    assert run("report", finished, "--out", tmp_path / "r.html").returncode == 0
    assert "<html" in (tmp_path / "r.html").read_text()
    assert content(finished) == before


def test_a_folder_that_cannot_be_written_is_read(read_only, tmp_path):
    freeze(read_only)
    folder = read_only / "c"
    before = content(folder)
    for command in (["trials", folder], ["cite", folder], ["report", folder, "--out", tmp_path / "r.html"]):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    assert content(folder) == before
    refused = run("report", folder)
    assert refused.returncode == 2
    assert "--out FILE" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_a_killed_campaign_left_is_read_where_nothing_can_be_written(read_only):
    folder = read_only / "c"
    writer = sqlite3.connect(folder / "study.db")
    writer.execute("PRAGMA journal_mode=WAL")
    (facts,) = writer.execute("SELECT value_json FROM study_user_attributes").fetchone()
    writer.execute(
        "UPDATE study_user_attributes SET value_json = ?", (facts.replace('"notes": [', '"notes": ["logged", ', 1),)
    )
    writer.commit()
    kept = folder.parent / "kept"
    shutil.copytree(folder, kept)  # as a killed process leaves it: with its log
    writer.close()
    assert (kept / "study.db-wal").stat().st_size > 0
    (kept / "study.db-shm").unlink()
    freeze(read_only)
    assert "logged" in read_campaign(kept).facts["notes"]


def test_what_a_killed_campaign_left_is_read_without_a_byte_changed(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "c")
    writer = sqlite3.connect(tmp_path / "c" / "study.db")
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute(
        'UPDATE study_user_attributes SET value_json = replace(value_json, \'"notes": [\', \'"notes": ["logged", \')'
    )
    writer.commit()
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "c", kept)
    writer.close()
    (kept / "study.db-shm").unlink()
    before, stamp = content(kept), kept.stat().st_mtime_ns
    assert "logged" in read_campaign(kept).facts["notes"]
    assert content(kept) == before
    assert kept.stat().st_mtime_ns == stamp


def test_a_study_that_changes_while_it_is_copied_is_read_in_place(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "c")
    store = Store(tmp_path / "c")
    store.set_facts(notes=["newest"])
    copy = shutil.copyfile

    def copy_and_write(source, target):
        copy(source, target)
        store.set_facts(notes=["newer still"])

    monkeypatch.setattr("maestune.campaign.reader.shutil.copyfile", copy_and_write)
    assert read_campaign(tmp_path / "c").facts["notes"] == ["newer still"]
    store.close()


def test_a_campaign_is_read_while_it_is_written(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "c")
    store = Store(tmp_path / "c")
    store.set_facts(notes=["newest"])
    assert read_campaign(tmp_path / "c").facts["notes"] == ["newest"]
    store.close()


@pytest.mark.parametrize("name", ["study.db", "study.db-wal", "study.db-shm"])
def test_links_are_not_followed(finished, tmp_path, name):
    folder, target = tmp_path / "c", tmp_path / "target"
    shutil.copytree(finished, folder)
    target.write_bytes((folder / "study.db").read_bytes())
    before = target.read_bytes()
    (folder / name).unlink(missing_ok=True)
    os.symlink(target, folder / name)
    with pytest.raises(StoreError, match="not a regular file"):
        read_campaign(folder)
    with pytest.raises(StoreError, match="not a regular file"):
        Store(folder)
    assert target.read_bytes() == before


ENDLESS = "with recursive r(n) as (select 1 union all select n+1 from r) select n"


@pytest.mark.parametrize(
    "change",
    [
        f"alter table studies rename to st; create view studies as {ENDLESS} as study_id, 'x' as study_name from r where n<0",
        "create trigger t after update on studies begin delete from trials; end",
        "create table g (a int, b int generated always as (a + 1))",
        "create virtual table v using fts5(a)",
    ],
)
def test_a_study_that_computes_is_neither_read_nor_written(finished, tmp_path, change):
    folder = shutil.copytree(finished, tmp_path / "c")
    with sqlite3.connect(folder / "study.db") as connection:
        connection.executescript(change)
    connection.close()
    for opened in (read_campaign, Store):
        with pytest.raises(StoreError, match="is no plain table"):
            opened(folder)


@pytest.mark.parametrize("value", [None, 5, "5", b"{}", "["])
def test_facts_of_another_kind_are_refused(finished, tmp_path, value):
    folder = shutil.copytree(finished, tmp_path / "c")
    with sqlite3.connect(folder / "study.db") as connection:
        connection.execute("update study_user_attributes set value_json=?", (value,))
    connection.close()
    with pytest.raises(StoreError, match=r"study\.db|no campaign yet"):
        read_campaign(folder)


def test_what_killed_processes_were_writing_is_removed_from_a_finished_campaign_too(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "c")
    for name in (".report.html.999999999.partial", "trials/0000/.x.999999999.part"):
        (folder / name).touch()
    Campaign(
        model="notebook.py:train",
        space=SPACE.to_dict(),
        objective=("miss:min",),
        budget="6trials",
        steps=9,
        out=str(folder),
    ).run(training=train)
    assert not list(folder.rglob(".*.part*"))
