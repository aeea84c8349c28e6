import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from maestune.data import ImageData, Images, to_float
from maestune.errors import MetricError, StoreError
from maestune.quality import Extractor, available_metrics, make_extractor, prepare_extractor
from maestune.quality.features import fitting, learning
from maestune.quality.features.cache import cache_file, load_extractor, save_extractor
from maestune.quality.features.fitting import fit_extractor, fit_named
from maestune.quality.features.networks import Decoder, Encoder, folded, initialised, multiply_adds
from maestune.quality.features.self_test import SelfTest, self_test

UNLABELLED = ("ssl", "autoencoder")


def _small(shape: tuple[int, int, int], n: int = 60, labelled: bool = True) -> ImageData:
    """Bright images against dark ones, half each."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    images = torch.randint(0, 100, (n, *shape), generator=generator) + 150 * labels[:, None, None, None]

    def part(start: int, end: int) -> Images:
        return Images(images[start:end].to(torch.uint8), labels[start:end] if labelled else None)

    third = n // 3
    names = ("dark", "bright") if labelled else ()
    return ImageData("shades", part(0, third), part(third, 2 * third), part(2 * third, n), names, f"{shape}{labelled}")


@pytest.fixture
def short_course(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "LEAST_SHOWN", 1000)
    monkeypatch.setattr(learning, "MOST_SHOWN", 1000)


def test_classifier_reads_digits(classifier: Extractor) -> None:
    assert classifier.kind == "classifier"
    assert classifier.accuracy is not None
    assert classifier.accuracy >= 0.96
    assert classifier.classes == 10
    assert "search images" in classifier.description


def test_features_are_standardised_by_the_training_images(classifier: Extractor, digits: ImageData) -> None:
    features = classifier.extract(digits.train.images)
    assert features.values.shape == (len(digits.train), 64)
    assert features.values.dtype == np.float64
    np.testing.assert_allclose(features.values.mean(axis=0), 0, atol=1e-6)
    assert features.values.std(axis=0).max() == pytest.approx(1, abs=1e-6)
    assert features.probabilities is not None
    np.testing.assert_allclose(features.probabilities.sum(axis=1), 1)


def test_without_labels_those_look_to_whom_the_faintest_damage_is_clearest(
    unlabelled: ImageData, quality_cache: Path
) -> None:
    found = prepare_extractor(unlabelled, cache=quality_cache)
    assert (found.classes, found.accuracy) == (0, None)
    assert "no labels" in found.description
    tests = {k: self_test(prepare_extractor(unlabelled, kind=k, cache=quality_cache), unlabelled) for k in UNLABELLED}
    assert all(test.passed for test in tests.values())
    assert found.kind == max(tests, key=lambda kind: tests[kind].faintest)
    assert f"{self_test(found, unlabelled).faintest:.2f} times" in found.description
    assert found.extract(unlabelled.search.images).probabilities is None


@pytest.mark.usefixtures("short_course")
@pytest.mark.parametrize("kind", ["classifier", "ssl", "autoencoder", "random"])
def test_each_rung_can_be_asked_for_by_name(kind: str) -> None:
    data = _small((1, 8, 8), n=90)
    found, again = (fit_named(kind, data, torch.Generator().manual_seed(3)) for _ in range(2))
    assert found.kind == kind
    assert found.fingerprint == again.fingerprint
    assert found.extract(data.search.images).values.std() > 0.1


def test_a_classifier_of_data_without_classes_is_refused() -> None:
    with pytest.raises(MetricError, match=r"no labels.*--features ssl"):
        fit_named("classifier", _small((1, 8, 8), labelled=False), torch.Generator())


def test_the_network_of_random_weights_depends_on_the_images_only_by_its_scale() -> None:
    data = _small((1, 8, 8))
    one, other = (fit_named("random", data, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert one.fingerprint == other.fingerprint
    brighter = replace(data, train=replace(data.train, images=data.train.images.clamp(min=90)))
    found = fit_named("random", brighter, torch.Generator())
    assert found.fingerprint != one.fingerprint
    assert torch.equal(found.network.state_dict()["trunk.0.weight"], one.network.state_dict()["trunk.0.weight"])


def test_places_are_quarters_of_the_image_on_their_own_scale(classifier: Extractor, digits: ImageData) -> None:
    features = classifier.extract(digits.train.images)
    assert features.places is not None
    assert features.places.shape == (len(digits.train), 4, 32)
    np.testing.assert_allclose(features.places.mean(axis=0), 0, atol=1e-6)
    assert features.places.std(axis=0).max() == pytest.approx(1, abs=1e-6)
    assert classifier.extract(digits.search.images, places=False).places is None
    # What changes in one corner is seen there most, and not in the opposite one.
    images = to_float(digits.search.images)
    changed = images.clone()
    changed[:, :, :3, :3] = 1.0
    moved = np.abs(classifier.extract(changed).places - classifier.extract(images).places).mean(axis=(0, 2))
    assert moved.argmax() == 0
    assert moved[3] < 0.05 * moved[0]


def test_places_leave_features_as_they_are(classifier: Extractor, digits: ImageData) -> None:
    with_places, without = (classifier.extract(digits.search.images, places=p) for p in (True, False))
    np.testing.assert_array_equal(with_places.values, without.values)
    np.testing.assert_array_equal(with_places.probabilities, without.probabilities)


def test_it_can_be_sent_to_other_processes(classifier: Extractor, digits: ImageData) -> None:
    sent = pickle.loads(pickle.dumps(classifier))
    assert sent.fingerprint == classifier.fingerprint
    here, there = (e.extract(digits.search.images) for e in (classifier, sent))
    np.testing.assert_array_equal(here.values, there.values)
    np.testing.assert_array_equal(here.places, there.places)


def test_pixels_and_floats_and_batches_are_seen_alike(classifier: Extractor, digits: ImageData) -> None:
    pixels = digits.search.images
    whole = classifier.extract(pixels).values
    np.testing.assert_array_equal(classifier.extract(to_float(pixels)).values, whole)
    by_tens = np.concatenate([classifier.extract(batch).values for batch in pixels.split(10)])
    np.testing.assert_allclose(by_tens, whole, atol=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_images_that_are_not_finite_are_refused(classifier: Extractor, bad: float) -> None:
    images = torch.zeros(600, 1, 8, 8)
    images[599, 0, 7, 7] = bad
    with pytest.raises(MetricError, match="diverged"):
        classifier.extract(images)


def test_images_of_another_shape_are_refused(classifier: Extractor) -> None:
    with pytest.raises(MetricError, match=r"\(N, 1, 8, 8\)"):
        classifier.extract(torch.zeros(3, 3, 8, 8))
    with pytest.raises(MetricError, match="at least one"):
        classifier.extract(torch.zeros(0, 1, 8, 8))


@pytest.mark.usefixtures("short_course")
def test_same_seed_same_eyes_and_no_global_randomness() -> None:
    data = _small((1, 8, 8))
    before = torch.get_rng_state()
    first, again, other = (fit_extractor(data, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.extract(data.search.images).values, again.extract(data.search.images).values)


@pytest.mark.usefixtures("short_course")
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14), (1, 28, 28), (3, 48, 33)])
def test_any_shape_can_be_looked_at(shape: tuple[int, int, int], labelled: bool) -> None:
    data = _small(shape, labelled=labelled)
    extractor = fit_extractor(data, torch.Generator().manual_seed(0))
    features = extractor.extract(data.search.images)
    assert features.values.shape == (len(data.search), 64)
    assert np.isfinite(features.values).all()
    assert extractor.kind == "classifier" if labelled else extractor.kind in UNLABELLED
    assert features.places is not None
    assert features.places.shape[:2] == (len(data.search), 4)


@given(st.integers(1, 4), st.integers(8, 256), st.integers(8, 256))
@settings(max_examples=15, deadline=None)
def test_networks_fit_every_size_and_cost_little(channels: int, height: int, width: int) -> None:
    shape, generator = (channels, height, width), torch.Generator().manual_seed(0)
    encoder = initialised(Encoder, generator, shape, 3, normalised=True).eval()
    decoder = initialised(Decoder, generator, shape).eval()
    with torch.inference_mode():
        features, logits = encoder(torch.zeros(2, *shape))
        assert features.shape == (2, 64)
        assert logits is not None
        assert logits.shape == (2, 3)
        assert decoder(features).shape == (2, *shape)
    assert multiply_adds((channels, min(height, width), min(height, width))) < 2e7


def test_folding_batch_norms_changes_nothing() -> None:
    shape, generator = (3, 16, 16), torch.Generator().manual_seed(0)
    encoder = initialised(Encoder, generator, shape, 5, normalised=True)
    images = torch.empty(64, *shape).normal_(generator=generator)
    for _ in range(3):
        encoder(images)  # moves the running statistics
    with torch.inference_mode():
        expected = encoder.eval()(images)
        found = folded(encoder, shape, 5)(images)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("short_course")
def test_labels_that_mean_nothing_are_not_used() -> None:
    data = _small((1, 8, 8), n=120)
    generator = torch.Generator().manual_seed(5)

    def shuffled(images: Images) -> Images:
        pixels = torch.randint(0, 256, images.images.shape, generator=generator).to(torch.uint8)
        return Images(pixels, torch.randint(0, 2, (len(images),), generator=generator))

    random = replace(data, train=shuffled(data.train), search=shuffled(data.search))
    extractor = fit_extractor(random, torch.Generator().manual_seed(0))
    assert extractor.kind in UNLABELLED
    assert "chance" in extractor.description
    assert "modes" in available_metrics(random)
    assert "modes" not in available_metrics(random, extractor)


@pytest.mark.usefixtures("short_course")
def test_one_class_is_as_good_as_none() -> None:
    data = _small((1, 8, 8))
    one = replace(data, class_names=("all",), **{
        split: replace(getattr(data, split), labels=torch.zeros_like(getattr(data, split).labels))
        for split in ("train", "search", "report")
    })  # fmt: skip
    assert fit_extractor(one, torch.Generator().manual_seed(0)).kind in UNLABELLED
    assert "modes" not in available_metrics(one)


def test_a_feature_that_hardly_varies_is_not_blown_up() -> None:
    class Nearly(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
            flat = images.flatten(1)
            return torch.cat([flat, 1e-6 * flat[:, :1], torch.zeros(len(flat), 1)], dim=1), None

    generator = torch.Generator().manual_seed(0)
    train = torch.randint(0, 256, (50, 1, 4, 4), generator=generator).to(torch.uint8)
    extractor = make_extractor("test", Nearly(), train, 0, "")
    assert extractor.scale.spread[-2:].min() == pytest.approx(0.1 * np.median(extractor.scale.spread))
    assert np.abs(extractor.extract(train).values[:, -2:]).max() < 1e-4


@pytest.mark.parametrize(
    ("passed", "faintest", "chosen"),
    [((True, True), (2.0, 1.5), "ssl"), ((True, True), (1.5, 2.0), "autoencoder"), ((False, True), (9.0, 1.1), "autoencoder"),
     ((True, True), (1.2, 1.2), "ssl"), ((False, False), (1.0, 1.1), "autoencoder")],
)  # fmt: skip
@pytest.mark.usefixtures("short_course")
def test_the_self_test_chooses(
    passed: tuple[bool, bool], faintest: tuple[float, float], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = dict(zip(UNLABELLED, zip(passed, faintest, strict=True), strict=True))

    def test(extractor: Extractor, data: ImageData) -> SelfTest:
        return SelfTest({}, told[extractor.kind][0], "", faintest=told[extractor.kind][1])

    monkeypatch.setattr(fitting, "self_test", test)
    assert fit_extractor(_small((1, 8, 8), labelled=False), torch.Generator().manual_seed(0)).kind == chosen


class TestCache:
    def test_a_second_request_trains_nothing(
        self, digits: ImageData, classifier: Extractor, quality_cache: Path
    ) -> None:
        said: list[str] = []
        again = prepare_extractor(digits, cache=quality_cache, progress=said.append)
        assert not said
        scales = {"scale": classifier.scale, "place_scale": classifier.place_scale}
        assert replace(again, network=classifier.network, **scales) == classifier
        np.testing.assert_array_equal(
            again.extract(digits.search.images).values, classifier.extract(digits.search.images).values
        )

    def test_what_it_depends_on_has_its_own_file(
        self, digits: ImageData, unlabelled: ImageData, tmp_path: Path
    ) -> None:
        changed = replace(digits, fingerprint="other")
        files = {
            cache_file(digits, "auto", 0, tmp_path), cache_file(digits, "auto", 1, tmp_path),
            cache_file(changed, "auto", 0, tmp_path), cache_file(digits, "ssl", 0, tmp_path),
            cache_file(unlabelled, "auto", 0, tmp_path),
        }  # fmt: skip
        assert len(files) == 5

    @pytest.mark.usefixtures("short_course")
    @pytest.mark.parametrize("damage", ["empty", "cut", "rubbish", "one byte", "other metadata"])
    def test_a_damaged_file_is_made_anew(self, damage: str, tmp_path: Path) -> None:
        data = _small((1, 8, 8))
        said: list[str] = []
        made = prepare_extractor(data, cache=tmp_path, progress=said.append)
        path = cache_file(data, "auto", 0, tmp_path)
        content = path.read_bytes()
        match damage:
            case "empty":
                path.write_bytes(b"")
            case "cut":
                path.write_bytes(content[: len(content) // 2])
            case "rubbish":
                path.write_bytes(bytes(range(256)) * 64)
            case "one byte":
                path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
            case _:
                path.write_bytes(content.replace(b"fingerprint", b"fingerprant"))
        assert load_extractor(path) is None
        assert prepare_extractor(data, cache=tmp_path, progress=said.append).fingerprint == made.fingerprint
        assert len(said) == 2
        assert load_extractor(path) is not None

    def test_a_folder_that_cannot_be_written_is_named(self, classifier: Extractor, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(StoreError, match=r"The extractor cannot be kept in .*MAESTUNE_CACHE"):
            save_extractor(classifier, tmp_path / "file" / "x.safetensors")
