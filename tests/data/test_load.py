from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maestune.data import ImageData, load_images
from maestune.data.captions import digit_captions
from maestune.data.collection import Collection, Part
from maestune.data.digits import read_digits
from maestune.data.load import with_template
from maestune.data.split import split
from maestune.errors import DataError, SettingsError

RNG = np.random.default_rng(8)


def write_images(folder: Path, n: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        Image.fromarray(RNG.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{i:03d}.png")


def parts(data: ImageData):
    return (data.train, data.search, data.report)


def said(data: ImageData) -> dict[bytes, str]:
    """The caption of every image, as its numbers say."""
    assert data.vocabulary is not None
    captions: dict[bytes, str] = {}
    for part in parts(data):
        assert part.captions is not None
        assert part.captions.dtype == torch.int64
        assert part.captions.shape == (len(part), data.vocabulary.length)
        captions |= {
            i.numpy().tobytes(): data.vocabulary.decode(c) for i, c in zip(part.images, part.captions, strict=True)
        }
    return captions


def test_captions_beside_images_are_read_with_them(tmp_path: Path) -> None:
    colours = ("red", "green", "blue")
    for name in ("ant", "bee"):
        write_images(tmp_path / name, 40)
        for i in range(40):
            (tmp_path / name / f"{i:03d}.txt").write_text(f"A {colours[i % 3]} {name}\n")
    data = load_images(tmp_path)
    assert data.class_names == ("ant", "bee")
    captions = said(data)
    for name in ("ant", "bee"):
        for i in range(40):
            pixels = np.asarray(Image.open(tmp_path / name / f"{i:03d}.png")).tobytes()
            assert captions[pixels] == f"a {colours[i % 3]} {name}"
    assert data.spec.words == 2 + 6
    assert data.spec.caption_words == 3


def test_the_vocabulary_is_made_of_what_is_learnt_from(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (100, 1, 4, 4), dtype=np.uint8)
    plain = split(Collection("set", Part(pixels)))
    held_out = {i.numpy().tobytes() for part in (plain.search, plain.report) for i in part.images}
    texts = tuple("a secret thing" if p.tobytes() in held_out else "a known thing" for p in pixels)
    data = split(Collection("set", Part(pixels, captions=texts)))
    assert data.vocabulary is not None
    assert "known" in data.vocabulary.words
    assert "secret" not in data.vocabulary.words
    assert set(said(data).values()) == {"a known thing", "a <unknown> thing"}
    for one, two in zip(parts(plain), parts(data), strict=True):
        assert torch.equal(one.images, two.images)


def test_digits_with_captions() -> None:
    plain, data = load_images("digits"), load_images("digits-captions")
    assert data.name == "digits-captions"
    assert plain.vocabulary is None
    assert plain.train.captions is None
    assert plain.fingerprint != data.fingerprint
    for one, two in zip(parts(plain), parts(data), strict=True):
        assert torch.equal(one.images, two.images)
        assert one.labels is not None
        assert two.labels is not None
        assert torch.equal(one.labels, two.labels)
    part = read_digits().images
    assert part.labels is not None
    texts = digit_captions(part.pixels, part.labels)
    captions = said(data)
    for image, text in zip(part.pixels, texts, strict=True):
        assert captions[image.tobytes()].replace(" ,", ",") == text
    larger = load_images("digits-captions", size=16)  # what is said does not depend on the size
    assert larger.shape == (1, 16, 16)
    assert sorted(said(larger).values()) == sorted(captions.values())


def test_templates_make_captions_of_class_names(tmp_path: Path) -> None:
    for name in ("grey_fox", "owl"):
        write_images(tmp_path / name, 40)
    data = load_images(tmp_path, captions=("a photo of a {}", "the {}"))
    captions = said(data)
    for part in parts(data):
        assert part.labels is not None
        for image, label in zip(part.images, part.labels, strict=True):
            name = ("grey fox", "owl")[label]
            assert captions[image.numpy().tobytes()] in (f"a photo of a {name}", f"the {name}")
    assert {caption.split()[0] for caption in captions.values()} == {"a", "the"}
    assert load_images(tmp_path).fingerprint != data.fingerprint
    one = load_images(tmp_path, captions=["a photo of a {}"])
    assert set(said(one).values()) == {"a photo of a grey fox", "a photo of a owl"}


def test_templates_hold_for_the_test_part_too() -> None:
    pixels = RNG.integers(0, 256, (100, 1, 4, 4), dtype=np.uint8)
    labels = np.arange(100) % 2
    collection = Collection("set", Part(pixels[:80], labels[:80]), Part(pixels[80:], labels[80:]), ("a", "b"))
    made = with_template(collection, ["a photo of a {}"])
    assert made.held_out is not None
    assert made.held_out.captions == ("a photo of a a", "a photo of a b") * 10
    assert made.images.captions == ("a photo of a a", "a photo of a b") * 40


def test_templates_that_cannot_be_used(tmp_path: Path) -> None:
    write_images(tmp_path, 70)
    with pytest.raises(DataError, match=r"no classes whose names could be put into 'a \{\}'.*class folders"):
        load_images(tmp_path, captions=["a {}"])
    with pytest.raises(
        DataError, match=r"digits-captions: its images have captions of their own.*Leave --captions out"
    ):
        load_images("digits-captions", captions=["a {}"])
    with pytest.raises(SettingsError, match="'a photo' has 0 places"):
        load_images("digits", captions=["a photo"])


def test_templates_on_images_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAESTUNE_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b"):
        write_images(tmp_path / "set" / name, 40)
    (tmp_path / "set" / "a" / "copy.png").write_bytes((tmp_path / "set" / "b" / "000.png").read_bytes())
    templates = ["one {}", "this is {}"]
    in_memory = load_images(tmp_path / "set", captions=templates)
    in_a_file = load_images(tmp_path / "set", captions=templates, limit_bytes=0)
    assert in_memory.fingerprint == in_a_file.fingerprint
    for one, two in zip(parts(in_memory), parts(in_a_file), strict=True):
        assert one.captions is not None
        assert two.captions is not None
        assert torch.equal(one.captions, two.captions)
        assert torch.equal(one.images, two.images)
    assert len(list((tmp_path / "cache" / "images").glob("*/about.json"))) == 1
    load_images(tmp_path / "set", captions=["another {}"], limit_bytes=0)  # decoded once for all templates
    assert len(list((tmp_path / "cache" / "images").glob("*/about.json"))) == 1
