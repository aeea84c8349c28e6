"""A campaign as it stands on disk, read once into frozen values: what report, terminal, tables and --json look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from maestune.space import Space
from maestune.types import Config, Constraint, Objective, Score, Trial


@dataclass(frozen=True)
class Finalist:
    """A config retrained on fresh seeds. `scores` are means over its seeds, with t-intervals, on the report split."""

    role: str  # "recipe" or "candidate"
    trial: int  # the search trial it comes from
    config: Config
    runs: tuple[int, ...]  # numbers of the final trials, in the order of the seeds
    scores: Mapping[str, Score]
    seconds: float  # mean seconds of one full training
    classes: tuple[float, ...] = ()  # mean share of the samples in each class; empty where there are no classes


@dataclass(frozen=True)
class Verdict:
    """Best against recipe on one objective, paired over fresh seeds.

    `difference` = best - recipe in the objective's unit, with its interval; `relative` the same as a share of the
    recipe's value (-0.62 = 62 % smaller), NaN where there is no such share with an interval. `pairs`: the scores of recipe and best,
    seed by seed. `decision` is "better", "worse", "inconclusive", or "infeasible" where the best
    breaks a bound: then it is no better, whatever the difference. `outside`, `recipe_outside`: by how much their means
    over the seeds break the bounds in all (shares of the bounds; 0: kept); `breaks`: which bounds the best breaks, and
    where it is.
    """

    objective: Objective
    recipe: Score
    best: Score
    difference: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    decision: str
    seeds: int
    outside: float = 0.0
    recipe_outside: float = 0.0
    breaks: tuple[tuple[Constraint, Score | None], ...] = ()
    pairs: tuple[tuple[float, float], ...] = ()

    @property
    def keep_recipe(self) -> bool:
        """Whether the recipe is to be used: where it is nearer to the bounds, or as near and the best has no better mean."""
        if self.outside != self.recipe_outside:
            return self.recipe_outside < self.outside
        return not self.objective.loss(self.best.value) < self.objective.loss(self.recipe.value)


@dataclass(frozen=True)
class Recommendation:
    """The configuration to use: that of a search `trial`, whose `role` is "recipe" or "best", and the reason in a sentence."""

    trial: int
    role: Literal["recipe", "best"]
    reason: str


@dataclass(frozen=True)
class Terms:
    """On what terms scores were measured; only scores of equal terms may be compared.

    `samples`: of how many samples; `reference`: the fingerprint of the real data they were held against, and which part of
    them that is.
    """

    samples: int
    reference: str


@dataclass(frozen=True)
class TrainingMode:
    """How groups of trials were trained: `name` is "serial", "fused" or "compiled".

    `groups` of together `trials` segments, at most `members` at a time; `reason`: why, for the newest of them.
    """

    name: str
    groups: int
    trials: int
    members: int
    reason: str


@dataclass(frozen=True)
class Record:
    """Everything a campaign left in its folder, as far as it has come.

    Layout: `campaign.toml` (resolved settings), `study.db` (Optuna), `trials/NNNN/events.jsonl`,
    `trials/NNNN/samples-SSSSSSSS.png` (8×8 grid of the same 64 latents), `copied-SSSSSSSS.json` beside them in the finals,
    `real.png`, `best.toml`, `recipe.toml`, `summary.json`, `report.html`.
    """

    folder: Path
    model: str  # "gan", or path:function of the user's own training
    data_text: str  # one line describing the data
    strategy: str
    budget_text: str
    seed: int
    space: Space
    objectives: tuple[Objective, ...]
    rungs: tuple[int, ...]
    trials: tuple[Trial, ...]  # search and finals, in order of number
    finalists: tuple[Finalist, ...]  # recipe first; empty until the finals are done
    best: int | None  # number of the best search trial (the winner of the finals once they are done)
    verdicts: tuple[Verdict, ...]  # one an objective
    floor: Mapping[str, Score]  # real against real on the terms of the finals: what a perfect model would score
    seconds: float  # wall time spent, over all resumed runs
    environment: Mapping[str, str]
    citations: tuple[str, ...]
    notes: tuple[str, ...]  # things worth telling: skipped files, dead workers, extractor self-test
    done: bool = False  # the finals are over
    recipe_name: str = "the starting configuration"
    training_modes: tuple[TrainingMode, ...] = ()  # empty where no two trials could be trained as one
    prompts: tuple[str, ...] = ()  # what each row of a final training's picture was asked for; empty where nothing was
    class_names: tuple[str, ...] = ()  # empty where there are no classes
    real_classes: tuple[
        float, ...
    ] = ()  # share of the report split's images in each, as the evaluator's classifier sees them
    constraints: tuple[Constraint, ...] = ()
    terms: Mapping[str, Terms] = field(default_factory=dict[str, Terms])  # by stage, where an evaluator scores
    search_floor: Mapping[str, Score] = field(default_factory=dict[str, Score])  # the floor on the terms of the search
    id: str = ""  # of the campaign; empty for those begun before campaigns had one

    @property
    def search_trials(self) -> tuple[Trial, ...]:
        """The trials of the search, without the finals."""
        return tuple(t for t in self.trials if t.stage == "search")

    @property
    def recommended(self) -> Recommendation | None:
        """The configuration to use, which no mean over fresh seeds says to be worse than the recipe; None before there is any."""
        if self.best is None:
            return None
        if self.nothing_better:
            return Recommendation(self.best, "recipe", "the search found nothing that may be better")
        if not self.verdicts:
            role = "recipe" if self.trial(self.best).role == "recipe" else "best"
            return Recommendation(self.best, role, "the best of the search so far, not yet evaluated on fresh seeds")
        verdict = self.verdicts[0]
        if not verdict.keep_recipe:
            return Recommendation(self.best, "best", _reason(verdict, "the recipe"))
        recipe = next(f.trial for f in self.finalists if f.role == "recipe")
        return Recommendation(recipe, "recipe", _reason(verdict, f"trial {self.best}"))

    @property
    def nothing_better(self) -> bool:
        """Whether the recipe was the only finalist, since the search found nothing that may be better."""
        return self.done and bool(self.finalists) and all(f.role == "recipe" for f in self.finalists)

    def trial(self, number: int) -> Trial:
        """A trial by its number."""
        return next(t for t in self.trials if t.number == number)

    def trial_folder(self, number: int) -> Path:
        """Where a trial's events, samples and checkpoint lie."""
        return self.folder / "trials" / f"{number:04d}"

    @property
    def full_trainings(self) -> float:
        """Training done so far, in full trainings."""
        return sum(t.step for t in self.trials if t.stage != "sampling") / self.rungs[-1]


def _reason(verdict: Verdict, other: str) -> str:
    """Why one of recipe and best is recommended: bounds first, then the means over fresh seeds."""
    ours, theirs = (verdict.recipe, verdict.best) if verdict.keep_recipe else (verdict.best, verdict.recipe)
    means = (
        f"{verdict.objective.name} {ours.value:.4g} against {theirs.value:.4g} of {other}, means over {verdict.seeds} fresh "
        f"seed{'s' * (verdict.seeds != 1)}"
    )
    if verdict.outside != verdict.recipe_outside:
        return f"nearer to the bounds than {other}, or within them ({means})"
    nearest = "; neither keeps the bounds" if verdict.outside else ""
    if verdict.keep_recipe:
        return f"{means}{nearest}"
    sure = "" if verdict.decision in ("better", "infeasible") else f"; the difference is {verdict.decision}"
    return f"{means}{sure}{nearest}"
