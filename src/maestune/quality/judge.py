"""The judge: holds samples against real images of one split and says how good they are, always on equal terms.

Equal terms: one extractor, one reference set, one number of samples. The Fréchet distance depends on the number of
samples, so values at different numbers must never meet in one comparison; `score` refuses any other number.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maestune.data import ImageData, Images, to_float
from maestune.errors import MetricError
from maestune.quality.catalogue import METRICS, find_metric
from maestune.quality.extractor import Extractor
from maestune.quality.interval import half_sample_interval, half_samples
from maestune.quality.metric import Features, Kind, everyone
from maestune.quality.modes import class_histogram
from maestune.quality.neighbours import K as NEIGHBOUR_K
from maestune.types import Score

SMALL_TRAINING_SET = 10_000  # images
PART = 1024  # images that are added up at a time: the set may be larger than memory
HALVES_SEED = 0  # the same halves for every trial: one more thing they have in common


def default_n_samples(data: ImageData) -> int:
    """How many samples to score: 1000 for small sets, 2000 above 10 000 training images.

    At 1000 the Fréchet distance in 64 dimensions ranks close models rightly in most cases, and scoring 8×8 images takes
    some 10 ms; large sets bring longer trainings and references as large as 2000, so that twice the samples are cheap.
    """
    return 1000 if len(data.train) <= SMALL_TRAINING_SET else 2000


def available_metrics(
    data: ImageData, extractor: Extractor | None = None, *, conditional: bool = False
) -> tuple[str, ...]:
    """Names of the metrics that can be computed for this data, and for samples that were asked for something (`conditional`).

    Those of classes need labels of at least two classes (and an extractor that learnt them, where one is given); those
    of neighbours need more real images in each held-out split than they look at neighbours.
    """
    labelled = data.train.labels is not None and len(torch.unique(data.train.labels)) >= 2
    classes = labelled if extractor is None else extractor.classes >= 2
    enough = min(len(data.search), len(data.report)) > NEIGHBOUR_K
    by_neighbours = {"precision", "recall", "density", "coverage"}
    return tuple(
        name
        for name, metric in METRICS.items()
        if (classes or not metric.needs_labels)
        and (enough or name not in by_neighbours)
        and (conditional or not metric.needs_conditions)
    )


@dataclass(frozen=True)
class Judge:
    """Scores samples against the real images of a split. Made by `Judge.prepare`; can be sent to other processes.

    `real`: features of the split. `train`: training images, for the floor and the failure. `asked` (n_samples,): the class
    that each sample is to show, where the data have labels.
    """

    split: str
    extractor: Extractor
    n_samples: int
    real: Features
    train: Images = field(repr=False)
    asked: NDArray[np.int64] | None = None
    # What each kind of metric keeps of the real features; filled when first asked for. A cache, not state.
    _references: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)

    @staticmethod
    def prepare(data: ImageData, split: Literal["search", "report"], extractor: Extractor, n_samples: int) -> Judge:
        """A judge for a split of the data; MetricError where the split or the number of samples is too small."""
        images = (data.search if split == "search" else data.report).images
        if len(images) < 2:
            raise MetricError(f"The {split} split of {data.name} has {len(images)} images; at least 2 are needed.")
        if n_samples < 4:
            raise MetricError(f"{n_samples} samples cannot be scored with an interval; use at least 4, better 1000.")
        labels = data.prompts(split, n_samples).get("label")
        asked = None if labels is None else labels.numpy()
        return Judge(split, extractor, n_samples, extractor.extract(images), data.train, asked)

    def look(self, samples: Tensor) -> Features:
        """Features of samples (n_samples, C, H, W), float in [-1, 1] on any device: what is scored.

        Raises MetricError for another number of samples, and for images that are not finite.
        """
        if samples.shape[0] != self.n_samples:
            raise MetricError(
                f"{samples.shape[0]} samples were given to a judge of {self.n_samples}. Scores at different numbers of "
                f"samples cannot be compared; give exactly {self.n_samples}, or make a judge for another number."
            )
        return replace(self.extractor.extract(samples.detach().cpu()), asked=self.asked)

    def score(self, features: Features, metrics: Sequence[str], intervals: bool = False) -> dict[str, Score]:
        """Scores of what `look` saw, by name of the metric.

        `intervals`: with 95 % intervals over the choice of samples (see `interval`), else their bounds are NaN.
        Raises MetricError for unknown metrics.
        """
        wanted = [find_metric(name) for name in metrics]
        n = len(features)
        members = everyone(n)
        if intervals:
            members = np.concatenate([members, half_samples(n, np.random.default_rng(HALVES_SEED))])
        kinds = {metric.kind.name: metric.kind for metric in wanted}
        computed = {name: kind.compute(self._reference(kind), features, members) for name, kind in kinds.items()}
        scores: dict[str, Score] = {}
        for metric in wanted:
            values = computed[metric.kind.name][metric.name]
            value = float(values[0])
            if intervals:
                limits = metric.kind.limits(self._reference(metric.kind))[metric.name]
                scores[metric.name] = half_sample_interval(value, values[1:], limits)
            else:
                scores[metric.name] = Score(value)
        return scores

    def floor(self, metrics: Sequence[str], generator: torch.Generator) -> dict[str, Score]:
        """What a perfect model would score: training images, drawn without replacement, in place of samples.

        Where there are fewer training images than `n_samples`, all of them are used and `floor_note` says so: a
        distance at fewer samples comes out larger.
        """
        chosen = torch.randperm(len(self.train), generator=generator)[: self.n_samples]
        images = self.train.take(chosen)
        asked = None if images.labels is None else images.labels.numpy()
        return self.score(replace(self.extractor.extract(images.images), asked=asked), metrics, intervals=True)

    @property
    def floor_note(self) -> str:
        """What to know about the floor; empty when it rests on as many images as every other score."""
        n = len(self.train)
        if n >= self.n_samples:
            return ""
        return f"The floor rests on {n:,} training images, fewer than the {self.n_samples:,} samples of a model: it is a little high."

    def failure(self, metrics: Sequence[str]) -> dict[str, Score]:
        """What a training that made nothing usable is given: worst possible, or no better than one grey image.

        Bounded metrics get their worst bound (coverage 0); unbounded ones the score of `n_samples` copies of the mean
        training image: no variety and no sharpness, yet finite.
        """
        total = sum(part.sum(dim=0, keepdim=True, dtype=torch.float64) for part in self.train.images.split(PART))
        assert isinstance(total, Tensor)
        mean = to_float((total / len(self.train)).to(torch.float32))
        one = self.extractor.extract(mean)
        n = self.n_samples
        probabilities = None if one.probabilities is None else np.repeat(one.probabilities, n, axis=0)
        copies = Features(np.repeat(one.values, n, axis=0), probabilities, self.asked)
        scores: dict[str, Score] = {}
        for name, score in self.score(copies, metrics, intervals=False).items():
            metric = METRICS[name]
            low, high = metric.kind.limits(self._reference(metric.kind))[name]
            worst = low if metric.higher_is_better else high
            value = worst if np.isfinite(worst) else score.value
            scores[name] = Score(value, value, value)
        return scores

    def classes(self, features: Features) -> tuple[float, ...]:
        """Share of the samples in each class, as the extractor's classifier sees them; empty where it knows none."""
        return tuple(class_histogram(features).tolist()) if self.extractor.classes else ()

    @property
    def real_classes(self) -> tuple[float, ...]:
        """The same of the real images of the split, with the errors of the same classifier."""
        return self.classes(self.real)

    def _reference(self, kind: Kind[Any]) -> Any:
        if kind.name not in self._references:
            self._references[kind.name] = kind.reference(self.real, self.n_samples)
        return self._references[kind.name]
