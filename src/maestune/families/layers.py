"""Layers without hidden state, so that one code serves serial training and many members at once.

Dropout takes its uniforms from outside, batch norm its statistics from the batch (or from outside, for generation),
spectral norm its singular vectors from buffers that are brought up to date outside the loss, layers that depend on a
label the labels. Nothing here draws a random number in `forward`, writes a buffer there, or branches on the value of a
tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-5
# Singular vectors start from this many power iterations, so that the first steps already see the right scale
# (torch.nn.utils.parametrizations.spectral_norm does the same).
FIRST_ITERATIONS = 15
FEW_CHANNELS = 4
# Samples whose spread is told to each of them, and what is added under the root (Karras et al. 2018, their code).
STD_GROUP = 4
STD_EPS = 1e-8

Statistics = tuple[Tensor, Tensor]  # mean (C,), variance (C,)


class Filled(nn.Module):
    """A module that fills the parameters which are its own; those of the layers inside are filled as any others."""

    def fill(self, generator: torch.Generator, spread: float | None) -> None:
        """Give each own parameter its first value, from the generator alone; `spread` as `initialise` has it."""
        raise NotImplementedError


class Labelled(Filled):
    """A layer that depends on the labels (B,) of what it is given; `Stack` hands them to it."""

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Apply the layer to x (B, …) of these labels."""
        raise NotImplementedError


class Dropout(nn.Module):
    """Dropout whose mask comes from uniforms given by the caller (Srivastava et al. 2014).

    `shape` is that of one sample's uniforms: (C,) behind a dense layer, (C, 1, 1) to drop whole channels.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor, uniforms: Tensor, rate: float | Tensor) -> Tensor:
        """Keep where the uniform is at least `rate`, scaled so that the mean stays."""
        return x * (uniforms >= rate) / (1.0 - rate)


class BatchNorm(nn.Module):
    """Batch norm (Ioffe & Szegedy 2015) without running buffers, for (B, C) and (B, C, H, W).

    Statistics are the batch's; generation passes fixed ones (`standing_statistics`).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Normalise each channel with the batch's mean and variance, or with the given ones."""
        mean, variance = (None, None) if statistics is None else statistics
        return F.batch_norm(x, mean, variance, self.weight, self.bias, training=statistics is None, eps=NORM_EPS)

    def statistics(self, x: Tensor) -> Statistics:
        """Mean and (biased) variance of each channel over the batch."""
        axes = [0, *range(2, x.ndim)]
        return x.mean(axes), x.var(axes, correction=0)


class GroupNorm(nn.Module):
    """Group norm (Wu & He 2018) for (B, C) and (B, C, H, W): one group is layer norm, C groups instance norm."""

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each group of channels of each sample over channels and pixels."""
        return F.group_norm(x, self.groups, self.weight, self.bias, NORM_EPS)


class MinibatchStd(nn.Module):
    """How much samples differ from those beside them, as one more feature of each (Karras et al. 2018, arXiv 1710.10196).

    Standard deviation of each feature over groups of four samples (of the whole batch where four do not divide it), mean
    over the features. Behind a flattened map it says what their constant map says.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) → (B, F + 1)."""
        size = STD_GROUP if x.shape[0] % STD_GROUP == 0 else x.shape[0]
        groups = x.reshape(size, -1, x.shape[1])  # samples i, i + B/size, …, are one group
        spread = (groups.var(0, correction=0) + STD_EPS).sqrt().mean(1)
        return torch.cat((x, spread.repeat(size)[:, None]), 1)


class Spectral(nn.Module):
    """Spectral norm (Miyato et al. 2018): the weight divided by its largest singular value sigma = uᵀ W v.

    `u` and `v` are constants of the loss; `refreshed_spectral` moves them by a power iteration between updates.
    """

    weight: nn.Parameter
    u: Tensor
    v: Tensor

    def _register_vectors(self) -> None:
        rows = self.weight.shape[0]
        self.register_buffer("u", torch.empty(rows, device=self.weight.device))
        self.register_buffer("v", torch.empty(self.weight.numel() // rows, device=self.weight.device))

    def normalised(self) -> Tensor:
        """W / sigma, in the shape of the weight."""
        sigma = torch.dot(self.u, torch.mv(self.weight.flatten(1), self.v))
        return self.weight / sigma

    @torch.no_grad()
    def start(self, generator: torch.Generator) -> None:
        """Draw `u` and bring it and `v` close to the leading singular vectors of the present weight."""
        self.u.normal_(generator=generator)
        for _ in range(FIRST_ITERATIONS):
            u, v = power_iteration(self.weight.flatten(1), self.u)
            self.u.copy_(u)
            self.v.copy_(v)


class Conv2d(nn.Conv2d):
    """A convolution, computed by `conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H', W')."""
        return conv2d(input, self.weight, self.bias, self.stride[0], int(self.padding[0]))


class ConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution, computed by `conv_transpose2d`."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H', W')."""
        return conv_transpose2d(input, self.weight, self.bias, self.stride[0], int(self.padding[0]))


class SpectralLinear(nn.Linear, Spectral):
    """A dense layer with spectral norm."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self._register_vectors()

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs) → (B, outputs)."""
        return F.linear(input, self.normalised(), self.bias)


class SpectralConv2d(nn.Conv2d, Spectral):
    """A convolution with spectral norm of its weight as a matrix (outputs, inputs · kernel²), as Miyato et al. have it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias)
        self._register_vectors()

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H', W')."""
        return conv2d(input, self.normalised(), self.bias, self.stride[0], int(self.padding[0]))


class Stack(nn.Module):
    """Layers applied one after the other; some get from outside what they must not make themselves."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(
        self,
        x: Tensor,
        uniforms: Sequence[Tensor] = (),
        rate: float | Tensor = 0.0,
        standing: Sequence[Statistics] = (),
        label: Tensor | None = None,
    ) -> Tensor:
        """Apply all layers.

        `uniforms`: one tensor (B, *shape) for each dropout, in order; none switches dropout off. `rate`: the share
        dropped. `standing`: statistics for each batch norm, in order; none means the batch's own. `label`: (B,), for
        layers that depend on labels.
        """
        masks, statistics = iter(uniforms), iter(standing)
        for layer in self.layers:
            if isinstance(layer, BatchNorm):
                x = layer(x, next(statistics, None))
            elif isinstance(layer, Dropout):
                mask = next(masks, None)
                x = x if mask is None else layer(x, mask, rate)
            elif isinstance(layer, Labelled):
                x = layer(x, label)
            else:
                x = layer(x)
        return x

    @property
    def couples_samples(self) -> bool:
        """Whether a sample's output depends on the others of its batch."""
        return any(isinstance(layer, BatchNorm | MinibatchStd) for layer in self.layers)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """(B, C, H, W) with a weight (O, C, k, k) → (B, O, H', W').

    Of few channels, as at the image, as a product with a matrix of patches: there a CPU's convolutions, made for many
    channels, take twice as long.
    """
    outputs, channels, kernel, _ = weight.shape
    if channels > FEW_CHANNELS or x.device.type != "cpu":
        return F.conv2d(x, weight, bias, stride, padding)
    height, width = ((side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:])
    patches = F.unfold(x, kernel, padding=padding, stride=stride)  # (B, C·k², H'·W')
    y = (weight.flatten(1) @ patches).reshape(x.shape[0], outputs, height, width)
    return y if bias is None else y + bias[:, None, None]


def conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """(B, C, H, W) with a weight (C, O, k, k) → (B, O, H', W'); of few outputs as `conv2d` of few channels."""
    _, outputs, kernel, _ = weight.shape
    if outputs > FEW_CHANNELS or x.device.type != "cpu":
        return F.conv_transpose2d(x, weight, bias, stride, padding)
    height, width = ((side - 1) * stride - 2 * padding + kernel for side in x.shape[2:])
    patches = weight.flatten(1).t() @ x.flatten(2)  # (B, O·k², H·W)
    y = F.fold(patches, (height, width), kernel, padding=padding, stride=stride)
    return y if bias is None else y + bias[:, None, None]


def power_iteration(matrix: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """One power iteration: new left and right singular vectors (rows,), (columns,) from the last left one. Pure."""
    v = F.normalize(torch.mv(matrix.t(), u), dim=0, eps=1e-12)
    return F.normalize(torch.mv(matrix, v), dim=0, eps=1e-12), v


def refreshed_spectral(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every `u` and `v` after one power iteration, from a module's named parameters and buffers. Pure."""
    fresh: dict[str, Tensor] = {}
    for name, u in tensors.items():
        if name.rpartition(".")[2] == "u":
            layer = name.removesuffix("u")  # with its dot; empty for a layer that stands alone
            fresh[name], fresh[f"{layer}v"] = power_iteration(tensors[f"{layer}weight"].flatten(1), u)
    return fresh


@torch.no_grad()
def standing_statistics(
    stack: Stack, inputs: Sequence[Tensor], labels: Sequence[Tensor | None] | None = None
) -> tuple[Statistics, ...]:
    """Statistics of every batch norm, averaged over batches of inputs (and their labels); the stack is not changed.

    Each batch runs as in training, normalised by its own statistics (BigGAN's standing statistics, Brock et al. 2019,
    arXiv 1809.11096). Empty where the stack has no batch norm.
    """
    if not any(isinstance(layer, BatchNorm) for layer in stack.layers):
        return ()
    batches: list[list[Statistics]] = []
    for batch, label in zip(inputs, labels or [None] * len(inputs), strict=True):
        x, found = batch, list[Statistics]()
        for layer in stack.layers:
            if isinstance(layer, BatchNorm):
                found.append(layer.statistics(x))
                x = layer(x, found[-1])
            elif isinstance(layer, Labelled):
                x = layer(x, label)
            elif not isinstance(layer, Dropout):
                x = layer(x)
        batches.append(found)
    return tuple(
        (torch.stack([mean for mean, _ in same]).mean(0), torch.stack([variance for _, variance in same]).mean(0))
        for same in zip(*batches, strict=True)
    )


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator, spread: float | None = None) -> None:
    """Fill every weight from the generator alone.

    `spread`: standard deviation of normal weights, with norm scales N(1, spread) and biases 0 (DCGAN, Radford et al.
    2016, has 0.02); None: uniform in ±1/√(inputs), weights and biases (PyTorch's own default), norm scales 1.
    """
    for layer in module.modules():
        if isinstance(layer, BatchNorm | GroupNorm):
            layer.weight.fill_(1.0) if spread is None else layer.weight.normal_(1.0, spread, generator=generator)
            layer.bias.zero_()
        elif isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            _initialise_weight(layer, generator, spread)
        elif isinstance(layer, Filled):
            layer.fill(generator, spread)
        if isinstance(layer, Spectral):
            layer.start(generator)


def _initialise_weight(
    layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, generator: torch.Generator, spread: float | None
) -> None:
    if spread is None:
        bound = (layer.weight.shape[0] / layer.weight.numel()) ** 0.5
        layer.weight.uniform_(-bound, bound, generator=generator)
        if layer.bias is not None:
            layer.bias.uniform_(-bound, bound, generator=generator)
    else:
        layer.weight.normal_(0.0, spread, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
