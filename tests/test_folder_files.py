from __future__ import annotations

import os
from pathlib import Path

import pytest

from maestune.errors import FileRefusedError
from maestune.folder_files import check_appendable, list_names, read_bytes, read_text, replace_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("SECRET")
    folder = tmp_path / "campaign"
    (folder / "trials" / "0000").mkdir(parents=True)
    (folder / "trials" / "0000" / "a.txt").write_text("own")
    return folder


def test_a_regular_file_within_its_limit_is_read(folder: Path) -> None:
    assert read_bytes(folder, "trials/0000/a.txt", 3) == b"own"
    assert read_text(folder, "missing.txt", 3) is None
    assert read_text(folder, "trials/0000/a.txt/b", 3) is None
    with pytest.raises(FileRefusedError, match=r"trials/0000/a\.txt is larger than 0 MiB"):
        read_bytes(folder, "trials/0000/a.txt", 2)
    with (folder / "sparse").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(FileRefusedError, match="sparse is larger than 64 MiB"):
        read_bytes(folder, "sparse", 2**26)
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert read_text(link, "trials/0000/a.txt", 9) == "own"  # the user's own path may be a link


def test_nothing_but_regular_files_below_the_folder_is_read(folder: Path) -> None:
    (folder / "link").symlink_to("../outside/secret.txt")
    (folder / "inner").symlink_to("trials/0000/a.txt")
    (folder / "trials" / "0001").symlink_to("../../outside")
    (folder / "device").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    for name, why in (
        ("link", "is a link"),
        ("inner", "is a link"),
        ("device", "is a link"),
        ("trials/0001/secret.txt", "trials/0001 is a link"),
        ("pipe", "is not a regular file"),
        ("trials", "is not a regular file"),
        ("../outside/secret.txt", "lies outside"),
        (str(folder.parent / "outside" / "secret.txt"), "lies outside"),
    ):
        with pytest.raises(FileRefusedError, match=why):
            read_bytes(folder, name, 100)
    assert list_names(folder, "trials/0001", "*.txt") == []
    assert list_names(folder, "trials/0000", "*.txt") == ["a.txt"]
    assert list_names(folder, "nowhere", "*") == list_names(folder, "pipe", "*") == []


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "file", "none"])
def test_a_write_replaces_whatever_has_the_name(folder: Path, kind: str) -> None:
    secret, path = folder.parent / "outside" / "secret.txt", folder / "summary.json"
    if kind in ("link", "dangling"):
        path.symlink_to(secret if kind == "link" else folder.parent / "outside" / "new.txt")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "file":
        path.write_text("old")
    (folder / f".summary.json.{os.getpid()}.partial").symlink_to(secret)
    replace_file(path, "new \ud800")
    assert path.read_text() == "new \\ud800"
    assert not path.is_symlink()
    assert secret.read_text() == "SECRET"
    assert sorted(p.name for p in (folder.parent / "outside").iterdir()) == ["secret.txt"]
    assert sorted(p.name for p in folder.iterdir()) == ["summary.json", "trials"]


def test_events_are_not_appended_to_a_link(folder: Path) -> None:
    path = folder / "trials" / "0000" / "events.jsonl"
    check_appendable(path)
    path.symlink_to("../../../outside/secret.txt")
    with pytest.raises(FileRefusedError, match="not a regular file"):
        check_appendable(path)
