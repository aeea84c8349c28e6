"""The campaign in a sentence: what was found, what changed most, what it cost, and which bounds are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from maestune.campaign.record import Record, Verdict
from maestune.report import formats, labels
from maestune.report.bounds import BoundRow, outside_text
from maestune.report.changes import Change, changes_between
from maestune.report.comparing import best_trial, compared, recipe_trial, within
from maestune.report.trial_views import state_counts
from maestune.types import Trial

CHANGES_TOLD = 3  # in the sentence of the verdict
SEEDS_LISTED = 3  # so few seeds are listed one by one


@dataclass(frozen=True)
class VerdictView:
    """The campaign in a sentence. `decision` is that of the verdict, or "" (no verdict yet)."""

    decision: str
    headline: str
    finding: str
    changed: str
    cost: str
    changes: tuple[Change, ...]
    use: str = ""  # which configuration is recommended, and why

    @property
    def text(self) -> str:
        """The whole sentence."""
        first = "" if self.decision else f"{self.headline}."
        return " ".join(part for part in (first, self.finding, self.use, self.changed, self.cost) if part)


def verdict_view(record: Record, importance: Mapping[str, float] | None = None) -> VerdictView:
    """The campaign in a sentence: what was found, what changed most, what it cost.

    `importance` (parameter → share) orders the changes; without it they stand by size.
    """
    recipe, best = recipe_trial(record), best_trial(record)
    changes = ()
    if recipe is not None and best is not None:
        changes = changes_between(record.space.params, recipe.config, best.config, importance or {})
    told = changes[:CHANGES_TOLD]
    changed = f"What changed most: {', '.join(c.text for c in told)}." if told else ""
    cost = (
        f"Cost: {formats.duration(record.seconds)}, {formats.count(len(record.search_trials), 'configuration')}, "
        f"{formats.number(record.full_trainings)} full trainings."
    )
    if record.nothing_better:
        return VerdictView("", "Nothing better found", _nothing_better(record), "", cost, ())
    if not record.verdicts:
        headline = "No verdict" if record.done else "No verdict yet"
        return VerdictView("", headline, _finding_so_far(record, recipe, best), changed, cost, changes)
    verdict = record.verdicts[0]
    told = finding(verdict, record.recipe_name)
    if not record.done:
        return VerdictView("", f"So far {_headline(verdict)}", told, changed, cost, changes)
    return VerdictView(verdict.decision, _headline(verdict), told, changed, cost, changes, _use(record))


def _use(record: Record) -> str:
    """Which configuration is recommended, and why."""
    found = record.recommended
    if found is None:
        return ""
    return f"Recommended: {'the recipe' if found.role == 'recipe' else f'trial {found.trial}'}; {found.reason}."


def finding(verdict: Verdict, recipe_name: str) -> str:
    """What one verdict says, in a sentence."""
    name = labels.sentence_case(labels.metric_name(verdict.objective.name))
    values = f"{name} {formats.number(verdict.recipe.value)} → {formats.number(verdict.best.value)}"
    relative = math.isfinite(verdict.relative)
    numbers = (verdict.relative, verdict.relative_low, verdict.relative_high)
    if not relative:
        numbers = (verdict.difference, verdict.low, verdict.high)
    mean, low, high = map(formats.percent if relative else formats.signed, numbers)
    unit = " %" if relative else ""
    sure = math.isfinite(numbers[1]) and math.isfinite(numbers[2])
    difference = f"{mean}{unit}, 95 % interval {low} … {high}{unit}" if sure else f"{mean}{unit}"
    meaning = {
        "better": f"better than {recipe_name}.",
        "worse": f"worse than {recipe_name}, so keep that.",
        "inconclusive": "inconclusive, because the interval includes zero; a larger budget can tell."
        if sure
        else "inconclusive, because so few seeds give no interval; a larger budget can tell.",
    }
    if verdict.outside:
        meaning["infeasible"] = outside_text(verdict, recipe_name)
    elif verdict.recipe_outside:
        meaning["worse"] = f"worse than {recipe_name}, which breaks the bounds that this one keeps."
    seeds = formats.count(verdict.seeds, "paired seed")
    if verdict.seeds <= SEEDS_LISTED:
        listed = ", ".join(f"{formats.number(r)} → {formats.number(b)}" for r, b in verdict.pairs)
        seeds = f"{seeds}: {listed}" if listed else seeds
    return f"{values} ({difference}, {seeds}): {meaning[verdict.decision]}"


def _headline(verdict: Verdict) -> str:
    name = labels.metric_name(verdict.objective.name)
    if verdict.outside:
        return "Nothing within the bounds" if verdict.recipe_outside else "Nothing better within the bounds"
    if verdict.decision == "inconclusive":
        return f"No certain difference in {name}"
    if verdict.decision == "worse" and not verdict.recipe_outside:
        return "Nothing better than the recipe"
    word = ("higher" if verdict.difference > 0 else "lower") if verdict.difference else "different"
    if math.isfinite(verdict.relative):
        # Without a sign: the word says the direction.
        return f"{formats.percent(abs(verdict.relative)).removeprefix('+')} % {word} {name}"
    return f"{labels.sentence_case(name)} {word} by {formats.number(abs(verdict.difference), 2)}"


def _nothing_better(record: Record) -> str:
    """The recipe's own score, and how much of the search ran to find nothing better."""
    metric = record.objectives[0].name
    score = record.finalists[0].scores.get(metric)
    value = "" if score is None else f" has {labels.metric_name(metric)} {formats.score(score)}"
    seeds = formats.count(len(record.finalists[0].runs), "fresh seed")
    trained = sum(t.step for t in record.search_trials) / record.rungs[-1]
    return (
        f"The starting recipe{value} on {seeds} and stays the configuration to use. The search trained "
        f"{formats.count(len(record.search_trials), 'configuration')}, {formats.number(trained)} full trainings, of the budget "
        f"{record.budget_text}: none was better at equal steps, or worse by no more than the intervals."
    )


def _finding_so_far(record: Record, recipe: Trial | None, best: Trial | None) -> str:
    metric = record.objectives[0].name
    name = labels.metric_name(metric)
    best_score = None if best is None else best.score(metric)
    if best is None or best_score is None:
        states = ", ".join(f"{n} {state}" for state, n in state_counts(record).items())
        return f"No trial has a score so far{f' ({states})' if states else ''}."
    text = (
        f"The best so far is trial {best.number} with {name} {formats.score(best_score)} "
        f"after {formats.count(best.step, 'step')}{'' if within(record, best) else ', outside the bounds'}"
    )
    recipe_score = None if recipe is None else recipe.score(metric)
    if recipe is None or recipe_score is None:
        return f"{text}; the starting recipe has no score so far."
    if recipe.number == best.number:
        return f"{text}; it is the starting recipe."
    return f"{text}; the starting recipe has {formats.score(recipe_score)} after {formats.count(recipe.step, 'step')}."


def bounds_view(record: Record) -> tuple[BoundRow, ...]:
    """The bounds with what recipe and best score there, on equal terms."""
    pair = compared(record)
    return tuple(BoundRow(c, pair.recipe.get(c.name), pair.best.get(c.name)) for c in record.constraints)
