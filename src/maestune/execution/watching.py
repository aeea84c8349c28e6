"""A trial whose best weights are kept, or that ends when it no longer improves: what its looks have shown so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from maestune.execution.jobs import rung_data, rung_from
from maestune.training.best import Seen, Watch
from maestune.types import Report, Rung


@dataclass
class Watching:
    """The looks of one trial. `rung`: what the weights that are its result are worth; `state`: those weights, where kept."""

    watch: Watch
    seen: Seen = field(default_factory=Seen)
    rung: Rung | None = None
    state: Mapping[str, Any] | None = None

    def looked(self, value: float, rung: Rung, report: Report) -> None:
        """One more look: the value that is chosen by, and what the weights are worth on the job's own part."""
        self.seen = self.watch.looked(self.seen, report.step, value)
        if self.watch.keep == "last":
            self.rung = rung
        elif self.watch.keeps(self.seen, report.step) or self.rung is None:
            self.rung = rung
            self.state = None if report.state is None else report.state()

    @property
    def stops(self) -> bool:
        """Whether the training ends here."""
        return self.watch.stops(self.seen)

    def result(self, step: int, seconds: float) -> Rung:
        """What the trial is worth after a step."""
        assert self.rung is not None
        return replace(self.rung, step=step, seconds=seconds)

    def to_dict(self) -> dict[str, Any]:
        """As plain data and tensors, for a checkpoint."""
        rung = None if self.rung is None else rung_data(self.rung)
        return {"seen": self.seen.to_dict(), "rung": rung, "state": self.state}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` wrote."""
        self.seen = Seen.from_dict(data["seen"])
        self.rung = None if data["rung"] is None else rung_from(data["rung"])
        self.state = data["state"]


def kept_state(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state of a checkpoint that samples are drawn from: that of the best weights, where they were kept."""
    watched = saved.get("watched")
    return watched["state"] if watched and watched["state"] is not None else saved["state"]
