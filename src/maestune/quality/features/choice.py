"""What an evaluator sees with, by one spelling everywhere: auto, classifier, ssl, autoencoder, random, or KIND:PATH.

A ladder: what own labels teach, else what own images teach (`auto` takes the first that learns something); then networks
that others trained, from local files. None is downloaded, and none is taken without being asked for: features that know
ImageNet can be blind to grey prints of 28 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from maestune.data import ImageData
from maestune.errors import SettingsError, did_you_mean
from maestune.quality.features.cache import prepare_extractor
from maestune.quality.features.captions import CaptionEncoder
from maestune.quality.features.clip import clip_reader
from maestune.quality.features.contrastive import prepare_reader
from maestune.quality.features.extractor import Extractor
from maestune.quality.features.pretrained import pretrained_extractor
from maestune.quality.features.weights import Pretrained

AUTO = "auto"
OWN = (AUTO, "classifier", "ssl", "autoencoder", "random")
PRETRAINED = ("dinov2", "clip", "torchscript")
SPELLING = f"{', '.join(OWN)}, or {', '.join(f'{kind}:PATH' for kind in PRETRAINED)}"


@dataclass(frozen=True)
class Choice:
    """A kind of extractor, and where its weights lie if others trained it."""

    kind: str
    path: Path | None = None

    def __str__(self) -> str:
        return self.kind if self.path is None else f"{self.kind}:{self.path}"


def parse_features(name: str) -> Choice:
    """The choice that a name spells; SettingsError naming what can be chosen.

    >>> parse_features("ssl"), str(parse_features("dinov2:weights/base"))
    (Choice(kind='ssl', path=None), 'dinov2:weights/base')
    >>> parse_features("sll")
    Traceback (most recent call last):
        ...
    maestune.errors.SettingsError: features: 'sll' is no kind of features. Did you mean ssl? Expected auto, classifier, ssl, autoencoder, random, or dinov2:PATH, clip:PATH, torchscript:PATH.
    """
    kind, colon, path = name.strip().partition(":")
    if kind in OWN and not colon:
        return Choice(kind)
    if kind in OWN:
        raise SettingsError(f"features: {kind} is trained on the data and takes no path; write --features {kind}.")
    if kind not in PRETRAINED:
        near = did_you_mean(kind, (*OWN, *PRETRAINED))
        hint = f" {near}" if near.startswith("Did") else ""
        raise SettingsError(f"features: {name!r} is no kind of features.{hint} Expected {SPELLING}.")
    if not path.strip():
        raise SettingsError(
            f"features: {kind} is read from a file on this machine, and none was given; write --features {kind}:PATH."
        )
    return Choice(kind, Path(path.strip()).expanduser())


def resolved_features(name: str) -> str:
    """The same choice as it is written down: its path holds from every folder."""
    choice = parse_features(name)
    return str(choice if choice.path is None else Choice(choice.kind, choice.path.resolve()))


def choose(
    name: str, data: ImageData, progress: Callable[[str], None] | None = None, *, cache: Path | None = None
) -> Extractor:
    """The extractor of that name for a data set: trained on it (or kept from an earlier time), or read from a path.

    Raises SettingsError for unknown names, files that are missing or cannot be read, and missing packages; MetricError for
    a classifier of data without classes and for networks that cannot look at such images; StoreError where the cache cannot
    be written.
    """
    choice = parse_features(name)
    if choice.path is None:
        return prepare_extractor(data, kind=choice.kind, cache=cache, progress=progress)
    if progress is not None:
        progress(f"reading the extractor from {choice.path}")
    return pretrained_extractor(cast(Pretrained, choice.kind), choice.path, data)


def choose_second(
    evaluator: Extractor, data: ImageData, progress: Callable[[str], None] | None = None, *, cache: Path | None = None
) -> Extractor:
    """Whose opinion is asked beside an evaluator's: the network of random weights, or beside that one what the data teach."""
    return prepare_extractor(
        data, kind=AUTO if evaluator.kind == "random" else "random", cache=cache, progress=progress
    )


def choose_caption_encoder(
    name: str, data: ImageData, progress: Callable[[str], None] | None = None, *, cache: Path | None = None
) -> CaptionEncoder | None:
    """Who reads captions beside the extractor of that name: CLIP where that is it, else an encoder trained on the data.

    None where the data have no captions, or none that differ. Raises SettingsError where CLIP cannot be read, and
    StoreError where the cache cannot be written.
    """
    captions = data.train.captions
    if data.vocabulary is None or captions is None or not bool((captions != captions[0]).any()):
        return None
    choice = parse_features(name)
    if choice.kind == "clip" and choice.path is not None:
        return clip_reader(choice.path, data)
    return prepare_reader(data, cache=cache, progress=progress)
