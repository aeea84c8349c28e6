"""A trial whose best weights are kept, or that ends when it no longer improves: what its looks have shown so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from maestune.execution.jobs import rung_data, rung_from
from maestune.training.best import Seen, Watch
from maestune.types import Report, Rung


@dataclass
class Watching:
    """The looks of one trial. `kept`: the samples and scores of the weights that are its result, until they are judged.

    `rung`: what those weights are worth, once that is known: to judge them fully takes long, and most are soon outdone.
    `state`: the weights themselves, where they are kept.
    """

    watch: Watch
    seen: Seen = field(default_factory=Seen)
    kept: Report | None = None
    rung: Rung | None = None
    state: Mapping[str, Any] | None = None

    def looked(self, value: float, report: Report) -> None:
        """One more look, with the value that is chosen by."""
        self.seen = self.watch.looked(self.seen, report.step, value)
        first = self.kept is None and self.rung is None
        if first or self.watch.keep == "last" or self.watch.keeps(self.seen, report.step):
            # A copy: the samples of a group's members share their memory.
            samples = None if report.samples is None else report.samples.detach().cpu().clone()
            self.kept, self.rung = Report(report.step, samples=samples, scores=dict(report.scores)), None
            if self.watch.keep == "best":
                self.state = None if report.state is None else report.state()

    @property
    def stops(self) -> bool:
        """Whether the training ends here."""
        return self.watch.stops(self.seen)

    def result(self, step: int, seconds: float, worth: Callable[[Report], Rung]) -> Rung:
        """What the trial is worth after a step; `worth` judges samples and scores."""
        if self.rung is None:
            assert self.kept is not None  # there was a look
            self.rung, self.kept = worth(self.kept), None
        return replace(self.rung, step=step, seconds=seconds)

    def to_dict(self) -> dict[str, Any]:
        """As plain data and tensors, for a checkpoint."""
        rung = None if self.rung is None else rung_data(self.rung)
        kept = self.kept and {"step": self.kept.step, "samples": self.kept.samples, "scores": dict(self.kept.scores)}
        return {"seen": self.seen.to_dict(), "kept": kept, "rung": rung, "state": self.state}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` wrote."""
        self.seen = Seen.from_dict(data["seen"])
        self.kept = Report(**data["kept"]) if data["kept"] else None
        self.rung = None if data["rung"] is None else rung_from(data["rung"])
        self.state = data["state"]


def kept_state(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state of a checkpoint that samples are drawn from: that of the best weights, where they were kept."""
    watched = saved.get("watched")
    return watched["state"] if watched and watched["state"] is not None else saved["state"]
