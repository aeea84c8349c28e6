"""A small diffusion transformer: an image as patches, what is asked for as shifts, scales and gates of every block.

Peebles & Xie 2023, Scalable Diffusion Models with Transformers (arXiv 2212.09748): adaLN-zero, by which every block
begins as the identity.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.families.flow.attention import Attention
from maestune.families.flow.text import PLACE_SPREAD, Condition, Table
from maestune.families.layers import Dropout

FEEDFORWARD = 4  # hidden units of a block, relative to its width; as in DiT
MODULATIONS = 6  # of a block: shift, scale and gate of the attention and of the feedforward


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Tokens (B, T, W), normalised, then scaled by 1 + scale and shifted (B, W)."""
    return F.layer_norm(x, x.shape[-1:]) * (1.0 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    """Attention, then a feedforward network, each behind a modulated norm and a gate."""

    def __init__(self, width: int, heads: int, tokens: int, words: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, context=words)
        self.up, self.down = nn.Linear(width, FEEDFORWARD * width), nn.Linear(FEEDFORWARD * width, width)
        self.dropout = Dropout((tokens, width))

    def forward(
        self, x: Tensor, modulation: Tensor, asked: Condition | None, mask: Tensor | None, rate: float | Tensor
    ) -> Tensor:
        """(B, T, W) with six modulations (B, 6 W) → the same shape."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = modulation.chunk(MODULATIONS, 1)
        words, bias = (None, None) if asked is None or asked.words is None else (asked.words, asked.bias)
        if bias is not None:  # every patch may be attended to
            bias = torch.cat((torch.zeros_like(x[..., 0]), bias), 1)
        x = x + gate_a[:, None] * self.attention(modulated(x, shift_a, scale_a), words, bias)
        y = self.down(F.gelu(self.up(modulated(x, shift_f, scale_f)), approximate="tanh"))
        if mask is not None:
            y = self.dropout(y, mask, rate)
        return x + gate_f[:, None] * y


class DiT(nn.Module):
    """(B, C, H, W) and a vector (B, width) of time and condition → a velocity (B, C, H, W).

    `patch`: side of the square patches that are one token each; divides H and W. `words`: width of the words that are
    attended to, 0 for none. All modulations are one product of
    matrices: every block's own layer of DiT beside the others.
    """

    def __init__(self, image: tuple[int, int, int], patch: int, width: int, depth: int, heads: int, words: int) -> None:
        super().__init__()
        self.image, self.patch = image, patch
        c, h, w = image
        tokens, values = (h // patch) * (w // patch), c * patch * patch
        self.embed, self.positions = nn.Linear(values, width), Table(tokens, width, PLACE_SPREAD)
        self.blocks = nn.ModuleList(Block(width, heads, tokens, words) for _ in range(depth))
        self.modulation = nn.Linear(width, (MODULATIONS * depth + 2) * width)
        self.out = nn.Linear(width, values)
        self.dropout_shapes: tuple[tuple[int, ...], ...] = ((tokens, width),) * depth

    def forward(
        self,
        x: Tensor,
        vector: Tensor,
        asked: Condition | None = None,
        masks: Sequence[Tensor] = (),
        rate: float | Tensor = 0.0,
    ) -> Tensor:
        """`asked`: for words that are attended to. `masks`: uniforms of each dropout, none for no dropout."""
        width = vector.shape[1]
        modulations = self.modulation(F.silu(vector))
        own, (shift, scale) = modulations[:, : -2 * width], modulations[:, -2 * width :].chunk(2, 1)
        tokens = self.embed(self._patches(x)) + self.positions.weight
        for i, (block, part) in enumerate(zip(self.blocks, own.chunk(len(self.blocks), 1), strict=True)):
            tokens = block(tokens, part, asked, masks[i] if masks else None, rate)
        return self._image(self.out(modulated(tokens, shift, scale)))

    @property
    def begin_at_zero(self) -> tuple[nn.Linear, ...]:
        """Layers whose weights begin at 0: with them blocks begin as the identity and the velocity as 0."""
        return (self.modulation, self.out)

    def _patches(self, x: Tensor) -> Tensor:
        # (B, C, H, W) → (B, H/p · W/p, C p²)
        p = self.patch
        return x.unflatten(3, (-1, p)).unflatten(2, (-1, p)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def _image(self, tokens: Tensor) -> Tensor:
        # (B, H/p · W/p, C p²) → (B, C, H, W)
        (c, h, w), p = self.image, self.patch
        return (
            tokens.unflatten(2, (c, p, p)).unflatten(1, (h // p, w // p)).permute(0, 3, 1, 4, 2, 5).reshape(-1, c, h, w)
        )
