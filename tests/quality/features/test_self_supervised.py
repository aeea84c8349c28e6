import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from maestune.data import ImageData, to_float
from maestune.quality.features.cache import prepare_extractor
from maestune.quality.features.self_supervised import BRIGHTNESS, vicreg, view


def test_the_loss_is_that_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(7, 3, generator=generator, dtype=torch.float64) for _ in range(2))

    def naive(x: np.ndarray, y: np.ndarray) -> float:
        n, d = x.shape
        invariance = sum(((x[i] - y[i]) ** 2).sum() for i in range(n)) / (n * d)
        variance = covariance = 0.0
        for z in (x, y):
            for j in range(d):
                variance += max(0.0, 1.0 - np.sqrt(np.var(z[:, j], ddof=1) + 1e-4)) / (2 * d)
                for k in range(d):
                    if j != k:
                        covariance += np.cov(z.T)[j, k] ** 2 / d
        return 25 * invariance + 25 * variance + covariance

    assert float(vicreg(a, b)) == pytest.approx(naive(a.numpy(), b.numpy()), rel=1e-10)


def test_views_are_moved_lightened_and_patched_but_neither_blurred_nor_noisy(digits: ImageData) -> None:
    images = to_float(digits.train.images[:200])
    seen = view(images, torch.Generator().manual_seed(0))
    assert seen.shape == images.shape
    assert torch.isfinite(seen).all()
    assert seen.abs().max() <= 1.2 * 2 + BRIGHTNESS
    assert not torch.equal(seen, view(images, torch.Generator().manual_seed(1)))
    assert torch.equal(seen, view(images, torch.Generator().manual_seed(0)))
    # An image has as many different values as before, or fewer: nothing was interpolated, and nothing added to pixels.
    for before, after in zip(images, seen, strict=True):
        assert len(torch.unique(after.mul(1e4).round())) <= len(torch.unique(before)) + 1


def test_a_flat_image_only_changes_its_brightness() -> None:
    flat = torch.full((5, 3, 12, 9), 0.2)
    seen = view(flat, torch.Generator().manual_seed(0))
    # The missing patch has the mean, which the others are lightened from.
    assert ((seen - 0.2).abs() <= BRIGHTNESS + 1e-6).all()


def test_classes_that_nobody_told_can_be_read_from_its_features(
    digits: ImageData, unlabelled: ImageData, quality_cache
) -> None:
    def read(kind: str) -> float:
        extractor = prepare_extractor(unlabelled, kind=kind, cache=quality_cache)
        train, test = (extractor.extract(part.images).values for part in (digits.train, digits.search))
        return LogisticRegression(max_iter=2000).fit(train, digits.train.labels).score(test, digits.search.labels)

    assert read("ssl") > max(0.93, read("random"))
