"""On what terms the model of a job is scored: after which steps, by which evaluator, on how many samples, and what of them.

Of a training that goes on only what decides about that is measured, on fewer samples where the job says so; at its end all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from maestune.data import TextData
from maestune.errors import MetricError
from maestune.execution.artifacts import PICTURE_SAMPLES, TEXT_SAMPLES
from maestune.execution.jobs import Job, Setup
from maestune.families.base import Family
from maestune.quality import Evaluator
from maestune.training.run import Run
from maestune.types import Report, Rung, Score


@dataclass(frozen=True)
class Scoring:
    """The terms of a job. `validation_steps`: after which steps it is decided which weights are kept, and whether to go on; `family`: where
    it is known, samples can be drawn of weights that were trained before.
    """

    setup: Setup
    job: Job
    family: Family | None
    validation_steps: frozenset[int]

    def due(self, step: int) -> bool:
        """Whether the model is scored after a step."""
        return step in self.job.score_at or step == self.job.until_steps

    def last(self, step: int) -> bool:
        """Whether a full training ends there: it is evaluated on other terms than one that goes on."""
        return step >= self.job.full_steps

    def evaluator(self, last: bool) -> Evaluator | None:
        """Who scores samples: of a training that goes on fewer of them, where the job says so."""
        evaluator = self.setup.evaluators.get(self.job.split)
        if evaluator is None or last or self.job.screen is None:
            return evaluator
        return evaluator.subset(self.job.screen)

    def measured(self, last: bool) -> tuple[str, ...]:
        """What the evaluator measures: of a training that goes on what decides about that, at its end all."""
        if self.job.split not in self.setup.evaluators:
            return ()
        if not last:
            return self.setup.metrics
        return self.setup.verdict_metrics if self.job.split == "report" else self.setup.full_metrics

    @property
    def sampled_at_validation(self) -> bool:
        """Whether samples are drawn at a validation: where they choose, and where nobody could draw them later."""
        choosing = self.job.split == "search" and self.setup.objectives[0].name in self.setup.full_metrics
        return self.family is None or choosing

    def drawn(self, step: int) -> int:
        """How many samples are drawn where the model is scored; those of a validation are perhaps those of the end."""
        validated = step in self.validation_steps and not self.last(step)
        if validated and not self.sampled_at_validation:
            return 0
        last = self.last(step) or validated
        if self.measured(last) and (evaluator := self.evaluator(last)) is not None:
            return evaluator.n_samples
        # Where no samples are scored there is nothing to draw but what is shown.
        return self.shown if self.setup.data is not None else 0

    @property
    def shown(self) -> int:
        """How many samples people are shown."""
        return TEXT_SAMPLES if isinstance(self.setup.data, TextData) else PICTURE_SAMPLES

    def run(self, begun: int, state: Mapping[str, Any] | None) -> Run:
        """What the training is asked to do, from a step and the state there."""
        job, setup = self.job, self.setup
        scored_at = frozenset((*job.score_at, job.until_steps, *self.validation_steps))
        chooser = setup.evaluators.get("search")
        by_samples = setup.objectives[0].name in setup.full_metrics  # not a measure of the model itself
        samples_at = dict.fromkeys(job.picture_at, self.shown)
        samples_at |= {step: n for step in scored_at if (n := self.drawn(step))}
        return Run(
            until_steps=job.until_steps,
            full_steps=job.full_steps,
            start_steps=begun,
            state=state,
            seed=job.seed,
            sample_seed=job.sample_seed,
            samples_at=samples_at,
            scored_at=scored_at,
            validation_steps=self.validation_steps,
            n_choice=chooser.n_samples if chooser is not None and by_samples else 0,
            report_every=job.report_every or setup.report_every,
            device=setup.device,
            data=setup.data,
            split=job.split,
        )

    def extraction_evaluator(self, report: Report) -> Evaluator | None:
        """The evaluator that extracts features of a report's samples, where nothing else is to be done with them."""
        last = self.last(report.step)
        if (
            not self.due(report.step)
            or report.step in self.validation_steps
            or report.samples is None
            or not self.measured(last)
        ):
            return None
        return None if not_finite(report) else self.evaluator(last)

    def choice(self, report: Report) -> float:
        """The value by which weights are chosen: always of the part that the search is scored on."""
        name = self.setup.objectives[0].name
        if name in report.choice:
            return report.choice[name]
        samples = report.samples if self.job.split == "search" else report.choice_samples
        evaluator = self.setup.evaluators.get("search")
        if evaluator is not None and samples is not None and name in self.setup.full_metrics:
            return evaluator.score(evaluator.extract(samples), [name])[name].value
        return (
            self.rung(report, True, 0.0)[0].scores[name].value
        )  # a training of the user's own: nothing else to choose by

    def rung(
        self, report: Report, last: bool, seconds: float, features: Any = None, intervals: bool = False
    ) -> tuple[Rung, Any]:
        """What a report is worth, the evaluator's scores of its samples and the training's own; and what the evaluator saw."""
        scores = {name: Score(float(value)) for name, value in report.scores.items()}
        classes: tuple[float, ...] = ()
        evaluator, metrics = self.evaluator(last), self.measured(last)
        if evaluator is not None and metrics:
            if report.samples is None:
                raise MetricError(
                    f"No samples came with the report at step {report.step}; a training that is scored by its samples yields "
                    "Report(samples=images (N, C, H, W) in [-1, 1]) wherever run.n_samples(step) > 0."
                )
            validated = report.step in self.validation_steps  # there were as many samples as at the end
            if features is None:
                features = evaluator.extract(report.samples[: evaluator.n_samples] if validated else report.samples)
            # Over samples, for the search. In the finals intervals are over seeds, which vary more and take no time.
            scores |= evaluator.score(features, metrics, intervals=intervals or (last and self.job.split == "search"))
            classes = evaluator.classes(features) if last else ()
        missing = [o.name for o in self.setup.objectives if o.name not in scores]
        if missing:
            raise MetricError(
                f"The objective {missing[0]!r} is not among the scores of the report at step {report.step} "
                f"({', '.join(scores) or 'none'}); yield Report(scores={{{missing[0]!r}: value}}) there."
            )
        return Rung(report.step, scores, seconds, classes), features


def not_finite(report: Report) -> str:
    """What of a report is not a finite number; empty where all is."""
    for name, value in (*report.signals.items(), *report.scores.items()):
        if not math.isfinite(value):
            return f"{name} is {value}"
    if report.samples is not None and not bool(torch.isfinite(report.samples).all()):
        return "samples are not finite"
    return ""
