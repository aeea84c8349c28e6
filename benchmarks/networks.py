"""What the benchmarks of training train, and the competitors: the same as a competent person writes it in plain PyTorch.

nn.Module, zero_grad, backward, torch.optim.Adam with its default implementation, noise drawn on the fly, random batches.
"""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from maestune.data import DataSpec, ImageData, Images
from maestune.families.base import Family, drawer
from maestune.families.flow import Flow
from maestune.families.gan import GAN
from maestune.families.gan.networks import conv_plan
from maestune.families.lm import LM
from maestune.families.vae import VAE
from maestune.training import Run
from maestune.training.loop import data_of
from maestune.training.stream import source_of
from maestune.types import Config, Value

LATENTS, RATE, BETAS = 100, 2e-4, (0.5, 0.999)


@dataclass(frozen=True)
class Case:
    """A structure: kind of network ("mlp" and "conv" of a GAN, "own" the example of a user's, or another family by its name),
    images (side 0: the digits, or a text), K, values beside the centre."""

    name: str
    network: str
    side: int
    members: int
    values: Mapping[str, Value] = field(default_factory=dict[str, Value])
    channels: int = 1


SMALL: Mapping[str, Value] = {"width": 64, "latent_dim": 32, "batch_size": 32}
CONV: Mapping[str, Value] = {"width": 16, "batch_size": 16}
CASES = (
    Case("mlp-smaller", "mlp", 0, 16, {"width": 64, "latent_dim": 16, "batch_size": 16}),
    Case("mlp-small", "mlp", 0, 16, SMALL),
    Case("mlp-recipe", "mlp", 0, 16),
    Case("mlp-r1-spectral", "mlp", 0, 16, {**SMALL, "penalty": "r1", "r1_gamma": 0.1, "norm_d": "spectral"}),
    Case("mlp-d-steps-2", "mlp", 0, 16, {**SMALL, "d_steps": 2}),
    Case("conv-8", "conv", 8, 8, CONV),
    Case("conv-16", "conv", 16, 8, CONV),
    Case("conv-28", "conv", 28, 8, CONV),
    Case("conv-28-recipe", "conv", 28, 4),
    Case("vae-small", "vae", 0, 16, {"width": 64, "latent_dim": 10, "batch_size": 32}),
    Case("vae-recipe", "vae", 0, 16),
    Case("lm-32", "lm", 0, 8, {"layers": 2, "heads": 4, "width": 32, "context": 32}),
    Case("lm-64", "lm", 0, 8, {"layers": 2, "heads": 4, "width": 64, "context": 32}),
    Case("flow-32", "flow", 0, 8, {"depth": 2, "heads": 2, "width": 32, "batch_size": 32}),
    Case("flow-64", "flow", 0, 8, {"depth": 2, "heads": 2, "width": 64, "batch_size": 32}),
    Case("transformer-32", "own", 0, 8, {"width": 32, "batch_size": 16}),
    Case("transformer-64", "own", 0, 8, {"width": 64, "batch_size": 16}),
)
# The recipe: batches of 64, 32 channels for 32 pixels and 64 for 64.
CUDA_CASES = tuple(Case(f"dcgan-{side}-{k}", "conv", side, k, {}, 3) for side in (32, 64) for k in (1, 4, 16, 64))
NOT_BY_HAND = {"penalty", "d_steps"}  # values


def noise_images(channels: int, side: int) -> ImageData:
    """A thousand images of uniform noise, in place of a data set."""
    seed = torch.Generator().manual_seed(0)
    part = Images(torch.randint(0, 256, (1000, channels, side, side), dtype=torch.uint8, generator=seed))
    return ImageData("noise", part, part, part, (), "benchmark")


def example() -> Any:
    """The module of the example of a user's own network."""
    folder = str(Path(__file__).resolve().parent.parent / "examples")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("own_network")


class _Counted(TorchDispatchMode):
    """Counts as FlopCounterMode does, whose hooks of modules do not bear a gradient within the loss."""

    flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func.overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=made)
        return made


def flops_of_step(family: Family, config: Config, run: Run) -> float:
    """Floating-point operations of a step (products and convolutions): each player's loss and gradient, as often as it moves."""
    data = data_of(run)
    model = family.build(config, data.spec, run.generator("weights"))
    items = torch.zeros(int(config.number("batch_size")), dtype=torch.int64, device=run.device)
    batch = source_of(data, config, run.device).take(items)
    total = 0.0
    for player in family.players(config, data.spec):
        noise = drawer(player.noise)(run.generator("noise"))
        shares = {player.loss: 1 / player.every}
        if player.lazy is not None:
            period, loss = player.lazy
            shares[loss] = 1 / math.lcm(player.every, period)
            shares[player.loss] -= shares[loss]
        for each, share in shares.items():
            with _Counted() as counted:
                value = each(model, batch, family.hyper(config, 0.5), noise).mean()
                torch.autograd.grad(value, list(model.get_submodule(player.name).parameters()), materialize_grads=True)
            total += counted.flops * share
    return total


def mlp_networks(side: int, width: int, latents: int = LATENTS) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator with two hidden layers, for grey images."""
    generator = nn.Sequential(
        nn.Linear(latents, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, side * side),
        nn.Tanh(),
        nn.Unflatten(1, (1, side, side)),
    )
    discriminator = nn.Sequential(
        nn.Flatten(),
        nn.Linear(side * side, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, 1),
    )
    return generator, discriminator


def conv_networks(
    width: int, shape: tuple[int, int, int] = (1, 28, 28), latents: int = LATENTS
) -> tuple[nn.Module, nn.Module]:
    """DCGAN with as many stages and channels as ours has for images of this shape."""
    (h, w), channels = conv_plan(shape, width)
    inwards = channels[::-1]
    up: list[nn.Module] = [nn.Linear(latents, inwards[0] * h * w, bias=False), nn.Unflatten(1, (inwards[0], h, w))]
    up += [nn.BatchNorm2d(inwards[0]), nn.ReLU()]
    for inputs, outputs in itertools.pairwise(inwards):
        up += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    up += [nn.ConvTranspose2d(width, shape[0], 4, 2, 1), nn.Tanh()]
    down: list[nn.Module] = [nn.Conv2d(shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for inputs, outputs in itertools.pairwise(channels):
        down += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    down += [nn.Flatten(), nn.Linear(inwards[0] * h * w, 1)]
    return nn.Sequential(*up), nn.Sequential(*down)


def hand_written(
    networks: tuple[nn.Module, nn.Module], images: Tensor, batch_size: int, latents: int = LATENTS, device: str = "cpu"
) -> Iterator[None]:
    """One step of a non-saturating GAN for each `next`."""
    generator, discriminator = (network.to(device) for network in networks)
    adam_g = torch.optim.Adam(generator.parameters(), lr=RATE, betas=BETAS)
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=RATE, betas=BETAS)
    bce = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(batch_size, 1, device=device), torch.zeros(batch_size, 1, device=device)
    real_images = images.to(device).float() / 127.5 - 1.0
    while True:
        real = real_images[torch.randint(len(real_images), (batch_size,), device=device)]
        adam_d.zero_grad()
        fake = generator(torch.randn(batch_size, latents, device=device)).detach()
        loss_d = bce(discriminator(real), ones) + bce(discriminator(fake), zeros)
        loss_d.backward()
        adam_d.step()

        adam_g.zero_grad()
        loss_g = bce(discriminator(generator(torch.randn(batch_size, latents, device=device))), ones)
        loss_g.backward()
        adam_g.step()
        yield


def hand_written_gan(config: Config, images: Tensor, device: str = "cpu") -> Iterator[None]:
    """The same for the networks of a config of ours."""
    width, latents = int(config.number("width")), int(config.number("latent_dim"))
    _, channels, height, side = images.shape
    if config.text("network") == "mlp":
        networks = mlp_networks(side, width, latents)
    else:
        networks = conv_networks(width, (channels, height, side), latents)
    return hand_written(networks, images, int(config.number("batch_size")), latents, device)


def family_of(case: Case) -> Family:
    """What a case trains."""
    families: Mapping[str, Callable[[], Family]] = {"vae": VAE, "lm": LM, "flow": Flow, "own": lambda: example().family}
    return families.get(case.network, GAN)()


def config_of(case: Case, spec: DataSpec) -> Config:
    """The centre of the family's space with the case's values, of which some are smaller than it has."""
    gan = case.network in ("mlp", "conv")
    return family_of(case).space(spec, case.network if gan else None).centre().with_(**case.values)


class HandVAE(nn.Module):
    """A dense VAE with a Bernoulli likelihood, as pytorch/examples has it."""

    def __init__(self, pixels: int, width: int, latents: int) -> None:
        super().__init__()
        self.inner, self.mean, self.log_variance = (
            nn.Linear(pixels, width),
            nn.Linear(width, latents),
            nn.Linear(width, latents),
        )
        self.outer, self.logits = nn.Linear(latents, width), nn.Linear(width, pixels)

    def forward(self, x: Tensor) -> Tensor:
        """The loss of a batch (B, pixels) in [0, 1]."""
        h = F.relu(self.inner(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        logits = self.logits(F.relu(self.outer(z)))
        cost = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        return (cost + kl) / len(x)


def hand_written_vae(config: Config, images: Tensor) -> Iterator[None]:
    """One step of it for each `next`."""
    size, pixels = int(config.number("batch_size")), images[0].numel()
    network = HandVAE(pixels, int(config.number("width")), int(config.number("latent_dim")))
    adam = torch.optim.Adam(network.parameters(), lr=config.number("lr"))
    real = images.flatten(1).float() / 255.0
    while True:
        x = real[torch.randint(len(real), (size,))]
        adam.zero_grad()
        network(x).backward()
        adam.step()
        yield


def hand_written_family(family: Family, config: Config, run: Run) -> Iterator[None]:
    """One step of a family of one player for each `next`: its network and loss in a plain loop, noise drawn on the fly."""
    data = data_of(run)
    model = family.build(config, data.spec, run.generator("weights"))
    (player,) = family.players(config, data.spec)
    source, size = source_of(data, config, "cpu"), int(config.number("batch_size"))
    hyper, draw = family.hyper(config, 0.5), {"normal": torch.randn, "uniform": torch.rand}
    adam = torch.optim.AdamW(model.get_submodule(player.name).parameters(), lr=config.number("lr"))
    items, clip = source.order(torch.Generator().manual_seed(0)), config.number("clip", 0.0)
    while True:
        batch = source.take(items[torch.randint(len(items), (size,))])
        noise = {name: draw[each.kind](each.shape) for name, each in player.noise.items()}
        adam.zero_grad()
        player.loss(model, batch, hyper, noise).mean().backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        adam.step()
        yield


def hand_written_own(config: Config, images: Tensor) -> Iterator[None]:
    """One step of the example's network for each `next`."""
    own, size = example(), int(config.number("batch_size"))
    network = own.build(config, DataSpec(shape=tuple(images.shape[1:])))
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    real_images = images.float() / 127.5 - 1.0
    while True:
        batch = {"image": real_images[torch.randint(len(real_images), (size,))]}
        adam.zero_grad()
        own.loss(network, batch, {}, {}).mean().backward()
        adam.step()
        yield
