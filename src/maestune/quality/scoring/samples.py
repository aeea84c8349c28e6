"""One entry for scoring samples of any kind against real data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from maestune.data import ImageData
from maestune.data.folder import SUFFIXES as IMAGE_SUFFIXES
from maestune.data.hub import PREFIX, is_hub
from maestune.data.idx import is_idx
from maestune.data.load import BUILT_IN as IMAGE_SETS
from maestune.data.spec import Modality
from maestune.data.text_files import BUILT_IN as TEXT_SETS
from maestune.data.text_files import is_text
from maestune.errors import DataError, SettingsError, did_you_mean
from maestune.quality.scoring.images import ImageRequest, score_images
from maestune.quality.scoring.measuring import FEWEST, Tell
from maestune.quality.scoring.result import ScoreResult
from maestune.quality.scoring.texts import TextRequest, score_texts

MODALITIES = ("image", "text")
Real = str | Path | ImageData
Fake = str | Path | Tensor | Sequence[str]


def score_samples(
    real: Real,
    fake: Fake,
    *,
    metrics: Sequence[str] = (),
    prompts: str | Path | None = None,
    features: str | None = None,
    size: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    captions: Sequence[str] = (),
    modality: str | None = None,
    vqa: str | Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    progress: Tell | None = None,
) -> ScoreResult:
    """How good samples are, held against real data.

    `real`: images or text as `load_images` and `load_text` read them, or images that were read already. Extractor and readers
    learn from its training part, in which copies are looked for too; the reference is the part for the verdict, as in the
    finals of a campaign, so that values at the same number of samples can be held beside its own. `fake`: see `read_fakes`
    and `read_fake_texts`. `metrics`: their names, or all that apply. `prompts`: a table of what each sample was asked for.
    `features`: what the evaluator sees with, as `choose` spells it; one that fails its self-test is refused unless it was named.
    `samples`: how many are scored, drawn by the `seed`. `captions`: templates that make captions of the class names of real
    images. `modality`: image or text, where it is not clear. `vqa`: folder of a model that is asked whether images show their
    captions. `device`: where networks look ("cpu", "cuda", "cuda:1"); values agree within rounding. `workers`: how many
    threads look at images and measure them; values are the same, and text is scored by one. `progress` is called with sentences
    on the way.

    Raises DataError, MetricError and SettingsError, each with its repair.
    """
    _check(samples, seed, modality, workers)
    kind = modality or _modality(real, fake)
    given: dict[str, Any] = {
        "metrics": tuple(name.strip() for name in metrics if name.strip()),
        "prompts": None if prompts is None else Path(prompts),
        "features": features,
        "samples": samples,
        "seed": seed,
        "device": device,
    }
    of_images: dict[str, Any] = {"size": size, "captions": tuple(captions), "vqa": None if vqa is None else str(vqa)}
    tell = progress or _quietly
    source = str(real) if isinstance(real, Path) else real
    if kind == "text":
        result = _texts(source, fake, given, [f"--{name}" for name, value in of_images.items() if value], tell)
    elif isinstance(fake, str | Path | Tensor):
        result = score_images(ImageRequest(source, fake, **given, **of_images, workers=workers), tell)
    else:
        raise DataError("Images to be scored: expected a path or a tensor (N, C, H, W), and a sequence was given.")
    options: dict[str, Any] = {
        "metrics": ",".join(given["metrics"]),
        "prompts": prompts,
        "features": features,
        "size": size,
        "samples": samples,
        "modality": modality,
        "captions": "\n".join(captions),
        "vqa": vqa,
    }
    return replace(result, options={name: str(value) for name, value in options.items() if value})


def _quietly(_: str) -> None:
    """Told to nobody."""


def _texts(
    real: str | ImageData, fake: Fake, given: Mapping[str, Any], of_images: Sequence[str], tell: Tell
) -> ScoreResult:
    if of_images:
        raise SettingsError(f"{' and '.join(of_images)}: for images, and this is text. Leave it out.")
    if isinstance(real, ImageData) or isinstance(fake, Tensor):
        raise DataError("Texts to be scored: expected paths or texts, and images were given.")
    return score_texts(TextRequest(real, fake, **given), tell)


def _check(samples: int | None, seed: int, modality: str | None, workers: int) -> None:
    if samples is not None and samples < FEWEST:
        raise SettingsError(f"samples: {samples} is too few; at least {FEWEST} are needed for intervals, better 1000.")
    if workers < 1:
        raise SettingsError(f"workers: {workers} can do nothing; give at least 1.")
    if seed < 0:
        raise SettingsError(f"seed: {seed} is negative; give a whole number from 0.")
    if modality is not None and modality not in MODALITIES:
        raise SettingsError(f"modality: {modality!r} is unknown. {did_you_mean(modality, MODALITIES)}")


def _modality(real: Real, fake: Fake) -> Modality:
    """What both sides look like; DataError where they differ or neither tells."""
    one, other = _looks_like(real), _looks_like(fake)
    if one and other and one != other:
        raise DataError(
            f"{real} looks like {one}s and {fake} like {other}s; expected the same kind. Give other paths, or say which with "
            "--modality."
        )
    found = one or other
    if found is None:
        return "image"  # whose reader says best what is wrong with the path
    return cast(Modality, found)


def _looks_like(source: Real | Fake) -> str | None:
    if isinstance(source, ImageData | Tensor):
        return "image"
    if not isinstance(source, str | Path):
        return "text"
    if source in IMAGE_SETS or str(source).startswith(PREFIX):
        return "image"
    if source in TEXT_SETS:
        return "text"
    path = Path(source).expanduser()
    if path.is_dir():
        return "image" if is_hub(source) else _folder_looks_like(path)
    if is_idx(path) or is_hub(source) or path.suffix.lower() == ".npz" or path.name.lower().endswith(IMAGE_SUFFIXES):
        return "image"
    if not path.is_file():
        return None
    return "text" if is_text(path) or _reads_as_text(path) else None


def _folder_looks_like(folder: Path) -> str | None:
    """Any image makes it a folder of images: texts beside them are captions."""
    text = None
    for path in folder.rglob("*"):
        if path.name.lower().endswith(IMAGE_SUFFIXES) or is_idx(path):
            return "image"
        text = text or ("text" if is_text(path) else None)
    return text


def _reads_as_text(path: Path) -> bool:
    with path.open("rb") as file:
        beginning = file.read(4096)
    try:
        beginning.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(beginning) - 4  # cut within a sign
    return b"\0" not in beginning
