"""Validations of a trial whose best weights are kept, or that ends when it no longer improves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from maestune.execution.jobs import rung_data, rung_from
from maestune.training.early_stopping import BestSoFar, EarlyStopping
from maestune.types import Report, Rung


@dataclass
class BestWeights:
    """The validations of one trial. `kept`: the samples and scores of the weights that are its result; no samples where those of a
    validation were not drawn, or are not all.

    `state`: the weights themselves, where they are kept. `scored`: what they are worth, once that is known: on the terms of
    trainings that go on, and on those of an end (True). To evaluate them fully takes long, and most are soon outdone.
    """

    early_stopping: EarlyStopping
    best: BestSoFar = field(default_factory=BestSoFar)
    kept: Report | None = None
    scored: dict[bool, Rung] = field(default_factory=dict[bool, Rung])
    state: Mapping[str, Any] | None = None

    def update(self, value: float, report: Report, drawn: bool = True) -> None:
        """One more validation, with the value that is chosen by. `drawn`: whether the report's samples are what is evaluated."""
        self.best = self.early_stopping.update(self.best, report.step, value)
        if (
            self.kept is None
            or self.early_stopping.keep == "last"
            or self.early_stopping.is_best(self.best, report.step)
        ):
            # A copy: the samples of a group's members share their memory.
            samples = report.samples.detach().cpu().clone() if drawn and report.samples is not None else None
            self.kept, self.scored = Report(report.step, samples=samples, scores=dict(report.scores)), {}
            if self.early_stopping.keep == "best":
                self.state = None if report.state is None else report.state()

    @property
    def stops(self) -> bool:
        """Whether the training ends here."""
        return self.early_stopping.stops(self.best)

    def result(self, step: int, seconds: float, last: bool, worth: Callable[[Report, bool], Rung]) -> Rung:
        """What the trial is worth after a step, the last or not; `worth` scores samples on those terms."""
        if last not in self.scored:
            assert self.kept is not None  # there was a validation
            self.scored[last] = worth(self.kept, last)
        return replace(self.scored[last], step=step, seconds=seconds)

    def to_dict(self) -> dict[str, Any]:
        """As plain data and tensors, for a checkpoint."""
        kept = self.kept and {"step": self.kept.step, "samples": self.kept.samples, "scores": dict(self.kept.scores)}
        scored = [[last, rung_data(rung)] for last, rung in self.scored.items()]
        return {"seen": self.best.to_dict(), "kept": kept, "judged": scored, "state": self.state}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what `to_dict` wrote."""
        self.best = BestSoFar.from_dict(data["seen"])
        self.kept = Report(**data["kept"]) if data["kept"] else None
        self.scored = {last: rung_from(rung) for last, rung in data["judged"]}
        self.state = data["state"]


def kept_state(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state of a checkpoint that samples are drawn from: that of the best weights, where they were kept."""
    validated = saved.get("watched")
    return validated["state"] if validated and validated["state"] is not None else saved["state"]
