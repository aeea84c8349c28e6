"""The small networks that look at images: an encoder to 64 features, with class logits or a decoder while it learns.

Sized by the image: every stage halves the side until about 4×4 is left, wide where the picture is small and narrow where
it is large, so that an image of any size costs about 0.1 to 10 million multiply-adds. Weights come from an explicit
generator. For use, batch norms are folded into their convolutions: what is stored is convolutions and matrices only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

FEATURES = 64
LAST_SIDE = 4
PLACES_SIDE = 2  # of the grid of places that are told apart
Shape = tuple[int, int, int]  # (C, H, W) of one image
P = ParamSpec("P")
Network = TypeVar("Network", bound=nn.Module)


def stages(shape: Shape) -> tuple[tuple[int, int], ...]:
    """(channels, stride) of each convolution for images (C, H, W).

    >>> stages((1, 8, 8)), stages((1, 28, 28))
    (((16, 1), (32, 2)), ((16, 2), (32, 2), (64, 2)))
    >>> stages((3, 256, 256))
    ((8, 2), (8, 2), (8, 2), (16, 2), (32, 2), (64, 2))
    """
    halvings = max(1, round(math.log2(min(shape[1:]) / LAST_SIDE)))
    if halvings == 1:
        return (16, 1), (32, 2)
    widths = [8] * (halvings - 3) + [16, 32, 64]
    return tuple((width, 2) for width in widths[-halvings:])


def multiply_adds(shape: Shape) -> int:
    """Multiply-adds of one image through the encoder; what the time of learning it is reckoned by."""
    channels, height, width = shape
    total = 0
    for out, stride in stages(shape):
        height, width = -(-height // stride), -(-width // stride)
        total += height * width * 9 * channels * out
        channels = out
    return total + channels * LAST_SIDE**2 * FEATURES


class Encoder(nn.Module):
    """Images (N, C, H, W) → features (N, 64) and class logits (N, K), or None where there are no classes.

    `normalised`: with batch norms, for learning. A classifier's features are those its logits are made of, after their
    rectification; an autoencoder's are linear.
    """

    def __init__(self, shape: Shape, classes: int, normalised: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = shape[0]
        for out, stride in stages(shape):
            layers.append(nn.Conv2d(channels, out, 3, stride, 1, bias=not normalised))
            if normalised:
                layers.append(nn.BatchNorm2d(out))
            layers.append(nn.ReLU())
            channels = out
        layers += [nn.AdaptiveAvgPool2d(LAST_SIDE), nn.Flatten(), nn.Linear(channels * LAST_SIDE**2, FEATURES)]
        self.convolutions = len(layers) - 2  # layers that know where in the image they are
        if classes:
            layers.append(nn.ReLU())
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, classes) if classes else None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and logits of images (N, C, H, W) in [-1, 1]."""
        return self.extract_features(images)[:2]

    def extract_features(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Features, logits, and what is seen in each quarter of the images (N, 4, c): means of the last convolution."""
        pooled = self.trunk[: self.convolutions](images.contiguous(memory_format=torch.channels_last))
        features = self.trunk[self.convolutions :](pooled)
        quarters = functional.adaptive_avg_pool2d(pooled, PLACES_SIDE).flatten(2).transpose(1, 2)
        return features, None if self.head is None else self.head(features), quarters


class Decoder(nn.Module):
    """Features (N, 64) → images (N, C, H, W) in [-1, 1]; the encoder's stages in reverse, used only while learning."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        # From 4×4 up, once for every halving of the encoder, with the widths it had there.
        widths = [width for width, stride in reversed(stages(shape)) if stride == 2]
        channels = widths[0]
        layers: list[nn.Module] = [
            nn.Linear(FEATURES, channels * LAST_SIDE**2),
            nn.Unflatten(1, (channels, LAST_SIDE, LAST_SIDE)),
        ]
        for out in [*widths[1:], min(widths[-1], 16)]:
            layers += [nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(channels, out, 3, padding=1, bias=False)]
            layers.append(nn.BatchNorm2d(out))
            channels = out
        # An image is not always 4·2ⁿ wide: the last step goes to its exact size.
        layers += [nn.ReLU(), nn.Upsample(size=shape[1:]), nn.Conv2d(channels, shape[0], 3, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Images made from features (N, 64)."""
        return self.layers(features)


def initialised(make: Callable[P, Network], generator: torch.Generator, *args: P.args, **kwargs: P.kwargs) -> Network:
    """A network whose weights are drawn from the generator alone (He et al. 2015); no global random state is touched."""
    with torch.device("meta"):
        network = make(*args, **kwargs)
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return _laid_out(network)


def folded(encoder: Encoder, shape: Shape, classes: int) -> Encoder:
    """The same function in evaluation, with every batch norm folded into the convolution before it."""
    encoder.eval()
    layers: list[nn.Module] = []
    for layer in encoder.trunk:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = layers[-1]
            assert isinstance(convolution, nn.Conv2d)  # a batch norm follows its convolution, see Encoder
            layers[-1] = fuse_conv_bn_eval(convolution, layer)
        else:
            layers.append(layer)
    plain = empty_encoder(shape, classes)
    state = nn.Sequential(*layers).state_dict(prefix="trunk.")
    if encoder.head is not None:
        state |= encoder.head.state_dict(prefix="head.")
    plain.load_state_dict(state)
    return plain.requires_grad_(False).eval()


def empty_encoder(shape: Shape, classes: int) -> Encoder:
    """An encoder without batch norms and with undefined weights, to be filled from a state."""
    return empty(Encoder, shape, classes, normalised=False)


def empty(make: Callable[P, Network], *args: P.args, **kwargs: P.kwargs) -> Network:
    """A network with undefined weights, for use and not for learning."""
    with torch.device("meta"):
        network = make(*args, **kwargs)
    return _laid_out(network.to_empty(device="cpu")).requires_grad_(False).eval()


def _laid_out(network: Network) -> Network:
    """The network with channels last in memory: twice as fast for so few channels on a CPU."""
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue, reportUnknownVariableType]
