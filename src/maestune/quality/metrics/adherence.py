"""Adherence: whether samples show what was asked for, and whether they still differ when the same is asked.

- `adherence`: for class labels, the accuracy that Shmelkov et al. 2018 (arXiv:1807.09499) call GAN-test. The classifier's own
  errors on real images bound it from above: the floor tells them.
- `cas`: the same from the other side (classification accuracy score, Ravuri & Vinyals 2019, arXiv:1905.10887): what a
  classifier that learnt from samples and what they were asked for gets right on real held-out images. Here it is a linear
  one on the evaluator's features (multinomial logistic regression with the ridge of scikit-learn's default), not the deep
  network of the paper, so that values are not comparable with published ones. It sees missing variety within a class, too.
- `r_precision`, `clip_like`: for captions, by an encoder of images and texts (see `features.captions`).
- `asked_diversity`: a model that shows one perfect picture for each thing it is asked adheres perfectly. The mean distance
  between two samples of the same condition, over that between two real images of it, is about 1 for real images and 0 for
  such a model; no score of adherence should be read without it. It is a floor, and nothing to raise beyond 1: noise is
  varied, too. Images that a classifier has learnt lie closer together to it (0.95 for training digits).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# scipy publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # pyright: ignore[reportMissingTypeStubs]
from scipy.special import log_softmax  # pyright: ignore[reportMissingTypeStubs]

from maestune.errors import MetricError
from maestune.quality.metric import Array, Features, Kind, Limits, Members, Reals, check_features
from maestune.quality.metrics.neighbours import squared_distances

MOST_OF_A_CONDITION = 500  # whose distances are looked at: bounds memory
RIDGE = 1.0  # of the squared weights, beside the summed cross-entropies
ITERATIONS = 500

Whole = NDArray[np.int64]


def _nothing(reals: Reals, n: int) -> None:
    return None


def _adherence(reference: None, generated: Features, members: Members) -> Mapping[str, Array]:
    if generated.probabilities is None or generated.label is None:
        raise MetricError(
            "Adherence needs data with labels, and samples that were asked to show one; choose another objective, or a "
            "conditional model (gan with --set condition=projection, or flow)."
        )
    right = (generated.probabilities.argmax(axis=1) == generated.label).astype(np.float64)
    return {"adherence": (members @ right) / members.sum(axis=1)}


def _adherence_limits(reference: None) -> Mapping[str, Limits]:
    return {"adherence": (0.0, 1.0)}


ADHERENCE: Kind[None] = Kind("adherence", _nothing, _adherence, _adherence_limits)


def _captions(reference: None, generated: Features, members: Members) -> Mapping[str, Array]:
    if generated.agreement is None or generated.rank is None:
        raise MetricError(
            "r_precision and clip_like need samples that were asked for captions, and an encoder that reads them; choose "
            "another objective, or data with captions and a model that takes them (flow)."
        )
    if not np.isfinite(generated.agreement).all():
        raise MetricError("Agreements with captions are not finite numbers; score only samples of a finite model.")
    first = (generated.rank == 1).astype(np.float64)
    alike = 100.0 * np.clip(generated.agreement, 0.0, 1.0)
    n = members.sum(axis=1)
    return {"r_precision": (members @ first) / n, "clip_like": (members @ alike) / n}


def _captions_limits(reference: None) -> Mapping[str, Limits]:
    return {"r_precision": (0.0, 1.0), "clip_like": (0.0, 100.0)}


CAPTIONS: Kind[None] = Kind("captions", _nothing, _captions, _captions_limits)


@dataclass(frozen=True)
class Variety:
    """Conditions (U,), ascending, and the mean distance (U,) between two real images of each."""

    conditions: Whole
    distances: Array


def _variety(reals: Reals, n: int) -> Variety:
    real = reals.held_out
    if real.condition is None:
        raise MetricError(
            "asked_diversity needs real images that show what can be asked for: data with labels or captions. "
            "Choose another metric."
        )
    values = check_features(real.values, "real")
    found = {
        int(c): float(_mean_distances(values, rows, np.ones((1, len(values)), dtype=np.bool_))[0][0])
        for c, rows in _by_condition(real.condition)
        if len(rows) >= 2
    }
    # Of a condition whose real images are all the same, nothing can be told.
    kept = {c: distance for c, distance in found.items() if distance > 0}
    return Variety(np.array(list(kept), dtype=np.int64), np.array(list(kept.values())))


def _asked_diversity(reference: Variety, generated: Features, members: Members) -> Mapping[str, Array]:
    if generated.condition is None:
        raise MetricError(
            "asked_diversity needs samples that were asked for something; choose another metric, or a conditional model."
        )
    values = check_features(generated.values, "generated")
    found, expected = np.zeros(len(members)), np.zeros(len(members))
    for condition, rows in _by_condition(generated.condition):
        place = int(np.searchsorted(reference.conditions, condition))
        if place < len(reference.conditions) and reference.conditions[place] == condition:
            distances, counted = _mean_distances(values, rows, members)
            found += counted * distances
            expected += counted * reference.distances[place]
    if not (expected > 0).all():
        raise MetricError(
            "asked_diversity needs two samples, and two real images, of at least one condition in every half of the "
            "samples. Raise --samples, or choose another metric."
        )
    return {"asked_diversity": found / expected}


def _by_condition(conditions: Whole) -> list[tuple[int, NDArray[np.intp]]]:
    """Each condition, ascending, with the positions of the first of those that have it."""
    order = np.argsort(conditions, kind="stable")
    different, starts = np.unique(conditions[order], return_index=True)
    parts = np.split(order, starts[1:])
    return [(int(c), rows[:MOST_OF_A_CONDITION]) for c, rows in zip(different, parts, strict=True)]


def _mean_distances(values: Array, rows: NDArray[np.intp], members: Members) -> tuple[Array, Array]:
    """Mean distance (B,) between two of the rows that are in each subset, and how many are (B,); 0 of fewer than two."""
    here = values[rows] - values[rows[0]]
    distances = np.sqrt(squared_distances(here, here))
    chosen = members[:, rows].astype(np.float64)
    count = chosen.sum(axis=1)
    pairs = count * (count - 1.0)
    total = ((chosen @ distances) * chosen).sum(axis=1)
    return total / np.maximum(pairs, 1.0), np.where(pairs > 0, count, 0.0)


def _variety_limits(reference: Variety) -> Mapping[str, Limits]:
    return {"asked_diversity": (0.0, np.inf)}


ASKED_DIVERSITY = Kind("variety of what was asked for", _variety, _asked_diversity, _variety_limits)


@dataclass(frozen=True)
class Labelled:
    """Real features (N, d) with their classes (N,)."""

    values: Array
    classes: Whole


def _labelled(reals: Reals, n: int) -> Labelled:
    if reals.held_out.label is None:
        raise MetricError("cas needs real images with labels; put them into class folders, or choose another metric.")
    return Labelled(check_features(reals.held_out.values, "real"), reals.held_out.label)


def _cas(reference: Labelled, generated: Features, members: Members) -> Mapping[str, Array]:
    if generated.label is None:
        raise MetricError(
            "cas needs samples that were asked for a class; choose another metric, or a conditional model."
        )
    values, classes = check_features(generated.values, "generated"), generated.label
    n_classes = int(max(classes.max(), reference.classes.max())) + 1
    # All samples first: what they teach is where each half begins, which then is soon done.
    start = _logistic(values, classes, n_classes, None)
    scores = np.empty(len(members))
    for b, chosen in enumerate(members):
        learnt = start if chosen.all() else _logistic(values[chosen], classes[chosen], n_classes, start)
        scores[b] = (_logits(reference.values, learnt).argmax(axis=1) == reference.classes).mean()
    return {"cas": scores}


def _logistic(values: Array, classes: Whole, n_classes: int, start: Array | None) -> Array:
    """Weights (d + 1, K) of multinomial logistic regression of classes (N,) on features (N, d); the last row is the offset.

    Features are in units of their own spread while it learns, and the weights are those for features as they are.
    """
    mean, spread = values.mean(axis=0), values.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x = np.concatenate([(values - mean) / spread, np.ones((len(values), 1))], axis=1)
    shape = (x.shape[1], n_classes)
    target = np.eye(n_classes)[classes]

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(shape)
        log_shares = log_softmax(x @ weights, axis=1)
        slope = x.T @ (np.exp(log_shares) - target)
        slope[:-1] += RIDGE * weights[:-1]
        value = -float((log_shares * target).sum()) + 0.5 * RIDGE * float((weights[:-1] ** 2).sum())
        return value / len(x), slope.ravel() / len(x)

    first = np.zeros(shape)
    if start is not None:
        first[:-1] = start[:-1] * spread[:, None]
        first[-1] = start[-1] + mean @ start[:-1]
    found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "gtol": 1e-6})
    weights = np.asarray(found.x, dtype=np.float64).reshape(shape)
    plain = weights[:-1] / spread[:, None]
    return np.concatenate([plain, (weights[-1] - mean @ plain)[None, :]])


def _logits(values: Array, weights: Array) -> Array:
    return values @ weights[:-1] + weights[-1]


def _cas_limits(reference: Labelled) -> Mapping[str, Limits]:
    return {"cas": (0.0, 1.0)}


CAS = Kind("classification accuracy score", _labelled, _cas, _cas_limits)
