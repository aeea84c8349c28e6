"""Images scored by the evaluator of images, and the ones that people should look at."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from maestune.data import ImageData, load_images
from maestune.data.load import resolved_source
from maestune.data.spec import Batch
from maestune.errors import DataError, SettingsError
from maestune.quality.available import metric_availability
from maestune.quality.catalogue import METRICS
from maestune.quality.features.choice import AUTO, parse_features
from maestune.quality.features.vqa import check_vqa
from maestune.quality.image_evaluator import ImageEvaluator
from maestune.quality.metric import Features
from maestune.quality.scoring.extraction import NO_IMAGES, described, extract_parts, floor_features, parts_of
from maestune.quality.scoring.fakes import Fakes, find_folder, go_through, read_fakes
from maestune.quality.scoring.folders import Folder
from maestune.quality.scoring.image_highlights import image_highlights, not_new
from maestune.quality.scoring.image_models import ImageModels, choose_image_models
from maestune.quality.scoring.measuring import Tell, check_names, chosen, measure, number_notes, skipped_note
from maestune.quality.scoring.prompts import captions_by_table, conditions_by_names, conditions_by_table, read_prompts
from maestune.quality.scoring.result import ClassShares, Measured, ScoreResult, Side
from maestune.quality.scoring.working import one_thread_of_blas
from maestune.types import Score


@dataclass(frozen=True)
class ImageRequest:
    """What is to be scored and how; see `maestune.score`."""

    real: str | ImageData
    fake: str | Path | Tensor
    metrics: tuple[str, ...] = ()
    prompts: Path | None = None
    features: str | None = None
    size: int | None = None
    samples: int | None = None
    seed: int = 0
    captions: tuple[str, ...] = ()
    vqa: str | None = None
    device: str = "cpu"
    workers: int = 1


def score_images(request: ImageRequest, tell: Tell) -> ScoreResult:
    """Scores of images; DataError, MetricError or SettingsError for what cannot be read, measured or found."""
    check_apart(request.real, request.fake)
    check_names(request.metrics, METRICS)
    parse_features(request.features or AUTO)
    if request.vqa is not None:
        check_vqa(request.vqa)
    with one_thread_of_blas():
        return _scored(request, tell)


def _scored(request: ImageRequest, tell: Tell) -> ScoreResult:
    data = _real(request, tell)
    given = _given(request, data, tell)
    conditions, captions, vqa_note = _asked(request, given.names, given.labels, data)
    if request.vqa is not None and "caption" not in conditions:
        raise SettingsError(
            "vqa: nothing can be asked about samples that were asked for no captions; give --prompts FILE with a column "
            "caption, or leave --vqa out."
        )
    models = choose_image_models(request.features, data, "caption" in conditions, request.vqa, request.device, tell)
    # The part for the verdict, as in the finals of a campaign: values can be held beside its own.
    evaluator = ImageEvaluator.prepare(
        data, "report", models.extractor, len(given), conditions=conditions, second=models.second, reader=models.reader,
        answerer=models.answerer, captions=captions,
    )  # fmt: skip
    names = chosen(request.metrics, evaluator.metrics, lambda name: _why_not(name, evaluator, conditions))
    fakes, features = _extract(given, data, models, request.workers, tell)
    if fakes.names != given.names:  # of a folder not all could be read
        conditions, captions, vqa_note = _asked(request, fakes.names, fakes.labels, data)
        evaluator = _evaluator_of(evaluator, len(fakes), conditions, data)
        names = chosen(request.metrics, evaluator.metrics, lambda name: _why_not(name, evaluator, conditions))
    features = described(evaluator, features, NO_IMAGES if fakes.images is None else fakes.images, conditions, captions)
    values, floors, notes = _measured(request, evaluator, names, features, tell)
    tell("Choosing what to show")
    warnings = [*models.warnings, *not_new(fakes, data.report, data.train)]
    read = (data.note, skipped_note("real images", data.skipped), *fakes.notes, skipped_note("samples", fakes.skipped))
    notes = [
        *read,
        vqa_note,
        *models.notes,
        *number_notes(len(fakes), len(data.report)),
        evaluator.left_out_note,
        evaluator.floor_note,
        *notes,
    ]
    return ScoreResult(
        modality="image",
        real=_real_side(request, data),
        fake=_fake_side(request, fakes),
        measured=tuple(Measured(METRICS[name], values[name], floors.get(name)) for name in names if name in values),
        reference=len(data.report),
        feature_space=models.feature_space,
        seed=request.seed,
        classes=_shares(evaluator, features, data),
        vqa=models.vqa,
        highlights=image_highlights(evaluator, features, fakes, data.train),
        warnings=tuple(warnings),
        notes=tuple(filter(None, notes)),
    )


def _given(request: ImageRequest, data: ImageData, tell: Tell) -> Fakes | Folder:
    """The samples; of a folder that no table tells about, where nothing but features will be needed, the files to be gone through."""
    folder = find_folder(request.fake, request.samples, request.seed) if request.prompts is None else None
    return folder or read_fakes(request.fake, data.shape, request.samples, request.seed, tell)


def _extract(
    given: Fakes | Folder, data: ImageData, models: ImageModels, workers: int, tell: Tell
) -> tuple[Fakes, Features]:
    """The samples, and their features."""
    if isinstance(given, Fakes):
        assert given.images is not None
        tell(f"Looking at {len(given):,} samples")
        return given, extract_parts(parts_of(given.images), models.extractor, models.second, workers)
    read: list[Fakes] = []

    def parts() -> Iterator[Tensor]:
        read.append((yield from go_through(given, data.shape, tell)))

    features = extract_parts(parts(), models.extractor, models.second, workers)
    return read[0], features


def _measured(
    request: ImageRequest, evaluator: ImageEvaluator, names: Sequence[str], features: Features, tell: Tell
) -> tuple[dict[str, Score], dict[str, Score], list[str]]:
    """Values, floors, and notes on what could not be measured."""
    tell("Looking at real images in place of the samples")
    real = floor_features(evaluator, names, torch.Generator().manual_seed(request.seed), request.workers)
    answering = Lock()  # a model that is asked about images is large, and there is one of it

    def score(group: Sequence[str], features: Features) -> Mapping[str, Score]:
        with answering if METRICS[group[0]].needs_answers else nullcontext():
            return evaluator.score(features, group, intervals=True)

    def floor(group: Sequence[str]) -> Mapping[str, Score]:
        parts = ([n for n in group if METRICS[n].sees_copies == fresh] for fresh in (False, True))
        return {name: one for own in parts if own for name, one in score(own, real[own[0]]).items()}

    return measure(
        names,
        {name: METRICS[name].kind.name for name in names},
        lambda group: score(group, features),
        floor,
        named=bool(request.metrics),
        tell=tell,
        workers=request.workers,
    )


def check_apart(real: str | ImageData, fake: str | Path | Tensor) -> None:
    """Raises DataError where samples are the real data, or lie among them."""
    if not isinstance(real, str) or isinstance(fake, Tensor):
        return
    one, other = resolved_source(real), resolved_source(str(fake))
    if one == other:
        raise DataError(
            f"{fake}: the samples are the real data themselves (--real {real}). Give what a model made as --fake."
        )
    a, b = Path(one), Path(other)
    if a.is_dir() and b.exists() and (a in b.parents or b in a.parents):
        inner, outer = (b, a) if a in b.parents else (a, b)
        raise DataError(
            f"{inner} lies in {outer}: its images would count as both real and made. Move one of them out, or give sub-folders."
        )


def _real(request: ImageRequest, tell: Tell) -> ImageData:
    if isinstance(request.real, ImageData):
        return request.real
    data = load_images(request.real, size=request.size, captions=request.captions, progress=tell)
    tell(data.describe())
    return data


def _asked(
    request: ImageRequest, names: tuple[str, ...], labels: tuple[str, ...] | None, data: ImageData
) -> tuple[Batch, tuple[str, ...], str]:
    """What samples were asked for, captions as they were written, and a sentence on it; `labels`: what their source says."""
    if request.prompts is None:
        asked, note = conditions_by_names(names, labels, data)
        return asked, (), note
    rows = read_prompts(request.prompts, names)
    asked = conditions_by_table(rows, request.prompts, data)
    return (
        asked,
        captions_by_table(rows, data),
        f"What samples were asked for ({' and '.join(asked)}) is told by {request.prompts.name}.",
    )


def _evaluator_of(evaluator: ImageEvaluator, n: int, conditions: Batch, data: ImageData) -> ImageEvaluator:
    """The same evaluator, of other samples that were asked for no captions."""
    availability = metric_availability(
        data,
        evaluator.extractor,
        conditional="label" in conditions,
        second=evaluator.second is not None,
        places=evaluator.real.held_out.places is not None,
        n_samples=n,
    )
    found = {"metrics": availability.metrics, "left_out": availability.left_out}
    return replace(evaluator, n_samples=n, conditions=conditions, **found, _references={}, _subsets={})


def _why_not(name: str, evaluator: ImageEvaluator, conditions: Batch) -> str:
    metric = METRICS[name]
    if metric.needs_captions:
        return "it needs real images with captions, and samples that were asked for some; give --prompts FILE with a column caption."
    if metric.needs_answers:
        return "nobody is asked about images; give a model that answers questions about them: --vqa FOLDER."
    if metric.needs_classes and evaluator.extractor.classes < 2:
        return (
            "it needs real images in at least two classes and an extractor that knows them, and these are "
            f"{evaluator.extractor.kind} features. Put the real images into one folder per class, with --features auto."
        )
    if metric.needs_labels and (evaluator.train.labels is None or len(torch.unique(evaluator.train.labels)) < 2):
        return "it needs real images in at least two classes. Put the real images into one folder per class."
    if metric.needs_conditions and "label" not in conditions:
        return (
            "it needs to know which class each sample was asked to show; put samples into folders named as the classes, or give "
            "--prompts FILE."
        )
    if metric.needs_places and evaluator.real.held_out.places is None:
        return f"{evaluator.extractor.kind} features do not tell the places of an image apart. Use --features auto."
    shortage = evaluator.left_out.get(name, "needs more than there is")
    repair = "Generate more samples" if "samples" in shortage else "Give more real images"
    return f"it {shortage}. {repair}."


def _real_side(request: ImageRequest, data: ImageData) -> Side:
    found = len(data.train) + len(data.search) + len(data.report)
    source = data.name if isinstance(request.real, ImageData) else request.real
    return Side(source, found, found, data.fingerprint, data.skipped)


def _fake_side(request: ImageRequest, fakes: Fakes) -> Side:
    source = "a tensor" if isinstance(request.fake, Tensor) else str(request.fake)
    return Side(source, fakes.found, len(fakes), fakes.fingerprint, fakes.skipped)


def _shares(evaluator: ImageEvaluator, features: Features, data: ImageData) -> ClassShares | None:
    fake = evaluator.classes(features)
    if not fake:
        return None
    names = (*data.class_names, *map(str, range(len(data.class_names), len(fake))))
    return ClassShares(names, evaluator.real_classes, fake)
