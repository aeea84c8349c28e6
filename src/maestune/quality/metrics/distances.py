"""Distances between features: in blocks, so that memory grows with the number of samples and not with its square."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from maestune.quality.metric import Array

BLOCK_ROWS = 1024
# ‖x‖² + ‖y‖² - 2xᵀy is exact to a few units in the last place of its terms; smaller results are rounding.
ROUNDING = 1e-13


def blocks(n: int, rows: int | None = None) -> Iterator[slice]:
    """Slices that cover n rows, at most `rows` (BLOCK_ROWS) at a time."""
    step = rows or BLOCK_ROWS
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def squared_distances(x: Array, y: Array) -> Array:
    """Squared Euclidean distances (N, M) between the rows of x (N, d) and y (M, d); exactly 0 below rounding error."""
    x_squares, y_squares = (x * x).sum(axis=1), (y * y).sum(axis=1)
    one_x, one_y = np.ones((len(x), 1)), np.ones((len(y), 1))
    # One product makes all three terms: three passes over a large matrix less.
    distances = np.hstack([-2.0 * x, x_squares[:, None], one_x]) @ np.hstack([y, one_y, y_squares[:, None]]).T
    doubtful = distances <= ROUNDING * (x_squares.max(initial=0.0) + y_squares.max(initial=0.0))
    if doubtful.any():
        i, j = np.nonzero(doubtful)
        values = distances[i, j]
        values[values <= ROUNDING * (x_squares[i] + y_squares[j])] = 0.0
        distances[i, j] = values
    return distances


def nearest(x: Array, y: Array) -> tuple[NDArray[np.intp], Array]:
    """Which row of y is nearest to each row of x, and its squared distance: both (N,)."""
    which, distance = np.empty(len(x), dtype=np.intp), np.empty(len(x))
    for rows in blocks(len(x)):
        found, least = np.zeros(rows.stop - rows.start, dtype=np.intp), np.full(rows.stop - rows.start, np.inf)
        here = np.arange(len(found))
        for columns in blocks(len(y), 4 * BLOCK_ROWS):
            block = squared_distances(x[rows], y[columns])
            best = block.argmin(axis=1)
            closer = block[here, best] < least
            found = np.where(closer, best + columns.start, found)
            least = np.where(closer, block[here, best], least)
        which[rows], distance[rows] = found, least
    return which, distance


def neighbour_radii(values: Array, k: int) -> Array:
    """Squared distance (N,) of each row to its k-th nearest other row; inf where there are not so many others."""
    least = np.full((len(values), k), np.inf)
    parts = list(blocks(len(values)))
    for a, rows in enumerate(parts):
        for columns in parts[a:]:  # distances are symmetric: each block serves its rows and its columns
            block = squared_distances(values[rows], values[columns])
            if columns == rows:
                np.fill_diagonal(block, np.inf)  # nobody is its own neighbour
            else:
                least[columns] = _least(least[columns], np.ascontiguousarray(block.T), k)
            least[rows] = _least(least[rows], block, k)
    return least.max(axis=1)


def _least(known: Array, block: Array, k: int) -> Array:
    """The k least of each row (N, k) of both."""
    best = np.partition(block, k - 1, axis=1)[:, :k] if block.shape[1] > k else block
    return np.partition(np.hstack([known, best]), k - 1, axis=1)[:, :k]


def nearest_others(values: Array, count: int) -> tuple[NDArray[np.intp], Array]:
    """The `count` nearest other rows of each row, nearest first: their numbers and squared distances, both (N, count).

    At most N - 1 of them, where there are no more.
    """
    n = len(values)
    count = min(count, n - 1)
    which, distance = np.empty((n, count), dtype=np.intp), np.empty((n, count))
    for rows in blocks(n):
        block = squared_distances(values[rows], values)
        here = np.arange(len(block))
        block[here, rows.start + here] = np.inf
        best = np.argpartition(block, count - 1, axis=1)[:, :count] if count < n - 1 else np.argsort(block, axis=1)
        best = best[:, :count]
        found = np.take_along_axis(block, best, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        which[rows] = np.take_along_axis(best, order, axis=1)
        distance[rows] = np.take_along_axis(found, order, axis=1)
    return which, distance
