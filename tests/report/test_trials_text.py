from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console as Terminal

from maestune.campaign.record import Record
from maestune.report import formats
from maestune.report.trials_text import LEAST_REASON, trials_csv, trials_json, trials_table
from maestune.types import Config, Constraint


def _printed(renderable: object, width: int) -> str:
    stream = io.StringIO()
    Terminal(file=stream, width=width, color_system=None).print(renderable)
    return stream.getvalue()


def test_a_narrow_terminal_cuts_reasons_and_not_numbers(full: Record) -> None:
    text = _printed(trials_table(full, limit=10), width=70)
    assert full.best is not None
    assert formats.score(full.trial(full.best).score("fd")) in text
    assert "complete" in text
    assert max(map(len, text.splitlines())) <= 70


def test_the_whole_table_has_every_trial(full: Record) -> None:
    assert trials_table(full).fitted(200).row_count == 55
    assert trials_table(full, limit=10).fitted(200).row_count == 10


def test_csv_has_a_row_a_trial_and_a_column_a_parameter(full: Record) -> None:
    rows = list(csv.DictReader(io.StringIO(trials_csv(full))))
    assert [int(row["number"]) for row in rows] == list(range(55))
    assert {"state", "reason", "decision", "fd", "fd_low", "fd_high", "own_score"} < set(rows[0])
    assert set(full.space.centre()) < set(rows[0])
    assert rows[3]["reason"] == formats.clean(full.trials[3].reason) != full.trials[3].reason
    assert float(rows[0]["lr"]) == 2e-4
    assert rows[0]["own_score_low"] == ""
    diverged = next(t for t in full.search_trials if t.state == "diverged")
    assert rows[diverged.number]["fd"] == ""


def test_json_has_every_rung_and_no_nan(full: Record) -> None:
    broken = full.trials[0].with_(config=Config.of(lr=float("nan")))
    data = json.loads(trials_json(replace(full, trials=(broken, *full.trials[1:]))))
    assert len(data) == 55
    assert [rung["step"] for rung in data[0]["rungs"]] == [111, 333, 1000]
    assert data[0]["config"] == {"lr": None}
    assert data[0]["rungs"][0]["scores"]["own_score"]["low"] is None
    assert data[1]["config"] == dict(full.trials[1].config)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_column_of_numbers_is_lost_on_a_narrow_terminal(full: Record, width: int) -> None:
    record = replace(full, constraints=(Constraint("coverage", ">=", 0.2),))
    lines = _printed(trials_table(record, limit=10), width).splitlines()
    assert max(map(len, lines)) <= width
    heads = lines[0].split()
    assert heads[:3] == ["trial", "state", "step"]
    assert {"coverage", "why"} < set(heads)
    best = full.trial(full.best or 0)
    row = next(line for line in lines if f"★{best.number}" in line)
    for name in ("fd", "coverage"):
        assert formats.score(best.score(name)).partition(" ")[0] in row
    # Reasons are cut where they do not fit, and only there.
    assert all(len(line) >= width - LEAST_REASON for line in lines if line.endswith("…"))
    assert any(line.endswith("…") for line in lines) == (width < 120)


def test_the_star_stands_at_what_is_to_be_used(full: Record) -> None:
    found = full.verdicts[0]
    worse = replace(full, verdicts=(replace(found, decision="worse", recipe=found.best, best=found.recipe),))
    assert f"★{full.best} " in _printed(trials_table(full, limit=10), 120)
    assert "★0 " in _printed(trials_table(worse, limit=10), 120)
