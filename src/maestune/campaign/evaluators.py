"""Evaluators of a campaign's samples for both held-out parts, and what real data and failures would score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from maestune.campaign.goals import Goals
from maestune.campaign.seeds import derive_seed
from maestune.campaign.settings import Settings, report_samples
from maestune.data import Data, ImageData, TextData
from maestune.data.text import PROMPT_TOKENS
from maestune.errors import MetricError, SettingsError
from maestune.execution.jobs import Split, score_dict
from maestune.families.base import Family
from maestune.families.lm import LM
from maestune.families.lm.family import SAMPLE_TOKENS
from maestune.quality import (
    AUTO,
    DESCRIBED,
    Evaluator,
    ImageEvaluator,
    Metric,
    check_vqa,
    choose,
    choose_caption_encoder,
    choose_second,
    choose_vqa_scorer,
    default_n_samples,
    refusal,
    self_test,
)
from maestune.quality.metric import Limits, SampleMetric
from maestune.quality.text import DEFAULT_TEXTS, TEXT_METRICS, TextEvaluator, known_text, prepare_text_models
from maestune.types import Score

Say = Callable[[str], None]


@dataclass(frozen=True)
class EvaluationSetup:
    """The evaluators by split, what real data and what nothing usable would score, and what to know about all this."""

    evaluators: Mapping[Split, Evaluator] = field(default_factory=dict[Split, Evaluator])
    floor: Mapping[str, list[float]] = field(default_factory=dict[str, list[float]])
    failure: Mapping[str, list[float]] = field(default_factory=dict[str, list[float]])
    limits: Mapping[str, Limits] = field(default_factory=dict[str, Limits])
    notes: tuple[str, ...] = ()


def prepare_evaluators(
    settings: Settings, data: Data | None, family: Family | None, conditional: bool, device: str, say: Say
) -> EvaluationSetup:
    """Evaluators for the data; none where there are no data, or where nobody knows how long a model's texts are.

    `device`: where a model runs that is asked about samples.
    """
    _check_vqa(settings, data, conditional)
    if isinstance(data, ImageData):
        evaluators, notes = _image_evaluators(settings, data, conditional, device, say)
    elif isinstance(data, TextData) and isinstance(family, LM):
        try:
            evaluators, notes = _text_evaluators(settings, data, say)
        except MetricError as error:  # too short a text
            note = f"Samples are not scored: {error}"
            say(note)
            return EvaluationSetup(notes=(note,))
    else:
        return EvaluationSetup()
    report = evaluators["report"]
    metrics = [name for name in report.metrics if name in evaluators["search"].metrics]
    floor, impossible = _floor(report, metrics, settings)
    metrics = list(floor)
    notes += [f"Left out: {why}" for why in impossible.values()]
    for note in filter(None, (_left_out(evaluators), report.floor_note)):
        notes.append(note)
    failure, limits = score_dict(report.failure(metrics)), report.limits(metrics)
    return EvaluationSetup(evaluators, score_dict(floor), failure, limits, tuple(notes))


def _image_evaluators(
    settings: Settings, data: ImageData, conditional: bool, device: str, say: Say
) -> tuple[dict[Split, Evaluator], list[str]]:
    name = settings.features or AUTO
    extractor = choose(name, data, say)
    second = choose_second(extractor, data, say)
    reader = choose_caption_encoder(name, data, say) if conditional else None
    test = self_test(extractor, data, second=second)
    if (why := refusal(test)) is not None:
        if settings.features is None:
            raise SettingsError(why)
        say(f"warning: {test.sentence}")
    elif not test.conclusive:
        say(f"note: {test.sentence}")
    notes = [extractor.description, test.sentence]
    answerer = None if settings.vqa is None else choose_vqa_scorer(settings.vqa, data, device, say)
    if answerer is not None:
        notes += filter(None, (f"About captions is asked {answerer.description}.", answerer.warning))
        if answerer.warning:
            say(f"warning: {answerer.warning}")
    n = settings.samples or default_n_samples(data)

    def evaluator(split: Split, n: int) -> Evaluator:
        conditions = data.prompts(split, n) if conditional else None
        return ImageEvaluator.prepare(
            data, split, extractor, n, conditions=conditions, second=second, reader=reader, answerer=answerer
        )

    evaluators: dict[Split, Evaluator] = {
        "search": evaluator("search", n),
        "report": evaluator("report", report_samples(settings, n, len(data.train))),
    }
    return evaluators, notes


def _check_vqa(settings: Settings, data: Data | None, conditional: bool) -> None:
    """Refuse a model to be asked about samples where there is nothing to ask."""
    if settings.vqa is None:
        return
    if not isinstance(data, ImageData) or data.vocabulary is None or not conditional:
        raise SettingsError(
            f"vqa = {settings.vqa}: samples are asked for no captions, so that nothing can be asked about them; tune a model that "
            "takes captions (flow) on images that have some (captions.csv, or --captions), or leave --vqa out."
        )
    check_vqa(settings.vqa)


def _text_evaluators(settings: Settings, data: TextData, say: Say) -> tuple[dict[Split, Evaluator], list[str]]:
    n = settings.samples or DEFAULT_TEXTS
    models = prepare_text_models(data, progress=say)
    known = known_text(data, SAMPLE_TOKENS, n, models)
    n_report = report_samples(settings, n, data.size // (PROMPT_TOKENS + SAMPLE_TOKENS))
    evaluators: dict[Split, Evaluator] = {
        "search": TextEvaluator.prepare(data, "search", models, SAMPLE_TOKENS, n, known),
        "report": TextEvaluator.prepare(data, "report", models, SAMPLE_TOKENS, n_report, known),
    }
    copied = (
        f"A passage counts as copied from {known.shortest} characters on; so is {known.usual:.0%} of held-out text."
    )
    return evaluators, [f"Text models: {models.description}.", copied]


def _floor(evaluator: Evaluator, metrics: Sequence[str], settings: Settings) -> tuple[dict[str, Score], dict[str, str]]:
    """The floor of the metrics that real data themselves can be scored by, and of the others the reason.

    Some need more of each class than there is, which only shows when they are computed.
    """
    try:
        return evaluator.floor(metrics, floor_generator(settings)), {}
    except MetricError:
        impossible: dict[str, str] = {}
        for name in metrics:
            try:
                evaluator.floor([name], floor_generator(settings))
            except MetricError as error:
                impossible[name] = str(error)
        left = [name for name in metrics if name not in impossible]
        return evaluator.floor(left, floor_generator(settings)), impossible


def _left_out(evaluators: Mapping[Split, Evaluator]) -> str:
    """Sentence on what is not measured for want of images or samples; that of the search, which has fewer samples, or else of the verdict."""
    notes = [
        evaluator.left_out_note
        for evaluator in (evaluators["search"], evaluators["report"])
        if isinstance(evaluator, ImageEvaluator)
    ]
    return next(filter(None, notes), "")


def check_measurable(goals: Goals, evaluation: EvaluationSetup) -> None:
    """Refuse goals that the evaluators turned out not to be able to measure."""
    for name in goals.names:
        metric = DESCRIBED.get(name)
        if (
            isinstance(metric, SampleMetric)
            and name not in evaluation.floor
            and (evaluation.evaluators or name in TEXT_METRICS)
        ):
            raise SettingsError(
                f"{metric.label} ({name}) cannot be measured on these data. {_why_not(metric, evaluation)}"
            )


def _why_not(metric: SampleMetric, evaluation: EvaluationSetup) -> str:
    """Why the evaluators do not measure it, and what to do about that."""
    if not evaluation.evaluators:
        return " ".join(evaluation.notes)
    search = evaluation.evaluators["search"]
    if not isinstance(search, ImageEvaluator) or not isinstance(metric, Metric):
        return "Held-out text shows none of it, as the evaluator sees it."
    if metric.needs_classes and search.extractor.classes < 2:
        return f"The evaluator's extractor knows no classes ({search.extractor.description}); give more labelled images (class folders), or --features classifier."
    if metric.needs_captions and search.reader is None:
        return "There is no encoder of images and captions for them."
    if metric.needs_second and search.second is None:
        return "There is no second extractor for them."
    if metric.needs_places and search.real.held_out.places is None:
        return f"The evaluator's extractor does not tell what it sees where ({search.extractor.description})."
    evaluators = [evaluator for evaluator in evaluation.evaluators.values() if isinstance(evaluator, ImageEvaluator)]
    missing = next(
        (evaluator.left_out[metric.name] for evaluator in evaluators if metric.name in evaluator.left_out), ""
    )
    advice = "give more with --samples" if " samples" in missing else "give more images"
    return f"It {missing or 'needs more images'}; {advice}, or leave it out."


def costly(name: str) -> bool:
    """Whether a score takes so long that it is measured for the verdict only, unless it decides."""
    metric = DESCRIBED.get(name)
    return isinstance(metric, SampleMetric) and metric.costly


def floor_generator(settings: Settings) -> torch.Generator:
    """Generator of the real data that the floor is measured on."""
    return torch.Generator().manual_seed(derive_seed(settings.seed, "floor"))
