"""Who is asked whether an image shows its caption: VQAScore (Lin et al. 2024, arXiv:2404.01291).

The score of an image is the probability that a model which answers questions about images answers Yes to 'Does this figure show
"…"? Please answer yes or no.', with the image's caption between the marks. Unlike the cosine of CLIP it depends on how the words
of a caption belong together.

Here it is the probability of the first token of the answer, Yes or its beginning where a tokenizer cuts it. The authors' code
also counts the end of the answer (the geometric mean over both), and words question and answer differently for some models; values
are comparable between equal models and equal code, not with published ones.

A model is tried before it is believed: real held-out images should have it answer Yes to their own caption more surely than to
another's. The evaluator knows nothing of variety: one right picture for each caption scores best.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from maestune.data import Batch, ImageData, Images, to_uint8
from maestune.data.captions import UNKNOWN, Vocabulary
from maestune.errors import MetricError, SettingsError
from maestune.quality.features.captions import wordings
from maestune.quality.features.extractor import as_input
from maestune.quality.features.vqa_folder import digest_of_folder, files_of, read_vqa
from maestune.quality.features.vqa_model import ANSWER, VqaModel
from maestune.quality.interval import share_interval
from maestune.quality.metric import Array, Features

QUESTION = 'Does this figure show "{}"? Please answer yes or no.'
TRIED = 50  # held-out images that a model is tried on, with two questions each


@dataclass(frozen=True)
class VqaScorer:
    """A model in a folder that is asked about images; sent to other processes as the path, and read there on first use.

    Answers are comparable between those of the same `fingerprint`, and only then. `preferred`: share of the search images on
    which it answers Yes more surely to their own caption than to another's, which luck would be in half of them; `able`:
    whether that is more than luck. Both None where no captions differ.
    """

    path: str
    sha256: str
    device: str
    vocabulary: Vocabulary
    fingerprint: str
    description: str
    preferred: float | None = None
    able: bool | None = None

    def load(self) -> VqaModel:
        """The model, in this process; SettingsError when its files are not those it was chosen with."""
        return _loaded(self.path, self.sha256, self.device)

    def told(self, captions: Tensor) -> list[str]:
        """Captions (N, L) as it is asked about them: as the vocabulary spells them, without what it does not know."""
        return [self.vocabulary.decode(caption[caption != UNKNOWN]) for caption in captions]

    def yes(self, pictures: NDArray[np.uint8], captions: Sequence[str]) -> Array:
        """The probability (N,) of Yes for each caption of pictures (N, C, H, W), grey or in colour.

        Raises MetricError for other numbers of both, other channels, and what cannot be asked.
        """
        if len(pictures) != len(captions) or pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
            raise MetricError(
                f"Pictures {pictures.shape} with {len(captions)} captions; expected (N, 1 or 3, H, W) and one caption for each."
            )
        return self.load().yes(list(map(_picture, pictures)), [QUESTION.format(caption) for caption in captions])

    @property
    def warning(self) -> str:
        """What to know before its answers are believed; empty where nothing is amiss."""
        if self.able is not False:
            return ""
        return (
            f"The model that is asked about captions (--vqa {self.path}) does not tell real images' own captions from others: it "
            "prefers them no more often than luck would. Its score says nothing about these data."
        )


def check_vqa(path: str) -> None:
    """Raises SettingsError where a path is no folder with a model: before minutes of other work."""
    files_of(Path(path).expanduser())


def choose_vqa_scorer(
    path: str, data: ImageData, device: str = "cpu", progress: Callable[[str], None] | None = None
) -> VqaScorer:
    """Who is asked about images of a data set: the model of a folder, tried on some of its search images.

    Raises SettingsError where it is missing or cannot be read, answers no questions, or the extra `hf` is not installed;
    MetricError where the images have no captions.
    """
    if data.vocabulary is None or data.search.captions is None:
        raise MetricError(
            f"{data.name} has no captions that anything could be asked about. Write captions (captions.csv, or a text file "
            "beside each image), make them of class names (--captions), or leave --vqa out."
        )
    if progress is not None:
        progress(f"reading the model that is asked about captions from {path}, and trying it")
    folder = Path(path).expanduser().resolve()
    sha256 = digest_of_folder(folder)
    fingerprint = hashlib.sha256(f"vqa {sha256} {QUESTION} {ANSWER}".encode()).hexdigest()[:16]
    found = VqaScorer(str(folder), sha256, device, data.vocabulary, fingerprint, "")
    model = found.load()
    asked = QUESTION.format("…")
    description = (
        f"{model.name} from {path} (sha256 {sha256[:12]}), asked '{asked}', by the probability of '{model.answer}'"
    )
    return _tried(replace(found, description=description), data.search)


def as_pictures(images: Tensor) -> NDArray[np.uint8]:
    """Images (N, C, H, W), uint8 or float in [-1, 1], as whole numbers; MetricError when not finite."""
    return to_uint8(as_input(images)).numpy()


def with_captions(
    features: Features, images: Tensor, conditions: Batch, answerer: VqaScorer | None, captions: Sequence[str] = ()
) -> Features:
    """What was seen in images, with all that is needed to ask about them beside it, where anybody can be asked.

    `captions`: what they were to show as it was written, where that is known; else as the vocabulary spells `conditions`.
    """
    caption = conditions.get("caption")
    if answerer is None or caption is None:
        return features
    return replace(features, pictures=as_pictures(images), captions=np.array(captions or answerer.told(caption)))


def with_answers(features: Features, answerer: VqaScorer | None) -> Features:
    """What was seen in images, with the answers about them, where they can be asked about and were not yet."""
    if answerer is None or features.pictures is None or features.captions is None or features.yes is not None:
        return features
    return replace(features, yes=answerer.yes(features.pictures, features.captions.tolist()))


def resolved_vqa(path: str) -> str:
    """A model's folder as it is written down: it holds from every folder."""
    return str(Path(path).expanduser().resolve())


def _tried(answerer: VqaScorer, held_out: Images) -> VqaScorer:
    """The model, with what it reaches on held-out images: their own captions against the next ones in other words."""
    assert held_out.captions is not None  # checked by its caller
    numbers = wordings(held_out.captions)
    if not (numbers != numbers[0]).any():
        return answerer
    n = len(numbers)
    rows = np.linspace(0, n - 1, min(TRIED, n)).round().astype(np.int64)
    others = [next(j % n for j in range(i + 1, i + n) if numbers[j % n] != numbers[i]) for i in rows]
    pictures = as_pictures(held_out.images[torch.from_numpy(rows)])
    own, other = (answerer.yes(pictures, answerer.told(held_out.captions[of])) for of in (rows, others))
    preferred = float((own > other).mean())
    description = (
        f"{answerer.description}; of {len(rows)} search images {preferred:.0%} get a higher one for their own caption than for "
        f"another's (by luck 50%), on average {own.mean():.2f} and {other.mean():.2f}"
    )
    able = share_interval(preferred, len(rows)).low > 0.5
    return replace(answerer, description=description, preferred=preferred, able=able)


def _picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """A picture (C, H, W) in colour."""
    shown = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    return Image.fromarray(np.ascontiguousarray(shown)).convert("RGB")


def unload() -> None:
    """Free the model that was read in this process; whoever asks it again reads it again."""
    _loaded.cache_clear()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@lru_cache(maxsize=1)
def _loaded(path: str, sha256: str, device: str) -> VqaModel:
    if digest_of_folder(Path(path)) != sha256:
        raise SettingsError(
            f"vqa: {path} has changed since it was chosen; scores would not be comparable. Bring the old files back, or begin "
            "a new campaign."
        )
    return read_vqa(Path(path), device)
