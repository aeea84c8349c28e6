"""What a campaign is to reach: scores to improve and bounds to keep, each checked against what can be measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from maestune.campaign.presets import FLOOR_OF_VARIETY, expanded, presets_for
from maestune.campaign.settings import Settings, parse_constraint, parse_objective
from maestune.data import Data, ImageData, TextData
from maestune.errors import SettingsError, did_you_mean
from maestune.execution.model import UserTraining
from maestune.families.base import Family
from maestune.families.lm import LM
from maestune.quality import DESCRIBED, available_metrics
from maestune.quality.text import TEXT_METRICS
from maestune.types import Constraint, Objective

# What tells one right picture of each class, again and again, from real images; the classes found and their balance do not.
SEE_VARIETY = (
    *("asked_diversity", "coverage", "recall", "clipped_coverage", "vendi", "rke", "bins_js", "ndb"),
    *("fd", "fd_second", "fd_inf", "kid", "mind", "c2st", "fld", "spatial_fd", "cas"),
)


@dataclass(frozen=True)
class Goals:
    """What is improved, within which bounds; `notes`: what was added to what was asked for, in sentences."""

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that decide: what is measured at every rung."""
        return tuple(dict.fromkeys(goal.name for goal in (*self.objectives, *self.constraints)))


def goals_of(
    settings: Settings, user_model: UserTraining | None, family: Family | None, data: Data | None, conditional: bool
) -> Goals:
    """Objectives and bounds of the settings, else the usual ones of the model. Raises SettingsError for what cannot be measured."""
    usual = family.objectives if family is not None else ("fd",) if data is not None else ()
    texts = settings.objective or (user_model.objectives if user_model else ()) or usual
    if not texts:
        raise SettingsError(
            "Nothing says what is better: the training has no data to be evaluated by and names no objective. "
            'Give --data, or write objective = "my_score:max" beside the training.'
        )
    modality = family.modality if family is not None else "image"
    texts, brought = expanded(texts, modality)
    known = measurable(data, conditional, family, answers=settings.vqa is not None)
    directions = {name: DESCRIBED[name].higher_is_better for name in known if name in DESCRIBED}
    objectives = tuple(parse_objective(text, directions) for text in texts)
    constraints = _constraints(settings.constraint, brought)
    if family is not None:  # a training of the user's own may tell scores that nobody knows beforehand
        _check([o.name for o in objectives], "objective", [*known, *presets_for(modality)], known)
        _check([c.name for c in constraints], "score in a constraint:", known, known)
    _improvable(objectives)
    if len({o.name for o in objectives}) < len(objectives):
        raise SettingsError(f"An objective was given twice: {', '.join(texts)}.")
    floor, notes = _floor_of_variety(objectives, constraints, known)
    return Goals(objectives, _constraints(settings.constraint, (*brought, *floor)), notes)


def measurable(data: Data | None, conditional: bool, family: Family | None, answers: bool = False) -> tuple[str, ...]:
    """Names of the scores that evaluator and family may be able to measure on these data; `answers`: a model is asked about samples.

    What the extractor knows is not known yet: `check_measurable` refuses what then turns out to be missing.
    """
    measured: tuple[str, ...] = ()
    if isinstance(data, ImageData):
        captions = conditional and data.vocabulary is not None
        measured = available_metrics(data, conditional=conditional, second=True, captions=captions, answers=answers)
    elif isinstance(data, TextData) and isinstance(family, LM):
        measured = tuple(TEXT_METRICS)
    return (*measured, *(family.measures if family is not None else ()))


def _check(names: Sequence[str], what: str, listed: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(f"Unknown {what} {name!r}. {did_you_mean(name, listed)}")


def _improvable(objectives: Sequence[Objective]) -> None:
    """Refuse what is best where real data have it: improving it without end leads away from them."""
    for objective in objectives:
        described = DESCRIBED.get(objective.name)
        if described is not None and not described.goal:
            raise SettingsError(
                f"{described.label} ({objective.name}) is best where real data have it, neither least nor greatest; bound it "
                f'with --constraint "{objective.name}>=…" (or <=), and improve another score.'
            )


def _floor_of_variety(
    objectives: Sequence[Objective], constraints: Sequence[Constraint], known: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The bound that comes with scores of adherence, since the same right picture again and again is best, and a note on it.

    None where a score that sees variety is improved or kept up beside them. Raises SettingsError where none can be measured.
    """
    described = [DESCRIBED[o.name] for o in objectives if o.name in DESCRIBED]
    blind = [m for m in described if m.axis == "adherence" and m.name not in SEE_VARIETY]
    beside = [(o.name, o.higher_is_better) for o in objectives] + [(c.name, c.at_least) for c in constraints]
    if not blind or any(name in SEE_VARIETY and DESCRIBED[name].higher_is_better == up for name, up in beside):
        return (), ()
    what = f"{blind[0].label} ({blind[0].name}) is best for the same right picture again and again"
    if parse_constraint(FLOOR_OF_VARIETY).name not in known:
        raise SettingsError(
            f"{what}, and nothing that sees variety is measured beside it. Give --data to score samples against, or a floor under a "
            f'score of variety that the training itself tells (--constraint "{FLOOR_OF_VARIETY}"), or improve fd as well.'
        )
    note = (
        f"{what}: {FLOOR_OF_VARIETY} is kept beside it. A bound of your own on a score that sees variety (--constraint "
        '"recall>=0.3") takes its place.'
    )
    return (FLOOR_OF_VARIETY,), (note,)


def _constraints(given: Sequence[str], brought: Sequence[str]) -> tuple[Constraint, ...]:
    """The bounds: a person's own before those that objectives bring for the same side of the same score."""
    user_model = [parse_constraint(text) for text in given]
    for i, one in enumerate(user_model):
        for other in user_model[:i]:
            if one.name == other.name and one.at_least == other.at_least:
                raise SettingsError(
                    f"Two bounds on the same side of {one.name}: {other.text} and {one.text}; keep one."
                )
    taken = {(c.name, c.at_least) for c in user_model}
    found = (*user_model, *(c for c in map(parse_constraint, brought) if (c.name, c.at_least) not in taken))
    for low in (c for c in found if c.at_least):
        for high in (c for c in found if c.name == low.name and not c.at_least):
            strict = low.sign == ">" or high.sign == "<"
            if low.bound > high.bound or (low.bound == high.bound and strict):
                raise SettingsError(f"No value keeps both {low.text} and {high.text}.")
    return found
