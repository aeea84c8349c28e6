"""Small VAEs in double precision, their batches and noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from maestune.data import DataSpec
from maestune.families.base import Player
from maestune.families.vae import VAE
from maestune.families.vae.losses import LIKELIHOODS
from maestune.families.vae.networks import VaeModel
from maestune.types import Config

B = 6
Z = 5
SPEC = DataSpec((1, 8, 8))
COLOUR = DataSpec((3, 8, 8))
FAMILY = VAE()
SPACES = {network: FAMILY.space(SPEC, network) for network in ("mlp", "conv")}
STRUCTURES = [(likelihood, network) for likelihood in LIKELIHOODS for network in ("mlp", "conv")]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def config_of(network: str = "mlp", **values: Any) -> Config:
    """A small config; sizes are below the space's, so they are put in afterwards."""
    return SPACES[network].complete(values).with_(batch_size=B, width=8, latent_dim=Z)


def model_of(config: Config, spec: DataSpec = SPEC, seed: int = 0) -> VaeModel:
    return FAMILY.build(config, spec, rng(seed)).double()


def noise_of(player: Player, seed: int = 0) -> dict[str, Tensor]:
    g = rng(seed)
    assert all(draw.kind == "normal" for draw in player.noise.values())
    return {name: torch.randn(draw.shape, generator=g, dtype=torch.float64) for name, draw in player.noise.items()}


def images(seed: int = 0, n: int = B, spec: DataSpec = SPEC) -> Tensor:
    """Images (n, C, H, W) in double precision whose pixels are among the 256 levels, the two end ones included."""
    levels = torch.randint(0, 256, (n, *spec.image), generator=rng(seed))
    levels[:, :, 0, 0], levels[:, :, 0, 1] = 0, 255
    return levels.double() / 127.5 - 1.0


def indifferent(model: VaeModel, level: float = 0.3) -> VaeModel:
    """The model with a decoder that does not look at the latents: all pixels have logits `level`."""
    last = [layer for layer in model.network.decoder.layers if isinstance(layer, nn.Linear | nn.ConvTranspose2d)][-1]
    with torch.no_grad():
        last.weight.zero_()
        assert last.bias is not None
        last.bias.fill_(level)
    return model


def believing(model: VaeModel, mean: float = 0.0, log_variance: float = 0.0) -> VaeModel:
    """The model with an encoder that thinks the same of every image."""
    last = [layer for layer in model.network.encoder.layers if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([mean, log_variance]).repeat_interleave(len(last.bias) // 2))
    return model
