"""How sure a value is, given that other samples of the same model would have given another one.

Half-sampling: the metric is computed on B random halves of the n samples, without replacement. For a statistic that
behaves like a mean, the variance of a subset of m out of n around the whole is σ²(1/m - 1/n), and with m = n/2 that
is exactly σ²/n: the spread over halves *is* the standard error of the value at n. (Politis, Romano & Wolf 1999,
"Subsampling"; the delete-half jackknife of Wu 1986.)

The ordinary bootstrap is not an option here: it repeats samples, and repeated samples shrink k-nearest-neighbour radii
and covariances, so it moves exactly the metrics that it should measure. Halves have their own bias (Fréchet distances
grow as n shrinks), therefore only their spread is used, around the value of all samples.

Measured on Gaussian features (150 repetitions each): intervals of fd, kid, density and precision hold the expected value
in 90-99 % of cases, except precision close to 1, whose intervals are far too narrow there. Coverage and recall are less like a mean: near 1 their intervals are too wide, and where a model
reaches less than half of the real images they are up to a quarter too narrow (83-91 %).

The interval speaks of the samples alone. The real images are held fixed, and retraining the model varies far more:
that is what the verdict's fresh seeds are for.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from maestune.errors import MetricError
from maestune.quality.metric import Array, Limits, Members
from maestune.types import Score

REPLICATES = 24
CONFIDENCE = 0.95


def half_samples(n: int, rng: np.random.Generator, replicates: int = REPLICATES) -> Members:
    """Random halves of n samples: (replicates, n), each row with n // 2 members."""
    if n < 4:
        raise MetricError(f"An interval needs halves of at least 2 samples, and there are only {n} samples in all.")
    order = rng.permuted(np.tile(np.arange(n), (replicates, 1)), axis=1)
    return order < n // 2


def half_sample_interval(value: float, replicates: Array, limits: Limits) -> Score:
    """The value with its 95 % interval: ± t₀.₉₇₅(B-1) standard deviations of the halves, kept within the limits."""
    spread = float(np.std(replicates, ddof=1))
    reach = float(stdtrit(len(replicates) - 1, (1.0 + CONFIDENCE) / 2.0)) * spread
    low, high = max(value - reach, limits[0]), min(value + reach, limits[1])
    if not math.isfinite(value) or not low <= value <= high:
        raise MetricError(f"The value {value:g} lies outside what its metric can be ({limits[0]:g} … {limits[1]:g}).")
    return Score(value, low, high)
