import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maestune.data import ImageData, load_images, to_float
from maestune.errors import DataError, MetricError, SettingsError
from maestune.quality.features.damages import blurred
from maestune.quality.scoring import image_models
from maestune.quality.scoring import images as scoring
from maestune.quality.scoring.result import ScoreResult
from maestune.quality.scoring.samples import score_samples

Write = Callable[..., Path]
SOME = ("fd", "coverage", "precision", "modes", "novelty")


def scored(real: ImageData, images: torch.Tensor, metrics: tuple[str, ...] = SOME) -> ScoreResult:
    return score_samples(real, images, metrics=metrics)


@pytest.fixture(scope="module")
def perfect(real: ImageData, fresh: torch.Tensor) -> ScoreResult:
    return score_samples(real, fresh)


@pytest.fixture(scope="module")
def noisy(real: ImageData, fresh: torch.Tensor) -> ScoreResult:
    generator = torch.Generator().manual_seed(0)
    noise = 0.6 * torch.empty(fresh.shape).normal_(generator=generator)
    return scored(real, (to_float(fresh) + noise).clamp(-1, 1))


def test_real_images_score_as_the_floor_does(perfect: ScoreResult) -> None:
    scores, floor = perfect.scores, perfect.floor
    assert {"fd", "kid", "coverage", "precision", "recall", "modes", "novelty"} <= set(scores)
    assert scores["fd"].value < 3 * floor["fd"].value
    assert scores["modes"].value == 10
    for name in ("coverage", "precision", "recall"):
        assert scores[name].value == pytest.approx(floor[name].value, abs=0.12)
    for score in scores.values():
        assert score.low <= score.value <= score.high
    assert scores["novelty"].value > 0.9
    assert not perfect.warnings


def test_what_the_numbers_rest_on_stands_beside_them(
    perfect: ScoreResult, real: ImageData, fresh: torch.Tensor
) -> None:
    assert perfect.fake.used == perfect.fake.found == len(fresh)
    assert perfect.reference == len(real.report)
    assert perfect.real.fingerprint == real.fingerprint
    assert perfect.feature_space.kind == "classifier"
    assert len(perfect.feature_space.fingerprint) == 16
    assert perfect.feature_space.passed
    assert any("few" in note for note in perfect.notes)


def test_everything_that_applies_is_measured_and_nothing_else(perfect: ScoreResult) -> None:
    assert "adherence" not in perfect.scores
    assert "fd_second" in perfect.scores
    assert all(each.floor is not None for each in perfect.measured)


def test_noise_is_far_from_real(noisy: ScoreResult, perfect: ScoreResult) -> None:
    assert noisy.scores["fd"].low > 2 * perfect.scores["fd"].high
    assert noisy.scores["precision"].high < perfect.scores["precision"].low


def test_blur_is_far_from_real(real: ImageData, fresh: torch.Tensor, perfect: ScoreResult) -> None:
    result = scored(real, blurred(to_float(fresh), 1.0))
    assert result.scores["fd"].low > 3 * perfect.scores["fd"].high


def test_missing_classes_show_in_diversity_and_not_in_realism(
    real: ImageData, fresh: torch.Tensor, fresh_classes: np.ndarray, perfect: ScoreResult
) -> None:
    kept = fresh[torch.from_numpy(fresh_classes < 4)]
    result = scored(real, kept)
    assert result.scores["modes"].value <= 5
    assert result.scores["coverage"].high < perfect.scores["coverage"].low
    assert result.scores["precision"].value == pytest.approx(perfect.scores["precision"].value, abs=0.1)
    assert result.classes is not None
    assert result.classes.names == tuple("0123456789")
    assert sum(result.classes.fake[5:]) < 0.1 < sum(result.classes.real[5:])
    assert sum(result.classes.fake) == pytest.approx(1)


def test_copies_of_training_images_are_found_and_shown(real: ImageData) -> None:
    copies = real.train.images[100:400]
    result = scored(real, copies)
    assert result.scores["novelty"].value < 0.05
    assert "300 of 300 samples are, pixel for pixel, training images" in result.warnings[0]
    for picture in result.highlights.copied:
        assert picture.note == "the same, pixel for pixel"
        assert picture.value == 0
        assert picture.beside is not None
        assert torch.equal(picture.beside, picture.image)
        assert torch.equal(picture.image, copies[int(picture.name)])


def test_real_images_among_the_samples_are_told(real: ImageData) -> None:
    result = scored(real, torch.cat([real.report.images[:20], real.train.images[:20]]), ("fd",))
    assert [warning.split(" of ")[0] for warning in result.warnings] == ["20", "20"]


def test_the_worst_are_those_unlike_anything_real(real: ImageData, fresh: torch.Tensor) -> None:
    images = fresh[:100].clone()
    images[[3, 50]] = 255
    shown = scored(real, images, ("fd",)).highlights
    assert {one.name for one in shown.worst[:2]} == {"3", "50"}
    assert [one.value for one in shown.worst] == sorted((one.value for one in shown.worst), reverse=True)
    assert [one.value for one in shown.best] == sorted(one.value for one in shown.best)
    assert shown.best[0].value < shown.worst[-1].value


def test_the_same_seed_gives_the_same_numbers_and_another_draws_others(real: ImageData, fresh: torch.Tensor) -> None:
    one, again, other = (
        score_samples(real, fresh, samples=150, seed=seed, metrics=["fd", "coverage"]) for seed in (1, 1, 2)
    )
    assert one.to_dict() == again.to_dict()
    assert one.fake.used == 150
    assert one.fake.found == len(fresh)
    assert one.scores["fd"] != other.scores["fd"]
    assert any("150 of 400 samples are scored" in note for note in one.notes)


def test_a_folder_scores_as_the_same_images_in_memory(
    real_folder: Path, real: ImageData, fresh: torch.Tensor, tmp_path: Path, write_images: Write
) -> None:
    folder = write_images(tmp_path, fresh[:100, 0].numpy())
    result = score_samples(real_folder, folder, metrics=["fd", "recall"])
    assert result.scores == score_samples(real, fresh[:100], metrics=["recall", "fd"]).scores
    assert result.fake.fingerprint == scored(real, fresh[:100].flip(0), ("fd",)).fake.fingerprint
    assert result.real.source == str(real_folder)


def test_how_many_workers_there_are_changes_nothing(
    real: ImageData, fresh: torch.Tensor, fresh_classes: np.ndarray, tmp_path: Path, write_images: Write
) -> None:
    folder = write_images(tmp_path, fresh[:, 0].numpy(), fresh_classes)
    (folder / "3" / "broken.png").write_bytes(b"no image")
    one, two = (score_samples(real, folder, workers=workers) for workers in (1, 2))
    assert one.to_dict() == two.to_dict()
    assert {"fd", "fld", "cas", "novelty"} <= set(one.scores)
    assert set(one.floor) == set(one.scores)
    assert one.fake.skipped == ("3/broken.png: not an image, or damaged at its beginning",)
    assert one.fake.used == len(fresh) == one.fake.found - 1
    for a, b in zip(
        (*one.highlights.worst, *one.highlights.copied), (*two.highlights.worst, *two.highlights.copied), strict=True
    ):
        assert torch.equal(a.image, b.image)
    with pytest.raises(SettingsError, match="workers: 0 can do nothing"):
        score_samples(real, folder, workers=0)


def test_what_was_asked_for_is_told_by_those_that_could_be_read(
    real: ImageData, fresh: torch.Tensor, fresh_classes: np.ndarray, tmp_path: Path, write_images: Write
) -> None:
    folder = write_images(tmp_path, fresh[:100, 0].numpy(), fresh_classes[:100])
    (folder / "loose.png").write_bytes(b"")  # of no class, and no image either
    result = score_samples(real, folder, workers=2)
    assert result.scores["adherence"].value > 0.85
    assert any("Folders name the class" in note for note in result.notes)


def test_a_folder_is_never_all_in_memory_where_features_are_enough(
    real: ImageData, fresh: torch.Tensor, tmp_path: Path, write_images: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images(tmp_path, fresh[:50, 0].numpy())
    table = tmp_path / "asked.csv"
    table.write_text("file,class\n" + "".join(f"{i:04d}.png,{i % 10}\n" for i in range(50)))
    read: list[str] = []
    all_at_once = scoring.read_fakes
    monkeypatch.setattr(scoring, "read_fakes", lambda *given: read.append("all") or all_at_once(*given))
    score_samples(real, folder, metrics=["fd"])
    assert read == []
    score_samples(real, folder, metrics=["fd"], prompts=table)
    assert read == ["all"]


def test_the_plain_data_are_json_with_a_stable_schema(perfect: ScoreResult) -> None:
    data = json.loads(json.dumps(perfect.to_dict(), allow_nan=False))
    assert data["schema"] == "maestune.score/1"
    assert set(data) == {
        "schema", "modality", "real", "fake", "metrics", "features", "vqa", "classes", "shown", "seed", "options",
        "warnings", "notes", "versions",
    }  # fmt: skip
    assert set(data["real"]) == {"source", "found", "used", "fingerprint", "skipped", "reference"}
    assert set(data["fake"]) == {"source", "found", "used", "fingerprint", "skipped"}
    assert set(data["features"]) == {"kind", "fingerprint", "description", "passed", "sentence"}
    assert set(data["metrics"]) == set(perfect.scores)
    fd = data["metrics"]["fd"]
    assert set(fd) == {
        "value", "low", "high", "floor", "label", "axis", "unit", "better", "meaning", "citation",
    }  # fmt: skip
    assert fd["value"] == perfect.scores["fd"].value
    assert fd["floor"]["low"] == perfect.floor["fd"].low
    assert fd["better"] == "lower"
    assert data["metrics"]["coverage"]["better"] == "higher"
    assert set(data["shown"]) == {"worst", "best", "copied", "repetitive"}
    assert set(data["shown"]["worst"][0]) == {"name", "value", "note"}


def test_class_folders_say_what_was_asked(
    real: ImageData, fresh: torch.Tensor, fresh_classes: np.ndarray, tmp_path: Path, write_images: Write
) -> None:
    right = write_images(tmp_path / "right", fresh[:100, 0].numpy(), fresh_classes[:100])
    result = score_samples(real, right, metrics=["adherence"])
    assert result.scores["adherence"].value > 0.85
    assert any("Folders name the class" in note for note in result.notes)
    wrong = write_images(tmp_path / "wrong", fresh[:100, 0].numpy(), (fresh_classes[:100] + 1) % 10)
    assert score_samples(real, wrong, metrics=["adherence"]).scores["adherence"].value < 0.1


def test_a_table_says_what_was_asked(
    real: ImageData, fresh: torch.Tensor, fresh_classes: np.ndarray, tmp_path: Path, write_images: Write
) -> None:
    folder = write_images(tmp_path / "samples", fresh[:60, 0].numpy())
    table = tmp_path / "asked.csv"
    table.write_text("file,class\n" + "".join(f"{i:04d}.png,{k}\n" for i, k in enumerate(fresh_classes[:60])))
    assert score_samples(real, folder, metrics=["adherence"], prompts=table).scores["adherence"].value > 0.85


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (["fid"], "no metric 'fid'. Did you mean fd"),
        (["fd", "bpc"], r"bpc is not told by such samples \(bits per character\). Known: fd, "),
        (["adherence"], "adherence .* cannot be measured here: .*--prompts"),
    ],
)
def test_metrics_that_cannot_be_measured_are_answered(
    real: ImageData, fresh: torch.Tensor, metrics: list[str], said: str
) -> None:
    with pytest.raises(MetricError, match=said):
        score_samples(real, fresh, metrics=metrics)


def test_metrics_of_classes_need_classes(real: ImageData, fresh: torch.Tensor) -> None:
    with pytest.raises(MetricError, match="random features"):
        score_samples(real, fresh, metrics=["modes"], features="random")


def test_what_was_asked_for_is_told_by_labels_whatever_the_extractor_knows(
    real: ImageData, fresh: torch.Tensor, fresh_classes: np.ndarray, tmp_path: Path, write_images: Write
) -> None:
    folder = write_images(tmp_path / "samples", fresh[:, 0].numpy(), fresh_classes)
    assert score_samples(real, folder, metrics=["cas"], features="random").scores["cas"].value > 0.7
    plain = replace(real, class_names=(), **{
        split: replace(getattr(real, split), labels=None) for split in ("train", "search", "report")
    })  # fmt: skip
    with pytest.raises(MetricError, match=r"cas .* cannot be measured here: .*one folder per class"):
        score_samples(plain, folder, metrics=["cas"], features="random")


def test_random_features_are_held_beside_what_the_data_teach(real: ImageData, fresh: torch.Tensor) -> None:
    result = score_samples(real, fresh[:50], metrics=["fd", "fd_second"], features="random")
    assert result.feature_space.kind == "random"
    assert result.classes is None
    assert result.scores["fd_second"] == scored(real, fresh[:50], ("fd",)).scores["fd"]


def test_captions_can_be_asked_for_where_the_real_images_have_some(
    real_folder: Path, fresh: torch.Tensor, fresh_classes: np.ndarray, tmp_path: Path, write_images: Write
) -> None:
    folder = write_images(tmp_path / "samples", fresh[:100, 0].numpy())

    def asked_for(classes: np.ndarray) -> ScoreResult:
        rows = [{"file": f"{i:04d}.png", "caption": f"a picture of a {k}"} for i, k in enumerate(classes)]
        (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return score_samples(
            real_folder,
            folder,
            prompts=tmp_path / "asked.jsonl",
            captions=["a picture of a {}"],
            metrics=["r_precision", "clip_like"],
        )

    right, wrong = asked_for(fresh_classes[:100]), asked_for((fresh_classes[:100] + 1) % 10)
    for name in ("r_precision", "clip_like"):
        assert wrong.scores[name].high < right.scores[name].low
        assert right.scores[name].value > 0.8 * right.floor[name].value
    assert any(note.startswith("Captions are read by") for note in right.notes)
    with pytest.raises(MetricError, match="with captions"):
        score_samples(real_folder, folder, metrics=["r_precision"])


def test_a_judge_that_fails_is_refused_unless_it_was_named(
    real: ImageData, fresh: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = image_models.self_test

    def failing(*args: object, **kwargs: object) -> object:
        return replace(test(*args, **kwargs), passed=False, sentence="It is blind.")

    monkeypatch.setattr(image_models, "self_test", failing)
    with pytest.raises(MetricError, match=r"It is blind\. .*insist on this one with --features classifier"):
        score_samples(real, fresh[:50], metrics=["fd"])
    result = score_samples(real, fresh[:50], metrics=["fd"], features="classifier")
    assert result.warnings[0] == "It is blind."
    assert result.feature_space.passed is False


def test_what_cannot_be_measured_is_left_out_unless_it_was_named(
    real: ImageData, fresh: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = scoring.ImageEvaluator.score

    def failing(self: object, seen: object, metrics: list[str], intervals: bool = False) -> object:
        if "recall" in metrics:
            raise MetricError("too few for it")
        return found(self, seen, metrics, intervals)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring.ImageEvaluator, "score", failing)
    result = score_samples(real, fresh[:50])
    assert "recall" not in result.scores
    assert "coverage" in result.floor
    assert any(note.startswith("Not measured: recall") and note.endswith("too few for it") for note in result.notes)
    with pytest.raises(MetricError, match="too few for it"):
        score_samples(real, fresh[:50], metrics=["recall"])


def test_samples_and_real_data_are_kept_apart(real_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the samples are the real data themselves"):
        score_samples(real_folder, real_folder)
    with pytest.raises(DataError, match="the samples are the real data themselves"):
        score_samples("digits", "digits")
    (tmp_path / "link").symlink_to(real_folder)
    with pytest.raises(DataError, match="the samples are the real data themselves"):
        score_samples(real_folder, tmp_path / "link")
    with pytest.raises(DataError, match="lies in"):
        score_samples(real_folder, real_folder / "3")
    with pytest.raises(DataError, match="lies in"):
        score_samples(real_folder / "3", real_folder)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"samples": 5}, "samples: 5 is too few"),
        ({"seed": -1}, "seed: -1"),
        ({"modality": "sound"}, "Known: image, text"),
        ({"features": "dino"}, "Did you mean dinov2"),
    ],
)
def test_wrong_settings_name_the_repair(
    real: ImageData, fresh: torch.Tensor, given: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        score_samples(real, fresh, **given)  # type: ignore[arg-type]


def test_values_are_those_of_the_finals_of_a_campaign(real: ImageData, fresh: torch.Tensor) -> None:
    result = scored(real, fresh, ("fd", "recall"))
    extractor = image_models.choose("auto", real)
    evaluator = scoring.ImageEvaluator.prepare(real, "report", extractor, len(fresh))
    assert result.scores == evaluator.score(evaluator.extract(to_float(fresh)), ["fd", "recall"], intervals=True)
    assert result.feature_space.fingerprint == extractor.fingerprint


def test_real_images_that_lie_in_a_file_score_as_those_in_memory(
    real_folder: Path, real: ImageData, fresh: torch.Tensor
) -> None:
    kept = load_images(real_folder, limit_bytes=0)
    samples = torch.cat([fresh[:50], real.train.images[:3]])
    one, other = (score_samples(data, samples, metrics=["fd", "novelty"]) for data in (kept, real))
    assert one.scores == other.scores
    assert one.warnings == other.warnings
    pairs = zip(one.highlights.copied, other.highlights.copied, strict=True)
    assert all(a == b and torch.equal(a.image, b.image) for a, b in pairs)
