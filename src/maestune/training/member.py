"""What a member of a group has of its own, and how it begins: afresh, or as its checkpoint says."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from maestune.data import DataSpec
from maestune.families.base import Family
from maestune.training.loop import checked_state, foreign_state, restored_slots
from maestune.training.optimisers import Optimiser, Slots, numbers_of
from maestune.training.run import Run
from maestune.training.schedules import Schedule, schedule_of
from maestune.training.stream import Source, Stream
from maestune.types import Config


@dataclass(frozen=True)
class Task:
    """One member to be trained: its config and its run; `key` names it in the reports."""

    key: Hashable
    config: Config
    run: Run


@dataclass
class Member:
    """A member's own, beside its rows of the stacked tensors. It changes as the group trains."""

    task: Task
    step: int
    stream: Stream
    schedule: Schedule | None
    base_lr: float
    decay: float
    numbers: Mapping[str, float]  # the optimiser's
    rates: Mapping[str, float]  # each player's factor of the rate
    moves: dict[str, int]  # of each player
    told: dict[str, dict[str, float]]  # the last signals of each player
    lr: float = 0.0  # at the present step


def begin(
    family: Family, task: Task, spec: DataSpec, source: Source, optimiser: Optimiser, others: Sequence[Member]
) -> tuple[nn.Module, Member, dict[str, Slots]]:
    """A task's model, the member, and its optimiser's slots by player.

    `source`: of its stream; the stream is that of one of the `others` where that has seen the same.
    Raises CheckpointError where the run's state does not fit.
    """
    run, config = task.run, task.config
    model = family.build(config, spec, run.generator("weights"))
    players = family.players(config, spec)
    twin = next((m for m in others if m.task.run.seed == run.seed and m.step == run.start_steps), None)
    stream = twin.stream if twin else Stream(source, int(config.number("batch_size")), players, run)
    slots = {p.name: optimiser.start(list(model.get_submodule(p.name).parameters())) for p in players}
    member = Member(
        task=task,
        step=run.start_steps,
        stream=stream,
        schedule=schedule_of(config),
        base_lr=config.number("lr"),
        decay=config.number("ema", 0.0),
        numbers=numbers_of(config, optimiser),
        rates={p.name: p.rate for p in players},
        moves={p.name: 0 for p in players},
        told={p.name: {} for p in players},
    )
    if run.state is not None or run.start_steps:
        state = checked_state(run)
        try:
            model.load_state_dict(state["model"])
            for name in slots:
                saved = state["players"][name]
                slots[name] = restored_slots(slots[name], saved["slots"])
                member.moves[name], member.told[name] = int(saved["moves"]), dict(saved["signals"])
            if not twin:
                stream.restore(state["stream"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise foreign_state(run, error) from error
    return model, member, slots
