"""From settings to everything a campaign works with: data, space, recipe, goals, and what every job shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maestune.campaign.evaluators import Say, check_measurable, costly, floor_generator, prepare_evaluators
from maestune.campaign.goals import Goals, goals_of
from maestune.campaign.settings import Settings
from maestune.campaign.start import located, start_of
from maestune.data import Data, ImageData, load_data
from maestune.data.load import resolved_source
from maestune.errors import SettingsError
from maestune.execution.jobs import Setup, Split, score_dict
from maestune.execution.model import UserTraining, built_in_family, is_user_model, spec_for
from maestune.families.base import Family
from maestune.families.lm import LM
from maestune.families.lm.family import DECODING, decoding_freed
from maestune.quality import DESCRIBED, resolved_features, resolved_vqa, unload
from maestune.quality.text import TEXT_METRICS
from maestune.recipes.writing import toml_text
from maestune.space import Choice, Float, Param, Space, rescale_rates, with_current_priors
from maestune.space.rescaling import CITATION as LENGTH_CITATION
from maestune.types import Config, Objective

DEFAULT_STEPS = 1000  # of a full training, where neither settings nor model say


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
    limits: Mapping[str, tuple[float, float]]
    notes: tuple[str, ...]
    citations: tuple[str, ...]
    model_steps: int | None  # what the model says a full training is
    shortest: float  # share of it that a short budget may make it

    def terms(self, screen: int | None) -> dict[str, dict[str, str | int]]:
        """On what terms scores are measured, by stage; see `Terms`. `screen`: where it is not None, on how many samples first."""
        if self.data is None:
            return {}
        stages: tuple[tuple[str, Split, int | None], ...] = (
            *((("screen", "search", screen),) if screen is not None else ()),
            ("search", "search", None),
            ("finals", "report", None),
        )
        return {
            stage: {"samples": n or evaluator.n_samples, "reference": f"{self.data.fingerprint}, {split} part"}
            for stage, split, n in stages
            if (evaluator := self.setup.evaluators.get(split)) is not None
        }

    def drawn_from(self, steps: int) -> tuple[Space, tuple[str, ...], tuple[str, ...]]:
        """The space that configs are drawn from in full trainings of so many steps, notes on what differs, and their sources.

        Its ranges are those of the `space`, whose centre is the recipe.
        """
        current, since = with_current_priors(self.space)
        found, moved = rescale_rates(current, steps)
        citations = [p.prior.citation for p in current if p.prior is not None and p.prior.citation]
        return found, (*since, *moved), (*citations, *((LENGTH_CITATION,) if moved else ()))

    def identity(self, settings: Settings) -> dict[str, str]:
        """What must not change within a campaign, in words."""
        return {
            "model": _located(settings.model),
            "data": self.data.fingerprint if self.data else "none",
            "objectives": ", ".join(map(objective_text, self.goals.objectives)),
            **({"constraints": ", ".join(c.text for c in self.goals.constraints)} if self.goals.constraints else {}),
            "seed": str(settings.seed),
            "strategy": settings.strategy,
            "samples": ", ".join(f"{t['samples']} in the {stage}" for stage, t in self.terms(None).items()) or "none",
            **({"features": self.setup.evaluators["search"].fingerprint} if self.setup.evaluators else {}),
            "rungs": f"{settings.rungs} of eta {settings.eta}",
            **{f"parameter {param.name}": _in_words(param) for param in self.space},
        }

    def resolved(self, settings: Settings, steps: int, screen: int | None = None) -> str:
        """The campaign as TOML with nothing left open; `maestune tune` on it starts the same campaign elsewhere.

        `screen`: on how many samples trainings are evaluated that go on, where these are fewer than at their end.
        """
        values = settings.model_dump(mode="json", exclude_none=True, exclude={"set", "range", "out"})
        if settings.recipe is not None:
            values["recipe"] = located(settings.recipe)
        if settings.features is not None:
            values["features"] = resolved_features(settings.features)
        if settings.vqa is not None:
            values["vqa"] = resolved_vqa(settings.vqa)
        values |= {
            "model": _located(settings.model),
            "objective": [objective_text(o) for o in self.goals.objectives],
            "constraint": [c.text for c in self.goals.constraints],
            "steps": steps,
        }
        if screen is not None:
            values["screen_samples"] = screen
        if self.data is not None:
            assert self.source is not None
            values["data"] = resolved_source(self.source) if isinstance(self.data, ImageData) else located(self.source)
            fields: tuple[tuple[str, Split], ...] = (("samples", "search"), ("report_samples", "report"))
            values |= {
                field: j.n_samples for field, split in fields if (j := self.setup.evaluators.get(split)) is not None
            }
        return toml_text({**values, "space": self.space.to_dict()}) + "\n"


def prepare(settings: Settings, user_model: UserTraining | None, device: str, say: Say) -> Prepared:
    """Load the data, obtain the evaluators, resolve space and objectives. Raises the error of whatever cannot be used."""
    source = settings.data or (user_model.data if user_model else None)
    family = user_model.family if user_model else built_in_family(settings.model)
    data = _data(settings, source, family, say) if source is not None else None
    start = start_of(settings, user_model, family, data)
    for note in start.notes:
        say(note)
    space = start.space
    recipe_config = space.centre()
    conditional = family is not None and data is not None and family.conditional(recipe_config, data.spec)
    goals = goals_of(settings, user_model, family, data, conditional)
    if isinstance(family, LM) and settings.space is None and any(name in TEXT_METRICS for name in goals.names):
        # Where texts decide, it is worth searching how they are drawn.
        space = decoding_freed(space, DECODING.difference(settings.set))
        recipe_config = space.centre()
    _comparable(goals.objectives, space)
    for note in goals.notes:
        say(note)
    notes = [*start.notes, *goals.notes, *(_notes(data, say) if data is not None else ())]
    evaluation = prepare_evaluators(settings, data, family, conditional, device, say)
    check_measurable(goals, evaluation)
    metrics = tuple(evaluation.floor)  # what the evaluators can measure
    objectives = tuple(name for name in goals.names if name in metrics)
    search_floor = evaluation.evaluators["search"].floor(objectives, floor_generator(settings)) if objectives else {}
    notes += evaluation.notes
    failure = dict(evaluation.failure)
    if family is not None and data is not None:
        failure |= {name: [value] * 3 for name, value in family.failure(data.spec).items()}
    unload()  # of a model that was asked about real images: from now on the workers ask
    setup = Setup(
        model=settings.model,
        device=device,
        data=data,
        evaluators=evaluation.evaluators,
        metrics=objectives,  # rungs come every second: there only what decides is measured
        full_metrics=tuple(name for name in metrics if name in objectives or not costly(name)),
        verdict_metrics=metrics,
        objectives=goals.objectives,
    )
    _check_screen(settings, setup)
    citations = list(start.citations)
    citations += [p.prior.citation for p in space if p.prior is not None and p.prior.citation]
    measured = (*metrics, *(family.measures if family else ()))
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
        floor=evaluation.floor,
        search_floor=score_dict(search_floor),
        failure=failure,
        limits=evaluation.limits,
        notes=tuple(notes),
        citations=tuple(dict.fromkeys(citations)),
        model_steps=_model_steps(user_model, family, data),
        shortest=family.shortest if family is not None else 1.0,
    )


def objective_text(objective: Objective) -> str:
    """An objective as it is written on the command line."""
    return f"{objective.name}:{'max' if objective.higher_is_better else 'min'}"


def _located(model: str) -> str:
    """A model's name that holds from every folder: the file of an own training by its whole path."""
    path, colon, function = model.partition(":")
    return f"{Path(path).resolve()}{colon}{function}" if is_user_model(model) else model


def _in_words(param: Param) -> str:
    if isinstance(param, Choice):
        text = f"one of {', '.join(map(str, param.values))}"
    else:
        text = f"{param.low:g}:{param.high:g} {param.scale}"
    if isinstance(param, Float) and param.off is not None:
        text += f" or {param.off:g}"
    if param.prior is not None:
        text += f", around {param.prior.centre} ({param.prior.confidence} confidence)"
        if (since := param.prior.practice) is not None:
            text += f", drawn around {since.centre} ({since.confidence} confidence)"
    if param.when:
        text += f", when {dict(param.when)}"
    return text


def _data(settings: Settings, source: str, family: Family | None, say: Say) -> Data:
    data = load_data(
        source,
        family.modality if family is not None else "image",
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


def _model_steps(user_model: UserTraining | None, family: Family | None, data: Data | None) -> int | None:
    if family is not None:
        return family.full_steps(spec_for(family, data), data.size if data else 0)
    return user_model.full_steps if user_model else None


def _check_screen(settings: Settings, setup: Setup) -> None:
    """Refuse a number of samples for trainings that go on, on which they cannot be evaluated."""
    evaluator, n = setup.evaluators.get("search"), settings.screen_samples
    if n is None or evaluator is None or not setup.metrics:
        return
    min_samples = min(evaluator.min_samples(setup.metrics), evaluator.n_samples)
    if not min_samples <= n <= evaluator.n_samples:
        raise SettingsError(
            f"screen_samples = {n}: {', '.join(setup.metrics)} can be measured on {min_samples:,} … {evaluator.n_samples:,} samples here; give "
            "a number among these, or more --samples."
        )


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
