import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance

from maestune.errors import MetricError
from maestune.quality.metric import Array
from maestune.quality.metrics import kernel
from maestune.quality.metrics.kernel import kernel_distance


def _brute_force(x: Array, y: Array) -> float:
    d = x.shape[1]

    def k(a: Array, b: Array) -> float:
        return float((a @ b / d + 1) ** 3)

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


class _AsFeatures(nn.Module):
    """Takes uint8 images (N, 1, 1, d) for features (N, d)."""

    num_features = 8

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).double() / 255


@pytest.mark.filterwarnings("ignore")  # torchmetrics warns about the memory of its own buffers
def test_equals_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.randint(0, 200, (60, 1, 1, 8), generator=generator, dtype=torch.uint8)
    fake = torch.randint(50, 256, (60, 1, 1, 8), generator=generator, dtype=torch.uint8)
    theirs = KernelInceptionDistance(feature=_AsFeatures(), subsets=1, subset_size=60).double()
    theirs.set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    features = _AsFeatures()
    ours = kernel_distance(features(real).numpy(), features(fake).numpy())
    assert ours == pytest.approx(float(theirs.compute()[0]), rel=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 12), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_equals_the_definition(seed: int, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.5
    expected = pytest.approx(_brute_force(x, y), rel=1e-9, abs=1e-9)
    assert kernel_distance(x, y) == expected
    assert kernel_distance(x, rng.permutation(y)) == expected


def test_blocks_do_not_change_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 6)), rng.normal(size=(37, 6))
    whole = kernel_distance(x, y)
    monkeypatch.setattr(kernel, "BLOCK_ROWS", 8)
    assert kernel_distance(x, y) == pytest.approx(whole, rel=1e-12)


def test_is_unbiased_where_the_distributions_are_equal() -> None:
    rng = np.random.default_rng(0)
    values = np.array([kernel_distance(rng.normal(size=(20, 4)), rng.normal(size=(20, 4))) for _ in range(300)])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert values.min() < 0


def test_unusable_features_are_refused() -> None:
    with pytest.raises(MetricError, match="at least 2"):
        kernel_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(MetricError, match="not finite"):
        kernel_distance(np.zeros((5, 3)), np.full((5, 3), np.nan))
