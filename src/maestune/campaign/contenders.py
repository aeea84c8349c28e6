"""Contenders: the search trials that are worth retraining beside the recipe.

Each trial is compared with the recipe at the newest step that both have reached. Scores of one step have the same number of
samples and the same reference split (fewer samples below the full length, all of them there); scores of different steps do
not, and they say more about the length of the training than about the config.

A trial is hopeless where it is worse than the recipe by more than both intervals: its finals would spend time on a verdict that
is known already. A full training is no merit in itself: a config that beats the recipe at a third of a training may be better,
one that lost to the recipe after all of it is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from maestune.campaign.build_record import ranked
from maestune.search.rungs import rung_losses, violation
from maestune.types import History, Objective, Rung, Trial, TrialState


@dataclass(frozen=True)
class Contender:
    """A search trial that may be better than the recipe.

    `ahead`: better than the recipe at their newest common step, or nothing to compare with; else worse, but within the intervals.
    `within`: its newest scores keep the bounds.
    """

    trial: Trial
    ahead: bool
    within: bool

    @property
    def full(self) -> bool:
        """Whether it was trained in full."""
        return self.trial.state == TrialState.COMPLETE

    @property
    def standing(self) -> tuple[bool, bool, bool]:
        """Equal for contenders of which only the scores say which is better."""
        return self.within, self.ahead, self.full


def contenders(history: History) -> list[Contender]:
    """Trials worth retraining beside the recipe, the best first; none where all are hopeless.

    Those within the bounds; trials outside the bounds only where no other is left.
    """
    recipe = next((t for t in history.trials if t.role == "recipe" and not t.state.failed), None)
    others = [t for t in ranked(history) if t.role != "recipe"]
    found = [c for t in others if (c := _compared(t, recipe, history)) is not None]
    return _in_order([c for c in found if c.within]) or _in_order([c for c in found if not c.within])


def _in_order(found: Sequence[Contender]) -> list[Contender]:
    """Contenders of one kind in the order in which they enter the finals.

    Where a full training has beaten the recipe, only full trainings: nobody knows what the others would have become. Else
    those that were ahead of the recipe when they were stopped, then the full trainings that lost to it by less than the noise.
    """
    full = [c for c in found if c.full]
    if any(c.ahead for c in full):
        return full
    return [c for c in found if c.ahead] + full or list(found)


def _compared(trial: Trial, recipe: Trial | None, history: History) -> Contender | None:
    """A trial beside the recipe; None where it is hopeless. Bounds come before objectives, as in `search.rungs.ranking`."""
    within = not violation(trial.rungs[-1].scores, history.constraints)
    pair = None if recipe is None else _newest_common(trial, recipe)
    if pair is None:
        return Contender(trial, ahead=True, within=within)
    ours, recipes = pair
    outside, recipe_outside = (violation(rung.scores, history.constraints) for rung in pair)
    worse = all(_clearly_worse(ours, recipes, objective) for objective in history.objectives)
    if worse and outside >= recipe_outside:
        return None
    losses = zip(rung_losses(ours, history.objectives), rung_losses(recipes, history.objectives), strict=True)
    ahead = outside < recipe_outside or (outside == recipe_outside and any(a < b for a, b in losses))
    return Contender(trial, ahead, within)


def _newest_common(trial: Trial, recipe: Trial) -> tuple[Rung, Rung] | None:
    """The rungs of both at the newest step that both have reached; None where there is none."""
    reached = {rung.step: rung for rung in recipe.rungs}
    return next(((rung, reached[rung.step]) for rung in reversed(trial.rungs) if rung.step in reached), None)


def _clearly_worse(ours: Rung, recipes: Rung, objective: Objective) -> bool:
    """Whether the interval of a score lies on the wrong side of the recipe's, without touching it.

    A score that is missing is worse than any; where the recipe's is missing, nothing is worse.
    """
    return _losses(ours, objective)[0] > _losses(recipes, objective)[1]


def _losses(rung: Rung, objective: Objective) -> tuple[float, float]:
    """The least and the largest loss in a score's interval; of no width where scores have no intervals."""
    score = rung.scores.get(objective.name)
    if score is None or not math.isfinite(score.value):
        return math.inf, math.inf
    ends = [score.value, *(end for end in (score.low, score.high) if not math.isnan(end))]
    return min(map(objective.loss, ends)), max(map(objective.loss, ends))
