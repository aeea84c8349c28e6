"""A campaign's folder as it is read: report, tables and samples of it, while nothing in it is written, locked or executed.

The study is read by SQLite itself, read-only, without Optuna, which would look for newer schemas and write. Where a
campaign is writing, or was killed, a write-ahead log lies beside the study. SQLite would write an index beside them to read both,
so copies of both are read; only where they change while they are copied, which a writer does that has its index there anyway,
are they read in place.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from maestune.campaign.decode import Study, check_facts, refusing, trial_from
from maestune.errors import StoreError
from maestune.plain_text import shortened
from maestune.types import Objective, Trial

STUDY_FILE = "study.db"
STUDY_NAME = "maestune"
TRIAL_KEY = "maestune:trial"  # of Optuna's user attributes of a trial
FACTS_KEY = "maestune:facts"  # of those of the study
WAIT_SECONDS = 30.0  # for a writer
_SIDES = ("-wal", "-shm", "-journal")
_INSTRUCTIONS = 100_000  # of SQLite between two moments at which signals are heeded
_LETTERS = 40  # of a name that a message quotes
_COPIES = 3  # attempts at copies of a moment in which nobody writes


class Stored(Protocol):
    """What a record is made of: a campaign that is being written, or one that is read."""

    @property
    def folder(self) -> Path:
        """The campaign's folder."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts of the campaign."""
        ...

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, in order of number."""
        ...

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of the campaign."""
        ...


@dataclass(frozen=True)
class StoredCampaign:
    """A campaign as its folder had it at one moment."""

    folder: Path
    facts: Mapping[str, Any]
    trials: tuple[Trial, ...]
    objectives: tuple[Objective, ...]


def read_campaign(folder: Path) -> StoredCampaign:
    """Read a campaign's folder, in which no byte is changed; StoreError where it holds none, or none that can be read."""
    path = folder / STUDY_FILE
    if not path.exists() and not path.is_symlink():
        raise StoreError(f"{folder} holds no campaign (no study.db in it); name the folder that `maestune tune` wrote.")
    check_study_files(folder)
    try:
        with _opened(path) as connection:
            facts, trials = _facts(connection), _trials(connection)
    except (sqlite3.Error, OSError, TypeError, ValueError, RecursionError) as error:
        raise _unusable(path, error) from error
    if facts is None:
        raise StoreError(
            f"{folder} holds no campaign yet: it was stopped before it began. Run its `maestune tune` command again."
        )
    with refusing(str(path)):
        checked = check_facts(facts)
        study = Study.of(checked)
        objectives = tuple(Objective(name, up) for name, up in checked["objectives"])
        found = tuple(trial_from(number, data, study) for number, data in enumerate(trials))
    return StoredCampaign(folder, checked, found, objectives)


def check_study_files(folder: Path) -> None:
    """Raise StoreError where the study or a file beside it is no regular file: SQLite would follow a link, and write there."""
    for side in ("", *_SIDES):
        path = folder / (STUDY_FILE + side)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(path.lstat().st_mode):
                raise StoreError(
                    f"{path} is not a regular file; a campaign's folder holds no links. Copy the file itself there."
                )


def check_tables(schema: Iterable[tuple[str, str, str | None]]) -> None:
    """Raise ValueError where a study's schema (name, type, SQL) is more than tables and their indexes.

    A view or a generated column computes what is read, as long as whoever made it likes; a trigger runs on what is written.
    """
    for name, kind, sql in schema:
        computed = sql is not None and re.search(r"\bgenerated\s+always\b|\bas\s*\(", sql, re.IGNORECASE)
        if kind not in ("table", "index") or computed or (sql or "").upper().startswith("CREATE VIRTUAL"):
            raise ValueError(f"{shortened(name, _LETTERS)} is no plain table")


def check_schema(folder: Path) -> None:
    """Raise StoreError where a folder's study is no plain tables, before anybody writes to it."""
    path = folder / STUDY_FILE
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with _connected(path, "mode=ro"):
            pass
    except (sqlite3.Error, ValueError) as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{path} cannot be used as a study ({error}); restore it from a copy, or choose another folder with --out."
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, and writes no file beside the study either."""
    log = path.with_name(path.name + "-wal")
    if not log.exists():
        with _connected(path, "mode=ro&immutable=1") as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix="maestune-") as place:
        copy = Path(place) / path.name
        if any(_copied(path, log, copy) for _ in range(_COPIES)):
            with _connected(copy, "mode=rw") as connection:
                yield connection
            return
    with _connected(path, "mode=ro") as connection:
        yield connection


def _copied(path: Path, log: Path, copy: Path) -> bool:
    """Copy a study and its log; whether nobody wrote meanwhile."""
    try:
        before = _stamps(path, log)
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        return _stamps(path, log) == before
    except FileNotFoundError:  # the writer has put its log into the study
        return False


def _stamps(*paths: Path) -> list[tuple[int, int, int]]:
    return [(s.st_ino, s.st_mtime_ns, s.st_size) for s in (path.stat() for path in paths)]


@contextlib.contextmanager
def _connected(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=WAIT_SECONDS)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")  # a study may be somebody else's
        connection.execute("BEGIN")  # facts and trials of one moment
        check_tables(row for row in connection.execute("SELECT name, type, sql FROM sqlite_master"))
        # Python heeds signals between its own instructions: a long query would keep Ctrl-C waiting.
        connection.set_progress_handler(lambda: 0, _INSTRUCTIONS)
        yield connection
    finally:
        connection.close()


def _facts(connection: sqlite3.Connection) -> Any:
    row = connection.execute(
        "SELECT a.value_json FROM study_user_attributes a JOIN studies s ON s.study_id = a.study_id "
        "WHERE s.study_name = ? AND a.key = ?",
        (STUDY_NAME, FACTS_KEY),
    ).fetchone()
    return None if row is None else json.loads(row[0])


def _trials(connection: sqlite3.Connection) -> list[Any]:
    """The JSON of each trial, in order of number; None where a trial has none."""
    rows = connection.execute(
        "SELECT t.number, a.value_json FROM trials t JOIN studies s ON s.study_id = t.study_id "
        "LEFT JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.key = ? "
        "WHERE s.study_name = ? ORDER BY t.number",
        (TRIAL_KEY, STUDY_NAME),
    ).fetchall()
    if [number for number, _ in rows] != list(range(len(rows))):
        raise ValueError("its trials are not numbered one after the other")
    return [None if text is None else json.loads(text) for _, text in rows]
