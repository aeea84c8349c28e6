"""Images scored by the judge of images, and the ones that people should look at."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from maestune.data import ImageData, load_images
from maestune.data.load import resolved_source
from maestune.data.spec import Batch
from maestune.errors import DataError, MetricError, SettingsError
from maestune.quality.catalogue import METRICS
from maestune.quality.features.captions import CaptionReader
from maestune.quality.features.choice import AUTO, choose, choose_reader, choose_second, parse_features
from maestune.quality.features.extractor import Extractor
from maestune.quality.features.self_test import SelfTest, self_test
from maestune.quality.features.vqa import Answerer, check_vqa, choose_answerer
from maestune.quality.image_judge import ImageJudge
from maestune.quality.metric import Features
from maestune.quality.scoring.fakes import Fakes, read_fakes
from maestune.quality.scoring.measuring import Tell, check_names, chosen, measure, number_notes, skipped_note
from maestune.quality.scoring.pictures import not_new, shown_images
from maestune.quality.scoring.prompts import asked_by_names, asked_by_table, captions_by_table, read_prompts
from maestune.quality.scoring.result import ClassShares, Measured, ScoreResult, Side, Sight


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


@dataclass(frozen=True)
class _Eyes:
    # What is looked with: the extractor and the test it took, another one for a second opinion, who reads captions, and who
    # is asked about them.
    extractor: Extractor
    second: Extractor
    test: SelfTest
    reader: CaptionReader | None
    answerer: Answerer | None

    @property
    def sight(self) -> Sight:
        eyes = self.extractor
        return Sight(eyes.kind, eyes.fingerprint, eyes.description, self.test.passed, self.test.sentence)

    @property
    def asked(self) -> Sight | None:
        one = self.answerer
        return None if one is None else Sight("vqa", one.fingerprint, one.description, one.able, one.warning)

    @property
    def warnings(self) -> list[str]:
        told = "" if self.answerer is None else self.answerer.warning
        return list(filter(None, ("" if self.test.passed else self.test.sentence, told)))

    @property
    def notes(self) -> list[str]:
        read = "" if self.reader is None else f"Captions are read by {self.reader.description}."
        asked = "" if self.answerer is None else f"About captions is asked {self.answerer.description}."
        return [read, asked]


def score_images(request: ImageRequest, tell: Tell) -> ScoreResult:
    """Scores of images; DataError, MetricError or SettingsError for what cannot be read, measured or found."""
    check_apart(request.real, request.fake)
    check_names(request.metrics, METRICS)
    parse_features(request.features or AUTO)
    if request.vqa is not None:
        check_vqa(request.vqa)
    data = _real(request, tell)
    fakes = read_fakes(request.fake, data.shape, request.samples, request.seed, tell)
    conditions, captions, asked_note = _asked(request, fakes, data)
    eyes = _eyes(request, data, conditions, tell)
    # The part for the verdict, as in the finals of a campaign: values can be held beside its own.
    judge = ImageJudge.prepare(
        data, "report", eyes.extractor, len(fakes), conditions=conditions, second=eyes.second, reader=eyes.reader,
        answerer=eyes.answerer, captions=captions,
    )  # fmt: skip
    names = chosen(request.metrics, judge.metrics, lambda name: _why_not(name, judge, conditions))
    tell(f"Looking at {len(fakes):,} samples")
    seen = judge.look(fakes.images)
    values, floors, notes = measure(
        names,
        {name: METRICS[name].kind.name for name in names},
        lambda group: judge.score(seen, group, intervals=True),
        lambda group: judge.floor(group, torch.Generator().manual_seed(request.seed)),
        named=bool(request.metrics),
        tell=tell,
    )
    tell("Choosing what to show")
    warnings = [*eyes.warnings, *not_new(fakes, data.report, data.train)]
    read = (data.note, skipped_note("real images", data.skipped), *fakes.notes, skipped_note("samples", fakes.skipped))
    notes = [*read, asked_note, *eyes.notes, *number_notes(len(fakes), len(data.report)), judge.floor_note, *notes]
    return ScoreResult(
        modality="image",
        real=_real_side(request, data),
        fake=_fake_side(request, fakes),
        measured=tuple(Measured(METRICS[name], values[name], floors.get(name)) for name in names if name in values),
        reference=len(data.report),
        sight=eyes.sight,
        seed=request.seed,
        classes=_shares(judge, seen, data),
        asked=eyes.asked,
        shown=shown_images(judge, seen, fakes, data.train),
        warnings=tuple(warnings),
        notes=tuple(filter(None, notes)),
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


def _asked(request: ImageRequest, fakes: Fakes, data: ImageData) -> tuple[Batch, tuple[str, ...], str]:
    """What samples were asked for, captions as they were written, and a sentence on it."""
    if request.prompts is None:
        asked, note = asked_by_names(fakes.names, fakes.labels, data)
        return asked, (), note
    rows = read_prompts(request.prompts, fakes.names)
    asked = asked_by_table(rows, request.prompts, data)
    return (
        asked,
        captions_by_table(rows, data),
        f"What samples were asked for ({' and '.join(asked)}) is told by {request.prompts.name}.",
    )


def _eyes(request: ImageRequest, data: ImageData, conditions: Batch, tell: Tell) -> _Eyes:
    """What is looked with; MetricError where an extractor that nobody insisted on fails its test."""
    if request.vqa is not None and "caption" not in conditions:
        raise SettingsError(
            "vqa: nothing can be asked about samples that were asked for no captions; give --prompts FILE with a column "
            "caption, or leave --vqa out."
        )
    name = request.features or AUTO
    extractor = choose(name, data, tell).on(request.device)
    second = choose_second(extractor, data, tell).on(request.device)
    tell("Testing the extractor on real images made worse")
    test = self_test(extractor, data, second=second)
    if not test.passed and request.features in (None, AUTO):
        raise MetricError(
            f"{test.sentence} Values would rest on what it cannot see. Choose other eyes (--features ssl, random, or "
            f"dinov2:PATH), give more real images, or insist on these with --features {extractor.kind}."
        )
    reader = choose_reader(name, data, tell) if "caption" in conditions else None
    reader = None if reader is None else reader.on(request.device)
    answerer = None if request.vqa is None else choose_answerer(request.vqa, data, request.device, tell)
    return _Eyes(extractor, second, test, reader, answerer)


def _why_not(name: str, judge: ImageJudge, conditions: Batch) -> str:
    metric, n = METRICS[name], judge.n_samples
    per_dimension = metric.least_per_dimension * (judge.extractor.dimensions + 1)
    if metric.needs_captions:
        return "it needs real images with captions, and samples that were asked for some; give --prompts FILE with a column caption."
    if metric.needs_answers:
        return "nobody is asked about images; give a model that answers questions about them: --vqa FOLDER."
    if metric.needs_classes and judge.extractor.classes < 2:
        return (
            "it needs real images in at least two classes and an extractor that knows them, and these are "
            f"{judge.extractor.kind} features. Put the real images into one folder per class, with --features auto."
        )
    if metric.needs_labels and (judge.train.labels is None or len(torch.unique(judge.train.labels)) < 2):
        return "it needs real images in at least two classes. Put the real images into one folder per class."
    if metric.needs_conditions and "label" not in conditions:
        return (
            "it needs to know which class each sample was asked to show; put samples into folders named as the classes, or give "
            "--prompts FILE."
        )
    if metric.needs_places and judge.real.held_out.places is None:
        return f"{judge.extractor.kind} features do not tell the places of an image apart. Use --features auto."
    if n < max(2 * metric.least, per_dimension):
        return (
            f"it needs at least {max(2 * metric.least, per_dimension):,} samples, and there are {n:,}. Generate more."
        )
    return f"it needs at least {metric.least:,} real images in each held-out part and to learn from. Give more real images."


def _real_side(request: ImageRequest, data: ImageData) -> Side:
    found = len(data.train) + len(data.search) + len(data.report)
    source = data.name if isinstance(request.real, ImageData) else request.real
    return Side(source, found, found, data.fingerprint, data.skipped)


def _fake_side(request: ImageRequest, fakes: Fakes) -> Side:
    source = "a tensor" if isinstance(request.fake, Tensor) else str(request.fake)
    return Side(source, fakes.found, len(fakes), fakes.fingerprint, fakes.skipped)


def _shares(judge: ImageJudge, seen: Features, data: ImageData) -> ClassShares | None:
    fake = judge.classes(seen)
    if not fake:
        return None
    names = (*data.class_names, *map(str, range(len(data.class_names), len(fake))))
    return ClassShares(names, judge.real_classes, fake)
