"""The VAE family: one player, its noise and numbers, samples, held-out scores and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from maestune.data import Batch, DataSpec
from maestune.errors import SettingsError
from maestune.families.base import Family, Hyper, Noise, NoiseSpec, Player
from maestune.families.vae.losses import LEVELS, annealing, latent_kl, pixel_means, sampled, vae_loss
from maestune.families.vae.networks import VaeModel, build_model
from maestune.families.vae.scores import ACTIVE_VARIANCE, MEASURES, held_out_scores
from maestune.families.vae.space import FUSIBLE, full_steps, vae_space
from maestune.space import Fusible, Space
from maestune.types import Config

CHUNK = 1024  # samples made at once, so that memory stays bounded
COLUMNS = 8  # of the pictures
PAIRS = 4  # rows of originals, each above its reconstructions
WALKS = 8


@dataclass(frozen=True)
class VAE(Family):
    """Variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114), for images (C, H, W) in [-1, 1]."""

    name: str = "vae"
    fusible: Fusible = field(default=FUSIBLE, repr=False)

    @property
    def sampling_parameters(self) -> frozenset[str]:
        """What samples are drawn with, once a model is trained."""
        return frozenset({"temperature"})

    @property
    def recipe(self) -> str:
        """The VAE of pytorch/examples, on dense networks or convolutions."""
        return "vae-mlp"

    @property
    def measures(self) -> tuple[str, ...]:
        """Bounds on the likelihood in nats per image, the latents' KL, and how many of them are used."""
        return MEASURES

    def check(self, spec: DataSpec) -> None:
        """Images are needed, of any size; captions and labels are not looked at."""
        if len(spec.shape) != 3:
            raise SettingsError("vae: learns from images, and these data have none; give images, or use another model.")

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        """The default space; its centre is the VAE of pytorch/examples.

        The network follows from the image size (dense up to 16 pixels, convolutions above) and is not searched.
        `network` ("mlp" or "conv") chooses it instead.
        """
        return vae_space(spec, network)

    def full_steps(self, spec: DataSpec, n_train: int) -> int:
        """Default length of a full training, in steps."""
        return full_steps(spec, n_train)

    def build(self, config: Config, spec: DataSpec, generator: torch.Generator) -> VaeModel:
        """The autoencoder with fresh weights, drawn from the generator alone, on its device."""
        return build_model(config, spec, generator)

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        """One player: encoder, decoder and scale together."""
        noise = {"posterior": NoiseSpec("normal", (int(config.number("batch_size")), int(config.number("latent_dim"))))}
        average = "average" if config.number("ema", 0.0) > 0 else ""
        return (Player("network", vae_loss, noise, average=average),)

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        """`beta_now`, the weight of the KL at this progress; free bits (nats per latent) and temperature as they are."""
        share = annealing(
            config.text("kl_schedule", "constant"),
            progress,
            config.number("kl_warmup", 0.0),
            int(config.number("kl_cycles", 1)),
        )
        return {
            "beta_now": config.number("beta", 1.0) * share,
            "free_bits": config.number("free_bits", 0.0),
            "temperature": config.number("temperature", 1.0),
        }

    def latents(self, config: Config, spec: DataSpec, n: int) -> dict[str, NoiseSpec]:
        """The latents of the samples."""
        return {"latent": NoiseSpec("normal", (n, int(config.number("latent_dim"))))}

    @torch.no_grad()
    def generate(self, model: nn.Module, hyper: Hyper, noise: Noise) -> Tensor:
        """Samples (n, C, H, W) in [-1, 1]: pixel means of latents from N(0, temperature²), without noise of pixels.

        Drawn from the moving average where it is kept.
        """
        assert isinstance(model, VaeModel)
        latents = hyper["temperature"] * noise["latent"]
        return torch.cat([pixel_means(model.sampler.decode(chunk)) for chunk in latents.split(CHUNK)])

    @torch.no_grad()
    def signals(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Mapping[str, Noise]) -> dict[str, Tensor]:
        """The parts of the loss, the weight of the KL, the share of latents in use, and the pixels' scale if any.

        `reconstruction` and `kl`: nats per image, mean over the batch. `active_share`: latents whose means vary over the
        batch with a variance above 0.01, as a share of all.
        """
        assert isinstance(model, VaeModel)
        network, x = model.network, batch["image"]
        mean, log_variance = network.encode(x)
        logits = network.decode(sampled(mean, log_variance, noise["network"]["posterior"]))
        log_scale = network.log_scale
        found = {
            "reconstruction": model.likelihood.cost(x, logits, log_scale).mean(),
            "kl": latent_kl(mean, log_variance).sum(1).mean(),
            "beta_now": torch.as_tensor(hyper["beta_now"], dtype=x.dtype, device=x.device),
            "active_share": (mean.var(0, correction=0) > ACTIVE_VARIANCE).to(x.dtype).mean(),
        }
        return found if log_scale is None else {**found, "pixel_scale": log_scale.exp().squeeze(0)}

    @torch.no_grad()
    def measure(self, model: nn.Module, hyper: Hyper, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """`held_out_scores` of the images, with the moving average where it is kept."""
        assert isinstance(model, VaeModel)
        return held_out_scores(model, batch["image"], generator)

    def failure(self, spec: DataSpec) -> dict[str, float]:
        """Every level equally likely, and latents that know nothing."""
        nats = math.prod(spec.image) * math.log(LEVELS)
        bits = math.log2(LEVELS)
        return {"elbo_nats": nats, "elbo_bpd": bits, "iwae_nats": nats, "kl_nats": 0.0, "active_units": 0.0}

    @torch.no_grad()
    def exhibits(self, model: nn.Module, hyper: Hyper, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """64 images each, for rows of 8, of held-out images.

        "reconstructions": a row of originals, below it what the decoder makes of the means of their latents, four times.
        "walk": in each row the way from one image to another, in equal steps between the means of their latents.
        """
        assert isinstance(model, VaeModel)
        network, held_out = model.sampler, batch["image"]
        x = held_out[torch.arange(PAIRS * COLUMNS, device=held_out.device) % len(held_out)]
        mean, _ = network.encode(x)
        rows = torch.stack(
            [images.unflatten(0, (PAIRS, COLUMNS)) for images in (x, pixel_means(network.decode(mean)))], 1
        )
        ends = mean[: 2 * WALKS].unflatten(0, (WALKS, 2))
        steps = torch.linspace(0.0, 1.0, COLUMNS, dtype=x.dtype, device=x.device)[:, None]
        path = torch.lerp(ends[:, :1], ends[:, 1:], steps)  # (WALKS, COLUMNS, Z)
        return {"reconstructions": rows.flatten(0, 2), "walk": pixel_means(network.decode(path.flatten(0, 1)))}
