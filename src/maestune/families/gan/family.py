"""The GAN family: two players, their noise, numbers and samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from maestune.data import Batch, DataSpec
from maestune.errors import SettingsError
from maestune.families import training_space
from maestune.families.augment import UNIFORMS, uniforms
from maestune.families.base import Family, Hyper, Noise, NoiseSpec, Player
from maestune.families.gan.adversarial import GAMES
from maestune.families.gan.losses import CONSISTENT, GanLosses
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
    numbers=training_space.NUMBERS
    | {"lr_ratio", "r1_gamma", "gp_lambda", "weight_clip", "label_smoothing", "label_smoothing_fake", "margin"}
    | {"cr_real", "cr_fake", "truncation"},
    switches=training_space.SWITCHES | {"dropout_d", "instance_noise"},
)


@dataclass(frozen=True)
class GAN(Family):
    """Generator against discriminator, for images (C, H, W) in [-1, 1], with labels or without."""

    name: str = "gan"
    fusible: Fusible = field(default=FUSIBLE, repr=False)

    @property
    def sampling_parameters(self) -> frozenset[str]:
        """What samples are drawn with, once a model is trained."""
        return frozenset({"truncation"})

    @property
    def recipe(self) -> str:
        """The published setting at the centre of its space."""
        return "dcgan"

    def check(self, spec: DataSpec) -> None:
        """Raise SettingsError for data that are no images."""
        if len(spec.shape) != 3:
            raise SettingsError(
                "A GAN learns from images, and the data are text; choose images with --data, or the model lm."
            )

    def conditional(self, config: Config, spec: DataSpec) -> bool:
        """Whether samples are of the labels asked for."""
        return config.text("condition", "none") != "none"

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
        """Discriminator, then generator on every `d_steps`-th step.

        A penalty may be taken in every `penalty_every`-th step alone, so much heavier (lazy regularisation: Karras et al.
        2020, arXiv 1912.04958).
        """
        adversarial, masks = GAMES[config.text("loss")], dropout_shapes(config, spec)
        losses = GanLosses(
            adversarial=adversarial,
            penalty=config.text("penalty", "none"),
            separate=config.text("norm_d") == "batch" or config.text("minibatch_std", "none") == "on",
            masks=len(masks),
            instance_noise=config.number("instance_noise", 0.0) > 0,
            augment=config.text("augment", "none"),
            consistency=config.text("consistency", "none"),
            labelled=self.conditional(config, spec),
        )
        loss, lazy = losses.discriminator, None
        if (rarely := int(config.number("penalty_every", 1))) > 1:
            loss = replace(losses, penalty="none").discriminator
            lazy = (rarely, replace(losses, penalty_factor=float(rarely)).discriminator)
        fake, real = (_draws(config, spec, masks, side) for side in ("fake", "real"))
        latent = {"latent": NoiseSpec("normal", (int(config.number("batch_size")), int(config.number("latent_dim"))))}
        discriminator = Player(
            name="discriminator",
            loss=loss,
            noise={**latent, **fake, **_regularising_draws(config, spec), **real},
            rate=config.number("lr_ratio"),
            refresh=refreshed_spectral if config.text("norm_d") == "spectral" else None,
            constrain=_clip if "weight_clip" in config else None,
            lazy=lazy,
        )
        generator = Player(
            name="generator",
            loss=losses.generator,
            noise={**latent, **fake, **(real if adversarial.relative else {})},
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

    def latents(self, config: Config, spec: DataSpec, n: int) -> dict[str, NoiseSpec]:
        """The latents of the samples, and those of the standing statistics where the generator has batch norms."""
        z = int(config.number("latent_dim"))
        draws = {"latent": NoiseSpec("normal", (n, z))}
        if config.text("norm_g") == "batch":
            draws["standing"] = NoiseSpec("normal", (STANDING_BATCHES, STANDING_BATCH_SIZE, z))
            if self.conditional(config, spec):
                draws["standing_label"] = NoiseSpec("uniform", (STANDING_BATCHES, STANDING_BATCH_SIZE))
        return draws

    @torch.no_grad()
    def generate(self, model: nn.Module, hyper: Hyper, noise: Noise) -> Tensor:
        """Samples (n, C, H, W) in [-1, 1], of the labels asked for where the config is conditional.

        Drawn from the generator's moving average where it is kept, with standing statistics in its batch norms, so
        that a sample does not depend on those drawn beside it; in these statistics every class is as frequent as any
        other. Latents are scaled by the config's truncation, those of the standing statistics are not: the first norm
        would undo it.
        """
        assert isinstance(model, GanModel)
        sampler = model.sampler
        latent = noise["latent"] * hyper.get("truncation", 1.0)
        label = noise["label"] if model.classes else None
        standing = ()
        if "standing" in noise:
            labels = [_class(u, model.classes) for u in noise["standing_label"]] if model.classes else None
            standing = standing_statistics(sampler, list(noise["standing"]), labels)
        rows = [slice(start, start + CHUNK) for start in range(0, len(latent), CHUNK)]
        return torch.cat(
            [sampler(latent[i], standing=standing, label=None if label is None else label[i]) for i in rows]
        )

    @torch.no_grad()
    def signals(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Mapping[str, Noise]) -> dict[str, Tensor]:
        """Mean scores of real and fake, the discriminator's accuracy, and the spread of the samples.

        `d_accuracy`: share of scores with the right sign; of relative games, share of pairs whose real image has the higher.
        `sample_std`: standard deviation over samples, mean over pixels, relative to that of the real batch (1 when
        samples vary as much as real images; towards 0 when modes collapse).
        """
        assert isinstance(model, GanModel)
        label = batch["label"] if model.classes else None
        real, fake = batch["image"], model.generator(noise["discriminator"]["latent"], label=label)
        r, f = (model.discriminator(x, label=label).squeeze(1) for x in (real, fake))
        right = (r > f if model.relative else torch.cat((r > 0, f < 0))).float().mean()
        spread = fake.std(0).mean() / real.std(0).mean().clamp_min(1e-6)
        return {"score_real": r.mean(), "score_fake": f.mean(), "d_accuracy": right, "sample_std": spread}


_HYPER = (
    "dropout_d",
    "instance_noise",
    "label_smoothing",
    "label_smoothing_fake",
    "margin",
    "r1_gamma",
    "gp_lambda",
    "weight_clip",
    "cr_real",
    "cr_fake",
    "truncation",
)


def _draws(config: Config, spec: DataSpec, masks: tuple[tuple[int, ...], ...], side: str) -> dict[str, NoiseSpec]:
    """What images of one side need to be looked at: instance noise, dropout's uniforms, augmentation's."""
    size = int(config.number("batch_size"))
    draws: dict[str, NoiseSpec] = {}
    if config.number("instance_noise", 0.0) > 0:
        draws[f"{side}_noise"] = NoiseSpec("normal", (size, *spec.image))
    draws |= {f"{side}_mask_{i}": NoiseSpec("uniform", (size, *mask)) for i, mask in enumerate(masks)}
    if augment := uniforms(config.text("augment", "none")):
        draws[f"{side}_augment"] = NoiseSpec("uniform", (size, augment))
    return draws


def _regularising_draws(config: Config, spec: DataSpec) -> dict[str, NoiseSpec]:
    """What the discriminator's penalties and consistency need: where to look, and how far to shift."""
    size = int(config.number("batch_size"))
    where = {
        "gp": {"mix": NoiseSpec("uniform", (size,))},
        "dragan": {"around": NoiseSpec("uniform", (size, *spec.image))},
    }
    sides = CONSISTENT[config.text("consistency", "none")]
    shifts = {f"{side}_shift": NoiseSpec("uniform", (size, UNIFORMS["translation"])) for side in sides}
    return where.get(config.text("penalty", "none"), {}) | shifts


def _class(drawn: Tensor, classes: int) -> Tensor:
    """Labels from uniforms, every class as likely as any other; a uniform may be rounded up to 1."""
    return (drawn * classes).long().clamp_max(classes - 1)


def _clip(parameter: Tensor, hyper: Hyper) -> Tensor:
    bound: Any = hyper["weight_clip"]
    return parameter.clamp(-bound, bound)
