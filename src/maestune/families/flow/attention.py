"""Attention among the tokens of an image or a caption, as transformers have it (Vaswani et al. 2017, arXiv 1706.03762)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Added to what must not be attended to. Finite: where nothing may be, attention is even instead of NaN.
FORBIDDEN = -1e9


class Attention(nn.Module):
    """Self-attention over tokens (B, T, W); with `context`, tokens also attend to those of a sequence (B, L, context).

    Keys and values of both stand beside each other under one softmax, as in the joint attention of Esser et al. 2024
    (arXiv 2403.03206), but the context itself is not changed.
    """

    def __init__(self, width: int, heads: int, context: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.context_kv = nn.Linear(context, 2 * width) if context else None
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """(B, T, W) → the same shape. `bias` (B, keys): added to what each key gets; 0 or FORBIDDEN."""
        q, k, v = self._split(self.qkv(x), 3)
        if self.context_kv is not None and context is not None:
            more_k, more_v = self._split(self.context_kv(context), 2)
            k, v = torch.cat((k, more_k), 2), torch.cat((v, more_v), 2)
        # Written out: the fused kernel is called for one member after the other under vmap.
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)  # (B, heads, T, keys)
        if bias is not None:
            logits = logits + bias[:, None, None, :]
        return self.out((torch.softmax(logits, 3) @ v).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        # (B, T, parts · W) → as many of (B, heads, T, W / heads)
        return x.unflatten(2, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def padding_bias(is_word: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the attention of each word (B, L): 0 for words, FORBIDDEN for padding."""
    return torch.where(is_word, 0.0, FORBIDDEN).to(dtype)
