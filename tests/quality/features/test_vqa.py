import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vqa_models
from maestune.data import ImageData, load_images, to_float
from maestune.errors import MetricError, SettingsError
from maestune.quality.features import vqa
from maestune.quality.features.captions import wordings
from maestune.quality.features.vqa import VqaScorer, as_pictures, choose_vqa_scorer, resolved_vqa
from maestune.quality.features.vqa_folder import read_vqa
from maestune.quality.metric import Array


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_images("digits-captions")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vqa_models.library()
    return vqa_models.llava(tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="module")
def answerer(folder: Path, data: ImageData) -> VqaScorer:
    return choose_vqa_scorer(str(folder), data)


def test_the_question_is_about_the_caption_and_its_image(answerer: VqaScorer, folder: Path, data: ImageData) -> None:
    assert data.search.captions is not None
    assert data.vocabulary is not None
    captions = answerer.told(data.search.captions[:5])
    assert captions[0] == data.vocabulary.decode(data.search.captions[0])
    found = answerer.yes(data.search.images[:5].numpy(), captions)
    images = [Image.fromarray(one.numpy()).convert("RGB") for one in data.search.images[:5, 0]]
    questions = [f'Does this figure show "{caption}"? Please answer yes or no.' for caption in captions]
    np.testing.assert_allclose(found, read_vqa(folder, "cpu").yes(images, questions), rtol=1e-6)


def test_colour_is_seen_and_grey_is_grey(answerer: VqaScorer) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    captions = ["a", "b", "c"]
    same = answerer.yes(np.repeat(grey, 3, axis=1), captions)
    np.testing.assert_array_equal(same, answerer.yes(grey, captions))
    red = np.concatenate([grey, 0 * grey, 0 * grey], axis=1)
    assert not np.allclose(same, answerer.yes(red, captions), rtol=1e-3)


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (3, 1, 8, 8), (2, 8, 8)])
def test_what_does_not_fit_is_refused(answerer: VqaScorer, shape: tuple[int, ...]) -> None:
    with pytest.raises(MetricError, match="one caption for each"):
        answerer.yes(np.zeros(shape, np.uint8), ["a", "b"])


def test_pictures_are_the_images() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    np.testing.assert_array_equal(as_pictures(pixels), pixels.numpy())
    np.testing.assert_array_equal(as_pictures(to_float(pixels)), pixels.numpy())
    with pytest.raises(MetricError, match="diverged"):
        as_pictures(torch.full((1, 1, 2, 2), torch.nan))


def test_unknown_words_are_not_asked_about(answerer: VqaScorer) -> None:
    known = answerer.vocabulary.words[2]
    caption = answerer.vocabulary.encode_all([f"{known} heffalump {known}"])
    assert answerer.told(caption) == [f"{known} {known}"]


def test_it_travels_as_a_path_and_is_refused_when_its_files_have_changed(data: ImageData, tmp_path: Path) -> None:
    vqa_models.library()
    one = choose_vqa_scorer(str(vqa_models.blip(tmp_path / "model")), data)
    content = pickle.dumps(one)
    assert len(content) < 3000
    pixels = data.search.images[:3].numpy()
    found = one.yes(pixels, ["a", "b", "c"])
    vqa._loaded.cache_clear()
    sent = pickle.loads(content)
    np.testing.assert_array_equal(sent.yes(pixels, ["a", "b", "c"]), found)
    vqa._loaded.cache_clear()
    other = choose_vqa_scorer(str(vqa_models.blip(tmp_path / "model", seed=1)), data)
    assert other.fingerprint != one.fingerprint
    assert other.sha256 != one.sha256
    assert one.sha256[:12] in one.description
    with pytest.raises(SettingsError, match="has changed since it was chosen"):
        sent.yes(pixels, ["a", "b", "c"])


def test_equal_models_have_equal_fingerprints_wherever_they_lie(
    answerer: VqaScorer, folder: Path, data: ImageData, tmp_path: Path
) -> None:
    again = choose_vqa_scorer(str(vqa_models.llava(tmp_path / "elsewhere")), data)
    assert again.fingerprint == answerer.fingerprint
    assert again.preferred == answerer.preferred


def test_random_weights_tell_no_captions_apart(answerer: VqaScorer) -> None:
    assert answerer.preferred is not None
    assert answerer.able is False
    assert f"{answerer.preferred:.0%} get a higher one for their own caption" in answerer.description
    assert "no more often than luck" in answerer.warning


def _knowing(monkeypatch: pytest.MonkeyPatch, data: ImageData, right: float) -> list[str]:
    """Somebody who answers from what is known of the images, rightly in a share of the questions; returns what was asked."""
    assert data.search.captions is not None
    assert data.vocabulary is not None
    own = {
        image.numpy().tobytes(): f'"{data.vocabulary.decode(caption)}"'
        for image, caption in zip(data.search.images, data.search.captions, strict=True)
    }
    asked: list[str] = []

    def yes(self: Any, images: Sequence[Image.Image], questions: Sequence[str]) -> Array:
        asked.extend(questions)
        shows = [
            own[np.asarray(image.convert("L")).tobytes()] in text for image, text in zip(images, questions, strict=True)
        ]
        surely = np.arange(len(images)) < right * len(images)
        return np.where(surely, np.where(shows, 0.9, 0.1), 0.5)

    monkeypatch.setattr("maestune.quality.features.vqa_model.VqaModel.yes", yes)
    return asked


@pytest.mark.parametrize(("right", "able"), [(1.0, True), (0.8, True), (0.5, False), (0.0, False)])
def test_a_model_is_tried_on_own_captions_against_others(
    right: float, able: bool, folder: Path, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _knowing(monkeypatch, data, right)
    found = choose_vqa_scorer(str(folder), data)
    assert found.preferred == right
    assert found.able is able
    assert bool(found.warning) is not able
    assert len(asked) == 2 * vqa.TRIED
    assert all(own != other for own, other in zip(asked[: vqa.TRIED], asked[vqa.TRIED :], strict=True))


def test_where_all_captions_are_the_same_nothing_is_tried(folder: Path, data: ImageData) -> None:
    captions = data.search.captions
    assert captions is not None
    assert len(set(wordings(captions).tolist())) > 1
    same = replace(data, search=replace(data.search, captions=captions[:1].expand_as(captions)))
    found = choose_vqa_scorer(str(folder), same)
    assert (found.preferred, found.able, found.warning) == (None, None, "")


def test_images_without_captions_are_refused(folder: Path, digits: ImageData) -> None:
    with pytest.raises(MetricError, match="has no captions"):
        choose_vqa_scorer(str(folder), digits)


def test_folders_that_are_not_there_are_told(data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"nothing is no folder .*--vqa FOLDER"):
        choose_vqa_scorer(str(tmp_path / "nothing"), data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolved_vqa("a/../b") == resolved_vqa("~/b") == str(tmp_path / "b")
