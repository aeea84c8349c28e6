from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maestune.data import ImageData
from maestune.errors import MetricError, SettingsError
from maestune.quality.features import learning
from maestune.quality.features.choice import (
    choose,
    choose_caption_encoder,
    choose_second,
    parse_features,
    resolved_features,
)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "is no kind of features"),
        ("dino:x", "Did you mean dinov2"),
        ("classifer", "Did you mean classifier"),
        ("ssl:path", "takes no path"),
        ("dinov2", "write --features dinov2:PATH"),
        ("clip: ", "write --features clip:PATH"),
    ],
)
def test_what_is_spelt_wrong_is_told(name: str, told: str, digits: ImageData) -> None:
    with pytest.raises(SettingsError, match=told):
        choose(name, digits)


def test_paths_may_have_colons_and_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_features("torchscript:a:b.pt").path == Path("a:b.pt")
    assert parse_features(" ssl ").kind == "ssl"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_features("dinov2:~/base").path == tmp_path / "base"
    monkeypatch.chdir(tmp_path)
    assert resolved_features("clip:weights/../base") == f"clip:{tmp_path / 'base'}"
    assert resolved_features("auto") == "auto"
    again = resolved_features(resolved_features("torchscript:x.pt"))
    assert again == f"torchscript:{tmp_path / 'x.pt'}"


def test_each_name_gives_its_kind_and_is_kept(
    digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "MOST_SHOWN", 5000)
    said: list[str] = []
    names = ("auto", "classifier", "ssl", "autoencoder", "random")
    first = {name: choose(name, digits, said.append, cache=tmp_path) for name in names}
    assert {name: made.kind for name, made in first.items()} == {name: name for name in names} | {"auto": "classifier"}
    assert len(said) == 4
    again = {name: choose(name, digits, said.append, cache=tmp_path).fingerprint for name in names}
    assert again == {name: made.fingerprint for name, made in first.items()}
    assert len(said) == 4


def test_the_second_opinion_is_never_the_judges_own(digits: ImageData, quality_cache: Path) -> None:
    evaluator = choose("auto", digits, cache=quality_cache)
    second = choose_second(evaluator, digits, cache=quality_cache)
    assert second.kind == "random"
    assert choose_second(second, digits, cache=quality_cache).kind == "classifier"


def test_a_classifier_of_data_without_labels_is_refused(unlabelled: ImageData, quality_cache: Path) -> None:
    with pytest.raises(MetricError, match="--features ssl"):
        choose("classifier", unlabelled, cache=quality_cache)


@pytest.mark.parametrize("kind", ["dinov2", "clip", "torchscript"])
def test_files_that_are_not_there_are_told(kind: str, digits: ImageData, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"nothing.*--features {kind}:"):
        choose(f"{kind}:{tmp_path / 'nothing'}", digits)


def test_without_captions_that_differ_there_is_nobody_to_read_them(digits: ImageData) -> None:
    assert choose_caption_encoder("auto", digits) is None
    from maestune.data import load_images

    captioned = load_images("digits-captions")
    captions = captioned.train.captions
    assert captions is not None
    same = replace(captioned, train=replace(captioned.train, captions=captions[:1].expand_as(captions)))
    assert choose_caption_encoder("auto", same) is None


def test_features_of_a_choice_do_not_depend_on_who_made_it(
    digits: ImageData, quality_cache: Path, tmp_path: Path
) -> None:
    here, elsewhere = (choose("random", digits, cache=cache) for cache in (quality_cache, tmp_path))
    assert here.fingerprint == elsewhere.fingerprint
    images = torch.zeros(2, 1, 8, 8)
    np.testing.assert_array_equal(here.extract(images).values, elsewhere.extract(images).values)
