"""From settings to everything a campaign works with: data, space, recipe, judges, and what every job shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from maestune.campaign.seeds import derive_seed
from maestune.campaign.settings import Settings, parse_objective
from maestune.campaign.start import located, start_of
from maestune.data import Data, ImageData, load_data
from maestune.data.load import resolved_source
from maestune.errors import SettingsError, did_you_mean
from maestune.execution.jobs import Setup, Split, score_dict
from maestune.execution.model import OwnTraining, family, is_own, spec_for
from maestune.families.base import Family
from maestune.quality import DESCRIBED, Judge, available_metrics, default_n_samples, prepare_extractor, self_test
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
    objectives: tuple[Objective, ...]
    setup: Setup
    conditional: bool  # whether the recipe generates what it is asked for
    floor: Mapping[str, list[float]]
    failure: Mapping[str, list[float]]
    notes: tuple[str, ...]
    citations: tuple[str, ...]
    model_steps: int | None  # what the model says a full training is
    shortest: float  # share of it that a short budget may make it

    def identity(self, settings: Settings) -> dict[str, str]:
        """What must not change within a campaign, in words."""
        return {
            "model": _located(settings.model),
            "data": self.data.fingerprint if self.data else "none",
            "objectives": ", ".join(map(objective_text, self.objectives)),
            "seed": str(settings.seed),
            "strategy": settings.strategy,
            "samples": str(self.setup.n_samples),
            "rungs": f"{settings.rungs} of eta {settings.eta}",
            **{f"parameter {param.name}": _in_words(param) for param in self.space},
        }

    def resolved(self, settings: Settings, steps: int) -> str:
        """The campaign as TOML with nothing left open; `maestune tune` on it starts the same campaign elsewhere."""
        values = settings.model_dump(mode="json", exclude_none=True, exclude={"set", "range", "out"})
        if settings.recipe is not None:
            values["recipe"] = located(settings.recipe)
        values |= {
            "model": _located(settings.model),
            "objective": [objective_text(o) for o in self.objectives],
            "steps": steps,
        }
        if self.data is not None:
            assert self.source is not None
            values["data"] = resolved_source(self.source) if isinstance(self.data, ImageData) else located(self.source)
            if self.setup.n_samples:
                values["samples"] = self.setup.n_samples
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
    objectives = _objectives(settings, own, made, data, conditional)
    notes = [*start.notes, *(_notes(data, say) if data is not None else ())]
    judges, floor, failure = {}, {}, {}
    if isinstance(data, ImageData):
        judges, floor, failure, judged = _judges(settings, data, conditional, say)
        notes += judged
    if made is not None and data is not None:
        failure |= {name: [value] * 3 for name, value in made.failure(data.spec).items()}
    full_metrics = tuple(floor)  # what the judge can measure
    asked = [o.name for o in objectives if o.name in full_metrics]
    setup = Setup(
        model=settings.model,
        device=device,
        data=data,
        judges=judges,
        metrics=tuple(asked),  # rungs come every second: there only what decides is measured
        full_metrics=full_metrics,
        objectives=objectives,
        n_samples=judges["search"].n_samples if judges else 0,
    )
    citations = list(start.citations)
    citations += [p.prior.citation for p in space if p.prior is not None and p.prior.citation]
    measured = (*full_metrics, *(made.measures if made else ()))
    citations += [DESCRIBED[name].citation for name in measured if name in DESCRIBED]
    return Prepared(
        source=source,
        data=data,
        space=space,
        recipe=recipe_config,
        recipe_name=start.name,
        objectives=objectives,
        setup=setup,
        conditional=conditional,
        floor=floor,
        failure=failure,
        notes=tuple(notes),
        citations=tuple(dict.fromkeys(citations)),
        model_steps=_model_steps(own, made, data),
        shortest=made.shortest if made is not None else 1.0,
    )


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


def _objectives(
    settings: Settings, own: OwnTraining | None, made: Family | None, data: Data | None, conditional: bool
) -> tuple[Objective, ...]:
    usual = made.objectives if made is not None else ("fd",) if data is not None else ()
    texts = settings.objective or (own.objectives if own else ()) or usual
    if not texts:
        raise SettingsError(
            "Nothing says what is better: the training has no data to be judged by and names no objective. "
            'Give --data, or write objective = "my_score:max" beside the training.'
        )
    known = available_metrics(data, conditional=conditional) if isinstance(data, ImageData) else ()
    known += made.measures if made is not None else ()
    directions = {name: DESCRIBED[name].higher_is_better for name in known if name in DESCRIBED}
    objectives = tuple(parse_objective(text, directions) for text in texts)
    for objective in objectives:
        if made is not None and objective.name not in known:
            raise SettingsError(f"Unknown objective {objective.name!r}. {did_you_mean(objective.name, known)}")
    if len({o.name for o in objectives}) < len(objectives):
        raise SettingsError(f"An objective was given twice: {', '.join(texts)}.")
    return objectives


def _judges(
    settings: Settings, data: ImageData, conditional: bool, say: Say
) -> tuple[dict[Split, Judge], dict[str, list[float]], dict[str, list[float]], list[str]]:
    extractor = prepare_extractor(data, progress=say)
    test = self_test(extractor, data)
    if not test.passed:
        say(f"warning: {test.sentence}")
    notes = [extractor.description, test.sentence]
    n = settings.samples or default_n_samples(data)
    judges: dict[Split, Judge] = {
        "search": Judge.prepare(data, "search", extractor, n),
        "report": Judge.prepare(data, "report", extractor, n),
    }
    metrics = available_metrics(data, extractor, conditional=conditional)
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "floor"))
    if judges["report"].floor_note:
        notes.append(judges["report"].floor_note)
    floor = judges["report"].floor(metrics, generator)
    return judges, score_dict(floor), score_dict(judges["report"].failure(metrics)), notes
