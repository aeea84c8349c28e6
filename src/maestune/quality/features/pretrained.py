"""Pretrained feature extractors from files on this machine: DINOv2, CLIP, and any network in TorchScript.

What a network is, is told by the SHA-256 of its files, which stands in the fingerprint together with the preprocessing.
Features stay as the network gives them: Fréchet distances in them can then be held against published ones (at the same
number of samples and against the same images), and no pass over the training images is needed.

- `dinov2`: a folder as Hugging Face saves models; the class token after the last norm, as Stein et al. 2023
  (arXiv:2306.04675) compare models.
- `clip`: likewise; the image embedding after the projection, not normalised.
- `torchscript`: a file of `torch.jit.save`. A network that takes `return_features` (inception-2015-12-05.pt of the StyleGAN
  repositories does) is called so, with uint8 colour images of their own size; any other gets images as models see them, in
  [-1, 1], of their own size, grey repeated to three channels where it does not take one.

Weights travel as a path: every process loads them once, and refuses them when the files have changed.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and transformers publish partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maestune.data import ImageData
from maestune.errors import MetricError, SettingsError
from maestune.quality.features.extractor import Extractor, Scale, as_input, rebuilt_extractor
from maestune.quality.features.preprocessing import Colour, Preprocessing
from maestune.quality.features.weights import (
    NAMES,
    Pretrained,
    digest_of,
    last_line,
    read_json,
    read_script,
    read_transformer,
    takes_return_features,
)

BATCH_SIZE = 32  # such networks are large, and so are the images they see
USUAL_SIZE = 224  # pixels
IMAGENET = Preprocessing(USUAL_SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
OF_CLIP = Preprocessing(USUAL_SIZE, mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711))
ALIKE = 1e-3  # of the spread of features: how far an image's may move with who else is in the batch


@dataclass(frozen=True)
class Source:
    """Where a network lies, what its files hold, and how images are prepared for it."""

    kind: Pretrained
    path: str
    sha256: str
    preprocessing: Preprocessing

    @staticmethod
    def of(kind: Pretrained, path: Path) -> Source:
        """The network in a file or folder, with the preprocessing of its kind and what its own files say of it."""
        return Source(kind, str(path.resolve()), digest_of(kind, path), _preprocessing(kind, path))

    @property
    def mark(self) -> str:
        """What its features depend on."""
        return f"{self.kind} sha256 {self.sha256} {self.preprocessing.text}"

    def load(self, device: str = "cpu") -> Any:
        """The network, in this process; SettingsError when its files are not those it was chosen with."""
        return _loaded(self.kind, self.path, self.sha256, device)


class Local(nn.Module):
    """A network whose weights stay in their file: it is sent to other processes as the path, and loaded on first use."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    @property
    def mark(self) -> str:
        """What its features depend on, in place of weights."""
        return self.source.mark

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Features (N, d) of images (N, C, H, W) in [-1, 1], on their device; no classes."""
        see = _seer(self.source.kind, self.source.load(str(images.device)))
        parts = [see(self.source.preprocessing(part)) for part in images.split(BATCH_SIZE)]
        return torch.cat(parts).to(torch.float32), None


def pretrained_extractor(kind: Pretrained, path: Path, data: ImageData) -> Extractor:
    """The extractor of a network in a file or folder.

    Raises SettingsError where there is none, where it cannot be read, or where the extra `hf` is missing; MetricError where
    it makes no usable features of images like those of the data.
    """
    network = Local(Source.of(kind, path))
    probe = as_input(data.train.images[:2])
    if kind == "torchscript" and not network.source.preprocessing.whole_numbers and probe.shape[1] != 3:
        as_they_are = replace(network.source.preprocessing, grey_to_colour=False)
        own = Local(replace(network.source, preprocessing=as_they_are))
        network = own if probe.shape[1] != 1 or _sees(own, probe) else network
    d = int(_tried(network, probe).shape[1])
    description = (
        f"{NAMES[kind]} from {path} (sha256 {network.source.sha256[:12]}), {d} features as they are; "
        f"images {network.source.preprocessing.text}"
    )
    return rebuilt_extractor(kind, network, Scale.none(d), None, data.shape, 0, description, None)


@lru_cache(maxsize=2)
def _loaded(kind: Pretrained, path: str, sha256: str, device: str) -> Any:
    if digest_of(kind, Path(path)) != sha256:
        raise SettingsError(
            f"features: {path} has changed since it was chosen; scores would not be comparable. "
            "Bring the old files back, or begin a new campaign."
        )
    if kind == "torchscript":
        return read_script(Path(path), device)
    return read_transformer(kind, Path(path)).to(device)


def _seer(kind: Pretrained, network: Any) -> Callable[[Tensor], Tensor]:
    """Prepared images → features (N, d)."""
    if kind == "dinov2":
        return lambda images: network(pixel_values=images).last_hidden_state[:, 0]
    if kind == "clip":
        return lambda images: network.visual_projection(network.vision_model(pixel_values=images).pooler_output)
    if takes_return_features(network):
        return lambda images: _first(network(images, return_features=True))
    return lambda images: _first(network(images))


def _first(seen: Any) -> Tensor:
    """The features among what a network returns: the tensor, or the first of several; trailing sides of 1 dropped."""
    features = seen[0] if isinstance(seen, tuple | list) and seen else seen
    if not isinstance(features, Tensor) or features.ndim < 2:
        raise MetricError(f"it returns {type(seen).__name__} where a tensor (images, features) is needed")
    return features.flatten(1) if all(side == 1 for side in features.shape[2:]) else features


def _preprocessing(kind: Pretrained, path: Path) -> Preprocessing:
    if kind == "torchscript":
        return Preprocessing(whole_numbers=takes_return_features(read_script(path)))
    usual = IMAGENET if kind == "dinov2" else OF_CLIP
    config, own = read_json(path / "config.json"), read_json(path / "preprocessor_config.json")
    trained = int(config.get("vision_config", config).get("image_size", USUAL_SIZE))
    return replace(
        usual,
        # DINOv2 was trained at 518 pixels in the end, and is compared at 224; CLIP knows one size.
        size=min(USUAL_SIZE, trained) if kind == "dinov2" else trained,
        mean=_colour(own.get("image_mean")) or usual.mean,
        std=_colour(own.get("image_std")) or usual.std,
    )


def _colour(values: Any) -> Colour | None:
    if not isinstance(values, list) or len(values) != 3:
        return None
    return float(values[0]), float(values[1]), float(values[2])


def _sees(network: Local, probe: Tensor) -> bool:
    try:
        _tried(network, probe)
    except MetricError:
        return False
    return True


def _tried(network: Local, probe: Tensor) -> Tensor:
    """Features of a few images; MetricError where they are none, or depend on who else is looked at."""
    path, shape = network.source.path, tuple(probe.shape[1:])
    try:
        with torch.inference_mode():
            together, alone = network(probe)[0], network(probe[:1])[0]
    except (RuntimeError, ValueError, TypeError, MetricError) as error:
        raise MetricError(
            f"features: {path} cannot look at images of shape {shape} ({last_line(error)}). Give a network that takes them, or "
            "bring them to its size with --size."
        ) from error
    if together.ndim != 2 or len(together) != len(probe):
        raise MetricError(
            f"features: {path} makes {tuple(together.shape)} of {len(probe)} images; expected (images, features). "
            "Pool or flatten what it returns."
        )
    if not bool(torch.isfinite(together).all()):
        raise MetricError(
            f"features: {path} makes features that are not finite numbers; its file is damaged, or it is no encoder."
        )
    if float((together[:1] - alone).abs().max()) > ALIKE * float(together.abs().max()):
        raise MetricError(
            f"features: what {path} sees in an image depends on the other images of the batch, or on chance. "
            "Save the network in evaluation mode (network.eval())."
        )
    return together
