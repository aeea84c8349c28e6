"""The evaluator of images: features of samples against features of real images of one split, by one extractor."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maestune.data import Batch, ImageData, Images, to_float
from maestune.errors import MetricError
from maestune.quality.available import metric_availability, min_samples_of
from maestune.quality.catalogue import METRICS, find_metric
from maestune.quality.features.captions import CaptionEncoder, with_conditions
from maestune.quality.features.extractor import Extractor
from maestune.quality.features.vqa import VqaScorer, with_answers, with_captions
from maestune.quality.interval import scores
from maestune.quality.metric import Features, Kind, Limits, Reals
from maestune.quality.metrics.modes import class_histogram
from maestune.types import Score

SMALL_TRAINING_SET = 10_000  # images
MOST_KNOWN = 10_000  # training images in which copies are looked for: bounds memory and time
PART = 1024  # images that are added up at a time: the set may be larger than memory


def default_n_samples(data: ImageData) -> int:
    """How many samples to score: 1000 for small sets, 2000 above 10 000 training images.

    At 1000 the Fréchet distance in 64 dimensions ranks close models rightly in most cases, and scoring 8×8 images takes
    some 10 ms; large sets bring longer trainings and references as large as 2000, so that twice the samples are cheap.
    """
    return 1000 if len(data.train) <= SMALL_TRAINING_SET else 2000


@dataclass(frozen=True)
class ImageEvaluator:
    """Scores samples against the real images of a split. Made by `ImageEvaluator.prepare`; can be sent to other processes.

    `real`: features of the split, and of training images. `train`: training images, for the floor and the failure;
    `others`: images of the other held-out split, for the floor of what sees copies. `conditions`: the label and caption
    that each sample is to show, empty where nothing is asked. `metrics`: what it can measure. `second`: another extractor,
    whose opinion is asked as well; `reader`: who reads captions; `answerer`: who is asked whether samples show theirs, and
    `captions`: these as they were written, where that is known. `left_out`: metrics for which there are too few images or samples,
    with what is missing.
    """

    split: Literal["search", "report"]
    extractor: Extractor
    n_samples: int
    metrics: tuple[str, ...]
    real: Reals
    train: Images = field(repr=False)
    others: Images = field(repr=False)
    conditions: Batch = field(default_factory=dict[str, Tensor], repr=False)
    second: Extractor | None = None
    reader: CaptionEncoder | None = None
    answerer: VqaScorer | None = None
    captions: tuple[str, ...] = field(default=(), repr=False)
    left_out: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    # What each kind of metric keeps of the real features; filled when first asked for. A cache, not state.
    _references: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)
    _subsets: dict[int, ImageEvaluator] = field(default_factory=dict[int, "ImageEvaluator"], repr=False, compare=False)

    @staticmethod
    def prepare(
        data: ImageData,
        split: Literal["search", "report"],
        extractor: Extractor,
        n_samples: int,
        *,
        conditions: Batch | None = None,
        second: Extractor | None = None,
        reader: CaptionEncoder | None = None,
        answerer: VqaScorer | None = None,
        captions: tuple[str, ...] = (),
    ) -> ImageEvaluator:
        """An evaluator for a split of the data; MetricError where the split or the number of samples is too small.

        `conditions`: what each sample will have been asked for (`data.prompts`); None where nothing is asked.
        """
        images, others = (data.search, data.report) if split == "search" else (data.report, data.search)
        if len(images) < 2:
            raise MetricError(f"The {split} split of {data.name} has {len(images)} images; at least 2 are needed.")
        if n_samples < 4:
            raise MetricError(f"{n_samples} samples cannot be scored with an interval; use at least 4, better 1000.")
        conditions = conditions or {}
        known = data.train.images[:MOST_KNOWN]
        held_out = with_conditions(_extract(extractor, second, images.images), images.images, images.conditions)
        real = Reals(held_out, _extract(extractor, second, known))
        availability = metric_availability(
            data,
            extractor,
            conditional="label" in conditions,
            second=second is not None,
            places=real.held_out.places is not None,
            captions=reader is not None and "caption" in conditions,
            answers=answerer is not None and "caption" in conditions,
            n_samples=n_samples,
        )
        return ImageEvaluator(
            split,
            extractor,
            n_samples,
            availability.metrics,
            real,
            data.train,
            others,
            conditions,
            second,
            reader,
            answerer,
            captions,
            availability.left_out,
        )

    def min_samples(self, metrics: Sequence[str]) -> int:
        """On how few samples these metrics can be measured."""
        return max((min_samples_of(find_metric(name), self.extractor.dimensions) for name in metrics), default=4)

    def subset(self, n_samples: int) -> ImageEvaluator:
        """The evaluator of the first of the samples only: quicker, and on terms of its own."""
        if not 4 <= n_samples <= self.n_samples:
            raise MetricError(
                f"Of {self.n_samples} samples {n_samples} cannot be evaluated; give 4 … {self.n_samples}."
            )
        if n_samples == self.n_samples:
            return self
        if n_samples not in self._subsets:
            label = {name: values[:n_samples] for name, values in self.conditions.items()}
            subset = replace(self, n_samples=n_samples, conditions=label, captions=self.captions[:n_samples])
            metrics = tuple(name for name in self.metrics if self.min_samples([name]) <= n_samples)
            self._subsets[n_samples] = replace(subset, metrics=metrics, _references={}, _subsets={})
        return self._subsets[n_samples]

    @property
    def label(self) -> NDArray[np.int64] | None:
        """The class (n_samples,) that each sample is to show; None where no classes are asked for."""
        label = self.conditions.get("label")
        return None if label is None else label.numpy()

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the extractor, and of who is asked about samples."""
        own = self.extractor.fingerprint
        return own if self.answerer is None else f"{own}, asked {self.answerer.fingerprint}"

    def on(self, device: str) -> ImageEvaluator:
        """The same evaluator, whose networks look on a device: scores agree within rounding."""
        if device == self.extractor.device:
            return self
        second, reader = (None if one is None else one.on(device) for one in (self.second, self.reader))
        return replace(self, extractor=self.extractor.on(device), second=second, reader=reader, _subsets={})

    def extract(self, samples: Tensor) -> Features:
        """Features of samples (n_samples, C, H, W), float in [-1, 1] or uint8, on any device: what is scored.

        Raises MetricError for another number of samples, and for images that are not finite.
        """
        return self.extract_all([samples])[0]

    def extract_all(self, several: Sequence[Tensor]) -> list[Features]:
        """`extract` for the samples of several models. The networks see them in one pass, but on a CPU.

        There a pass of twice the images takes twice the time, and what is seen of one model would depend, in its last bits, on
        those that are looked at beside it.
        """
        several = [self._checked(samples).to(self.extractor.device) for samples in several]
        if self.extractor.device == "cpu" or len(several) < 2:
            features = [_extract(self.extractor, self.second, samples) for samples in several]
        else:
            all_of_them = _extract(self.extractor, self.second, torch.cat(several))
            rows = np.arange(len(several) * self.n_samples).reshape(len(several), -1)
            features = [all_of_them.take(own) for own in rows]
        return [self._asked(one, samples) for one, samples in zip(features, several, strict=True)]

    def _asked(self, features: Features, samples: Tensor) -> Features:
        """What was seen in samples, with what they were to show beside it."""
        features = with_conditions(features, samples, self.conditions, self.reader)
        if self.answerer is None:
            return features
        return with_captions(features, samples.cpu(), self.conditions, self.answerer, self.captions)

    def _checked(self, samples: Tensor) -> Tensor:
        """The samples, if they are as many as this evaluator scores."""
        if samples.shape[0] != self.n_samples:
            raise MetricError(
                f"{samples.shape[0]} samples were given to an evaluator of {self.n_samples}. Scores at different numbers of "
                f"samples cannot be compared; give exactly {self.n_samples}, or make an evaluator for another number."
            )
        return samples.detach()

    def score(self, features: Features, metrics: Sequence[str], intervals: bool = False) -> dict[str, Score]:
        """Scores of what `extract` returned, by name of the metric.

        `intervals`: with 95 % intervals over the choice of samples (see `interval`), else their bounds are NaN.
        Raises MetricError for unknown metrics.
        """
        found = [find_metric(name) for name in metrics]
        if any(metric.needs_answers for metric in found):
            features = with_answers(features, self.answerer)  # takes minutes: only now that it is wanted
        return scores(found, self._reference, features, intervals)

    def floor(self, metrics: Sequence[str], generator: torch.Generator) -> dict[str, Score]:
        """What a perfect model would score: training images, drawn without replacement, in place of samples.

        To metrics that see copies, images of the other held-out split are shown instead. Where there are fewer images than
        `n_samples`, all of them are used and `floor_note` says so: a distance at fewer samples comes out larger.
        """
        fresh = [name for name in metrics if find_metric(name).sees_copies]
        found = self._score_images(self.train, [name for name in metrics if name not in fresh], generator)
        found |= self._score_images(self.others, fresh, generator)
        return {name: found[name] for name in metrics}

    def _score_images(self, images: Images, metrics: Sequence[str], generator: torch.Generator) -> dict[str, Score]:
        """Scores of real images, at most `n_samples` of them, in place of samples."""
        if not metrics:
            return {}
        images = images.take(torch.randperm(len(images), generator=generator)[: self.n_samples])
        features = _extract(self.extractor, self.second, images.images)
        features = with_conditions(features, images.images, images.conditions, self.reader)
        features = with_captions(features, images.images, images.conditions, self.answerer)
        return self.score(features, metrics, intervals=True)

    @property
    def left_out_note(self) -> str:
        """Which metrics are left out for want of images or samples, what they need, and what brings them back; or nothing."""
        if not self.left_out:
            return ""
        reasons: dict[str, list[str]] = {}
        for name, shortage in self.left_out.items():
            reasons.setdefault(shortage, []).append(name)
        told = "; ".join(f"{', '.join(names)} ({shortage})" for shortage, names in reasons.items())
        return f"Left out, since there is too little for them: {told}. More images, or samples, bring them back."

    @property
    def floor_note(self) -> str:
        """What to know about the floor; empty when it rests on as many images as every other score."""
        n, others = len(self.train), len(self.others)
        notes: list[str] = []
        if n < self.n_samples:
            notes.append(
                f"The floor rests on {n:,} training images, fewer than the {self.n_samples:,} samples of a model: it is a little high."
            )
        fresh = [name for name in self.metrics if METRICS[name].sees_copies]
        if fresh and others < self.n_samples:
            notes.append(f"The floor of {', '.join(fresh)} rests on {others:,} other held-out images.")
        return " ".join(notes)

    def limits(self, metrics: Sequence[str]) -> dict[str, Limits]:
        """The least and the greatest value that each metric can have on these data; infinite where there is none."""
        return {m.name: m.kind.limits(self._reference(m.kind))[m.name] for m in map(find_metric, metrics)}

    def failure(self, metrics: Sequence[str]) -> dict[str, Score]:
        """What a training that made nothing usable is given: worst possible, or no better than one grey image.

        Bounded metrics get their worst bound (coverage 0); unbounded ones the score of `n_samples` copies of the mean
        training image: no variety and no sharpness, yet finite.
        """
        total = sum(part.sum(dim=0, keepdim=True, dtype=torch.float64) for part in self.train.images.split(PART))
        assert isinstance(total, Tensor)
        mean = to_float((total / len(self.train)).to(torch.float32))
        one = _extract(self.extractor, self.second, mean)
        copies = with_conditions(one.repeated(self.n_samples), mean, self.conditions, self.reader)
        limits = self.limits(metrics)
        worst = {m.name: limits[m.name][not m.higher_is_better] for m in map(find_metric, metrics)}
        unbounded = [name for name, value in worst.items() if not np.isfinite(value)]
        worst |= {name: score.value for name, score in self.score(copies, unbounded).items()}
        return {name: Score(value, value, value) for name, value in worst.items()}

    def classes(self, features: Features) -> tuple[float, ...]:
        """Share of the samples in each class, as the extractor's classifier sees them; empty where it knows none."""
        return tuple(class_histogram(features).tolist()) if self.extractor.classes else ()

    @property
    def real_classes(self) -> tuple[float, ...]:
        """The same of the real images of the split, with the errors of the same classifier."""
        return self.classes(self.real.held_out)

    def _reference(self, kind: Kind[Any]) -> Any:
        if kind.name not in self._references:
            self._references[kind.name] = kind.reference(self.real, self.n_samples)
        return self._references[kind.name]


def _extract(extractor: Extractor, second: Extractor | None, images: Tensor) -> Features:
    """Features of images, with those of the second extractor beside them."""
    features = extractor.extract(images)
    return features if second is None else replace(features, second=second.extract(images).values)
