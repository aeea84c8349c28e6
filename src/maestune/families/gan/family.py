"""The GAN family: two players, their noise, numbers and samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from maestune.data import Batch, DataSpec
from maestune.families.base import Draw, Family, Hyper, Noise, Player
from maestune.families.gan.losses import GAMES, GanLosses
from maestune.families.gan.networks import GanModel, build_model, dropout_shapes
from maestune.families.gan.space import full_steps, gan_space
from maestune.families.layers import refreshed_spectral, standing_statistics
from maestune.space import Fusible, Space
from maestune.types import Config

# Standing statistics of the generator's batch norms: 4 batches of 128 latents fix means to a few percent of a
# standard deviation at half the price of drawing 1,000 samples.
STANDING_BATCHES = 4
STANDING_BATCH_SIZE = 128
CHUNK = 1024  # samples made at once, so that memory stays bounded
# What changes numbers alone; of the switches, whether they are used at all changes the code.
FUSIBLE = Fusible(
    numbers=frozenset(
        [
            "lr",
            "lr_ratio",
            "beta1",
            "beta2",
            "momentum",
            "weight_decay",
            "schedule",
            "warmup",
            "decay",
            "r1_gamma",
            "gp_lambda",
            "weight_clip",
            "label_smoothing",
        ]
    ),
    switches=frozenset(("dropout_d", "instance_noise", "ema")),
)


@dataclass(frozen=True)
class GAN(Family):
    """Generator against discriminator, for images (C, H, W) in [-1, 1]."""

    name: str = "gan"
    fusible: Fusible = field(default=FUSIBLE, repr=False)

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        """The default space; its centre is the DCGAN recipe.

        The network follows from the image size (dense up to 16 pixels, convolutions above) and is not searched: the
        two differ tenfold in cost. `network` ("mlp" or "conv") chooses it instead.
        """
        return gan_space(spec, network)

    def full_steps(self, spec: DataSpec, n_train: int) -> int:
        """Default length of a full training, in steps (updates of the discriminator)."""
        return full_steps(spec, n_train)

    def build(self, config: Config, spec: DataSpec, generator: torch.Generator) -> GanModel:
        """Both networks with fresh weights, drawn from the generator alone, on its device."""
        return build_model(config, spec, generator)

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        """Discriminator, then generator on every `d_steps`-th step."""
        masks = dropout_shapes(config, spec)
        losses = GanLosses(
            game=GAMES[config.text("loss")],
            penalty=config.text("penalty", "none"),
            separate=config.text("norm_d") == "batch",
            masks=len(masks),
            instance_noise=config.number("instance_noise", 0.0) > 0,
        )
        fake = _draws(config, spec, masks, "fake")
        discriminator = Player(
            name="discriminator",
            loss=losses.discriminator,
            noise={**fake, **_draws(config, spec, masks, "real")},
            rate=config.number("lr_ratio"),
            refresh=refreshed_spectral if config.text("norm_d") == "spectral" else None,
            constrain=_clip if "weight_clip" in config else None,
        )
        generator = Player(
            name="generator",
            loss=losses.generator,
            noise=fake,
            every=int(config.number("d_steps")),
            average="average" if config.number("ema", 0.0) > 0 else "",
        )
        return discriminator, generator

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        """Penalty weights, dropout and smoothing as they are; instance noise falling linearly to 0."""
        values: Mapping[str, Any] = dict(config.items_)
        numbers = {name: values[name] for name in _HYPER if name in values}
        if numbers.get("instance_noise"):
            numbers["instance_noise"] *= max(0.0, 1.0 - progress)
        return numbers

    def latents(self, config: Config, spec: DataSpec, n: int) -> dict[str, Draw]:
        """The latents of the samples, and those of the standing statistics where the generator has batch norms."""
        z = int(config.number("latent_dim"))
        draws = {"latent": Draw("normal", (n, z))}
        if config.text("norm_g") == "batch":
            draws["standing"] = Draw("normal", (STANDING_BATCHES, STANDING_BATCH_SIZE, z))
        return draws

    @torch.no_grad()
    def generate(self, model: nn.Module, hyper: Hyper, noise: Noise) -> Tensor:
        """Samples (n, C, H, W) in [-1, 1]; the model is not changed.

        Drawn from the generator's moving average where it is kept, with standing statistics in its batch norms, so
        that a sample does not depend on those drawn beside it.
        """
        assert isinstance(model, GanModel)
        sampler = model.sampler
        standing = standing_statistics(sampler, list(noise["standing"])) if "standing" in noise else ()
        return torch.cat([sampler(chunk, standing=standing) for chunk in noise["latent"].split(CHUNK)])

    @torch.no_grad()
    def signals(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Mapping[str, Noise]) -> dict[str, Tensor]:
        """Mean scores of real and fake, the discriminator's accuracy by sign, and the spread of the samples.

        `sample_std`: standard deviation over samples, mean over pixels, relative to that of the real batch (1 when
        samples vary as much as real images; towards 0 when modes collapse).
        """
        assert isinstance(model, GanModel)
        fake = model.generator(noise["discriminator"]["latent"])
        real = batch["image"]
        r, f = model.discriminator(real).squeeze(1), model.discriminator(fake).squeeze(1)
        right = 0.5 * ((r > 0).float().mean() + (f < 0).float().mean())
        spread = fake.std(0).mean() / real.std(0).mean().clamp_min(1e-6)
        return {"score_real": r.mean(), "score_fake": f.mean(), "d_accuracy": right, "sample_std": spread}


_HYPER = ("dropout_d", "instance_noise", "label_smoothing", "r1_gamma", "gp_lambda", "weight_clip")


def _draws(config: Config, spec: DataSpec, masks: tuple[tuple[int, ...], ...], side: str) -> dict[str, Draw]:
    """What one side needs in a step: latents for fakes, the mixing of WGAN-GP, dropout's uniforms, instance noise."""
    size = int(config.number("batch_size"))
    draws: dict[str, Draw] = {}
    if side == "fake":
        draws["latent"] = Draw("normal", (size, int(config.number("latent_dim"))))
    elif config.text("penalty", "none") == "gp":
        draws["mix"] = Draw("uniform", (size,))
    if config.number("instance_noise", 0.0) > 0:
        draws[f"{side}_noise"] = Draw("normal", (size, *spec.image))
    return draws | {f"{side}_mask_{i}": Draw("uniform", (size, *mask)) for i, mask in enumerate(masks)}


def _clip(parameter: Tensor, hyper: Hyper) -> Tensor:
    bound: Any = hyper["weight_clip"]
    return parameter.clamp(-bound, bound)
