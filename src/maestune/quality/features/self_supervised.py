"""Feature extractors that learn without labels: two views of an image should be seen alike, and different images differently.

VICReg (Bardes et al. 2022, arXiv:2105.04906): the features of two views of an image are pulled together, while
each feature must keep varying over the images (variance) and no two may say the same (covariance). No negatives, hence
no large batches.

What views differ in becomes invisible, so they differ in what an evaluator need not see: a small move, brightness,
contrast, a patch that is missing. They never differ in blur, noise or colour casts of single pixels, which an evaluator must
see, and are never interpolated, which would blur them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from maestune.data import ImageData, Images
from maestune.quality.features.extractor import Extractor, make_extractor
from maestune.quality.features.learning import learn
from maestune.quality.features.networks import FEATURES, Encoder, folded, initialised, multiply_adds

BATCH_SIZE = 128
EPOCHS = 50
LEARNING_RATE = 5e-3
EXPANDED = 256  # dimensions in which the loss is told
INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0  # weights of the paper
REACH = 8  # a view is moved by up to an eighth of the image's side
CONTRAST, BRIGHTNESS = 0.2, 0.1
PATCH = 3  # a third of the side is missing in a patch


class Expander(nn.Module):
    """Features (N, 64) → (N, 256), where the loss looks; used only while learning."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, EXPANDED), nn.ReLU(), nn.Linear(EXPANDED, EXPANDED))

    def forward(self, features: Tensor) -> Tensor:
        """Expanded features (N, 256)."""
        return self.layers(features)


def fit_self_supervised(data: ImageData, generator: torch.Generator, why: str) -> Extractor:
    """An encoder fitted by VICReg to the training images; its 64 values before the expander are the features."""
    encoder = initialised(Encoder, generator, data.shape, 0, normalised=True)
    expander = initialised(Expander, generator)

    def loss(batch: Tensor, raw: Images) -> Tensor:
        both = torch.cat([view(batch, generator), view(batch, generator)])
        return vicreg(*expander(encoder(both)[0]).chunk(2))

    cost = 2.0 * (multiply_adds(data.shape) + EXPANDED * (FEATURES + EXPANDED))
    learn(
        [encoder, expander], loss, data.train, cost, generator,
        batch_size=BATCH_SIZE, epochs=EPOCHS, rate=LEARNING_RATE,
    )  # fmt: skip
    description = f"a self-supervised encoder (VICReg) trained on {len(data.train):,} training images, because {why}"
    return make_extractor("ssl", folded(encoder, data.shape, 0), data.train.images, 0, description)


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    """The loss (scalar) of expanded features (N, d) of two views of each of N images."""
    return (
        INVARIANCE * functional.mse_loss(first, second)
        + VARIANCE * (_variance(first) + _variance(second)) / 2
        + COVARIANCE * (_covariance(first) + _covariance(second))
    )


def _variance(values: Tensor) -> Tensor:
    """How far the standard deviations stay below 1, in the mean over dimensions."""
    return functional.relu(1.0 - (values.var(dim=0) + 1e-4).sqrt()).mean()


def _covariance(values: Tensor) -> Tensor:
    """The squared covariances of different dimensions, summed and divided by their number."""
    centred = values - values.mean(dim=0)
    covariance = centred.T @ centred / (len(values) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / values.shape[1]


def view(batch: Tensor, generator: torch.Generator) -> Tensor:
    """One view of each image (N, C, H, W) in [-1, 1]: moved, of other contrast and brightness, a patch set to its mean."""
    n, _, height, width = batch.shape
    rows = torch.arange(height)[None, :] + _whole(n, max(1, height // REACH), generator)[:, None]
    columns = torch.arange(width)[None, :] + _whole(n, max(1, width // REACH), generator)[:, None]
    here = torch.arange(n)[:, None, None]
    moved = batch.permute(0, 2, 3, 1)[
        here, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    ].permute(0, 3, 1, 2)
    gain = 1.0 + CONTRAST * (2.0 * torch.rand(n, 1, 1, 1, generator=generator) - 1.0)
    offset = BRIGHTNESS * (2.0 * torch.rand(n, 1, 1, 1, generator=generator) - 1.0)
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    missing = _patch(n, height, generator)[:, None, :, None] & _patch(n, width, generator)[:, None, None, :]
    return torch.where(missing, mean, (moved - mean) * gain + mean + offset)


def _whole(n: int, reach: int, generator: torch.Generator) -> Tensor:
    """n whole numbers from -reach to reach."""
    return torch.randint(-reach, reach + 1, (n,), generator=generator)


def _patch(n: int, side: int, generator: torch.Generator) -> Tensor:
    """Which of the rows (or columns) are missing in each of n images (n, side)."""
    start = torch.randint(0, side, (n, 1), generator=generator)
    there = torch.arange(side)[None, :]
    return (there >= start) & (there < start + max(1, side // PATCH))
