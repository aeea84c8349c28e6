"""The losses of the two players, per sample: the game, the penalty on the discriminator, and its consistency.

Written once for serial training and for many members at once: pure in (model, batch, hyper, noise).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from maestune.data import Batch
from maestune.families.augment import augmented, shifted
from maestune.families.base import Hyper, Noise
from maestune.families.gan.adversarial import AdversarialLoss
from maestune.families.gan.penalties import (
    ONE_CENTRED,
    ZERO_CENTRED,
    one_centred,
    points,
    scores_and_gradient,
    zero_centred,
)

Critics = Callable[[str], Callable[[Tensor], Tensor]]  # side ("real", "fake", "both") → (images → scores (B,))

# Whose scores must not change when they are shifted.
CONSISTENT: Mapping[str, tuple[str, ...]] = {"none": (), "real": ("real",), "both": ("real", "fake")}


@dataclass(frozen=True)
class GanLosses:
    """The two losses of one structure of GAN; numbers come in by `hyper`, all randomness by `noise`.

    `separate`: real and fake pass the discriminator one after the other, because samples that pass together see each
    other (batch norm); otherwise both pass at once. `masks`: number of dropouts in the discriminator. `augment`: the policy
    by which all that the discriminator sees is augmented. `consistency`: "real" or "both" for the images whose score
    must not change when they are shifted. `labelled`: networks are given the batch's labels, the fakes' being those of
    the real images beside them. `penalty_factor`: of a penalty that is only taken every so many steps.
    """

    adversarial: AdversarialLoss
    penalty: str = "none"  # "none", one of ZERO_CENTRED or one of ONE_CENTRED
    separate: bool = False
    masks: int = 0
    instance_noise: bool = False
    augment: str = "none"
    consistency: str = "none"
    labelled: bool = False
    penalty_factor: float = 1.0

    def discriminator(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
        """Loss of the discriminator on real images (B, C, H, W) against as many fakes, per sample (B,)."""
        net: Any = model
        label = self._label(batch)
        with torch.no_grad():
            fake = net.generator(noise["latent"], label=label)
        seen = {
            "real": self._seen(batch["image"], hyper, noise, "real"),
            "fake": self._seen(fake, hyper, noise, "fake"),
        }
        critics = self._critics(net, hyper, noise, label)
        scores, extra = self._scores(critics, seen, hyper)
        loss = self.adversarial.discriminator(scores["real"], scores["fake"], hyper)
        if self.penalty in ONE_CENTRED:
            point = points(self.penalty, seen["real"], seen["fake"], noise)
            _, squared_norm = scores_and_gradient(critics("real"), point)
            extra.append(one_centred(squared_norm, hyper["gp_lambda"] * self.penalty_factor))
        for side in CONSISTENT[self.consistency]:
            # CR and bCR (Zhang et al. 2020, arXiv 1910.12027; Zhao et al. 2020, arXiv 2002.04724).
            moved = critics(side)(shifted(seen[side], noise[f"{side}_shift"]))
            extra.append(hyper[f"cr_{side}"] * (moved - scores[side]) ** 2)
        return sum(extra, loss)

    def generator(self, model: nn.Module, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
        """Loss of the generator on fresh latents, per sample (B,); real images are looked at in relative games alone."""
        net: Any = model
        label = self._label(batch)
        critics = self._critics(net, hyper, noise, label)
        fake = net.generator(noise["latent"], label=label)
        f = critics("fake")(self._seen(fake, hyper, noise, "fake"))
        r: Tensor | None = None
        if self.adversarial.relative:
            with torch.no_grad():
                r = critics("real")(self._seen(batch["image"], hyper, noise, "real"))
        return self.adversarial.generator(f, r)

    def _scores(
        self, critics: Critics, seen: dict[str, Tensor], hyper: Hyper
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The scores of both sides, and the zero-centred penalties, whose gradients are taken in the same passes."""
        penalised = ZERO_CENTRED.get(self.penalty, ())
        penalties: list[Tensor] = []
        if not (self.separate or penalised):
            r, f = critics("both")(torch.cat((seen["real"], seen["fake"]))).chunk(2)
            return {"real": r, "fake": f}, penalties
        scores: dict[str, Tensor] = {}
        for side, images in seen.items():
            if side in penalised:
                scores[side], squared_norm = scores_and_gradient(critics(side), images)
                penalties.append(zero_centred(squared_norm, hyper["r1_gamma"] * self.penalty_factor))
            else:
                scores[side] = critics(side)(images)
        return scores, penalties

    def _critics(self, net: Any, hyper: Hyper, noise: Noise, label: Tensor | None) -> Critics:
        rate = hyper.get("dropout_d", 0.0)

        def masks(side: str) -> tuple[Tensor, ...]:
            if side == "both":
                return tuple(map(torch.cat, zip(masks("real"), masks("fake"), strict=True)))
            return tuple(noise[f"{side}_mask_{i}"] for i in range(self.masks))

        def critic(side: str, images: Tensor) -> Tensor:
            asked = label if label is None or side != "both" else torch.cat((label, label))
            return net.discriminator(images, masks(side), rate, label=asked).squeeze(1)

        return lambda side: partial(critic, side)

    def _seen(self, images: Tensor, hyper: Hyper, noise: Noise, side: str) -> Tensor:
        """Images as the discriminator sees them: augmented, and with instance noise."""
        if self.augment != "none":
            images = augmented(images, self.augment, noise[f"{side}_augment"])
        if self.instance_noise:
            images = images + hyper["instance_noise"] * noise[f"{side}_noise"]
        return images

    def _label(self, batch: Batch) -> Tensor | None:
        return batch["label"] if self.labelled else None
