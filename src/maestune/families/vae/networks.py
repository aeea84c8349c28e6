"""Encoder and decoder: dense layers for small images, convolutions above.

The dense pair is that of Kingma & Welling 2014 (arXiv 1312.6114) with a free number of layers; the convolutional one has
DCGAN's shapes (Radford et al. 2016, arXiv 1511.06434): kernel 4 and stride 2, channels doubling with each halving of the
side. There is no batch norm: how likely an image is must not depend on those beside it.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maestune.data import DataSpec
from maestune.errors import SettingsError, did_you_mean
from maestune.families.layers import Conv2d, ConvTranspose2d, GroupNorm, Stack, initialise
from maestune.families.vae.losses import LEVEL, Likelihood, likelihood_named
from maestune.types import Config

LEAKY_SLOPE = 0.2  # Radford et al. 2016
SMALLEST_SIDE = 4  # pixels of the smallest map, where the image allows
MOST_DOUBLINGS = 3  # channels stop growing at 8 × width

# The scale of the pixels' distribution: where it starts (in a range of 2; about what untrained means miss by) and its
# floor, the spread of numbers within one of 256 levels, below which a density says nothing about levels any more.
FIRST_SCALE = 0.5
LEAST_SCALE = LEVEL / math.sqrt(12.0)

ACTIVATIONS = ("relu", "silu", "gelu", "leaky_relu", "tanh")
NORMS = ("none", "layer")


class Autoencoder(nn.Module):
    """Encoder (B, C, H, W) → (B, 2Z), decoder (B, Z) → (B, C, H, W), and the scale of the pixels, where they have one."""

    scale: nn.Parameter | None

    def __init__(self, encoder: Stack, decoder: Stack, scaled: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.register_parameter("scale", nn.Parameter(torch.empty(1)) if scaled else None)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances (B, Z) of the latents of images in [-1, 1].

        The layers see pixels in [0, 1], as those of the recipe: on MNIST ten epochs end 2 nats worse without.
        """
        mean, log_variance = self.encoder(0.5 * (x + 1.0)).chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Logits of the pixels' means (B, C, H, W)."""
        return self.decoder(z)

    @property
    def log_scale(self) -> Tensor | None:
        """Logarithm of the scale (1,), never below its floor."""
        if self.scale is None:
            return None
        floor, first = math.log(LEAST_SCALE), math.log(FIRST_SCALE)
        return floor + F.softplus(first - floor + self.scale)


class VaeModel(nn.Module):
    """The autoencoder, its moving average if any, and how pixels are distributed."""

    average: Autoencoder | None

    def __init__(self, network: Autoencoder, average: Autoencoder | None, likelihood: Likelihood) -> None:
        super().__init__()
        self.network = network
        self.average = average
        self.likelihood = likelihood

    @property
    def sampler(self) -> Autoencoder:
        """What samples and scores are made with: the average where there is one."""
        return self.network if self.average is None else self.average


def build_model(config: Config, spec: DataSpec, generator: torch.Generator) -> VaeModel:
    """The model with fresh weights, drawn from the generator alone, on its device."""
    likelihood = likelihood_named(config.text("likelihood", "bernoulli"))
    coders = _conv_coders if config.text("network") == "conv" else _mlp_coders
    with torch.device("meta"):  # layers are made without values, so that no global random state is touched
        networks = [Autoencoder(*coders(config, spec), likelihood.scaled)]
        if config.number("ema", 0.0) > 0:
            networks.append(Autoencoder(*coders(config, spec), likelihood.scaled))
    for network in networks:
        network.to_empty(device=generator.device)
    first = networks[0]
    initialise(first, generator)
    if first.scale is not None:
        nn.init.zeros_(first.scale)
    average = None
    if len(networks) == 2:
        average = networks[1].requires_grad_(False)
        average.load_state_dict(first.state_dict())
    return VaeModel(first, average, likelihood)


def conv_sizes(shape: tuple[int, int, int], width: int) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Size (h, w) of the smallest map and the channels of each halving from the image inwards.

    The side is halved while it is even and stays at least 4, and at least once.

    >>> conv_sizes((1, 28, 28), 32), conv_sizes((3, 64, 64), 32), conv_sizes((1, 6, 6), 8)
    (((7, 7), (32, 64)), ((4, 4), (32, 64, 128, 256)), ((3, 3), (8,)))
    """
    _, h, w = shape
    halvings = 0
    while h % 2 == 0 and w % 2 == 0 and (min(h, w) >= 2 * SMALLEST_SIDE or (halvings == 0 and min(h, w) >= 2)):
        h, w, halvings = h // 2, w // 2, halvings + 1
    if halvings == 0:
        raise SettingsError(
            f"network: conv cannot be used for images of {shape[1]}×{shape[2]} pixels; height and width must be even. "
            "Resize the images (28, 32, 48, 64 and 128 work well) or use --set network=mlp."
        )
    return (h, w), tuple(width << min(halving, MOST_DOUBLINGS) for halving in range(halvings))


def _behind(config: Config, channels: int) -> list[nn.Module]:
    """What stands behind every hidden layer: norm and activation."""
    norm, activation = config.text("norm", "none"), config.text("activation", "relu")
    if norm not in NORMS:
        raise SettingsError(f"norm: {norm!r} is no norm of a VAE. {did_you_mean(norm, NORMS)}")
    made: dict[str, nn.Module] = {
        "relu": nn.ReLU(),
        "silu": nn.SiLU(),
        "gelu": nn.GELU(),
        "leaky_relu": nn.LeakyReLU(LEAKY_SLOPE),
        "tanh": nn.Tanh(),
    }
    if activation not in made:
        raise SettingsError(f"activation: {activation!r} is not known. {did_you_mean(activation, made)}")
    return [*([GroupNorm(1, channels)] if norm == "layer" else []), made[activation]]


def _mlp_coders(config: Config, spec: DataSpec) -> tuple[Stack, Stack]:
    width, z, pixels = int(config.number("width")), int(config.number("latent_dim")), math.prod(spec.image)

    def layers(inputs: int, outputs: int) -> list[nn.Module]:
        made: list[nn.Module] = []
        for _ in range(int(config.number("depth", 1))):
            made += [nn.Linear(inputs, width), *_behind(config, width)]
            inputs = width
        return [*made, nn.Linear(inputs, outputs)]

    return (
        Stack([nn.Flatten(), *layers(pixels, 2 * z)]),
        Stack([*layers(z, pixels), nn.Unflatten(1, spec.image)]),
    )


def _conv_coders(config: Config, spec: DataSpec) -> tuple[Stack, Stack]:
    z, depth = int(config.number("latent_dim")), int(config.number("depth", 1))
    (h, w), outwards = conv_sizes(spec.image, int(config.number("width")))
    inwards = outwards[::-1]

    def at(channels: int) -> list[nn.Module]:
        """What is done at one size, behind the layer that comes to it."""
        made = _behind(config, channels)
        for _ in range(depth - 1):
            made += [Conv2d(channels, channels, 3, 1, 1), *_behind(config, channels)]
        return made

    encoder: list[nn.Module] = []
    for inputs, channels in itertools.pairwise((spec.image[0], *outwards)):
        encoder += [Conv2d(inputs, channels, 4, 2, 1), *at(channels)]
    decoder: list[nn.Module] = [
        nn.Linear(z, inwards[0] * h * w),
        nn.Unflatten(1, (inwards[0], h, w)),
        *at(inwards[0]),
    ]
    for inputs, channels in itertools.pairwise(inwards):
        decoder += [ConvTranspose2d(inputs, channels, 4, 2, 1), *at(channels)]
    return (
        Stack([*encoder, nn.Flatten(), nn.Linear(inwards[0] * h * w, 2 * z)]),
        Stack([*decoder, ConvTranspose2d(inwards[-1], spec.image[0], 4, 2, 1)]),
    )
