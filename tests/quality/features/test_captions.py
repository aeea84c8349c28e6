import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from maestune.data import ImageData, Images, load_images
from maestune.data.captions import Vocabulary
from maestune.errors import MetricError, StoreError
from maestune.quality.features import captions as reading
from maestune.quality.features import learning
from maestune.quality.features.cache import cache_file
from maestune.quality.features.captions import CaptionEncoder, caption_reader, with_conditions, wordings
from maestune.quality.features.contrastive import fit_contrastive, info_nce, prepare_reader, same_caption
from maestune.quality.metric import Features, everyone
from maestune.quality.metrics.adherence import CAPTIONS


def _shades(n: int = 240, side: int = 8) -> ImageData:
    """Dark and bright images of either side, each told in two wordings."""
    generator = torch.Generator().manual_seed(0)
    bright, left = (torch.randint(0, 2, (n,), generator=generator) for _ in range(2))
    images = torch.randint(0, 60, (n, 1, side, side), generator=generator)
    images += 60 + 60 * bright[:, None, None, None]
    for i in range(n):
        half = slice(0, side // 2) if left[i] else slice(side // 2, side)
        images[i, :, :, half] -= 60
    texts = [
        ("a {} picture, {} side dark" if i % 2 else "{} shade and a dark {} half").format(
            "bright" if bright[i] else "dim", "left" if left[i] else "right"
        )
        for i in range(n)
    ]
    vocabulary = Vocabulary.of(texts)
    numbers = vocabulary.encode_all(texts)

    def part(start: int, end: int) -> Images:
        return Images(images[start:end].to(torch.uint8), None, numbers[start:end])

    third = n // 3
    return ImageData(
        "shades", part(0, third), part(third, 2 * third), part(2 * third, n), (), f"shades {n} {side}",
        vocabulary=vocabulary,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shades() -> ImageData:
    return _shades()


@pytest.fixture(scope="module")
def reader(shades: ImageData, quality_cache: Path) -> CaptionEncoder:
    return prepare_reader(shades, cache=quality_cache)


def _scores(reader: CaptionEncoder, part: Images, order: Tensor | None = None) -> dict[str, float]:
    captions = part.captions if order is None else part.captions[order]
    agreement, rank = reader.read(part.images, captions)
    features = Features(np.zeros((len(part), 1)), agreement=agreement, rank=rank)
    return {name: float(v[0]) for name, v in CAPTIONS.compute(None, features, everyone(len(part))).items()}


def test_what_images_show_agrees_and_what_others_show_does_not(reader: CaptionEncoder, shades: ImageData) -> None:
    right = _scores(reader, shades.report)
    order = torch.randperm(len(shades.report), generator=torch.Generator().manual_seed(0))
    shuffled = _scores(reader, shades.report, order)
    # Eight captions, of which two say the same: luck alone would find one in eight, and knowing all one in two.
    assert reader.others == 7
    assert right["r_precision"] > 0.35 > 0.25 > shuffled["r_precision"]
    assert right["clip_like"] > shuffled["clip_like"] + 20
    assert reader.ranked_first > 3 * reader.chance == 3 / 8
    assert "search images" in reader.description


def test_the_more_captions_are_wrong_the_lower_both(reader: CaptionEncoder, shades: ImageData) -> None:
    n = len(shades.report)
    order = torch.arange(n)
    found = []
    for wrong in (0, n // 2, n):
        moved = order.clone()
        moved[:wrong] = order[:wrong].roll(1)
        found.append(_scores(reader, shades.report, moved))
    for name in ("r_precision", "clip_like"):
        assert found[0][name] > found[1][name] > found[2][name]


def test_digits_are_told_by_their_captions(quality_cache: Path) -> None:
    data = load_images("digits-captions")
    found = prepare_reader(data, cache=quality_cache)
    assert (found.others, found.chance) == (99, 0.01)
    assert found.ranked_first > 10 * found.chance
    order = torch.arange(len(data.report)).roll(1)
    right, wrong = _scores(found, data.report), _scores(found, data.report, order)
    assert right["r_precision"] > 3 * wrong["r_precision"]


def test_the_loss_is_the_formula_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(5, 3, generator=generator).double(), dim=1) for _ in range(2))
    captions = torch.tensor([[1, 2], [3, 0], [1, 2], [4, 4], [2, 1]])
    same = same_caption(captions)
    assert same.tolist() == [[list(x) == list(y) for y in captions.tolist()] for x in captions.tolist()]
    cosines = (a @ b.T).numpy() / 0.1
    expected = 0.0
    for table in (cosines, cosines.T):
        for i in range(5):
            shares = np.exp(table[i]) / np.exp(table[i]).sum()
            expected -= np.mean([np.log(shares[j]) for j in range(5) if same[i, j]]) / 10
    assert float(info_nce(a, b, same, torch.tensor(0.1).double())) == pytest.approx(expected)


def test_agreement_and_rank_are_what_they_say(shades: ImageData) -> None:
    class Told:
        """An image's vector is its mean brightness as an angle; a caption's is that of its first word."""

        def images(self, images: Tensor) -> Tensor:
            angle = images.mean(dim=(1, 2, 3))
            return torch.stack([angle.cos(), angle.sin()], dim=1)

        def captions(self, captions: Tensor) -> Tensor:
            angle = captions[:, 0] / 10.0
            return torch.stack([angle.cos(), angle.sin()], dim=1)

    captions = torch.tensor([[k, 0] for k in range(8)])
    part = Images(torch.zeros(8, 1, 2, 2, dtype=torch.uint8), None, captions)
    reader = caption_reader("told", Told(), (1, 2, 2), part, "", "")
    images = torch.tensor([0.0, 0.22, 0.7]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    agreement, rank = reader.read(images, captions[[0, 4, 7]])
    np.testing.assert_allclose(agreement, np.cos([0.0, 0.22 - 0.4, 0.0]), atol=1e-6)
    # Of 0.22 the captions 2, 3 and 1 are nearer than 4 (0.02, 0.08 and 0.12 against 0.18 away).
    assert rank.tolist() == [1, 4, 1]
    once, ranks = reader.read(images[1:2], captions)
    np.testing.assert_allclose(once, np.cos(0.22 - np.arange(8) / 10), atol=1e-6)
    assert sorted(ranks.tolist()) == list(range(1, 9))


def test_an_encoder_that_sees_nothing_ranks_every_caption_last() -> None:
    class Blind:
        def images(self, images: Tensor) -> Tensor:
            return torch.ones(len(images), 1)

        captions = images

    captions = torch.arange(20).view(-1, 1)
    part = Images(torch.zeros(20, 1, 2, 2, dtype=torch.uint8), None, captions)
    reader = caption_reader("blind", Blind(), (1, 2, 2), part, "", "")
    assert reader.read(part.images, captions)[1].tolist() == [20] * 20


def test_others_are_the_same_for_every_trial_and_never_the_own(
    reader: CaptionEncoder, shades: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = shades.search.captions
    numbers = wordings(reader.candidates)
    others = reader._others(wordings(captions), numbers, np.random.default_rng(0))
    assert others.shape == (len(captions), 7)
    for row, own in zip(others, wordings(captions), strict=True):
        assert own not in numbers[row]
        assert len(set(row)) == 7
    whole = reader.read(shades.search.images, captions)
    monkeypatch.setattr(reading, "BATCH_SIZE", 7)
    in_parts = reader.read(shades.search.images, captions)
    np.testing.assert_array_equal(whole[1], in_parts[1])
    np.testing.assert_allclose(whole[0], in_parts[0], atol=1e-5)


def test_shapes_that_do_not_fit_are_refused(reader: CaptionEncoder, shades: ImageData) -> None:
    images, captions = shades.search.images, shades.search.captions
    for bad_images, bad_captions in [(images[:, :, :4], captions), (images, captions[:, :2]), (images[:5], captions)]:
        with pytest.raises(MetricError):
            reader.read(bad_images, bad_captions)
    broken = torch.zeros(3, 1, 8, 8)
    broken[1] = float("nan")
    with pytest.raises(MetricError, match="diverged"):
        reader.read(broken, captions[:3])


def test_without_captions_nothing_can_be_learnt_or_read(digits: ImageData, shades: ImageData) -> None:
    with pytest.raises(MetricError, match="has no captions"):
        fit_contrastive(digits, torch.Generator())
    with pytest.raises(MetricError, match="no captions"):
        caption_reader("x", None, (1, 8, 8), digits.train, "", "")
    with pytest.raises(MetricError, match="the same caption"):
        caption_reader(
            "x", None, (1, 8, 8), replace(shades.train, captions=torch.ones(80, 3, dtype=torch.int64)), "", ""
        )


def test_same_seed_same_reader_and_no_global_randomness(shades: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "LEAST_SHOWN", 500)
    monkeypatch.setattr(learning, "MOST_SHOWN", 500)
    before = torch.get_rng_state()
    first, again, other = (fit_contrastive(shades, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    a, b, c = (network.images(torch.zeros(1, 1, 8, 8)) for network in (first, again, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_padding_does_not_matter_and_order_does(reader: CaptionEncoder, shades: ImageData) -> None:
    network, vocabulary = reader.network, shades.vocabulary
    short = vocabulary.encode_all(["a bright picture", "picture bright a"])
    longer = torch.nn.functional.pad(short, (0, 4))
    torch.testing.assert_close(network.captions(short), network.captions(longer))
    assert not torch.allclose(*network.captions(short))
    assert torch.isfinite(network.captions(torch.zeros_like(short))).all()


class TestCache:
    def test_it_is_kept_and_sent(self, reader: CaptionEncoder, shades: ImageData, quality_cache: Path) -> None:
        said: list[str] = []
        again = prepare_reader(shades, cache=quality_cache, progress=said.append)
        assert not said
        for other in (again, pickle.loads(pickle.dumps(reader))):
            assert other.fingerprint == reader.fingerprint
            for a, b in zip(
                reader.read(shades.search.images, shades.search.captions),
                other.read(shades.search.images, shades.search.captions),
                strict=True,
            ):
                np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("damage", ["cut", "one byte"])
    def test_a_damaged_file_is_made_anew(self, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(learning, "LEAST_SHOWN", 500)
        monkeypatch.setattr(learning, "MOST_SHOWN", 500)
        data = _shades(90)
        made = prepare_reader(data, cache=tmp_path)
        path = cache_file(data, "captions", 0, tmp_path)
        content = path.read_bytes()
        byte = content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else byte)
        said: list[str] = []
        assert prepare_reader(data, cache=tmp_path, progress=said.append).fingerprint == made.fingerprint
        assert len(said) == 1

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(learning, "LEAST_SHOWN", 200)
        monkeypatch.setattr(learning, "MOST_SHOWN", 200)
        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(StoreError, match="MAESTUNE_CACHE"):
            prepare_reader(_shades(90), cache=tmp_path)


class TestAskedViews:
    def test_labels_are_classes_and_conditions(self, digits: ImageData) -> None:
        part = digits.search
        seen = with_conditions(Features(np.zeros((len(part), 2))), part.images, part.conditions)
        assert seen.label.tolist() == seen.condition.tolist() == part.labels.tolist()
        assert (seen.agreement, seen.rank) == (None, None)
        asked = with_conditions(Features(np.zeros((40, 2))), part.images[:40], digits.prompts("search", 40))
        assert asked.label.tolist() == digits.prompts("search", 40)["label"].tolist()

    def test_without_labels_equal_captions_are_equal_conditions(
        self, reader: CaptionEncoder, shades: ImageData
    ) -> None:
        parts = (shades.search, shades.report)
        seen = [with_conditions(Features(np.zeros((len(p), 2))), p.images, p.conditions, reader) for p in parts]
        assert seen[0].label is None
        for a, told in zip(seen[0].condition, shades.search.captions.tolist(), strict=True):
            for b, other in zip(seen[1].condition[:20], shades.report.captions[:20].tolist(), strict=True):
                assert (a == b) == (told == other)
        np.testing.assert_array_equal(seen[0].rank, reader.read(parts[0].images, parts[0].captions)[1])

    def test_one_image_may_stand_for_all(self, reader: CaptionEncoder, shades: ImageData) -> None:
        asked = shades.prompts("search", 30)
        one = with_conditions(Features(np.zeros((30, 2))), torch.zeros(1, 1, 8, 8), asked, reader)
        all_of_them = with_conditions(Features(np.zeros((30, 2))), torch.zeros(30, 1, 8, 8), asked, reader)
        np.testing.assert_allclose(one.agreement, all_of_them.agreement, atol=1e-6)
        assert len(one.rank) == 30

    def test_where_nothing_was_asked_nothing_is_told(self, reader: CaptionEncoder) -> None:
        seen = with_conditions(Features(np.zeros((3, 2))), torch.zeros(3, 1, 8, 8), {}, reader)
        assert (seen.label, seen.condition, seen.agreement, seen.rank) == (None, None, None, None)
