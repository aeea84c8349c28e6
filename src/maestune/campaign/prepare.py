"""From settings to everything a campaign works with: data, space, recipe, judges, and what every job shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from maestune.campaign.goals import Goals, goals_of
from maestune.campaign.seeds import derive_seed
from maestune.campaign.settings import Settings, report_samples
from maestune.campaign.start import located, start_of
from maestune.data import Data, ImageData, TextData, load_data
from maestune.data.load import resolved_source
from maestune.data.text import PROMPT_TOKENS
from maestune.errors import MetricError, SettingsError
from maestune.execution.jobs import Setup, Split, score_dict
from maestune.execution.model import OwnTraining, family, is_own, spec_for
from maestune.families.base import Family
from maestune.families.lm import LM
from maestune.families.lm.family import SAMPLE_TOKENS, decoding_freed
from maestune.quality import (
    AUTO,
    DESCRIBED,
    ImageJudge,
    Judge,
    Metric,
    choose,
    choose_reader,
    choose_second,
    default_n_samples,
    refusal,
    resolved_features,
    self_test,
)
from maestune.quality.text import DEFAULT_TEXTS, TEXT_METRICS, TextJudge, TextMetric, known_text, prepare_eyes
from maestune.recipes.writing import toml_text
from maestune.space import Choice, Float, Param, Space
from maestune.types import Config, Objective

DEFAULT_STEPS = 1000  # of a full training, where neither settings nor model say

Say = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """What settings stand for, resolved."""

    source: str | None  # where the data comes from
    data: Data | None
    space: Space
    recipe: Config
    recipe_name: str
    goals: Goals
    setup: Setup
    conditional: bool  # whether the recipe generates what it is asked for
    floor: Mapping[str, list[float]]
    search_floor: Mapping[str, list[float]]  # on the terms of the search, of what decides there
    failure: Mapping[str, list[float]]
    notes: tuple[str, ...]
    citations: tuple[str, ...]
    model_steps: int | None  # what the model says a full training is
    shortest: float  # share of it that a short budget may make it

    @property
    def terms(self) -> dict[str, dict[str, str | int]]:
        """On what terms scores are measured, by stage; see `Terms`."""
        if self.data is None:
            return {}
        stages: tuple[tuple[str, Split], ...] = (("search", "search"), ("finals", "report"))
        return {
            stage: {"samples": judge.n_samples, "reference": f"{self.data.fingerprint}, {split} part"}
            for stage, split in stages
            if (judge := self.setup.judges.get(split)) is not None
        }

    def identity(self, settings: Settings) -> dict[str, str]:
        """What must not change within a campaign, in words."""
        return {
            "model": _located(settings.model),
            "data": self.data.fingerprint if self.data else "none",
            "objectives": ", ".join(map(objective_text, self.goals.objectives)),
            **({"constraints": ", ".join(c.text for c in self.goals.constraints)} if self.goals.constraints else {}),
            "seed": str(settings.seed),
            "strategy": settings.strategy,
            "samples": ", ".join(f"{t['samples']} in the {stage}" for stage, t in self.terms.items()) or "none",
            **({"features": self.setup.judges["search"].sees_with} if self.setup.judges else {}),
            "rungs": f"{settings.rungs} of eta {settings.eta}",
            **{f"parameter {param.name}": _in_words(param) for param in self.space},
        }

    def resolved(self, settings: Settings, steps: int) -> str:
        """The campaign as TOML with nothing left open; `maestune tune` on it starts the same campaign elsewhere."""
        values = settings.model_dump(mode="json", exclude_none=True, exclude={"set", "range", "out"})
        if settings.recipe is not None:
            values["recipe"] = located(settings.recipe)
        if settings.features is not None:
            values["features"] = resolved_features(settings.features)
        values |= {
            "model": _located(settings.model),
            "objective": [objective_text(o) for o in self.goals.objectives],
            "constraint": [c.text for c in self.goals.constraints],
            "steps": steps,
        }
        if self.data is not None:
            assert self.source is not None
            values["data"] = resolved_source(self.source) if isinstance(self.data, ImageData) else located(self.source)
            fields: tuple[tuple[str, Split], ...] = (("samples", "search"), ("report_samples", "report"))
            values |= {field: j.n_samples for field, split in fields if (j := self.setup.judges.get(split)) is not None}
        return toml_text({**values, "space": self.space.to_dict()}) + "\n"


def prepare(settings: Settings, own: OwnTraining | None, device: str, say: Say) -> Prepared:
    """Load the data, obtain the judges, resolve space and objectives. Raises the error of whatever cannot be used."""
    source = settings.data or (own.data if own else None)
    made = own.family if own else family(settings.model)
    data = _data(settings, source, made, say) if source is not None else None
    start = start_of(settings, own, made, data)
    for note in start.notes:
        say(note)
    space = start.space
    recipe_config = space.centre()
    conditional = made is not None and data is not None and made.conditional(recipe_config, data.spec)
    goals = goals_of(settings, own, made, data, conditional)
    if isinstance(made, LM) and settings.space is None and any(name in TEXT_METRICS for name in goals.names):
        space = decoding_freed(space, settings.set)  # where texts decide, it is worth searching how they are drawn
        recipe_config = space.centre()
    _comparable(goals.objectives, space)
    notes = [*start.notes, *(_notes(data, say) if data is not None else ())]
    _improvable(goals.objectives)
    judged = _judged(settings, data, made, conditional, say)
    _judgeable(goals, judged)
    notes += judged.notes
    failure = dict(judged.failure)
    if made is not None and data is not None:
        failure |= {name: [value] * 3 for name, value in made.failure(data.spec).items()}
    metrics = tuple(judged.floor)  # what the judges can measure
    asked = tuple(name for name in goals.names if name in metrics)
    search_floor = judged.judges["search"].floor(asked, _floor_generator(settings)) if asked else {}
    setup = Setup(
        model=settings.model,
        device=device,
        data=data,
        judges=judged.judges,
        metrics=asked,  # rungs come every second: there only what decides is measured
        full_metrics=tuple(name for name in metrics if name in asked or not _costly(name)),
        verdict_metrics=metrics,
        objectives=goals.objectives,
    )
    citations = list(start.citations)
    citations += [p.prior.citation for p in space if p.prior is not None and p.prior.citation]
    measured = (*metrics, *(made.measures if made else ()))
    citations += [DESCRIBED[name].citation for name in measured if name in DESCRIBED]
    return Prepared(
        source=source,
        data=data,
        space=space,
        recipe=recipe_config,
        recipe_name=start.name,
        goals=goals,
        setup=setup,
        conditional=conditional,
        floor=judged.floor,
        search_floor=score_dict(search_floor),
        failure=failure,
        notes=tuple(notes),
        citations=tuple(dict.fromkeys(citations)),
        model_steps=_model_steps(own, made, data),
        shortest=made.shortest if made is not None else 1.0,
    )


def _floor_generator(settings: Settings) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(settings.seed, "floor"))


def objective_text(objective: Objective) -> str:
    """An objective as it is written on the command line."""
    return f"{objective.name}:{'max' if objective.higher_is_better else 'min'}"


def _located(model: str) -> str:
    """A model's name that holds from every folder: the file of an own training by its whole path."""
    path, colon, function = model.partition(":")
    return f"{Path(path).resolve()}{colon}{function}" if is_own(model) else model


def _in_words(param: Param) -> str:
    if isinstance(param, Choice):
        text = f"one of {', '.join(map(str, param.values))}"
    else:
        text = f"{param.low:g}:{param.high:g} {param.scale}"
    if isinstance(param, Float) and param.off is not None:
        text += f" or {param.off:g}"
    if param.prior is not None:
        text += f", around {param.prior.centre} ({param.prior.confidence} confidence)"
    if param.when:
        text += f", when {dict(param.when)}"
    return text


def _data(settings: Settings, source: str, made: Family | None, say: Say) -> Data:
    data = load_data(
        source,
        made.modality if made is not None else "image",
        size=settings.size,
        tokens=settings.tokens,
        captions=settings.captions,
        progress=say,
    )
    say(data.describe())
    return data


def _notes(data: Data, say: Say) -> Iterator[str]:
    """What was decided on the way, and which files were left out."""
    if data.note:
        say(data.note)
        yield data.note
    if data.skipped:
        shown = "; ".join(data.skipped[:3]) + (" …" if len(data.skipped) > 3 else "")
        text = f"{len(data.skipped)} unreadable files skipped: {shown}"
        say(text)
        yield text


def _model_steps(own: OwnTraining | None, made: Family | None, data: Data | None) -> int | None:
    if made is not None:
        return made.full_steps(spec_for(made, data), data.size if data else 0)
    return own.full_steps if own else None


def _comparable(objectives: Sequence[Objective], space: Space) -> None:
    """Refuse objectives whose values cannot be compared between configs of the space."""
    for objective in objectives:
        described = DESCRIBED.get(objective.name)
        if described is not None and described.within in (param.name for param in space.varying):
            choices = space[described.within]
            example = choices.from_unit(0.0)
            raise SettingsError(
                f"{described.label} ({objective.name}) can be compared only between models of the same {described.within}, "
                f"which is searched ({_in_words(choices)}); fix it with --set {described.within}={example}, or choose "
                "another objective."
            )


@dataclass(frozen=True)
class _Judged:
    """The judges by split, what real data and what nothing usable would score, and what to know about all this."""

    judges: Mapping[Split, Judge] = field(default_factory=dict[Split, Judge])
    floor: Mapping[str, list[float]] = field(default_factory=dict[str, list[float]])
    failure: Mapping[str, list[float]] = field(default_factory=dict[str, list[float]])
    notes: tuple[str, ...] = ()


def _judged(settings: Settings, data: Data | None, made: Family | None, conditional: bool, say: Say) -> _Judged:
    """Judges for the data; none where there are no data, or where nobody knows how long a model's texts are."""
    if isinstance(data, ImageData):
        judges, notes = _image_judges(settings, data, conditional, say)
    elif isinstance(data, TextData) and isinstance(made, LM):
        try:
            judges, notes = _text_judges(settings, data, say)
        except MetricError as error:  # too short a text
            note = f"Samples are not scored: {error}"
            say(note)
            return _Judged(notes=(note,))
    else:
        return _Judged()
    report = judges["report"]
    metrics = [name for name in report.metrics if name in judges["search"].metrics]
    if report.floor_note:
        notes.append(report.floor_note)
    floor = report.floor(metrics, _floor_generator(settings))
    return _Judged(judges, score_dict(floor), score_dict(report.failure(metrics)), tuple(notes))


def _image_judges(
    settings: Settings, data: ImageData, conditional: bool, say: Say
) -> tuple[dict[Split, Judge], list[str]]:
    name = settings.features or AUTO
    extractor = choose(name, data, say)
    second = choose_second(extractor, data, say)
    reader = choose_reader(name, data, say) if conditional else None
    test = self_test(extractor, data, second=second)
    if (why := refusal(test)) is not None:
        if settings.features is None:
            raise SettingsError(why)
        say(f"warning: {test.sentence}")
    n = settings.samples or default_n_samples(data)

    def judge(split: Split, n: int) -> Judge:
        asked = data.prompts(split, n) if conditional else None
        return ImageJudge.prepare(data, split, extractor, n, conditions=asked, second=second, reader=reader)

    judges: dict[Split, Judge] = {
        "search": judge("search", n),
        "report": judge("report", report_samples(settings, n, len(data.train))),
    }
    return judges, [extractor.description, test.sentence]


def _text_judges(settings: Settings, data: TextData, say: Say) -> tuple[dict[Split, Judge], list[str]]:
    n = settings.samples or DEFAULT_TEXTS
    eyes = prepare_eyes(data, progress=say)
    known = known_text(data, SAMPLE_TOKENS, n, eyes)
    n_report = report_samples(settings, n, data.size // (PROMPT_TOKENS + SAMPLE_TOKENS))
    judges: dict[Split, Judge] = {
        "search": TextJudge.prepare(data, "search", eyes, SAMPLE_TOKENS, n, known),
        "report": TextJudge.prepare(data, "report", eyes, SAMPLE_TOKENS, n_report, known),
    }
    copied = (
        f"A passage counts as copied from {known.shortest} characters on; so is {known.usual:.0%} of held-out text."
    )
    return judges, [f"Texts are looked at with {eyes.description}.", copied]


def _improvable(objectives: Sequence[Objective]) -> None:
    """Refuse statistics of texts that are no goals."""
    for objective in objectives:
        metric = TEXT_METRICS.get(objective.name)
        if metric is not None and not metric.goal:
            gaps = [other for other in TEXT_METRICS if other.endswith("_gap")]
            raise SettingsError(
                f"{metric.label} ({objective.name}) is best where human text has it, neither least nor greatest; improve "
                f"{', '.join(gaps[:-1])} or {gaps[-1]} instead, or bound it with --constraint."
            )


def _judgeable(goals: Goals, judged: _Judged) -> None:
    """Refuse goals that the judges turned out not to be able to measure."""
    for name in goals.names:
        metric = TEXT_METRICS.get(name)
        if metric is not None and name not in judged.floor:
            why = (
                " ".join(judged.notes) if not judged.judges else "Held-out text shows none of it, as the judge sees it."
            )
            raise SettingsError(f"{metric.label} ({name}) cannot be measured on this text. {why}")


def _costly(name: str) -> bool:
    metric = DESCRIBED.get(name)
    return isinstance(metric, Metric | TextMetric) and metric.costly
