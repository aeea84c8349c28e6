"""A campaign's folder when it is opened: a new campaign is written down, and an old one must be the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maestune.campaign.budget import Budget
from maestune.campaign.costs import EvaluationPlan
from maestune.campaign.length import Speed, full_steps, measure_speed, plan_evaluation
from maestune.campaign.machine import environment
from maestune.campaign.prepare import Prepared
from maestune.campaign.settings import Settings, parse_timeout
from maestune.campaign.store import CALIBRATION, PREVIOUS, Store
from maestune.campaign.watchdog import Patience
from maestune.data import ImageData
from maestune.data.prompts import Prompts
from maestune.errors import StoreError
from maestune.execution.artifacts import real_picture
from maestune.execution.folder import disk_error
from maestune.execution.inline import Inline
from maestune.execution.processes import Processes
from maestune.folder_files import replace_file
from maestune.quality import AUTO, resolved_features, resolved_vqa
from maestune.recipes.writing import toml_text

CHANGES_TOLD = 8
FIXED = (
    "model",
    "data",
    "objective",
    "constraint",
    "seed",
    "strategy",
    "set",
    "range",
    "rungs",
    "eta",
    "steps",
    "size",
    "recipe",
    "domain",
    "tokens",
    "captions",
    "samples",
    "report_samples",
    "screen_samples",
    "features",
    "vqa",
)
"""Settings that make another campaign."""


def check_leftovers(store: Store) -> None:
    """Raise StoreError where a folder without records holds trials: their checkpoints are another campaign's."""
    trials = store.folder / "trials"
    if store.exists or not trials.is_dir() or not any(trials.iterdir()):
        return
    raise StoreError(
        f"{store.folder} holds trials, but no records of a campaign (study.db is gone or empty); a new campaign would meet the "
        f"checkpoints of the old one. Add --fresh to move what is there to {store.folder / PREVIOUS}-N and begin anew, restore "
        "study.db from a copy, or choose another folder with --out."
    )


def begin(
    store: Store,
    settings: Settings,
    prepared: Prepared,
    executor: Processes | Inline,
    device: str,
    workers: int,
    members: int,
) -> None:
    """Write down a new campaign; of an existing one, check that it is the same, else StoreError says what differs."""
    budget = Budget.parse(settings.budget)
    identity = {**prepared.identity(settings), "trained as one": f"at most {members}"}
    if store.exists:
        old = store.facts["identity"]
        measured = {name: old[name] for name in ("steps", "screening") if name in old}
        given = {} if settings.steps is None else {"steps": str(settings.steps)}
        given |= {} if settings.screen_samples is None else {"screening": _screening(settings.screen_samples)}
        _check_identity(store, {**identity, **measured, **given})
        store.set_facts(budget_text=budget.describe())
        return
    speed = Speed(0.0)
    if budget.kind == "seconds":
        patience = Patience(budget, EvaluationPlan((1,)), parse_timeout(settings.trial_timeout))
        silence = patience.limit(())
        speed = measure_speed(executor, prepared, store.folder / CALIBRATION, settings.seed, silence)
    steps = full_steps(settings, prepared, speed.steps_per_second, workers)
    evaluation_plan = plan_evaluation(settings, prepared, steps, speed)
    _write_files(store.folder, settings, prepared, evaluation_plan)
    facts = _facts(settings, prepared, evaluation_plan, speed.report_every)
    identity |= {"steps": str(steps), "screening": _screening(evaluation_plan.screen)}
    facts |= {"identity": identity, "environment": environment(device, workers)}
    store.create(prepared.goals.objectives, facts)


def _screening(n_samples: int | None) -> str:
    return "as at the end" if n_samples is None else f"{n_samples} samples"


def _write_files(folder: Path, settings: Settings, prepared: Prepared, evaluation_plan: EvaluationPlan) -> None:
    try:
        replace_file(
            folder / "campaign.toml", prepared.resolved(settings, evaluation_plan.rungs[-1], evaluation_plan.screen)
        )
        replace_file(folder / "recipe.toml", toml_text(prepared.recipe) + "\n")
        if isinstance(prepared.data, ImageData):
            real_picture(prepared.data.report.images, folder / "real.png")
    except OSError as error:
        raise disk_error(folder, error) from error


def _facts(
    settings: Settings, prepared: Prepared, evaluation_plan: EvaluationPlan, report_every: int | None
) -> dict[str, Any]:
    """What is known of a campaign before its first trial."""
    data = prepared.data
    _, moved, citations = prepared.drawn_from(evaluation_plan.rungs[-1])
    return {
        "model": settings.model,
        "recipe_name": prepared.recipe_name,
        "settings": settings.model_dump(mode="json"),
        "data_text": data.describe() if data else "the training's own data",
        "spec": data.spec.to_dict() if data else None,
        "asking": Prompts.of(data).to_dict() if data else None,
        "conditional": prepared.conditional,
        "budget_text": Budget.parse(settings.budget).describe(),
        "space": prepared.space.to_dict(),
        "rungs": evaluation_plan.rungs,
        "evaluation": vars(evaluation_plan),
        "report_every": report_every,
        "constraints": [[c.name, c.sign, c.bound] for c in prepared.goals.constraints],
        "floor": prepared.floor,
        "search_floor": prepared.search_floor,
        "terms": prepared.terms(evaluation_plan.screen),
        "failure": prepared.failure,
        "limits": {name: list(limits) for name, limits in prepared.limits.items()},
        "class_names": data.class_names if data else (),
        "real_classes": evaluator.real_classes if (evaluator := prepared.setup.evaluators.get("report")) else (),
        "citations": list(dict.fromkeys((*prepared.citations, *citations))),
        "notes": [*prepared.notes, *moved],
    }


def check_same(store: Store, settings: Settings) -> None:
    """Raise StoreError where settings are not those of a finished campaign; its data need not be loaded for that."""
    old = {**Settings.make().model_dump(mode="json"), **store.facts["settings"]}
    new = settings.model_dump(mode="json")
    for values in (old, new):
        values["features"] = resolved_features(values["features"] or AUTO)
        values["vqa"] = values["vqa"] and resolved_vqa(values["vqa"])
    changed = [f"{name}: {old[name]} → {new[name]}" for name in FIXED if new[name] != old[name]]
    if changed and settings.space is None:
        raise StoreError(_different(store.folder, changed))


def _check_identity(store: Store, identity: Mapping[str, str]) -> None:
    old: Mapping[str, str] = store.facts["identity"]
    names = dict.fromkeys((*old, *identity))
    changes = [f"{n}: {old.get(n, 'none')} → {identity.get(n, 'none')}" for n in names if old.get(n) != identity.get(n)]
    if changes:
        raise StoreError(_different(store.folder, changes))


def _different(folder: Path, changes: Sequence[str]) -> str:
    shown = "\n  ".join(changes[:CHANGES_TOLD]) + ("\n  …" if len(changes) > CHANGES_TOLD else "")
    return (
        f"{folder} holds a different campaign:\n  {shown}\n"
        f"Start the new one in another folder (--out), or go on with the old one (maestune resume {folder})."
    )
