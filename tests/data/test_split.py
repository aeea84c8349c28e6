from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maestune.data import ImageData
from maestune.data.collection import Collection, Part
from maestune.data.split import LARGEST_PART, content_keys, split

PARTS = ("train", "search", "report")


def different(n: int, seed: int = 0) -> np.ndarray:
    """n different images (n, 1, 2, 4): a running number in four bytes beside noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 1, 2, 4), dtype=np.uint8)
    pixels[:, 0, 0] = np.arange(n, dtype=">u4").view(np.uint8).reshape(n, 4)
    return pixels


def collection(pixels: np.ndarray, labels: np.ndarray | None = None, **more) -> Collection:
    return Collection("set", Part(pixels, labels), **more)


def contents(data: ImageData) -> dict[str, list[bytes]]:
    return {name: [i.numpy().tobytes() for i in getattr(data, name).images] for name in PARTS}


@settings(max_examples=40)
@given(
    n=st.integers(60, 150),
    copies=st.lists(st.integers(0, 59), max_size=60),
    seed=st.integers(0, 1000),
    labelled=st.booleans(),
    captioned=st.booleans(),
)
def test_law_of_the_split(n: int, copies: list[int], seed: int, labelled: bool, captioned: bool) -> None:
    rng = np.random.default_rng(seed)
    pixels = different(n, seed)
    pixels = np.concatenate([pixels, pixels[copies]])
    labels = rng.integers(0, 5, len(pixels)) if labelled else None
    captions = [("one thing", "another thing", "no thing")[i] for i in rng.integers(0, 3, len(pixels))]
    texts = tuple(captions) if captioned else None
    data = split(Collection("set", Part(pixels, labels, texts)))
    found = contents(data)
    # Nothing is lost, nothing is in two parts, no part is empty.
    assert sorted(image for images in found.values() for image in images) == sorted(p.tobytes() for p in pixels)
    sets = {name: set(images) for name, images in found.items()}
    assert not sets["train"] & sets["search"]
    assert not sets["train"] & sets["report"]
    assert not sets["search"] & sets["report"]
    assert len(sets["search"]) == len(sets["report"]) == round(0.2 * n)
    # Another order of the files changes nothing at all.
    shuffle = rng.permutation(len(pixels))
    labels = None if labels is None else labels[shuffle]
    texts = None if texts is None else tuple(texts[i] for i in shuffle)
    again = split(Collection("set", Part(pixels[shuffle], labels, texts)))
    assert again.vocabulary == data.vocabulary
    assert again.fingerprint == data.fingerprint
    for name in PARTS:
        one, two = getattr(data, name), getattr(again, name)
        assert torch.equal(one.images, two.images)
        assert one.labels is None or torch.equal(one.labels, two.labels)
        assert (one.captions is not None) == captioned
        assert one.captions is None or torch.equal(one.captions, two.captions)


def test_a_new_image_moves_hardly_any_other() -> None:
    before, after = contents(split(collection(different(500)))), contents(split(collection(different(501))))
    moved = sum(len(set(before[name]) - set(after[name])) for name in PARTS)
    assert moved <= 2


def test_labels_stay_with_their_images() -> None:
    pixels = different(100)
    labels = np.arange(100) % 7
    of = {p.tobytes(): int(v) for p, v in zip(pixels, labels, strict=True)}
    data = split(collection(pixels, labels))
    for name in PARTS:
        part = getattr(data, name)
        assert [of[i.numpy().tobytes()] for i in part.images] == part.labels.tolist()


def test_held_out_parts_are_capped() -> None:
    data = split(collection(different(60_000)))
    assert (len(data.train), len(data.search), len(data.report)) == (40_000, LARGEST_PART, LARGEST_PART)
    given_test = split(collection(different(100), held_out=Part(different(12_000, seed=1))))
    assert len(given_test.report) == LARGEST_PART


def test_fingerprint_changes_with_a_pixel_a_label_and_the_shape() -> None:
    pixels, labels = different(100), np.arange(100) % 3
    base = split(collection(pixels, labels)).fingerprint
    assert len(base) == 16
    assert split(collection(pixels.copy(), labels.copy())).fingerprint == base
    one_pixel = pixels.copy()
    one_pixel[50, 0, 1, 3] ^= 1
    one_label = labels.copy()
    one_label[50] = (one_label[50] + 1) % 3
    texts = ("a thing",) * 100
    others = [
        split(Collection("set", Part(pixels, labels, texts))).fingerprint,
        split(Collection("set", Part(pixels, labels, ("a thing.", *texts[1:])))).fingerprint,
        split(collection(one_pixel, labels)).fingerprint,
        split(collection(pixels, one_label)).fingerprint,
        split(collection(pixels)).fingerprint,
        split(collection(pixels.reshape(100, 1, 4, 2), labels)).fingerprint,
        split(collection(pixels[:99], labels[:99])).fingerprint,
        split(collection(pixels[20:], labels[20:], held_out=Part(pixels[:20], labels[:20]))).fingerprint,
    ]
    assert len({base, *others}) == 9


def test_content_keys_see_only_content() -> None:
    pixels = different(50)
    strided = np.concatenate([pixels, pixels], axis=1)[:, :1]  # a view with other strides
    assert not strided.flags.c_contiguous
    assert np.array_equal(content_keys(Part(pixels)), content_keys(Part(strided)))
    assert len(set(content_keys(Part(pixels)).tolist())) == 50
    assert content_keys(Part(pixels[:0])).tolist() == []
    many = different(3_000)  # more than are read in one go
    assert np.array_equal(content_keys(Part(many))[2_950:], content_keys(Part(many[2_950:])))


@pytest.mark.parametrize("n_copies", [0, 1000])
def test_copies_of_one_image_never_fill_two_parts(n_copies: int) -> None:
    pixels = different(80)
    pixels = np.concatenate([pixels, pixels[:1].repeat(n_copies, axis=0)])
    found = contents(split(collection(pixels)))
    assert sum(pixels[0].tobytes() in set(images) for images in found.values()) == 1


def test_parts_do_not_share_memory_with_the_source() -> None:
    pixels = different(100)
    pixels.flags.writeable = False
    data = split(collection(pixels))
    data.train.images.fill_(0)
    assert pixels[:, 0, 1].any()
