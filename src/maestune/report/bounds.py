"""The bounds of a campaign as people read them: what each asks for, and whether recipe and best keep it."""

from __future__ import annotations

from dataclasses import dataclass

from maestune.campaign.record import Verdict
from maestune.report import formats, labels
from maestune.types import Constraint, Score

_WORDS = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}


@dataclass(frozen=True)
class BoundRow:
    """One bound, and the scores of recipe and best on it; None where there is none so far."""

    constraint: Constraint
    recipe: Score | None
    best: Score | None

    @property
    def text(self) -> str:
        """What is asked for, in words."""
        return bound_text(self.constraint)


def bound_text(constraint: Constraint) -> str:
    """A bound in words.

    >>> bound_text(Constraint("coverage", ">=", 0.4))
    'coverage at least 0.4'
    """
    return f"{labels.metric_name(constraint.name)} {_WORDS[constraint.sign]} {formats.setting(constraint.bound)}"


def kept_text(constraint: Constraint, score: Score | None) -> str:
    """A score on a bound and whether it keeps it.

    >>> kept_text(Constraint("coverage", ">=", 0.4), Score(0.31))
    '0.310: broken'
    """
    if score is None:
        return formats.NOTHING
    return f"{formats.score(score)}: {'kept' if constraint.met(score.value) else 'broken'}"


def outside_text(verdict: Verdict, recipe_name: str) -> str:
    """Why a best that breaks bounds is not better, and what to use instead."""
    told = "; ".join(f"{bound_text(c)}, and it has {formats.score(score)}" for c, score in verdict.breaks)
    if not verdict.recipe_outside:
        return f"not better, because it breaks a bound ({told}) that {recipe_name} keeps, so keep that."
    nearest = f"{recipe_name} is the nearest, so keep that" if verdict.keep_recipe else "this one is the nearest"
    return f"not better, because no configuration was found within the bounds ({told}); {nearest}."
