"""What a record says, as frozen values: pure functions, from which figures, page, terminal and JSON are made alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maestune.campaign.record import Finalist, Manner, Record, Verdict
from maestune.report import formats, labels
from maestune.report.bounds import BoundRow, bound_text, outside_text
from maestune.space import Choice, Float, Param
from maestune.types import Config, Score, Trial, TrialState, Value

# Differences between two configs that are smaller than this share of a parameter's range are not worth a word.
NEGLIGIBLE_CHANGE = 0.02
CHANGES_TOLD = 3  # in the sentence of the verdict
_STAGES = {"search": "Scores of the search", "finals": "Scores of the verdict"}


@dataclass(frozen=True)
class Change:
    """A parameter that differs between recipe and best. `size` is in (0, 1] of the parameter's range."""

    name: str
    before: Value | None
    after: Value | None
    size: float
    text: str


@dataclass(frozen=True)
class VerdictView:
    """The campaign in a sentence. `decision` is that of the verdict, or "" (no verdict yet)."""

    decision: str
    headline: str
    finding: str
    changed: str
    cost: str
    changes: tuple[Change, ...]

    @property
    def text(self) -> str:
        """The whole sentence."""
        first = "" if self.decision else f"{self.headline}."
        return " ".join(part for part in (first, self.finding, self.changed, self.cost) if part)


@dataclass(frozen=True)
class ProgressView:
    """Where the campaign stands. `curve`: the objective of every scored search trial, in order of number."""

    states: Mapping[str, int]
    objective: str
    best: Trial | None
    best_score: Score | None
    recipe_score: Score | None
    curve: tuple[float, ...]
    finals_done: int
    finals: int
    full_trainings: float


@dataclass(frozen=True)
class TrialRow:
    """One line of the table of trials; `scores` in the order of the table's metrics, `changes` against the recipe.

    `title` says what is special about it: "recipe", "final of trial 12", or nothing.
    """

    number: int
    stage: str
    title: str
    state: TrialState
    seed: int
    step: int
    until_steps: int
    scores: tuple[Score | None, ...]
    origin: str
    decision: str
    seconds: float
    changes: str
    config: Config


@dataclass(frozen=True)
class TrialsView:
    """The table of trials; `metrics`: the scores that decide, objectives first."""

    metrics: tuple[str, ...]
    rows: tuple[TrialRow, ...]


@dataclass(frozen=True)
class EnvironmentView:
    """What is needed to do it again, and what it cost: (name, text) pairs."""

    settings: tuple[tuple[str, str], ...]
    cost: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


def recipe_trial(record: Record) -> Trial | None:
    """The search trial that trained the starting recipe; None before there is one."""
    return next((t for t in record.search_trials if t.role == "recipe"), None)


def best_trial(record: Record) -> Trial | None:
    """The best search trial so far, the winner of the finals once they are done; None before there is one."""
    return None if record.best is None else record.trial(record.best)


def finalist(record: Record, trial: Trial | None) -> Finalist | None:
    """The finalist that a search trial became, or None."""
    return None if trial is None else next((f for f in record.finalists if f.trial == trial.number), None)


def scores_of(record: Record, trial: Trial | None) -> Mapping[str, Score]:
    """A trial's scores: on held-out images as a finalist where it is one, else the newest of the search."""
    final = finalist(record, trial)
    return newest_scores(trial) if final is None else final.scores


@dataclass(frozen=True)
class Compared:
    """Scores of recipe and best on equal terms, with the floor on the same: `stage` "finals" or "search"."""

    recipe: Mapping[str, Score]
    best: Mapping[str, Score]
    floor: Mapping[str, Score]
    stage: str


def compared(record: Record) -> Compared:
    """Recipe and best as they may be compared: both by the finals where both were in them, else both by the search.

    Never one by the one and one by the other: the number of samples and what they are held against are not the same.
    """
    trials = (recipe_trial(record), best_trial(record))
    finals = [f for t in trials if (f := finalist(record, t)) is not None]
    if finals and len(finals) == sum(t is not None for t in trials):
        recipe, best = (scores_of(record, t) for t in trials)
        return Compared(recipe, best, record.floor, "finals")
    recipe, best = (newest_scores(t) for t in trials)
    return Compared(recipe, best, record.search_floor, "search")


def terms_text(record: Record, stage: str) -> str:
    """On what terms the scores of a stage were measured, where a judge scored them: a sentence after others."""
    if stage not in record.terms:
        return ""
    other = "finals" if stage == "search" else "search"
    told = f" Each score rests on {formats.count(record.terms[stage].samples, 'sample')}"
    if other not in record.terms:
        return f"{told}."
    n = formats.count(record.terms[other].samples, "sample")
    return f"{told}; those of the {other} on {n} and other real data, so the two are not to be compared."


def newest_scores(trial: Trial | None) -> Mapping[str, Score]:
    """The newest score of each metric of a trial itself; none where there is no trial."""
    return {} if trial is None else {name: score for rung in trial.rungs for name, score in rung.scores.items()}


def changes_between(
    params: Sequence[Param], before: Mapping[str, Value], after: Mapping[str, Value], weight: Mapping[str, float]
) -> tuple[Change, ...]:
    """What differs between two configs, the most important first: by weight × size where weights are known, else size.

    A weight is a parameter's importance; negative ones count as zero. Parameters that fell out of use are left out: the
    change that put them out of use is told.
    """
    changes: list[Change] = []
    for param in params:
        old, new = before.get(param.name), after.get(param.name)
        if new is not None and old != new and (size := _change_size(param, old, new)) >= NEGLIGIBLE_CHANGE:
            changes.append(Change(param.name, old, new, size, _change_text(param, old, new)))
    return tuple(sorted(changes, key=lambda c: (-max(weight.get(c.name, 0.0), 0.0) * c.size, -c.size)))


def _change_size(param: Param, old: Value | None, new: Value | None) -> float:
    if old is None or new is None or (isinstance(param, Choice) and not param.ordered):
        return 1.0
    return abs(param.to_unit(new) - param.to_unit(old))


def _change_text(param: Param, old: Value | None, new: Value | None) -> str:
    text = f"{param.name} {formats.setting(old)} → {formats.setting(new)}"
    is_rate = not isinstance(param, Choice) and param.scale == "log" and isinstance(param, Float)
    if is_rate and old and new:
        ratio = float(new) / float(old)
        text += f" (×{formats.number(ratio, 2)})" if ratio >= 1 else f" (÷{formats.number(1 / ratio, 2)})"
    return text


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
    if not record.verdicts:
        headline = "No verdict" if record.done else "No verdict yet"
        return VerdictView("", headline, _finding_so_far(record, recipe, best), changed, cost, changes)
    verdict = record.verdicts[0]
    told = finding(verdict, record.recipe_name)
    if not record.done:
        return VerdictView("", f"So far {_headline(verdict)}", told, changed, cost, changes)
    return VerdictView(verdict.decision, _headline(verdict), told, changed, cost, changes)


def bounds_view(record: Record) -> tuple[BoundRow, ...]:
    """The bounds with what recipe and best score there, on equal terms."""
    pair = compared(record)
    return tuple(BoundRow(c, pair.recipe.get(c.name), pair.best.get(c.name)) for c in record.constraints)


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
    return f"{values} ({difference}, {formats.count(verdict.seeds, 'paired seed')}): {meaning[verdict.decision]}"


def _headline(verdict: Verdict) -> str:
    name = labels.metric_name(verdict.objective.name)
    if verdict.outside:
        return "Nothing within the bounds" if verdict.recipe_outside else "Nothing better within the bounds"
    if verdict.decision == "inconclusive":
        return f"No certain difference in {name}"
    word = ("higher" if verdict.difference > 0 else "lower") if verdict.difference else "different"
    if math.isfinite(verdict.relative):
        # Without a sign: the word says the direction.
        return f"{formats.percent(abs(verdict.relative)).removeprefix('+')} % {word} {name}"
    return f"{labels.sentence_case(name)} {word} by {formats.number(abs(verdict.difference), 2)}"


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


def state_counts(record: Record) -> dict[str, int]:
    """Number of search trials in every state that occurs, in the order of the states."""
    counts = Counter(trial.state for trial in record.search_trials)
    return {str(state): counts[state] for state in TrialState if counts[state]}


def progress_view(record: Record) -> ProgressView:
    """Where the campaign stands."""
    metric = record.objectives[0].name
    best, pair = best_trial(record), compared(record)
    finals = [t for t in record.trials if t.stage == "finals"]
    scores = (t.score(metric) for t in record.search_trials)
    return ProgressView(
        states=state_counts(record),
        objective=metric,
        best=best,
        best_score=pair.best.get(metric),
        recipe_score=pair.recipe.get(metric),
        curve=tuple(s.value for s in scores if s is not None and math.isfinite(s.value)),
        finals_done=sum(t.state.final for t in finals),
        finals=len(finals),
        full_trainings=record.full_trainings,
    )


def trials_view(record: Record, trials: Sequence[Trial] | None = None) -> TrialsView:
    """The given trials, or every one (search and finals), in order of number."""
    recipe = recipe_trial(record)
    chosen = record.trials if trials is None else trials
    return TrialsView(decisive(record), tuple(_row(record, recipe, trial) for trial in chosen))


def decisive(record: Record) -> tuple[str, ...]:
    """The scores that decide: objectives, then those that are only bounded."""
    return tuple(dict.fromkeys([o.name for o in record.objectives] + [c.name for c in record.constraints]))


def within(record: Record, trial: Trial) -> bool:
    """Whether a trial's newest scores keep all bounds."""
    return all((s := trial.score(c.name)) is not None and c.met(s.value) for c in record.constraints)


def _row(record: Record, recipe: Trial | None, trial: Trial) -> TrialRow:
    if recipe is None or trial.role == "recipe":
        changes = ""
    else:
        changes = ", ".join(c.text for c in changes_between(record.space.params, recipe.config, trial.config, {}))
    return TrialRow(
        number=trial.number,
        stage=trial.stage,
        title=_title(trial),
        state=trial.state,
        seed=trial.seed,
        step=trial.step,
        until_steps=trial.until_steps,
        scores=tuple(trial.score(name) for name in decisive(record)),
        origin=trial.reason,
        decision=trial.decision,
        seconds=trial.seconds,
        changes=changes,
        config=trial.config,
    )


def _title(trial: Trial) -> str:
    if trial.stage == "finals":
        return "final of the recipe" if trial.role == "recipe" else f"final of trial {trial.source}"
    return trial.role


def environment_view(record: Record) -> EnvironmentView:
    """What is needed to do it again, and what it cost."""
    settings = (
        ("Model", record.model),
        ("Data", record.data_text),
        ("Objective", ", ".join(f"{labels.metric_name(o.name)} ({labels.direction(o)})" for o in record.objectives)),
        *((("Bounds", ", ".join(map(bound_text, record.constraints))),) if record.constraints else ()),
        *(
            (_STAGES[stage], f"{terms.samples:,} samples against {terms.reference}")
            for stage, terms in record.terms.items()
        ),
        ("Strategy", record.strategy),
        ("Budget", record.budget_text),
        ("Seed", str(record.seed)),
        ("Rungs", ", ".join(f"{r:,}" for r in record.rungs) + " steps"),
        *(("Trained as one" if m.members > 1 else "Trained one by one", _manner(m)) for m in record.manners),
        ("Parameters", f"{len(record.space.varying)} vary of {len(record.space)}"),
        ("Folder", str(record.folder)),
    )
    cost = (
        ("Wall time", formats.duration(record.seconds)),
        ("Worker time", formats.duration(sum(t.seconds for t in record.trials))),
        ("Configurations", f"{len(record.search_trials):,}"),
        ("Final trainings", f"{sum(t.stage == 'finals' for t in record.trials):,}"),
        ("Full trainings", formats.number(record.full_trainings)),
    )
    return EnvironmentView(settings, cost, tuple(record.environment.items()))


def _manner(manner: Manner) -> str:
    groups = formats.count(manner.groups, "group")
    if manner.members == 1:
        return f"{groups} of together {formats.count(manner.trials, 'trial')}: {manner.reason}"
    compiled = ", compiled" if manner.name == "compiled" else ""
    return (
        f"{groups} of together {formats.count(manner.trials, 'trial')}, up to {manner.members} at a time{compiled}; "
        f"the newest: {manner.reason}"
    )


def front(record: Record) -> tuple[Trial, ...]:
    """Search trials that no other beats in every objective, of those within the bounds; empty with a single objective.

    Only trials of the highest rung that any scored trial reached are compared: scores after different steps are not
    alternatives.
    """
    if len(record.objectives) < 2:
        return ()
    scored = [t for t in record.search_trials if not t.state.failed and losses(record, t) is not None]
    highest = max((t.step for t in scored), default=0)
    compared = [(t, losses(record, t) or ()) for t in scored if t.step == highest]
    compared = [pair for pair in compared if within(record, pair[0])] or compared
    return tuple(t for t, own in compared if not any(_dominates(other, own) for _, other in compared))


def losses(record: Record, trial: Trial) -> tuple[float, ...] | None:
    """A trial's newest objectives, turned so that smaller is better; None when any is missing or not finite."""
    found = [(objective, trial.score(objective.name)) for objective in record.objectives]
    values = tuple(o.loss(s.value) for o, s in found if s is not None and math.isfinite(s.value))
    return values if len(values) == len(record.objectives) else None


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
