from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import records

from maestune.campaign.record import Record
from maestune.report.summary import summary
from maestune.types import Score


def test_summary_of_a_finished_campaign_has_what_it_promises(full: Record) -> None:
    data = json.loads(json.dumps(summary(full), allow_nan=False))
    assert data["campaign"] == str(full.folder)
    assert data["configurations"] == 40 == sum(data["states"].values())
    assert data["trials"] == len(full.trials)
    assert data["done"] is True
    verdict = data["verdict"]
    assert verdict["objective"] == "fd"
    assert verdict["difference"] == pytest.approx(verdict["best"] - verdict["recipe"])
    assert verdict["low"] < verdict["difference"] < verdict["high"] < 0
    assert (verdict["decision"], verdict["seeds"]) == ("better", 5)
    assert data["verdicts"] == [verdict]
    best = data["best"]
    assert best["trial"] == full.best
    assert best["config"] == dict(full.trial(best["trial"]).config)
    assert set(best["scores"]["fd"]) == {"value", "low", "high"}
    assert best["scores"]["fd"]["value"] == pytest.approx(verdict["best"])
    assert data["recipe"]["scores"]["fd"]["value"] == pytest.approx(verdict["recipe"])
    assert best["scored_on"] == "report"
    assert data["floor"]["fd"]["value"] == 1.21
    assert data["front"] == []


def test_summary_says_null_where_there_is_no_number(folder: Path) -> None:
    record = records.build(folder, n=9, finals=False, files=False)
    broken = replace(record, seconds=math.nan, floor={"fd": Score(math.inf, -math.inf)})
    data = json.loads(json.dumps(summary(broken), allow_nan=False))
    assert data["seconds"] is None
    assert data["floor"]["fd"] == {"value": None, "low": None, "high": None}
    # A user's own score has no interval.
    assert data["recipe"]["scores"]["own_score"]["low"] is None
    assert data["verdict"] is None
    assert data["best"]["scored_on"] == "search"


def test_summary_of_a_campaign_that_has_just_begun(folder: Path) -> None:
    data = summary(records.empty(folder))
    assert data["best"] is None
    assert data["recipe"] is None
    assert (data["configurations"], data["states"], data["verdicts"]) == (0, {}, [])


def test_summary_tells_the_share_of_every_class(full: Record) -> None:
    classes = summary(full)["classes"]
    assert list(classes) == list(full.class_names)
    assert all(set(shares) == {"real", "recipe", "best"} for shares in classes.values())
    assert classes[full.class_names[-1]] == {"real": 0.1, "recipe": 0.0, "best": 0.0}
    for who in ("real", "recipe", "best"):
        assert sum(shares[who] for shares in classes.values()) == pytest.approx(1)
    assert summary(replace(full, class_names=(), real_classes=()))["classes"] == {}
