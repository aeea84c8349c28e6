"""Whole campaigns with bounds, on a training whose scores are formulas."""

import tomllib

import pytest

from maestune.campaign import Campaign, Settings
from maestune.campaign.build_record import read_record
from maestune.errors import StoreError
from maestune.types import Constraint, TrialState

TRAINING = """
import math
from maestune import Float, Int, Prior, Report, Space

objective = "miss:min"
full_steps = 90
space = Space((Float("lr", 1e-5, 1.0, scale="log", prior=Prior(1e-4)), Int("depth", 1, 6, prior=Prior(2))))


def train(config, run):
    rng = run.generator()
    for step in run.steps():
        if run.due(step):
            miss = (math.log10(config["lr"]) + 2) ** 2 + 0.2 * abs(config["depth"] - 6) + 3.0 / step
            scores = {"miss": miss + 0.001 * (run.seed % 7)}
            if config["lr"] < 0.5:
                scores["size"] = config["depth"] + 0.1 * (run.split == "report")
            yield Report(step, scores=scores, state=dict)
"""


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    path = tmp_path_factory.mktemp("bounded") / "bounded.py"
    path.write_text(TRAINING)
    return str(path)


def campaign(training, out, *constraints, **values):
    return Campaign(
        Settings.make(
            **{
                "model": training,
                "budget": "50trials",
                "workers": 0,
                "rungs": 3,
                "constraint": constraints,
                "out": str(out),
                **values,
            }
        )
    )


@pytest.fixture(scope="module")
def bounded(training, tmp_path_factory):
    return campaign(training, tmp_path_factory.mktemp("campaign") / "a", "size<=3.5").run()


def test_the_best_is_within_the_bounds_and_better_than_the_recipe(bounded, training, tmp_path):
    best = bounded.trial(bounded.best).config
    assert best["depth"] <= 3
    assert bounded.verdicts[0].decision == "better"
    assert bounded.constraints == (Constraint("size", "<=", 3.5),)
    free = campaign(training, tmp_path / "free").run()
    assert free.trial(free.best).config["depth"] > 3, "without the bound, deeper is better"


def test_finalists_are_within_the_bounds(bounded):
    assert all(f.config["depth"] <= 3 for f in bounded.finalists)
    assert all(f.scores["size"].value <= 3.5 for f in bounded.finalists)
    outside = [t for t in bounded.search_trials if t.config["depth"] > 3 and t.state != TrialState.RUNNING]
    assert outside
    assert all("outside its bounds" in t.decision for t in outside if t.rungs)


def test_the_folder_reads_back_the_same(bounded):
    again = read_record(bounded.folder)
    assert again.constraints == bounded.constraints
    assert again.verdicts == bounded.verdicts
    assert tomllib.loads((bounded.folder / "campaign.toml").read_text())["constraint"] == ["size<=3.5"]


def test_its_resolved_toml_keeps_the_bounds(bounded, tmp_path):
    settings = Settings.from_toml(bounded.folder / "campaign.toml")
    again = Campaign(settings.model_copy(update={"out": str(tmp_path / "elsewhere")})).run()
    assert [t.config for t in again.trials] == [t.config for t in bounded.trials]
    assert again.best == bounded.best


def test_other_bounds_are_another_campaign(bounded, training):
    with pytest.raises(StoreError, match="constraint"):
        campaign(training, bounded.folder, "size<=4.5").run()
    with pytest.raises(StoreError, match="constraint"):
        campaign(training, bounded.folder).run()


def test_other_bounds_are_refused_while_a_campaign_is_under_way(training, tmp_path):
    begun = campaign(training, tmp_path / "a", "size<=3.5", budget="6trials")

    class Stop(KeyboardInterrupt):  # an error of an observer stops nothing
        pass

    class Interrupting:
        def start(self, record): ...

        def update(self, *_): ...

        def finish(self, record): ...

        def event(self, text):
            if text.startswith("trial 2"):
                raise Stop

    with pytest.raises(Stop):
        begun.run([Interrupting()])
    with pytest.raises(StoreError, match=r"constraints: size<=3\.5 → none"):
        campaign(training, tmp_path / "a", budget="6trials").run()


def test_where_the_verdicts_part_breaks_a_bound_that_the_search_kept(training, tmp_path):
    """On the report part every size is 0.1 more: what was just within is outside, and said not to be better."""
    record = campaign(training, tmp_path / "a", "size<=2", budget="40trials", set={"depth": 2}).run()
    assert record.verdicts[0].decision == "infeasible"
    assert record.verdicts[0].outside == record.verdicts[0].recipe_outside == pytest.approx(0.05)
    first = (record.folder / "best.toml").read_text().splitlines()[0]
    assert "neither keeps the bounds" in first


def test_a_bound_on_what_is_never_told_is_broken_by_all(training, tmp_path):
    record = campaign(training, tmp_path / "a", "novelty>=0.4", budget="12trials").run()
    assert record.done
    assert record.verdicts[0].decision == "infeasible"
