"""Campaigns whose samples are texts: what is measured where, and what is refused."""

import json

import pytest

from maestune.campaign.campaign import Campaign
from maestune.campaign.evaluators import costly
from maestune.campaign.prepare import prepare
from maestune.campaign.settings import Settings
from maestune.data import TextData
from maestune.errors import SettingsError
from maestune.quality import DESCRIBED, METRICS
from maestune.quality.text import TextEvaluator
from maestune.quality.text import text_models as text_models_module
from maestune.quality.text.byte_lm import fit_reader

SMALL = {"context": 32, "width": 64, "layers": 2, "heads": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def short_course(monkeypatch, cache):
    monkeypatch.setenv("MAESTUNE_CACHE", str(cache))
    monkeypatch.setattr(
        text_models_module, "fit_reader", lambda text, generator: fit_reader(text, generator, multiply_adds=5e8)
    )


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("\n".join(f"{n} is followed by {n + 1}, and {n % 7} comes soon" for n in range(1500)))
    return path


def prepared(text, **values):
    return prepare(
        Settings.make(model="lm", data=str(text), samples=100, report_samples=100, **values),
        None,
        "cpu",
        lambda _: None,
    )


def test_texts_are_judged_where_the_model_may_be_the_result(text):
    found = prepared(text)
    assert isinstance(found.data, TextData)
    assert all(isinstance(evaluator, TextEvaluator) for evaluator in found.setup.evaluators.values())
    assert found.setup.metrics == ()  # bits per character decide, and nothing is drawn at a rung
    assert found.setup.full_metrics == found.setup.verdict_metrics
    assert set(found.floor) == set(found.setup.verdict_metrics) >= {"cluster_js", "text_novelty", "rep_gap"}
    assert set(found.failure) == {*found.floor, "bpc", "val_loss", "perplexity"}
    assert any("readers" in note or "embedder" in note for note in found.notes)
    assert any("counts as copied from" in note for note in found.notes)


def test_costly_metrics_wait_for_the_verdict_unless_they_decide(text, monkeypatch):
    monkeypatch.setattr("maestune.campaign.prepare.costly", lambda name: name in ("mauve", "self_bleu"))
    found = prepared(text, objective=("mauve",), constraint=("text_novelty>=0.5",))
    assert found.setup.metrics == ("mauve", "text_novelty")
    assert set(found.setup.verdict_metrics) - set(found.setup.full_metrics) == {"self_bleu"}
    monkeypatch.undo()
    known = {name for name, metric in METRICS.items() if metric.costly}
    assert known == {name for name in DESCRIBED if costly(name)}


def test_how_texts_are_drawn_is_searched_where_they_decide(text):
    space = prepared(text).space
    assert not {"temperature", "top_p"} & {param.name for param in space.varying}
    found = prepared(text, objective=("cluster_js",))
    assert {"temperature", "top_p"} <= {param.name for param in found.space.varying}
    assert dict(found.recipe) == dict(space.centre())
    fixed = prepared(text, objective=("bpc",), constraint=("rep_gap<=0.3",), set={"temperature": 0.8})
    assert "temperature" not in {param.name for param in fixed.space.varying}
    assert "top_p" in {param.name for param in fixed.space.varying}
    ranged = prepared(text, range={"temperature": (0.5, 1.2)})
    temperature = ranged.space["temperature"]
    assert (temperature.low, temperature.high) == (0.5, 1.2)
    assert "top_p" not in {param.name for param in ranged.space.varying}


def test_a_bare_statistic_is_no_goal_but_can_be_bounded(text):
    with pytest.raises(SettingsError, match="best where real data have it"):
        prepared(text, objective=("oracle_bpc",))
    assert prepared(text, constraint=("text_entropy>=3",)).setup.metrics == ("text_entropy",)


def test_a_text_too_short_to_be_judged_by_is_still_learnt_from(text, monkeypatch):
    monkeypatch.setattr("maestune.campaign.evaluators.SAMPLE_TOKENS", 100_000)
    short = prepared(text)
    assert short.setup.evaluators == {}
    assert short.setup.full_metrics == short.setup.verdict_metrics == ()
    assert any("Samples are not scored" in note and "Give more text" in note for note in short.notes)
    with pytest.raises(SettingsError, match=r"cannot be measured on these data.*Give more text"):
        prepared(text, objective=("cluster_js",))


def test_a_campaign_is_judged_by_texts_at_the_end(text, tmp_path):
    record = Campaign(
        model="lm",
        data=str(text),
        budget="3trials",
        steps=12,
        samples=100,
        report_samples=100,
        workers=0,
        set=SMALL,
        out=str(tmp_path / "lm"),
    ).run()
    finals = [trial for trial in record.trials if trial.stage == "finals"]
    assert set(record.floor) <= set(finals[0].rungs[-1].scores)
    written = sorted(record.trial_folder(finals[0].number).glob("samples-*.json"))[-1]
    assert len(json.loads(written.read_text(encoding="utf-8"))) == 8


def test_decoding_can_be_tuned_by_what_is_written(text, tmp_path):
    record = Campaign(
        model="lm",
        data=str(text),
        budget="3trials",
        steps=9,
        samples=100,
        report_samples=100,
        workers=0,
        set=SMALL,
        objective=("cluster_js",),
        out=str(tmp_path / "lm"),
    ).run()
    assert all("cluster_js" in rung.scores for trial in record.trials for rung in trial.rungs)
    assert record.verdicts[0].objective.name == "cluster_js"
