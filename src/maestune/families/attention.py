"""Attention between the pixels of a feature map, for convolutional networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.families.layers import Filled, SpectralLinear

# Zhang et al. 2019: channels of queries and keys, of values, relative to those of the map.
QUERY_SHARE, VALUE_SHARE = 8, 2


class SelfAttention(Filled):
    """Self-attention over the pixels of a map (SAGAN: Zhang et al. 2019, arXiv 1805.08318): y = x + g · O(softmax(QKᵀ)V).

    Keys and values are of the map at half its side (largest of each 2 × 2), as in the authors' code; the 1 × 1 convolutions Q,
    K, V and O have no bias. The gain g begins at 0, so that a network begins as it would without. `spectral`: spectral norm
    in all four. Written as products of matrices, because the fused kernels cannot be differentiated twice, as penalties on
    gradients need it.
    """

    def __init__(self, channels: int, *, spectral: bool = False) -> None:
        super().__init__()
        linear = SpectralLinear if spectral else nn.Linear
        few, some = max(1, channels // QUERY_SHARE), max(1, channels // VALUE_SHARE)
        self.query = linear(channels, few, bias=False)
        self.key = linear(channels, few, bias=False)
        self.value = linear(channels, some, bias=False)
        self.output = linear(some, channels, bias=False)
        self.gain = nn.Parameter(torch.empty(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape; H and W at least 2."""
        pixels = x.flatten(2).transpose(1, 2)  # (B, N, C)
        queries, keys, values = self.query(pixels), *self._halved(x, pixels)
        attention = torch.softmax(queries @ keys.transpose(1, 2), 2)  # (B, N, N/4)
        found = self.output(attention @ values)
        return x + self.gain * found.transpose(1, 2).reshape(x.shape)

    def _halved(self, x: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (B, N/4, C/8) and values (B, N/4, C/2)."""
        both = torch.cat((self.key(pixels), self.value(pixels)), 2).transpose(1, 2).unflatten(2, x.shape[2:])
        small = F.max_pool2d(both, 2).flatten(2).transpose(1, 2)
        keys, values = small.split((self.key.out_features, self.value.out_features), 2)
        return keys, values

    def fill(self, generator: torch.Generator, spread: float | None) -> None:
        """The gain begins at 0."""
        self.gain.zero_()
