"""What is needed to do a campaign again, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from maestune.campaign.record import Manner, Record
from maestune.report import formats, labels
from maestune.report.bounds import bound_text

_STAGES = {"search": "Scores of the search", "finals": "Scores of the verdict"}


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
