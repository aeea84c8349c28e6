"""A campaign folder of somebody else: whatever lies in it, its report is safe, or the folder is refused in a sentence."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from maestune.cli import main as cli
from maestune.errors import MaestuneError

MARKER = "<img src=x onerror=\"document.title='PWNED'\">"
HOSTILE = f"{MARKER}</script><script>document.title='PWNED'</script>\x1b]0;PWNED\x07\x9b31m\u202e\u2066\ud800"
FORMULA = "=HYPERLINK(1)|cmd\t"
SECRET = "the-secret-outside"
NUMBERS: tuple[Any, ...] = (HOSTILE, FORMULA, 10**400, 1e400, -1, {"a": [{"b": 1}]}, [[[]]], None)


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished campaign on images, with pictures and copies."""
    folder = tmp_path_factory.mktemp("finished") / "campaign"
    small = ("--budget", "4trials", "--steps", 20, "--samples", 100, "--workers", 0)
    _run("tune", "gan", *small, "--set", "width=64", "--out", folder, "--json")
    return folder


@pytest.fixture
def evil(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, beside a file that nobody gave to it."""
    folder = tmp_path / "evil"
    shutil.copytree(finished, folder)
    (tmp_path / "secret").mkdir()
    for name in ("secret.txt", "events.jsonl", "samples-00000020.png", "samples-00000020.json", "best.toml"):
        (tmp_path / "secret" / name).write_text(SECRET)
    return folder


def _change(folder: Path, table: str, change: Callable[[dict[str, Any]], object]) -> None:
    with sqlite3.connect(folder / "study.db") as database:
        key = "trial_user_attribute_id" if table == "trial_user_attributes" else "study_user_attribute_id"
        for row, text in database.execute(f"select {key}, value_json from {table}").fetchall():
            data = json.loads(text)
            change(data)
            database.execute(f"update {table} set value_json=? where {key}=?", (json.dumps(data), row))
    database.close()


def _everything(folder: Path) -> str:
    """The report page, after every command that reads a campaign has run on the folder."""
    printed = [_run("report", folder), *(_run("trials", folder, *flags) for flags in ((), ("--csv",), ("--json",)))]
    printed += [_run("cite", folder), _run("report", folder, "--json")]
    for text in printed:
        assert not any(c in text for c in "\x1b\x07\x9b\u202e\u2066\ud800")
        assert SECRET not in text
    page = (folder / "report.html").read_text()
    assert SECRET not in page + (folder / "summary.json").read_text()
    assert MARKER not in page
    assert "<script>document" not in page
    assert not any(c in page.replace("\\u", "") for c in "\x1b\x07\x9b\u202e\u2066")
    return page


def test_hostile_texts_are_shown_and_nothing_of_them_runs(evil: Path) -> None:
    def texts(trial: dict[str, Any]) -> None:
        trial["reason"] = trial["decision"] = FORMULA + HOSTILE

    def facts(facts: dict[str, Any]) -> None:
        for name in ("model", "data_text", "budget_text", "recipe_name"):
            facts[name] = HOSTILE
        facts["settings"]["strategy"] = HOSTILE
        facts["environment"] = {HOSTILE: HOSTILE}
        facts["notes"] = facts["citations"] = [HOSTILE]
        facts["class_names"] = [HOSTILE] * len(facts["class_names"])

    _change(evil, "trial_user_attributes", texts)
    _change(evil, "study_user_attributes", facts)
    page = _everything(evil)
    assert "&lt;img src=x onerror" in page
    rows = list(csv.DictReader(io.StringIO(_run("trials", evil, "--csv"))))
    assert all(row["reason"].startswith("'=HYPERLINK(1)|cmd") for row in rows)
    assert all(float(row["lr"]) > 0 for row in rows)
    assert json.loads((evil / "summary.json").read_text())["notes"] == [HOSTILE]


@pytest.mark.parametrize("name", ["seed", "seconds", "until_steps", "config", "rungs", "state", "stage", "source"])
def test_a_value_of_another_type_is_refused_in_a_sentence(evil: Path, name: str) -> None:
    for value in NUMBERS:
        if name == "source" and value is None:
            continue  # a trial of the search has none
        folder = evil.with_name("changed")
        shutil.copytree(evil, folder, dirs_exist_ok=True)
        _change(folder, "trial_user_attributes", lambda trial, value=value: trial.update({name: value}))
        for command in (("report",), ("trials",), ("trials", "--csv"), ("cite",)):
            with pytest.raises(MaestuneError, match=f"trial 0: {name}.*changed by something other") as told:
                _run(command[0], folder, *command[1:])
            assert str(told.value).isprintable()


def _link_all(folder: Path, name: str, target: Path | str) -> None:
    for path in [*folder.glob(name)]:
        path.unlink()
        path.symlink_to(target)


def _pipe_all(folder: Path, name: str) -> None:
    for path in [*folder.glob(name)]:
        path.unlink()
        os.mkfifo(path)


FILES = ("real.png", "best.toml", "trials/*/samples-*.png", "trials/*/events.jsonl", "trials/*/copied-*")


@pytest.mark.parametrize("kind", ["link", "device", "pipe", "folder", "huge", "junk"])
def test_files_that_are_no_files_are_left_out(evil: Path, kind: str) -> None:
    for name in FILES:
        if kind == "link":
            _link_all(evil, name, evil.parent / "secret" / "secret.txt")
        elif kind == "device":
            _link_all(evil, name, "/dev/zero")
        elif kind == "pipe":
            _pipe_all(evil, name)
        else:
            for path in [*evil.glob(name)]:
                path.unlink()
                if kind == "folder":
                    path.mkdir()
                elif kind == "huge":
                    with path.open("wb") as file:
                        file.truncate(2**31)
                else:
                    path.write_bytes(b'[{"texts": 1}, "\xff\x00' + HOSTILE.encode(errors="replace"))
    page = _everything(evil)
    assert "picture left out: real.png" in page
    assert ("events.jsonl is a link" in page) == (kind in ("link", "device"))


def test_a_folder_of_a_trial_that_is_a_link_is_not_followed(evil: Path) -> None:
    for path in [*(evil / "trials").iterdir()]:
        shutil.rmtree(path)
        path.symlink_to(evil.parent / "secret")
    _everything(evil)


def test_a_report_replaces_links_and_never_writes_through_them(evil: Path) -> None:
    for name in ("summary.json", "report.html"):
        (evil / name).unlink(missing_ok=True)
        (evil / name).symlink_to(evil.parent / "secret" / "secret.txt")
    _everything(evil)
    assert (evil.parent / "secret" / "secret.txt").read_text() == SECRET
    assert not (evil / "summary.json").is_symlink()
    assert not (evil / "report.html").is_symlink()


def _bomb(side: int) -> bytes:
    """A PNG of side × side black pixels of one bit, compressed to a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    compressor = zlib.compressobj(9)
    rows = b"".join(compressor.compress(bytes(1 + side // 8)) for _ in range(side)) + compressor.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_of_too_many_pixels_is_not_decoded(evil: Path) -> None:
    (evil / "real.png").write_bytes(_bomb(60_000))
    assert "picture left out: real.png has too many pixels to show" in _everything(evil)
    (evil / "real.png").write_bytes(_bomb(8_000))
    assert "picture left out: real.png has 8,000 × 8,000 pixels, too many to show" in _everything(evil)


def test_events_of_odd_kinds_and_damaged_lines_are_passed_over_by_name(evil: Path) -> None:
    odd = [
        {"kind": ["signals"], "step": 1},
        {"kind": "signals", "step": 10**400, "signals": {"loss": 1}},
        {"kind": "signals", "step": 3, "signals": {HOSTILE: 1.0, "loss": 10**400, "a": {"b": 1}}},
        {"kind": "signals", "step": True, "signals": []},
        {"kind": "note", "text": HOSTILE},
        {"kind": "note", "text": {"a": 1}},
    ]
    for path in evil.glob("trials/*/events.jsonl"):
        lines = [json.dumps(event) for event in odd]
        path.write_text("\n".join([*lines, "[" * 100_000, "1" * 5000, *lines, ""]))
    page = _everything(evil)
    assert "events.jsonl line 7 is damaged and left out" in page
    assert "events.jsonl line 8 is damaged and left out" in page


@pytest.mark.browser
def test_a_browser_shows_the_hostile_report_under_its_own_title(evil: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    _change(evil, "trial_user_attributes", lambda trial: trial.update(reason=HOSTILE, decision=HOSTILE))
    _change(evil, "study_user_attributes", lambda facts: facts.update(data_text=HOSTILE, notes=[HOSTILE]))
    _everything(evil)
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={evil.parent / 'profile'}"]
    command += ["--virtual-time-budget=6000", "--dump-dom", (evil / "report.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "main-svg" in done.stdout
    assert "<title>PWNED" not in done.stdout
    assert "evil · maestune</title>" in done.stdout
