"""Generator and discriminator: dense layers for small images, DCGAN-like convolutions above.

The convolutional pair follows Radford, Metz & Chintala 2016 (arXiv 1511.06434): stride-2 (transposed) convolutions
with kernel 4, channels doubling with each halving of the side, no norm at the generator's output and the
discriminator's input. Sizes that are no powers of two start from what remains after halving (28 → 7, 48 → 6).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn

from maestune.data import DataSpec
from maestune.errors import SettingsError
from maestune.families.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    GroupNorm,
    SpectralConv2d,
    SpectralLinear,
    Stack,
    initialise,
)
from maestune.types import Config

LEAKY_SLOPE = 0.2  # Radford et al. 2016
CONV_SPREAD = 0.02  # the same: all weights N(0, 0.02²)
SMALLEST_START = 4  # pixels: a 4×4 map is where DCGAN starts
MOST_DOUBLINGS = 3  # channels stop growing at 8 × width, as DCGAN's at 64 px


class GanModel(nn.Module):
    """Generator (B, Z) → (B, C, H, W), discriminator (B, C, H, W) → (B, 1), and the generator's moving average if any."""

    average: Stack | None

    def __init__(self, generator: Stack, discriminator: Stack, average: Stack | None) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.average = average

    @property
    def sampler(self) -> Stack:
        """The network that samples are drawn from: the average where there is one."""
        return self.generator if self.average is None else self.average


def build_model(config: Config, spec: DataSpec, generator: torch.Generator) -> GanModel:
    """Both networks with fresh weights, drawn from the generator alone, on its device."""
    conv = config.text("network") == "conv"
    spread = CONV_SPREAD if conv else None
    make_generator, make_discriminator = (
        (_conv_generator, _conv_discriminator) if conv else (_mlp_generator, _mlp_discriminator)
    )
    with torch.device("meta"):  # layers are made without values, so that no global random state is touched
        networks = [make_generator(config, spec), make_discriminator(config, spec)]
        if config.number("ema", 0.0) > 0:
            networks.append(make_generator(config, spec))
    for network in networks:
        network.to_empty(device=generator.device)
    for network in networks[:2]:
        initialise(network, generator, spread)
    average = None
    if len(networks) == 3:
        average = networks[2].requires_grad_(False)
        average.load_state_dict(networks[0].state_dict())
    return GanModel(networks[0], networks[1], average)


def dropout_shapes(config: Config, spec: DataSpec) -> tuple[tuple[int, ...], ...]:
    """Shape of one sample's uniforms for each dropout of the discriminator, in order; empty when dropout is off."""
    if config.number("dropout_d", 0.0) <= 0:
        return ()
    width = int(config.number("width"))
    if config.text("network") == "conv":
        return tuple((channels, 1, 1) for channels in conv_plan(spec.image, width)[1])
    return ((width,),) * int(config.number("depth"))


def conv_plan(shape: tuple[int, int, int], width: int) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Start resolution (h, w) and the channels of each stage from the image inwards.

    The side is halved while it is even and stays at least 4, and twice where it can be at all (8 → 2).

    >>> conv_plan((1, 28, 28), 64), conv_plan((3, 48, 48), 32), conv_plan((1, 8, 8), 16)
    (((7, 7), (64, 128)), ((6, 6), (32, 64, 128)), ((2, 2), (16, 32)))
    """
    _, h, w = shape
    stages = 0
    while h % 2 == 0 and w % 2 == 0 and (min(h, w) >= 2 * SMALLEST_START or (stages < 2 and min(h, w) >= 4)):
        h, w, stages = h // 2, w // 2, stages + 1
    if stages == 0:
        raise SettingsError(
            f"network: conv cannot be used for images of {shape[1]}×{shape[2]} pixels; height and width must be even "
            "and at least 4. Resize the images (28, 32, 48, 64 and 128 work well) or use --set network=mlp."
        )
    return (h, w), tuple(width << min(stage, MOST_DOUBLINGS) for stage in range(stages))


def _activation(name: str) -> nn.Module:
    return nn.LeakyReLU(LEAKY_SLOPE) if name == "leaky_relu" else nn.ReLU()


def _norm(name: str, channels: int) -> list[nn.Module]:
    """The norm behind a layer; none for "none" and for "spectral", which sits in the layer itself."""
    if name == "batch":
        return [BatchNorm(channels)]
    if name == "layer":
        return [GroupNorm(1, channels)]
    if name == "instance":
        return [GroupNorm(channels, channels)]
    return []


def _biased(norm: str) -> bool:
    """Whether a layer before this norm needs a bias: these two take the mean of each channel away again."""
    return norm not in ("batch", "instance")


def _mlp_generator(config: Config, spec: DataSpec) -> Stack:
    width, norm, activation = int(config.number("width")), config.text("norm_g"), config.text("activation_g")
    layers: list[nn.Module] = []
    inputs = int(config.number("latent_dim"))
    for _ in range(int(config.number("depth"))):
        layers += [nn.Linear(inputs, width, _biased(norm)), *_norm(norm, width), _activation(activation)]
        inputs = width
    return Stack([*layers, nn.Linear(inputs, math.prod(spec.image)), nn.Tanh(), nn.Unflatten(1, spec.image)])


def _mlp_discriminator(config: Config, spec: DataSpec) -> Stack:
    width, norm, activation = int(config.number("width")), config.text("norm_d"), config.text("activation_d")
    linear = SpectralLinear if norm == "spectral" else nn.Linear
    drop = config.number("dropout_d", 0.0) > 0
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = math.prod(spec.image)
    for _ in range(int(config.number("depth"))):
        layers += [linear(inputs, width, _biased(norm)), *_norm(norm, width), _activation(activation)]
        layers += [Dropout((width,))] if drop else []
        inputs = width
    return Stack([*layers, linear(inputs, 1)])


def _conv_generator(config: Config, spec: DataSpec) -> Stack:
    norm, activation = config.text("norm_g"), config.text("activation_g")
    (h, w), channels = conv_plan(spec.image, int(config.number("width")))
    inwards = channels[::-1]
    layers: list[nn.Module] = [
        nn.Linear(int(config.number("latent_dim")), inwards[0] * h * w, _biased(norm)),
        nn.Unflatten(1, (inwards[0], h, w)),
        *_norm(norm, inwards[0]),
        _activation(activation),
    ]
    for inputs, outputs in itertools.pairwise(inwards):
        up = ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=_biased(norm))
        layers += [up, *_norm(norm, outputs), _activation(activation)]
    return Stack([*layers, ConvTranspose2d(inwards[-1], spec.image[0], 4, 2, 1), nn.Tanh()])


def _conv_discriminator(config: Config, spec: DataSpec) -> Stack:
    norm, activation = config.text("norm_d"), config.text("activation_d")
    spectral = norm == "spectral"
    drop = config.number("dropout_d", 0.0) > 0
    (h, w), channels = conv_plan(spec.image, int(config.number("width")))
    layers: list[nn.Module] = []
    inputs = spec.image[0]
    for stage, outputs in enumerate(channels):
        behind = norm if stage > 0 else "none"
        make = SpectralConv2d if spectral else Conv2d
        conv = make(inputs, outputs, 4, 2, 1, bias=_biased(behind))
        layers += [conv, *_norm(behind, outputs), _activation(activation)]
        layers += [Dropout((outputs, 1, 1))] if drop else []
        inputs = outputs
    linear = SpectralLinear if spectral else nn.Linear
    return Stack([*layers, nn.Flatten(), linear(inputs * h * w, 1)])
