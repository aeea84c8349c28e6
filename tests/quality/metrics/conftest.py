from collections.abc import Callable

import numpy as np
import pytest

from maestune.quality.metric import Array, Features

Seen = Callable[..., Features]


def _seen(n: int, d: int = 4, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> Features:
    """Everything that can be seen in n images: features around 0, and whatever else there is, made of them."""
    rng = np.random.default_rng(seed)
    return everything(scale * rng.normal(size=(n, d)) + shift)


def everything(values: Array) -> Features:
    d = values.shape[1]
    logits = 2.0 * values[:, : min(3, d)]
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    asked = probabilities.argmax(axis=1)
    places = np.stack([values[:, :2], 0.5 * values[:, :2] + values[:, -2:]], axis=1)
    agreement = np.tanh(values[:, 0])
    rank = 1 + (np.abs(values[:, 1]) * 3).astype(np.int64)
    yes = 1.0 / (1.0 + np.exp(-values[:, 0]))
    return Features(values, probabilities, asked, places, values[:, ::-1].copy(), asked, agreement, rank, yes=yes)


@pytest.fixture(scope="session")
def seen() -> Seen:
    return _seen


@pytest.fixture(scope="session")
def all_of() -> Callable[[Array], Features]:
    return everything
