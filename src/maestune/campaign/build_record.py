"""From a campaign's store to the frozen record that everything people see is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maestune.campaign import verdict
from maestune.campaign.decode import require_facts
from maestune.campaign.reader import Stored, read_campaign
from maestune.campaign.record import Finalist, Record, Terms, TrainingMode
from maestune.data.prompts import Prompts
from maestune.execution.jobs import score_values
from maestune.search.rungs import ranking, rung_losses, violation
from maestune.space import Space
from maestune.types import Constraint, History, Trial, TrialState


def read_record(folder: Path) -> Record:
    """The record of a campaign's folder; raises StoreError where there is none."""
    return record_of(read_campaign(folder), seconds=0.0)


def record_of(store: Stored, seconds: float) -> Record:
    """The record of a stored campaign; `seconds` is the wall time so far (what the trials say, where that is more)."""
    facts = store.facts
    require_facts(facts)
    done = bool(facts.get("done", False))
    trials = store.trials
    failure = verdict.failures(score_values(facts["failure"]), trials, store.objectives)
    limits = {name: (low, high) for name, (low, high) in facts.get("limits", {}).items()}
    found = verdict.finalists(trials, failure, limits)
    constraints = constraints_of(store)
    best = verdict.winner(found, store.objectives[0], constraints)
    verdicts = []
    if best is not None:
        verdicts = [verdict.verdict(found, best, o, trials, failure, constraints, limits) for o in store.objectives]
    return Record(
        folder=store.folder,
        model=facts["model"],
        recipe_name=facts["recipe_name"],
        data_text=facts["data_text"],
        strategy=facts["settings"]["strategy"],
        budget_text=facts["budget_text"],
        seed=facts["settings"]["seed"],
        space=Space.from_dict(facts["space"]),
        objectives=store.objectives,
        rungs=tuple(facts["rungs"]),
        trials=trials,
        finalists=found,
        # What is recommended is what the verdict is about; until there is one, the search's best. A recipe alone is the best.
        best=_best(store, best if any(verdicts) else next(iter(found), None) if done else None),
        verdicts=tuple(v for v in verdicts if v is not None),
        floor=score_values(facts["floor"]),
        seconds=facts["seconds"] if done else max([seconds, *(t.clock_seconds for t in trials)]),
        environment=facts["environment"],
        citations=tuple(facts["citations"]),
        notes=tuple(facts["notes"]),
        done=done,
        prompts=Prompts.from_dict(facts["asking"]).rows if facts["conditional"] else (),
        class_names=tuple(facts["class_names"]),
        real_classes=tuple(facts["real_classes"]),
        training_modes=_training_modes(facts.get("groups", {}).values()),
        constraints=constraints,
        terms={stage: Terms(**told) for stage, told in facts.get("terms", {}).items()},
        search_floor=score_values(facts.get("search_floor", {})),
        id=facts.get("id", ""),
    )


def constraints_of(store: Stored) -> tuple[Constraint, ...]:
    """The bounds that the campaign keeps to."""
    return tuple(Constraint(name, sign, bound) for name, sign, bound in store.facts.get("constraints", []))


def history_of(store: Stored) -> History:
    """What a strategy may know: the search trials."""
    trials = tuple(t for t in store.trials if t.stage == "search")
    return History(trials, store.objectives, tuple(store.facts["rungs"]), constraints_of(store))


def ranked(history: History) -> list[Trial]:
    """Search trials with scores, best first: the longest trained first, then by bounds and scores there."""
    usable = [t for t in history.trials if t.rungs and not t.state.failed]
    by_step: dict[int, list[Trial]] = {}
    for trial in usable:
        by_step.setdefault(trial.step, []).append(trial)
    order: list[Trial] = []
    for step in sorted(by_step, reverse=True):
        trials = by_step[step]
        losses = np.asarray([rung_losses(t.rungs[-1], history.objectives) for t in trials])
        broken = np.asarray([violation(t.rungs[-1].scores, history.constraints) for t in trials])
        order += [trials[i] for i in ranking(losses, broken)[0]]
    return order


def _training_modes(groups: Iterable[Mapping[str, Any]]) -> tuple[TrainingMode, ...]:
    """The ways in which groups were trained, from what is recorded of each group once."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for group in groups:
        found.setdefault(group["manner"], []).append(group)
    return tuple(
        TrainingMode(
            name,
            groups=len(same),
            trials=sum(group["trials"] for group in same),
            members=max(group["members"] for group in same),
            reason=same[-1]["reason"],
        )
        for name, same in found.items()
    )


def _best(store: Stored, winner: Finalist | None) -> int | None:
    if winner is not None:
        return winner.trial
    order = ranked(history_of(store))
    complete = [t for t in order if t.state == TrialState.COMPLETE]
    return (complete or order or [None])[0].number if order else None  # type: ignore[union-attr]
