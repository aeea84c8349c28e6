"""Losses and penalties against independent formulas, serially and for many members at once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from maestune.data import Batch, DataSpec
from maestune.families.base import Hyper, Noise, Player
from maestune.families.gan import GAN
from maestune.families.gan.losses import GAMES, gradient_penalty, r1_penalty, scores_and_gradient
from maestune.types import Config

SPEC = DataSpec((1, 8, 8))
B = 6
SPACE = {network: GAN().space(SPEC, network) for network in ("mlp", "conv")}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def config_of(network: str = "mlp", **values: Any) -> Config:
    """A small config; the batch size is below the space's, so it is put in afterwards."""
    small = {"width": 64 if network == "mlp" else 16, "latent_dim": 16}
    return SPACE[network].complete({**small, **values}).with_(batch_size=B, width=8, latent_dim=5)


def noise_of(player: Player, seed: int) -> dict[str, Tensor]:
    g = rng(seed)
    samplers = {"normal": torch.randn, "uniform": torch.rand}
    return {
        name: samplers[draw.kind](draw.shape, generator=g, dtype=torch.float64) for name, draw in player.noise.items()
    }


def images(seed: int) -> Tensor:
    return torch.rand(B, *SPEC.image, generator=rng(seed), dtype=torch.float64) * 2 - 1


REFERENCE_D = {
    "ns": lambda r, f, s: (
        F.binary_cross_entropy(r.sigmoid(), torch.full_like(r, 1 - s), reduction="none")
        + F.binary_cross_entropy(f.sigmoid(), torch.zeros_like(f), reduction="none")
    ),
    "hinge": lambda r, f, s: -torch.minimum(torch.zeros_like(r), r - 1) - torch.minimum(torch.zeros_like(f), -f - 1),
    "ls": lambda r, f, s: ((r - 1 + s).pow(2) + f.pow(2)) / 2,
    "wgan": lambda r, f, s: -(r - f),
}
REFERENCE_G = {
    "ns": lambda f: -torch.log(f.sigmoid()),
    "hinge": lambda f: -f,
    "ls": lambda f: (f - 1).pow(2) / 2,
    "wgan": lambda f: -f,
}


@pytest.mark.parametrize("loss", GAMES)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_losses_of_scores(loss: str, smoothing: float) -> None:
    r, f = torch.randn(2, 50, generator=rng(), dtype=torch.float64) * 3
    torch.testing.assert_close(GAMES[loss].discriminator(r, f, smoothing), REFERENCE_D[loss](r, f, smoothing))
    torch.testing.assert_close(GAMES[loss].generator(f), REFERENCE_G[loss](f))


def test_every_loss_wants_real_scores_up_and_fake_scores_down_for_the_discriminator() -> None:
    r, f = torch.tensor([0.3], requires_grad=True), torch.tensor([0.2], requires_grad=True)
    for game in GAMES.values():
        up, down = torch.autograd.grad(game.discriminator(r, f, 0.0).sum(), (r, f))
        (sought,) = torch.autograd.grad(game.generator(f).sum(), f)
        assert up < 0 < down
        assert sought < 0


@pytest.mark.parametrize("norm", ["none", "layer", "spectral"])
def test_gradient_norm_equals_double_backward_and_finite_differences(norm: str) -> None:
    model = GAN().build(config_of(norm_d=norm), SPEC, rng()).double()
    critic = model.discriminator
    weights = list(critic.parameters())
    x = images(1)
    scores, squared = scores_and_gradient(lambda x: critic(x).squeeze(1), x)
    penalty = gradient_penalty(squared, 10.0).sum() + r1_penalty(squared, 3.0).sum()
    ours = torch.autograd.grad(penalty, weights, allow_unused=True)

    leaf = x.clone().requires_grad_(True)
    out = critic(leaf).squeeze(1)
    (gradient,) = torch.autograd.grad(out.sum(), leaf, create_graph=True)
    norms = gradient.flatten(1).norm(2, dim=1)
    theirs = torch.autograd.grad((10.0 * (norms - 1) ** 2 + 1.5 * norms**2).sum(), weights, allow_unused=True)
    torch.testing.assert_close(scores, out)
    torch.testing.assert_close(squared, norms**2)
    for a, b, w in zip(ours, theirs, weights, strict=True):  # a bias may not touch the gradient at all
        zero = torch.zeros_like(w)
        torch.testing.assert_close(zero if a is None else a, zero if b is None else b, rtol=1e-8, atol=1e-10)

    step, direction = 1e-6, torch.randn(x.shape, generator=rng(2), dtype=torch.float64)
    with torch.no_grad():
        slope = (critic(x + step * direction) - critic(x - step * direction)).squeeze(1) / (2 * step)
    torch.testing.assert_close((gradient * direction).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("penalty", ["r1", "gp"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_discriminators_loss_is_game_plus_penalty(penalty: str, norm: str) -> None:
    config = config_of(loss="hinge", penalty=penalty, norm_d=norm)
    model = GAN().build(config, SPEC, rng()).double()
    player = GAN().players(config, SPEC)[0]
    noise, real = noise_of(player, 4), images(5)
    loss = player.loss(model, {"image": real}, GAN().hyper(config, 0.3), noise)

    fake = model.generator(noise["latent"]).detach()
    point = (
        real if penalty == "r1" else noise["mix"].view(-1, 1, 1, 1) * real + (1 - noise["mix"]).view(-1, 1, 1, 1) * fake
    )
    point = point.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model.discriminator(point).sum(), point)
    squared = gradient.flatten(1).square().sum(1)
    weight = config.number("r1_gamma" if penalty == "r1" else "gp_lambda")
    extra = weight / 2 * squared if penalty == "r1" else weight * (squared.sqrt() - 1) ** 2
    r, f = model.discriminator(real).squeeze(1), model.discriminator(fake).squeeze(1)
    torch.testing.assert_close(loss, REFERENCE_D["hinge"](r, f, 0.0) + extra)
    assert loss.shape == (B,)


def test_dropout_instance_noise_and_smoothing_enter_the_loss() -> None:
    config = config_of(dropout_d=0.3, instance_noise=0.2, label_smoothing=0.1)
    model = GAN().build(config, SPEC, rng()).double()
    d, g = GAN().players(config, SPEC)
    noise, real, hyper = noise_of(d, 4), images(5), GAN().hyper(config, 0.25)
    assert hyper["instance_noise"] == pytest.approx(0.15)
    fake = model.generator(noise["latent"])
    critic = nn.Sequential(*(layer for layer in model.discriminator.layers))

    def score(x: Tensor, side: str) -> Tensor:
        i = 0
        for layer in critic:
            if type(layer).__name__ == "Dropout":
                x = torch.where(noise[f"{side}_mask_{i}"] < 0.3, 0.0, x / 0.7)
                i += 1
            else:
                x = layer(x)
        return x.squeeze(1)

    noisy = [real + 0.15 * noise["real_noise"], fake + 0.15 * noise["fake_noise"]]
    expected = REFERENCE_D["ns"](score(noisy[0], "real"), score(noisy[1], "fake"), 0.1)
    torch.testing.assert_close(d.loss(model, {"image": real}, hyper, noise), expected)
    torch.testing.assert_close(g.loss(model, {"image": real}, hyper, noise), REFERENCE_G["ns"](score(noisy[1], "fake")))


def test_the_discriminators_loss_has_no_gradient_for_the_generator() -> None:
    config = config_of()
    model = GAN().build(config, SPEC, rng()).double()
    d, _ = GAN().players(config, SPEC)
    d.loss(model, {"image": images(0)}, GAN().hyper(config, 0.0), noise_of(d, 1)).sum().backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad is not None for p in model.discriminator.parameters())


class Bound(nn.Module):
    """A model and a loss as one module, so that `functional_call` reaches the loss with other weights."""

    def __init__(self, model: nn.Module, player: Player) -> None:
        super().__init__()
        self.model, self.player = model, player

    def forward(self, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
        return self.player.loss(self.model, batch, hyper, noise).mean()


NORMS = {"mlp": ["none", "batch", "layer", "spectral"], "conv": ["none", "batch", "instance", "layer", "spectral"]}
SEAM = [
    *itertools.product(["mlp"], GAMES, ["none", "r1", "gp"], NORMS["mlp"]),
    *itertools.product(["conv"], ["ns"], ["none", "r1", "gp"], NORMS["conv"]),
]


@pytest.mark.parametrize(("network", "loss", "penalty", "norm"), SEAM)
def test_many_members_at_once_have_the_serial_gradients(network: str, loss: str, penalty: str, norm: str) -> None:
    """functional_call + vmap + grad over stacked members equals autograd member by member, hyper as vectors."""
    K = 3
    norm_g = norm if norm != "spectral" else "batch"
    config = config_of(
        network, loss=loss, penalty=penalty, norm_d=norm, norm_g=norm_g, dropout_d=0.2, instance_noise=0.1
    )
    members = [GAN().build(config, SPEC, rng(k)).double() for k in range(K)]
    hypers = [{name: value * (1 + 0.1 * k) for name, value in GAN().hyper(config, 0.4).items()} for k in range(K)]
    batches = torch.stack([images(10 + k) for k in range(K)])  # (K, B, C, H, W)
    for player in GAN().players(config, SPEC):
        noises = [noise_of(player, 20 + k) for k in range(K)]
        serial = []
        for k, model in enumerate(members):
            value = player.loss(model, {"image": batches[k]}, hypers[k], noises[k]).mean()
            own = dict(model.get_submodule(player.name).named_parameters())
            serial.append(dict(zip(own, torch.autograd.grad(value, list(own.values())), strict=True)))

        bound = [Bound(model, player) for model in members]
        parameters, buffers = stack_module_state(bound)  # type: ignore[arg-type]
        prefix = f"model.{player.name}."
        own = {name: p for name, p in parameters.items() if name.startswith(prefix)}
        rest = {name: p for name, p in parameters.items() if name not in own} | buffers

        def loss_of(own, rest, batch, hyper, noise, base=bound[0]):
            return functional_call(base, {**own, **rest}, (batch, hyper, noise))

        hyper = {name: torch.tensor([h[name] for h in hypers], dtype=torch.float64) for name in hypers[0]}
        noise = {name: torch.stack([n[name] for n in noises]) for name in noises[0]}
        fused = vmap(grad(loss_of))(own, rest, {"image": batches}, hyper, noise)
        for name, gradient in fused.items():
            for k in range(K):
                torch.testing.assert_close(
                    gradient[k],
                    serial[k][name.removeprefix(prefix)],
                    rtol=1e-8,
                    atol=1e-11,
                    msg=lambda m, n=name: f"{n}: {m}",
                )
        assert any(gradient.abs().max() > 1e-6 for gradient in fused.values())
