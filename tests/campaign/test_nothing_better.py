"""Whole campaigns in which everything but the recipe is bad: the recipe alone is final, and everything is written for it."""

import os
import signal
import tomllib

import pytest

from maestune.api import open_campaign, write_report
from maestune.campaign import Campaign, Settings
from maestune.campaign.budget import GOOD_FINAL_SEEDS, Budget
from maestune.campaign.build_record import read_record
from maestune.campaign.samples import draw_samples
from maestune.report.verdict_views import verdict_view

TRAINING = """
import math
import torch
from maestune import Float, Int, Prior, Report, Space

objective = "miss:min"
full_steps = 90
space = Space((Float("lr", 1e-5, 1.0, scale="log", prior=Prior(1e-3)), Int("depth", 1, 6, prior=Prior(2))))


def train(config, run):
    for step in run.steps():
        if run.due(step):
            miss = 1.0 + abs(math.log10(config["lr"]) + 3) + abs(config["depth"] - 2) + 3.0 / step
            yield Report(step, scores={"miss": miss}, state=lambda: {"lr": torch.tensor(config["lr"])})


def generate(config, state, n, generator):
    return torch.full((n, 1, 8, 8), float(state["lr"]))
"""


class Interrupting:
    """Sends this process a signal at the n-th event."""

    def __init__(self, at):
        self.at, self.events = at, 0

    def start(self, record): ...

    def update(self, *_): ...

    def finish(self, record): ...

    def event(self, text):
        self.events += 1
        if self.events == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    path = tmp_path_factory.mktemp("training") / "own.py"
    path.write_text(TRAINING)
    return str(path)


def campaign(training, out, **values):
    return Campaign(Settings.make(**{"model": training, "budget": "20trials", "workers": 0, "out": str(out), **values}))


@pytest.fixture(scope="module")
def finished(training, tmp_path_factory):
    return campaign(training, tmp_path_factory.mktemp("campaign") / "a").run()


def test_the_search_goes_on_and_then_the_recipe_alone_is_final(finished):
    assert finished.done
    assert finished.nothing_better
    assert len(finished.search_trials) == Budget.parse("20trials").longest_search == 16
    (final,) = finished.finalists
    assert (final.role, final.trial, len(final.runs)) == ("recipe", finished.best, 4)
    assert finished.trial(finished.best).role == "recipe"
    assert finished.verdicts == ()
    assert [n for n in finished.notes if n.startswith("nothing better found: 16 configurations, ")]


def test_what_it_writes_is_the_recipe(finished):
    text = (finished.folder / "best.toml").read_text()
    assert tomllib.loads(text) == {"lr": 1e-3, "depth": 2}
    assert text.startswith("# the starting recipe: the search found nothing that may be better; ")
    kept = [p.parent.name for p in finished.folder.rglob("checkpoint-*.safetensors")]
    assert kept == [f"{finished.finalists[0].runs[0]:04d}"]
    for recipe in (False, True):
        images = draw_samples(finished.folder, 3, recipe=recipe, device="cpu").images
        assert images[:, 0, 0, 0].tolist() == pytest.approx([1e-3] * 3)


def test_the_page_says_so_and_how_much_of_the_search_ran(finished):
    view = verdict_view(finished)
    assert (view.decision, view.headline) == ("", "Nothing better found")
    assert "The search trained 16 configurations, " in view.finding
    assert "of the budget 20 trials" in view.finding
    page = write_report(read_record(finished.folder)).read_text()
    assert "Nothing better found" in page
    assert "No verdict" not in page
    summary = open_campaign(finished.folder).summary
    assert summary["verdict"] is None
    assert summary["best"] == summary["recipe"]
    assert summary["best"]["scored_on"] == "report"


def test_the_rest_of_a_large_budget_is_not_spent_on_the_recipe(training, tmp_path):
    """A grid of four ends before its budget does."""
    values = {"strategy": "grid", "set": {"lr": 1e-3}, "range": {"depth": (2, 5)}}
    record = campaign(training, tmp_path / "a", budget="60trials", **values).run()
    assert record.nothing_better
    assert len(record.search_trials) <= 5
    assert len(record.finalists[0].runs) == GOOD_FINAL_SEEDS


def test_full_trainings_are_kept_for_two_seeds_of_two(training, tmp_path):
    record = campaign(training, tmp_path / "a", budget="12full").run()
    assert record.nothing_better
    spent = sum(t.step for t in record.search_trials) / record.rungs[-1]
    assert Budget.parse("12full").search_amount < spent <= 8.0 + 1e-9
    assert record.full_trainings <= 12 + 1e-9


def test_a_budget_of_time_is_kept(training, tmp_path):
    record = campaign(training, tmp_path / "a", budget="8s").run()
    assert record.nothing_better
    assert 2 <= len(record.finalists[0].runs) <= GOOD_FINAL_SEEDS


@pytest.mark.parametrize("moment", [3, 14, 19])
def test_interrupted_and_resumed_it_is_the_same(finished, training, tmp_path, moment, table):
    first = campaign(training, tmp_path / "a").run([Interrupting(moment)])
    assert not first.done
    again = Campaign.resume(tmp_path / "a", workers=0).run()
    assert table(again) == table(finished)
    assert again.notes == finished.notes
