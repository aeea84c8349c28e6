"""Campaigns whose samples a model is asked about: what it costs where, and what is refused."""

import tomllib

import pytest

import vqa_models
from maestune.campaign.campaign import Campaign
from maestune.campaign.goals import goals_of
from maestune.campaign.prepare import prepare
from maestune.campaign.settings import Settings
from maestune.data import load_images
from maestune.errors import SettingsError
from maestune.execution.model import built_in_family
from maestune.quality.features import learning
from maestune.quality.features.vqa_model import VqaModel

SMALL = {"network": "dit", "width": 64, "depth": 1, "batch_size": 32}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAESTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(
            learning, "MOST_SHOWN", 5000
        )  # extractors that have learnt little: nothing here rests on what they see
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    vqa_models.library()
    return vqa_models.blip(tmp_path_factory.mktemp("models") / "blip")


@pytest.fixture
def questions(monkeypatch):
    """How many questions are asked."""
    return counted(monkeypatch)


def counted(patch):
    asked = []
    yes = VqaModel.yes

    def counting(self, images, texts):
        asked.append(len(texts))
        return yes(self, images, texts)

    patch.setattr(VqaModel, "yes", counting)
    return asked


def settings_of(folder, **values):
    given = {"model": "flow", "data": "digits-captions", "samples": 100, "report_samples": 100, "vqa": str(folder)}
    return Settings.make(**{"features": "random", **given, **values})


def prepared(folder, **values):
    return prepare(settings_of(folder, **values), None, "cpu", lambda _: None)


@pytest.fixture(scope="module")
def found(folder):
    """A campaign that is prepared, and how many questions were asked for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        asked = counted(patch)
        return prepared(folder.name), tuple(asked)


def test_it_is_asked_for_the_verdict_only(found, questions):
    prepared, asked = found
    assert "vqa_score" in prepared.setup.verdict_metrics
    assert "vqa_score" not in prepared.setup.full_metrics
    assert "vqa_score" not in prepared.setup.metrics
    assert asked == (50, 50, 100)  # it was tried, and was asked about the floor
    assert 0 < prepared.floor["vqa_score"][0] < 1
    assert prepared.failure["vqa_score"] == [0.0, 0.0, 0.0]
    search = prepared.setup.evaluators["search"]
    seen = search.extract(load_images("digits-captions").train.images[:100])
    search.score(seen, prepared.setup.full_metrics)
    assert questions == []
    search.score(seen, ["vqa_score"])
    assert questions == [100]


def test_who_is_asked_is_written_down(found, folder):
    prepared, _ = found
    assert any(note.startswith("About captions is asked BlipForQuestionAnswering") for note in prepared.notes)
    assert any("no more often than luck" in note for note in prepared.notes)
    assert any("2404.01291" in citation for citation in prepared.citations)
    settings = settings_of("blip")
    answerer = prepared.setup.evaluators["search"].answerer
    assert prepared.identity(settings)["features"].endswith(f", asked {answerer.fingerprint}")
    assert answerer.path == str(folder)


def test_the_folder_holds_from_everywhere(found, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert tomllib.loads(found[0].resolved(settings_of("blip"), 10))["vqa"] == str(folder)


def goals(folder, **values):
    settings = settings_of(folder, **values)
    return goals_of(settings, None, built_in_family("flow"), load_images("digits-captions"), conditional=True)


def test_it_decides_where_it_is_asked_for_and_never_alone(folder):
    for alone in (("vqa_score",), ("vqa_score", "precision")):
        assert goals(folder, objective=alone).names == (*alone, "recall")
    assert goals(folder, objective=("vqa_score", "fd")).names == ("vqa_score", "fd")
    for bound in ("asked_diversity>=0.8", "coverage>=0.5", "fd<=20.5"):
        found = goals(folder, objective=("vqa_score",), constraint=(bound,))
        assert found.objectives[0].higher_is_better
        assert [c.text for c in found.constraints] == [bound]
    assert goals(folder, constraint=("vqa_score>=0.2",)).names[-1] == "vqa_score"
    with pytest.raises(SettingsError, match="Unknown objective 'vqa_score'"):
        goals(None, objective=("vqa_score",), vqa=None)


@pytest.mark.parametrize(
    "values",
    [{"data": "digits"}, {"model": "gan"}, {"model": "lm", "data": "pydoc"}],
    ids=["captions", "asking", "images"],
)
def test_where_there_is_nothing_to_ask_it_is_refused(folder, values):
    with pytest.raises(SettingsError, match="nothing can be asked about them"):
        prepared(folder, **values)


def test_a_folder_that_is_not_there_is_told_before_anything_is_trained(tmp_path):
    said = []
    settings = settings_of(tmp_path / "nothing")
    with pytest.raises(SettingsError, match=r"nothing is no folder .*--vqa FOLDER"):
        prepare(settings, None, "cpu", said.append)
    assert not any("training" in text for text in said)


def test_a_campaign_asks_about_the_samples_of_its_finals(folder, tmp_path):
    record = Campaign(
        settings_of(folder, budget="3trials", steps=9, workers=0, set=SMALL, out=str(tmp_path / "flow"))
    ).run()
    finals = [trial for trial in record.trials if trial.stage == "finals"]
    assert finals
    for trial in record.trials:
        for rung in trial.rungs:
            last = trial.stage == "finals" and rung is trial.rungs[-1]
            assert ("vqa_score" in rung.scores) == last
    assert all(0 < trial.rungs[-1].scores["vqa_score"].value < 1 for trial in finals)
    assert "vqa_score" in record.floor
