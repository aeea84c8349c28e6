"""How labels enter a GAN: beside the latents or the image, or as a direction in the discriminator's last features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.families.layers import Filled, Labelled, Spectral, SpectralLinear

EMBEDDING = 16  # numbers that stand for a class beside latents or pixels


class JoinLabel(Labelled):
    """Some learnt numbers for the class, beside what else is there (Mirza & Osindero 2014, arXiv 1411.1784).

    Beside latents or features (B, F) as further features, beside an image or map (B, C, H, W) as constant channels.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, EMBEDDING))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """(B, F) → (B, F + 16), (B, C, H, W) → (B, C + 16, H, W)."""
        found = F.embedding(label, self.weight)
        if x.ndim == 4:
            found = found[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return torch.cat((x, found), 1)

    def fill(self, generator: torch.Generator, spread: float | None) -> None:
        """N(0, 1), as the latents beside it."""
        self.weight.normal_(generator=generator)


class Projection(Labelled):
    """The discriminator's score D(x, y) = ψ(φ) + ⟨V_y, φ⟩ of features φ (Miyato & Koyama 2018, arXiv 1802.05637).

    ψ is linear, with or without a bias. `spectral`: spectral norm in ψ and V, as the authors have it.
    """

    def __init__(self, features: int, classes: int, *, bias: bool = True, spectral: bool = False) -> None:
        super().__init__()
        self.score = (SpectralLinear if spectral else nn.Linear)(features, 1, bias=bias)
        self.classes = (SpectralTable if spectral else Table)(classes, features)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """(B, F) → (B, 1)."""
        return self.score(x) + (self.classes(label) * x).sum(1, keepdim=True)

    def fill(self, generator: torch.Generator, spread: float | None) -> None:
        """Nothing of its own."""


class Table(Filled):
    """One learnt vector for each class."""

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, features))

    def forward(self, label: Tensor) -> Tensor:
        """The vectors (B, F) of the labels."""
        return F.embedding(label, self.weight)

    def fill(self, generator: torch.Generator, spread: float | None) -> None:
        """As a dense layer's weight."""
        bound = self.weight.shape[1] ** -0.5
        if spread is None:
            self.weight.uniform_(-bound, bound, generator=generator)
        else:
            self.weight.normal_(0.0, spread, generator=generator)


class SpectralTable(Table, Spectral):
    """The same with spectral norm of all vectors as a matrix (classes, features)."""

    def __init__(self, classes: int, features: int) -> None:
        super().__init__(classes, features)
        self._register_vectors()

    def forward(self, label: Tensor) -> Tensor:
        """The vectors (B, F) of the labels."""
        return F.embedding(label, self.normalised())
