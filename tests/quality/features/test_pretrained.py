import hashlib
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maestune.data import ImageData, Images, to_float, to_uint8
from maestune.errors import MetricError, SettingsError
from maestune.quality.features import pretrained
from maestune.quality.features.choice import choose
from maestune.quality.features.extractor import Extractor
from maestune.quality.features.preprocessing import Preprocessing


class _Plain(nn.Module):
    """An encoder of images of so many channels."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, 5, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class _Inception(nn.Module):
    """Called like the Inception of the StyleGAN repositories: whole numbers in, features on request."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 6)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        assert img.dtype == torch.uint8
        x = self.layer(img.to(torch.float32).mean(dim=[2, 3]))
        return x if return_features else torch.softmax(x, dim=1)


class _Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1), images


class _Map(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


class _Sum(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.sum()


class _Infinite(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) / 0.0


class _Norm(nn.Module):
    """A batch norm that goes on looking at the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images).flatten(1)


def _saved(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the format, which is being replaced
        torch.jit.save(torch.jit.script(network.eval()), str(path))
    return path


def _made(network: nn.Module, path: Path, data: ImageData) -> Extractor:
    return choose(f"torchscript:{_saved(network, path)}", data)


@pytest.fixture
def coloured(digits: ImageData) -> ImageData:
    def coloured(part: Images) -> Images:
        return replace(part, images=torch.cat([part.images, part.images.flip(2), part.images.flip(3)], dim=1))

    return replace(digits, **{name: coloured(getattr(digits, name)) for name in ("train", "search", "report")})


class TestTorchScript:
    def test_features_are_what_the_network_gives(self, coloured: ImageData, tmp_path: Path) -> None:
        network = _Plain()
        found = _made(network, tmp_path / "plain.pt", coloured)
        images = to_float(coloured.search.images)
        with torch.inference_mode():
            expected = network(images).flatten(1).numpy()
        seen = found.extract(coloured.search.images)
        np.testing.assert_allclose(seen.values, expected, atol=1e-5)
        assert (seen.probabilities, seen.places) == (None, None)
        assert (found.kind, found.classes, found.dimensions) == ("torchscript", 0, 5)
        digest = hashlib.sha256((tmp_path / "plain.pt").read_bytes()).hexdigest()
        assert digest[:12] in found.description
        assert "from -1 to 1" in found.description

    def test_a_network_of_grey_images_sees_them_and_one_of_colour_sees_them_three_times(
        self, digits: ImageData, tmp_path: Path
    ) -> None:
        grey, colour = (_made(_Plain(c), tmp_path / f"{c}.pt", digits) for c in (1, 3))
        assert "three channels" not in grey.description
        assert "three channels" in colour.description
        with pytest.raises(MetricError, match="cannot look at images of shape"):
            _made(_Plain(4), tmp_path / "4.pt", digits)

    def test_inception_of_stylegan_is_asked_for_its_features(self, digits: ImageData, tmp_path: Path) -> None:
        network = _Inception()
        found = _made(network, tmp_path / "inception.pt", digits)
        with torch.inference_mode():
            pixels = digits.search.images.expand(-1, 3, -1, -1)
            expected = network(pixels, return_features=True).numpy()
        np.testing.assert_allclose(found.extract(digits.search.images).values, expected, rtol=1e-5)
        assert "0 to 255" in found.description

    def test_it_travels_as_a_path_and_refuses_a_file_that_has_changed(
        self, coloured: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = _made(_Plain(), tmp_path / "plain.pt", coloured)
        content = pickle.dumps(found)
        assert len(content) < 3000
        sent = pickle.loads(content)
        assert sent.fingerprint == found.fingerprint
        values = found.extract(coloured.search.images).values
        pretrained._loaded.cache_clear()  # as in another process
        np.testing.assert_array_equal(sent.extract(coloured.search.images).values, values)
        pretrained._loaded.cache_clear()
        _saved(_Plain(), tmp_path / "plain.pt")
        with pytest.raises(SettingsError, match="has changed since"):
            sent.extract(coloured.search.images)
        (tmp_path / "plain.pt").unlink()
        with pytest.raises(SettingsError, match="is not a file"):
            sent.extract(coloured.search.images)

    def test_fingerprints_follow_the_weights_and_the_preprocessing_not_the_place(
        self, digits: ImageData, coloured: ImageData, tmp_path: Path
    ) -> None:
        first = _made(_Plain(), tmp_path / "a.pt", coloured)
        (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes())
        assert choose(f"torchscript:{tmp_path / 'b.pt'}", coloured).fingerprint == first.fingerprint
        assert choose(f"torchscript:{tmp_path / 'a.pt'}", digits).fingerprint != first.fingerprint
        assert _made(_Plain(), tmp_path / "c.pt", coloured).fingerprint != first.fingerprint

    @pytest.mark.parametrize(
        ("network", "told"),
        [
            (_Map(), "Pool or flatten"),
            (_Sum(), "a tensor"),
            (_Infinite(), "not finite"),
            (_Norm(), "evaluation mode"),
        ],
    )
    def test_what_makes_no_features_is_refused(
        self, network: nn.Module, told: str, coloured: ImageData, tmp_path: Path
    ) -> None:
        with pytest.raises(MetricError, match=told):
            _made(network, tmp_path / "bad.pt", coloured)

    def test_of_several_values_the_first_is_taken(self, coloured: ImageData, tmp_path: Path) -> None:
        assert _made(_Pair(), tmp_path / "pair.pt", coloured).dimensions == 3 * 64

    @pytest.mark.parametrize("damage", ["empty", "cut", "rubbish"])
    def test_damaged_files_are_told(self, damage: str, coloured: ImageData, tmp_path: Path) -> None:
        path = _saved(_Plain(), tmp_path / "plain.pt")
        content = path.read_bytes()
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "rubbish": bytes(2000)}[damage])
        with pytest.raises(SettingsError, match="cannot be read as TorchScript"):
            choose(f"torchscript:{path}", coloured)


class TestPreprocessing:
    def test_resizing_is_antialiased_and_keeps_the_range(self) -> None:
        lines = torch.ones(1, 1, 64, 64)
        lines[..., ::2] = -1.0  # finer than what is left can show: grey, and no pattern
        small = Preprocessing(16)(lines)
        assert small.shape == (1, 3, 16, 16)
        assert small[..., 2:-2].abs().max() < 0.1
        step = torch.full((1, 3, 8, 8), -1.0)
        step[..., 4:] = 1.0
        assert Preprocessing(32)(step).abs().max() <= 1.0

    def test_grey_is_repeated_and_channels_have_their_own_mean(self) -> None:
        images = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
        found = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.5))(images)
        for channel, (mean, std) in enumerate([(0.5, 0.2), (0.4, 0.3), (0.3, 0.5)]):
            torch.testing.assert_close(found[:, channel], ((images[:, 0] + 1) / 2 - mean) / std)

    def test_whole_numbers_are_the_pixels(self, digits: ImageData) -> None:
        pixels = digits.search.images
        found = Preprocessing(whole_numbers=True)(to_float(pixels))
        assert torch.equal(found, pixels.expand(-1, 3, -1, -1))
        assert torch.equal(found[:, :1], to_uint8(to_float(pixels)))

    def test_four_channels_are_no_picture(self) -> None:
        with pytest.raises(MetricError, match="4 channels"):
            Preprocessing(8)(torch.zeros(1, 4, 8, 8))
