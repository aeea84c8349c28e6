"""A small U-Net: residual convolutions at falling and rising resolution, what is asked for as scales and shifts.

Ho et al. 2020 (arXiv 2006.11239) for images from noise; conditions scale and shift the features of every block (FiLM,
Perez et al. 2018, arXiv 1709.07871), as in Dhariwal & Nichol 2021 (arXiv 2105.05233).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.families.flow.attention import Attention
from maestune.families.flow.text import Condition
from maestune.families.layers import Conv2d, Dropout, GroupNorm

GROUPS = 8  # of a group norm
SMALLEST_SIDE = 4  # pixels, of the coarsest level
MOST_LEVELS = 4


def unet_channels(image: tuple[int, int, int], width: int) -> tuple[int, ...]:
    """Channels of each level, the finest first: the side is halved while it is even and stays at least 4, three times at
    most; channels double once.

    >>> unet_channels((1, 8, 8), 32), unet_channels((1, 28, 28), 32), unet_channels((3, 7, 7), 32)
    ((32, 64), (32, 64, 64), (32,))
    """
    _, h, w = image
    levels = 1
    while h % 2 == 0 and w % 2 == 0 and min(h, w) >= 2 * SMALLEST_SIDE and levels < MOST_LEVELS:
        h, w, levels = h // 2, w // 2, levels + 1
    return tuple(width * min(2**level, 2) for level in range(levels))


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions behind norms; between them the features are scaled and shifted by the condition."""

    def __init__(self, inputs: int, outputs: int, features: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = GroupNorm(_groups(inputs), inputs), GroupNorm(_groups(outputs), outputs)
        self.conv_in, self.conv_out = Conv2d(inputs, outputs, 3, padding=1), Conv2d(outputs, outputs, 3, padding=1)
        self.film = nn.Linear(features, 2 * outputs)
        self.dropout = Dropout((outputs, 1, 1))
        self.past = Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, vector: Tensor, mask: Tensor | None, rate: float | Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        scale, shift = self.film(vector)[:, :, None, None].chunk(2, 1)
        y = self.conv_in(F.silu(self.norm_in(x)))
        y = F.silu(self.norm_out(y) * (1.0 + scale) + shift)
        if mask is not None:
            y = self.dropout(y, mask, rate)
        return (x if self.past is None else self.past(x)) + self.conv_out(y)


class PixelAttention(nn.Module):
    """Attention among the pixels of the coarsest level, and of these to the words."""

    def __init__(self, channels: int, heads: int, words: int) -> None:
        super().__init__()
        self.norm = GroupNorm(_groups(channels), channels)
        self.attention = Attention(channels, heads, context=words)

    def forward(self, x: Tensor, words: Tensor | None, bias: Tensor | None) -> Tensor:
        """(B, C, H, W) → the same shape."""
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(pixels, words, bias).transpose(1, 2).unflatten(2, x.shape[2:])


class UNet(nn.Module):
    """(B, C, H, W) and a vector (B, features) of time and condition → a velocity (B, C, H, W).

    `depth`: residual blocks of a level on the way down; one more on the way up. `words`: width of the words that are
    attended to, 0 for none.
    """

    def __init__(
        self, image: tuple[int, int, int], width: int, depth: int, heads: int, features: int, words: int
    ) -> None:
        super().__init__()
        channels = unet_channels(image, width)
        self.into = Conv2d(image[0], width, 3, padding=1)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        kept, inputs, shapes = [width], width, list[tuple[int, ...]]()
        for level, outputs in enumerate(channels):
            for _ in range(depth):
                down.append(ResidualBlock(inputs, outputs, features))
                inputs = outputs
                kept.append(inputs)
            if level + 1 < len(channels):
                down.append(Conv2d(inputs, inputs, 3, stride=2, padding=1))
                kept.append(inputs)
        self.middle = nn.ModuleList(ResidualBlock(inputs, inputs, features) for _ in range(2))
        self.attention = PixelAttention(inputs, heads, words)
        for level, outputs in reversed(list(enumerate(channels))):
            for _ in range(depth + 1):
                up.append(ResidualBlock(inputs + kept.pop(), outputs, features))
                inputs = outputs
            if level:
                up.append(Conv2d(inputs, inputs, 3, padding=1))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.norm, self.out = GroupNorm(_groups(inputs), inputs), Conv2d(inputs, image[0], 3, padding=1)
        shapes = [m.dropout.shape for m in (*self.down, *self.middle, *self.up) if isinstance(m, ResidualBlock)]
        self.dropout_shapes: tuple[tuple[int, ...], ...] = tuple(shapes)

    def forward(
        self,
        x: Tensor,
        vector: Tensor,
        asked: Condition | None = None,
        masks: Sequence[Tensor] = (),
        rate: float | Tensor = 0.0,
    ) -> Tensor:
        """`asked`: for words that are attended to. `masks`: uniforms of each dropout, none for no dropout."""
        vector, uniforms = F.silu(vector), iter(masks)
        x = self.into(x)
        kept = [x]
        for layer in self.down:
            x = layer(x, vector, next(uniforms, None), rate) if isinstance(layer, ResidualBlock) else layer(x)
            kept.append(x)
        x = self.middle[0](x, vector, next(uniforms, None), rate)
        words, bias = (None, None) if asked is None or asked.words is None else (asked.words, asked.bias)
        if bias is not None:  # every pixel may be attended to
            bias = torch.cat((torch.zeros_like(x[:, 0].flatten(1)), bias), 1)
        x = self.middle[1](self.attention(x, words, bias), vector, next(uniforms, None), rate)
        for layer in self.up:
            if isinstance(layer, ResidualBlock):
                x = layer(torch.cat((x, kept.pop()), 1), vector, next(uniforms, None), rate)
            else:
                x = layer(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.out(F.silu(self.norm(x)))

    @property
    def begin_at_zero(self) -> tuple[nn.Module, ...]:
        """Layers whose weights begin at 0: with them blocks begin as the identity and the velocity as 0."""
        blocks = [m for m in self.modules() if isinstance(m, ResidualBlock)]
        return (self.out, self.attention.attention.out, *(b.conv_out for b in blocks))


def _groups(channels: int) -> int:
    return math.gcd(GROUPS, channels)
