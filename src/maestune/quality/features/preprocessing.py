"""How our images become what somebody else's network was trained on: size, channels, range. Part of every fingerprint.

Resizing is antialiased: without it small prints shift Fréchet distances by more than models differ (Parmar et al. 2022,
arXiv:2104.11222).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from maestune.data import to_uint8
from maestune.errors import MetricError

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """What is done to images (N, C, H, W) in [-1, 1] before a network of others sees them.

    `size`: they are brought to size × size by an antialiased bicubic resize, clipped to the range; None leaves them.
    `grey_to_colour`: one channel is repeated three times. `mean`, `std`: of each channel, taken from images in [0, 1] that
    are then divided; None leaves images in [-1, 1]. `whole_numbers`: uint8 in 0…255 instead.
    """

    size: int | None = None
    grey_to_colour: bool = True
    mean: Colour | None = None
    std: Colour | None = None
    whole_numbers: bool = False

    @property
    def text(self) -> str:
        """What is done, for people and for the fingerprint."""
        steps = [] if self.size is None else [f"brought to {self.size}×{self.size} (bicubic, antialiased)"]
        if self.grey_to_colour:
            steps.append("grey repeated to three channels")
        if self.whole_numbers:
            steps.append("whole numbers from 0 to 255")
        elif self.mean is not None and self.std is not None:
            steps.append(f"minus {_told(self.mean)}, divided by {_told(self.std)}")
        else:
            steps.append("from -1 to 1")
        return ", ".join(steps)

    def __call__(self, images: Tensor) -> Tensor:
        """The images as the network takes them; MetricError for a number of channels that it cannot take."""
        if self.grey_to_colour:
            if images.shape[1] not in (1, 3):
                raise MetricError(
                    f"features: the network sees grey or colour images, and these have {images.shape[1]} channels. "
                    "Use --features auto."
                )
            images = images.expand(-1, 3, -1, -1)
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            side = (self.size, self.size)
            images = functional.interpolate(images, side, mode="bicubic", antialias=True, align_corners=False)
            images = images.clamp(-1.0, 1.0)
        if self.whole_numbers:
            return to_uint8(images)
        if self.mean is None or self.std is None:
            return images.contiguous()
        mean, std = (torch.tensor(colour, device=images.device).view(1, 3, 1, 1) for colour in (self.mean, self.std))
        return ((images + 1.0) / 2.0 - mean) / std


def _told(colour: Colour) -> str:
    return "/".join(f"{value:g}" for value in colour)
