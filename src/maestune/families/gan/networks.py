"""Generator and discriminator: dense layers for small images, DCGAN-like convolutions above.

The convolutional pair follows Radford, Metz & Chintala 2016 (arXiv 1511.06434): stride-2 (transposed) convolutions
with kernel 4, channels doubling with each halving of the side, no norm at the generator's output and the
discriminator's input. Sizes that are no powers of two start from what remains after halving (28 → 7, 48 → 6).
Self-attention, where it is asked for, is in both at the coarsest map of at least 8 pixels.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from maestune.data import DataSpec
from maestune.errors import SettingsError
from maestune.families.attention import SelfAttention
from maestune.families.gan.adversarial import GAMES
from maestune.families.gan.conditioning import EMBEDDING, JoinLabel, Projection
from maestune.families.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    GroupNorm,
    MinibatchStd,
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
LEAST_ATTENDED = 8  # pixels: a smaller map is within reach of one convolution


class GanModel(nn.Module):
    """Generator (B, Z) → (B, C, H, W), discriminator (B, C, H, W) → (B, 1), and the generator's moving average if any.

    `classes`: of how many labels both need one for each sample; 0 where they need none. `relative`: whether only differences
    of scores mean something.
    """

    average: Stack | None

    def __init__(
        self,
        generator: Stack,
        discriminator: Stack,
        average: Stack | None = None,
        *,
        classes: int = 0,
        relative: bool = False,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.average = average
        self.classes = classes
        self.relative = relative

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
    classes = 0 if _condition(config) == "none" else spec.classes
    relative = GAMES[config.text("loss")].relative
    return GanModel(networks[0], networks[1], average, classes=classes, relative=relative)


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
    stages = _halvings(h, w)
    if stages == 0:
        raise SettingsError(
            f"network: conv cannot be used for images of {shape[1]}×{shape[2]} pixels; height and width must be even "
            "and at least 4. Resize the images (28, 32, 48, 64 and 128 work well) or use --set network=mlp."
        )
    return (h >> stages, w >> stages), tuple(width << min(stage, MOST_DOUBLINGS) for stage in range(stages))


def attended_stage(shape: tuple[int, int, int]) -> int | None:
    """The stage, counted from the image inwards, whose map has self-attention; None where all maps are too small.

    >>> attended_stage((3, 64, 64)), attended_stage((1, 28, 28)), attended_stage((1, 8, 8))
    (2, 0, None)
    """
    _, h, w = shape
    large = [stage for stage in range(_halvings(h, w)) if min(h, w) >> (stage + 1) >= LEAST_ATTENDED]
    return large[-1] if large else None


def _halvings(h: int, w: int) -> int:
    stages = 0
    while h % 2 == 0 and w % 2 == 0 and (min(h, w) >= 2 * SMALLEST_START or (stages < 2 and min(h, w) >= 4)):
        h, w, stages = h // 2, w // 2, stages + 1
    return stages


def _activation(name: str) -> nn.Module:
    return {"relu": nn.ReLU(), "leaky_relu": nn.LeakyReLU(LEAKY_SLOPE), "silu": nn.SiLU()}[name]


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


def _condition(config: Config) -> str:
    return config.text("condition", "none")


def _latents(config: Config, spec: DataSpec) -> tuple[list[nn.Module], int]:
    """What is done to latents first, and how many inputs there are then."""
    z = int(config.number("latent_dim"))
    return ([], z) if _condition(config) == "none" else ([JoinLabel(spec.classes)], z + EMBEDDING)


def _head(config: Config, spec: DataSpec, features: int) -> list[nn.Module]:
    """From features (B, F) to the score (B, 1).

    Relative games do not look at the level of scores: a bias would have no gradient but rounding, which Adam makes large.
    """
    bias = not GAMES[config.text("loss")].relative
    spectral = config.text("norm_d") == "spectral"
    coupled = [MinibatchStd()] if config.text("minibatch_std", "none") == "on" else []
    features += len(coupled)
    if _condition(config) == "projection":
        return [*coupled, Projection(features, spec.classes, bias=bias, spectral=spectral)]
    return [*coupled, (SpectralLinear if spectral else nn.Linear)(features, 1, bias=bias)]


def _mlp_generator(config: Config, spec: DataSpec) -> Stack:
    width, norm, activation = int(config.number("width")), config.text("norm_g"), config.text("activation_g")
    layers, inputs = _latents(config, spec)
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
    if _condition(config) == "concat":
        layers, inputs = [*layers, JoinLabel(spec.classes)], inputs + EMBEDDING
    for _ in range(int(config.number("depth"))):
        layers += [linear(inputs, width, _biased(norm)), *_norm(norm, width), _activation(activation)]
        layers += [Dropout((width,))] if drop else []
        inputs = width
    return Stack([*layers, *_head(config, spec, inputs)])


def _conv_generator(config: Config, spec: DataSpec) -> Stack:
    norm, activation = config.text("norm_g"), config.text("activation_g")
    (h, w), channels = conv_plan(spec.image, int(config.number("width")))
    layers, inputs = _latents(config, spec)
    last = len(channels) - 1
    for stage in range(last, -1, -1):  # from the coarsest map to the one next to the image
        outputs = channels[stage]
        if stage == last:
            layers += [nn.Linear(inputs, outputs * h * w, _biased(norm)), nn.Unflatten(1, (outputs, h, w))]
        else:
            layers += [ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=_biased(norm))]
        layers += [*_norm(norm, outputs), _activation(activation), *_attention(config, spec, stage, outputs)]
        inputs = outputs
    return Stack([*layers, ConvTranspose2d(inputs, spec.image[0], 4, 2, 1), nn.Tanh()])


def _conv_discriminator(config: Config, spec: DataSpec) -> Stack:
    norm, activation = config.text("norm_d"), config.text("activation_d")
    spectral = norm == "spectral"
    drop = config.number("dropout_d", 0.0) > 0
    (h, w), channels = conv_plan(spec.image, int(config.number("width")))
    layers: list[nn.Module] = []
    inputs = spec.image[0]
    if _condition(config) == "concat":
        layers, inputs = [*layers, JoinLabel(spec.classes)], inputs + EMBEDDING
    for stage, outputs in enumerate(channels):
        behind = norm if stage > 0 else "none"
        make = SpectralConv2d if spectral else Conv2d
        conv = make(inputs, outputs, 4, 2, 1, bias=_biased(behind))
        layers += [conv, *_norm(behind, outputs), _activation(activation)]
        layers += [Dropout((outputs, 1, 1))] if drop else []
        layers += _attention(config, spec, stage, outputs, spectral=spectral)
        inputs = outputs
    return Stack([*layers, nn.Flatten(), *_head(config, spec, inputs * h * w)])


def _attention(config: Config, spec: DataSpec, stage: int, channels: int, *, spectral: bool = False) -> list[nn.Module]:
    """Self-attention behind a stage, where it is asked for and this is the stage that has it."""
    wanted = config.text("attention", "none") == "self" and stage == attended_stage(spec.image)
    return [SelfAttention(channels, spectral=spectral)] if wanted else []
