"""Where networks look: on the device that was asked for, and with the same features as on a CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maestune.data import Images, load_images
from maestune.quality.features.captions import caption_reader
from maestune.quality.features.choice import choose
from maestune.quality.features.extractor import Extractor, make_extractor
from maestune.quality.features.preprocessing import Preprocessing
from maestune.quality.features.pretrained import Local, Source

IMAGES = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Spy(nn.Module):
    """Tells where it was and what it was shown there; its features are made on the CPU, so that any device will do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.told: list[tuple[str, str]] = []

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        self.told.append((self.weight.device.type, images.device.type))
        return torch.arange(3.0).expand(len(images), 3) + torch.arange(float(len(images)))[:, None], None

    def images(self, images: Tensor) -> Tensor:
        return self(images)[0]

    def captions(self, captions: Tensor) -> Tensor:
        return self(captions)[0]


class Whole(nn.Module):
    """Features of images that were prepared for it, on their device."""

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1] == 3
        return torch.ones(len(images), 5)


def spied(extractor: Extractor) -> list[tuple[str, str]]:
    assert isinstance(extractor.network, Spy)
    return extractor.network.told


def test_an_extractor_looks_where_it_is_asked_to() -> None:
    here = make_extractor("spy", Spy(), IMAGES, 0, "a spy")
    assert set(spied(here)) == {("cpu", "cpu")}
    assert here.on("cpu") is here
    before = len(spied(here))
    there = here.on("meta")
    values = there.extract(IMAGES).values
    assert spied(there)[before:] == [("meta", "meta")]
    assert len(spied(here)) == before, "the one on the CPU stays there"
    assert there.fingerprint == here.fingerprint
    assert np.array_equal(values, here.extract(IMAGES).values)


def test_a_reader_of_captions_looks_where_it_is_asked_to() -> None:
    captions = torch.randint(1, 9, (40, 4), generator=torch.Generator().manual_seed(1))
    images = Images(IMAGES, captions=captions)
    here = caption_reader("spy", Spy(), (1, 8, 8), images, "a mark", "a spy")
    there = here.on("meta")
    assert isinstance(there.network, Spy)
    del there.network.told[:]
    agreement, rank = there.read(IMAGES, captions)
    assert set(there.network.told) == {("meta", "meta")}
    assert all(np.array_equal(a, b) for a, b in zip(here.read(IMAGES, captions), (agreement, rank), strict=True))


def test_a_network_in_a_file_is_loaded_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(kind: str, path: str, sha256: str, device: str) -> nn.Module:
        loaded.append(device)
        return Whole()

    monkeypatch.setattr("maestune.quality.features.pretrained._loaded", load)
    monkeypatch.setattr("maestune.quality.features.pretrained.takes_return_features", lambda network: False)
    network = Local(Source("torchscript", "eyes.pt", "a digest", Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)))
    extractor = make_extractor("torchscript", network, IMAGES, 0, "of a file")
    assert set(loaded) == {"cpu"}
    del loaded[:]
    assert extractor.on("meta").extract(IMAGES).values.shape == (40, 5)
    assert set(loaded) == {"meta"}


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["random", "classifier"])
def test_features_agree_between_devices(kind: str, tmp_path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    data = load_images("digits")
    here = choose(kind, data, cache=tmp_path)
    seen, other = here.extract(data.report.images), here.on("cuda").extract(data.report.images)
    assert np.allclose(seen.values, other.values, atol=1e-4)
    assert seen.places is not None
    assert other.places is not None
    assert np.allclose(seen.places, other.places, atol=1e-4)
    assert replace(here.on("cuda"), network=here.network, device="cpu") == here
