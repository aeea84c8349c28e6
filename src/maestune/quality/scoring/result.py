"""What `maestune score` finds: how good given samples are beside real data, whoever made them.

The same evaluators as in a campaign. What is held against what, how many they were, and in which feature space stands in the result, since
none of its numbers means anything without.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

from torch import Tensor

from maestune.data.spec import Modality
from maestune.quality.metric import Measure
from maestune.types import Score

SCHEMA = "maestune.score/1"


@dataclass(frozen=True)
class Measured:
    """A measure with its value, and the floor: what real data would score in place of the samples, None where unknown."""

    metric: Measure
    score: Score
    floor: Score | None = None


@dataclass(frozen=True)
class Side:
    """What was read of one side. `source`: as it was given; `used`: how many of the `found` take part.

    Images, texts, or of real text characters.
    """

    source: str
    found: int
    used: int
    fingerprint: str
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureSpace:
    """The way of looking: values are comparable between results of equal `fingerprint`, `used` and reference, and only then.

    `passed`: whether it passed its self-test, whose `sentence` says how; None where there is none.
    """

    kind: str
    fingerprint: str
    description: str
    passed: bool | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Picture:
    """A sample worth looking at: uint8 (C, H, W), and `beside` it the training image that is nearest to it.

    `value`: the distance that it was chosen by, in parts of the usual distance of real images; see `Highlights`.
    """

    name: str
    value: float
    image: Tensor = field(repr=False, compare=False)
    beside: Tensor | None = field(default=None, repr=False, compare=False)
    note: str = ""


@dataclass(frozen=True)
class Excerpt:
    """A part of a text worth looking at, of which `marked` is meant; `value`: what it was chosen by, see `Highlights`."""

    name: str
    value: float
    before: str
    marked: str = ""
    after: str = ""
    note: str = ""


@dataclass(frozen=True)
class Highlights:
    """What people should look at.

    Images: `worst` and `best` by the distance to the nearest held-out image in parts of what is usual between those;
    `copied` by the distance to the nearest training image in parts of what is usual for held-out ones. Texts: `worst` by the
    distance of embeddings likewise, `copied` by the length of the passage in characters, `repetitive` by the share of
    sequences of two to four words that are repeated.
    """

    worst: tuple[Picture | Excerpt, ...] = ()
    best: tuple[Picture | Excerpt, ...] = ()
    copied: tuple[Picture | Excerpt, ...] = ()
    repetitive: tuple[Excerpt, ...] = ()


@dataclass(frozen=True)
class ClassShares:
    """Share of the images in each class, as the evaluator's classifier sees them: of real images, and of the samples."""

    names: tuple[str, ...]
    real: tuple[float, ...]
    fake: tuple[float, ...]


@dataclass(frozen=True)
class ScoreResult:
    """How good samples are. `scores["fd"].value`, `.low` and `.high`; `floor["fd"]` is what real data would score.

    `reference`: how many held-out real images or texts the samples are held against. `vqa`: who was asked whether samples
    show their captions, None where nobody was. `warnings`: what makes the values
    doubtful; `notes`: what was decided on the way.
    """

    modality: Modality
    real: Side
    fake: Side
    measured: tuple[Measured, ...]
    reference: int
    feature_space: FeatureSpace
    seed: int
    options: Mapping[str, str] = field(default_factory=dict[str, str])  # as on the command line
    classes: ClassShares | None = None
    vqa: FeatureSpace | None = None
    highlights: Highlights = field(default_factory=Highlights)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> dict[str, Score]:
        """Values with their 95 % intervals over the choice of samples, by name."""
        return {each.metric.name: each.score for each in self.measured}

    @property
    def floor(self) -> dict[str, Score]:
        """The same of real data in place of the samples, as far as it is known."""
        return {each.metric.name: each.floor for each in self.measured if each.floor is not None}

    def to_dict(self) -> dict[str, Any]:
        """As plain data, ready for JSON: what `--json` prints. Numbers that are not finite become null.

        Keys are added in later versions, never renamed or removed within a `schema`.
        """
        return {
            "schema": SCHEMA,
            "modality": self.modality,
            "real": {**_side(self.real), "reference": self.reference},
            "fake": _side(self.fake),
            "metrics": {each.metric.name: _measured(each) for each in self.measured},
            "features": asdict(self.feature_space),
            "vqa": None if self.vqa is None else asdict(self.vqa),
            "classes": None if self.classes is None else {k: list(v) for k, v in vars(self.classes).items()},
            "shown": {
                name: [{"name": one.name, "value": _finite(one.value), "note": one.note} for one in some]
                for name, some in vars(self.highlights).items()
            },
            "seed": self.seed,
            "options": dict(self.options),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Of what the values were computed with."""
    packages = ("maestune", "torch", "numpy", "scipy", "scikit-learn", "pillow")
    return {**{package: metadata.version(package) for package in packages}, "python": platform.python_version()}


def _side(side: Side) -> dict[str, Any]:
    return {**asdict(side), "skipped": list(side.skipped)}


def _measured(each: Measured) -> dict[str, Any]:
    metric = each.metric
    better = "as real" if not metric.goal else "higher" if metric.higher_is_better else "lower"
    return {
        **_score(each.score),
        "floor": None if each.floor is None else _score(each.floor),
        "label": metric.label,
        "axis": metric.axis,
        "unit": metric.unit,
        "better": better,
        "meaning": metric.meaning,
        "citation": metric.citation,
    }


def _score(score: Score) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in asdict(score).items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
