"""What clipped density and clipped coverage need beside the balls of `neighbours`.

Salvy et al. 2025, arXiv:2507.01761, and their published code for what the paper leaves open. Clipped density: no ball
around a real sample is larger than the median one; a sample counts for as many balls as it lies in, K at most, and the mean
over samples is divided by the same of real samples. Clipped coverage: a real sample counts for as many samples as lie in its
ball, K at most; the mean is turned into the share of good samples, out of as many, that would reach as much on average.
Both are at most 1 and fall in proportion to the share of bad samples. Between two shares we interpolate, where the
published code takes the next one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln  # pyright: ignore[reportMissingTypeStubs]

from maestune.quality.metric import Array
from maestune.quality.metrics.distances import blocks, squared_distances


def typical_crowding(values: Array, radii: Array, k: int) -> float:
    """In how many balls (N squared radii) of others a row (N, d) lies, k at most, in parts of k: the mean over rows."""
    # The k-th neighbour lies on the ball: rounding, which differs with the shape of a block, must not put it outside.
    reach = radii * (1.0 + 1e-9)
    balls = np.zeros(len(values))
    parts = list(blocks(len(values)))
    for a, rows in enumerate(parts):
        for columns in parts[a:]:  # each block serves its rows and its columns
            distances = squared_distances(values[rows], values[columns])
            if columns == rows:
                np.fill_diagonal(distances, np.inf)
            else:
                balls[rows] += np.count_nonzero(distances <= reach[columns], axis=1)
            balls[columns] += np.count_nonzero(distances <= reach[rows, None], axis=0)
    return float(np.minimum(balls / k, 1.0).mean())


def calibrated_coverage(raw: Array, n_real: int, sizes: NDArray[np.int_], k: int) -> Array:
    """Share of good samples that explains each raw clipped coverage (B,) of subsets of these sizes."""
    shares = np.empty(len(raw))
    for size in np.unique(sizes):
        same = sizes == size
        shares[same] = np.interp(
            raw[same], expected_coverage(n_real, int(size), k), np.linspace(0.0, 1.0, int(size) + 1)
        )
    return shares


@lru_cache(maxsize=16)
def expected_coverage(n_real: int, n: int, k: int) -> Array:
    """Raw clipped coverage (n + 1,) that 0 … n good samples reach on average.

    The ball to the k-th nearest of n_real - 1 others holds a share of the distribution that is Beta(k, n_real - k), whatever
    the distribution; how many of m samples fall into it is then beta-binomial.
    """
    m, j = np.arange(n + 1)[:, None], np.arange(k)[None, :]
    rest = np.maximum(m - j, 0)
    log_share = (
        gammaln(m + 1) - gammaln(j + 1) - gammaln(rest + 1) + betaln(k + j, n_real - k + rest) - betaln(k, n_real - k)
    )
    subset = np.where(j <= m, np.exp(log_share), 0.0)  # chance of j samples in the ball
    return 1.0 - ((k - j) * subset).sum(axis=1) / k


def clipped_coverage_error(inside: NDArray[np.bool_], value: float, k: int) -> float:
    """Standard error of a clipped coverage, `inside` (Nr, N): the jackknife's of the raw one, calibrated.

    Without a sample, a real sample counts for one less if it was reached by k samples or fewer. The jackknife is not too small
    on average (Efron & Stein 1981).
    """
    n_real, n = inside.shape
    counting = np.count_nonzero(inside, axis=1) <= k
    lost = np.count_nonzero(inside[counting], axis=0) / (k * n_real)
    raw = float(np.sqrt((n - 1.0) * lost.var()))
    expected = expected_coverage(n_real, n, k)
    at = min(int(value * n), n - 1)
    return raw / float((expected[at + 1] - expected[at]) * n)
