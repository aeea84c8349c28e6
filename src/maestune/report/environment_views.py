"""What is needed to do a campaign again, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from maestune.campaign.record import Record, TrainingMode
from maestune.report import formats, labels
from maestune.report.bounds import bound_text

_STAGES = {
    "screen": "Scores of the search, where a training goes on",
    "search": "Scores of the search",
    "finals": "Scores of the verdict",
}


@dataclass(frozen=True)
class EnvironmentView:
    """What is needed to do it again, and what it cost: (name, text) pairs."""

    settings: tuple[tuple[str, str], ...]
    cost: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


def environment_view(record: Record) -> EnvironmentView:
    """What is needed to do it again, and what it cost."""
    settings = (
        ("Model", record.model),
        ("Data", record.data_text),
        ("Objective", ", ".join(f"{labels.metric_name(o.name)} ({labels.direction(o)})" for o in record.objectives)),
        *((("Bounds", ", ".join(map(bound_text, record.constraints))),) if record.constraints else ()),
        *(
            (_STAGES[stage], f"{terms.samples:,} samples against the {_reference(terms.reference)}")
            for stage, terms in record.terms.items()
        ),
        ("Strategy", record.strategy),
        ("Budget", record.budget_text),
        ("Seed", str(record.seed)),
        ("Rungs", ", ".join(f"{r:,}" for r in record.rungs) + " steps"),
        *(("Trained as one" if m.members > 1 else "Trained one by one", _mode(m)) for m in record.training_modes),
        ("Parameters", f"{len(record.space.varying)} vary of {len(record.space)}"),
        ("Folder", str(record.folder)),
    )
    sampled = sum(t.stage == "sampling" for t in record.trials)
    cost = (
        ("Wall time", formats.duration(record.seconds)),
        ("Worker time", formats.duration(sum(t.seconds for t in record.trials))),
        ("Configurations", f"{len(record.search_trials):,}"),
        *((("Ways of sampling", f"{sampled:,}"),) if sampled else ()),
        ("Final trainings", f"{sum(t.stage == 'finals' for t in record.trials):,}"),
        ("Full trainings", formats.number(record.full_trainings)),
    )
    return EnvironmentView(settings, cost, tuple(record.environment.items()))


def _reference(reference: str) -> str:
    """The part of the data that scores are held against, before the fingerprint of all.

    >>> _reference("93ba664e48c5f54e, search part")
    'search part of data 93ba664e48c5f54e'
    """
    fingerprint, comma, part = reference.partition(", ")
    return f"{part} of data {fingerprint}" if comma else f"data {fingerprint}"


def _mode(mode: TrainingMode) -> str:
    trials = f"{formats.count(mode.trials, 'trial')} in {formats.count(mode.groups, 'group')}"
    if mode.members == 1:
        return f"{trials}: {mode.reason}"
    compiled = ", compiled" if mode.name == "compiled" else ""
    return f"{trials}, up to {mode.members} at a time{compiled}; the newest: {mode.reason}"
