"""Small GANs in double precision, their batches and noise, and members computed one by one and at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from maestune.data import Batch, DataSpec
from maestune.families.base import Hyper, Loss, Noise, Player
from maestune.families.gan import GAN
from maestune.families.gan.networks import GanModel
from maestune.types import Config

B = 6
CLASSES = 3
SPEC = DataSpec((1, 8, 8))
LABELLED = DataSpec((1, 8, 8), classes=CLASSES)
WIDE = DataSpec((3, 16, 16), classes=CLASSES)  # large enough for attention
FAMILY = GAN()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def config_of(network: str = "mlp", spec: DataSpec = SPEC, **values: Any) -> Config:
    """A small config; sizes are below the space's, so they are put in afterwards."""
    return FAMILY.space(spec, network).complete(values).with_(batch_size=B, width=8, latent_dim=5)


def model_of(config: Config, spec: DataSpec = SPEC, seed: int = 0) -> GanModel:
    return FAMILY.build(config, spec, rng(seed)).double()


def awake(model: nn.Module, seed: int = 0) -> nn.Module:
    """With self-attention that has come to matter: its gain begins at 0."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                parameter.fill_(0.5 + 0.1 * seed)
    return model


def noise_of(player: Player, seed: int) -> dict[str, Tensor]:
    g = rng(seed)
    samplers = {"normal": torch.randn, "uniform": torch.rand}
    return {
        name: samplers[draw.kind](draw.shape, generator=g, dtype=torch.float64) for name, draw in player.noise.items()
    }


def images(seed: int, spec: DataSpec = SPEC, n: int = B) -> Tensor:
    return torch.rand(n, *spec.image, generator=rng(seed), dtype=torch.float64) * 2 - 1


def batch_of(seed: int, spec: DataSpec = SPEC, n: int = B) -> dict[str, Tensor]:
    batch = {"image": images(seed, spec, n)}
    return batch | ({"label": torch.randint(spec.classes, (n,), generator=rng(seed + 100))} if spec.classes else {})


def losses_of(player: Player) -> Sequence[Loss]:
    """The loss of most steps, and that of every n-th where there is one."""
    return (player.loss, *((player.lazy[1],) if player.lazy else ()))


class FunctionModule(nn.Module):
    """A model and a loss as one module, so that `functional_call` reaches the loss with other weights."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
        return self.loss(self.model, batch, hyper, noise).mean()


def assert_one_by_one_is_at_once(config: Config, spec: DataSpec, *, shared: bool = False, members: int = 3) -> None:
    """functional_call + vmap + grad over stacked members equals autograd member by member, hyper as vectors.

    `shared`: all members see the same batch and noise, as members of equal seed do.
    """
    models = [awake(model_of(config, spec, k), k) for k in range(members)]
    hypers = [{n: value * (1 + 0.1 * k) for n, value in FAMILY.hyper(config, 0.4).items()} for k in range(members)]
    seeds = [0 if shared else k for k in range(members)]
    batches = [batch_of(10 + k, spec) for k in seeds]
    for player in FAMILY.players(config, spec):
        noises = [noise_of(player, 20 + k) for k in seeds]
        for loss in losses_of(player):
            serial = []
            for model, batch, hyper, noise in zip(models, batches, hypers, noises, strict=True):
                own = dict(model.get_submodule(player.name).named_parameters())
                value = loss(model, batch, hyper, noise).mean()
                gradients = torch.autograd.grad(value, list(own.values()), materialize_grads=True)
                serial.append(dict(zip(own, gradients, strict=True)))

            bound = [FunctionModule(model, loss) for model in models]
            parameters, buffers = stack_module_state(bound)  # type: ignore[arg-type]
            prefix = f"model.{player.name}."
            own = {name: p for name, p in parameters.items() if name.startswith(prefix)}
            rest = {name: p for name, p in parameters.items() if name not in own} | buffers

            def one(own, rest, batch, hyper, noise, base=bound[0]):
                return functional_call(base, {**own, **rest}, (batch, hyper, noise))

            hyper = {name: torch.tensor([h[name] for h in hypers], dtype=torch.float64) for name in hypers[0]}
            axis = None if shared else 0
            fused = vmap(grad(one), in_dims=(0, 0, axis, 0, axis))(
                own, rest, *((batches[0],) if shared else (_stacked(batches),)), hyper,
                noises[0] if shared else _stacked(noises),
            )  # fmt: skip
            for name, gradient in fused.items():
                for k in range(members):
                    torch.testing.assert_close(
                        gradient[k],
                        serial[k][name.removeprefix(prefix)],
                        rtol=1e-8,
                        atol=1e-11,
                        msg=lambda m, n=name: f"{n}: {m}",
                    )
            assert any(gradient.abs().max() > 1e-6 for gradient in fused.values())


def _stacked(each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([tensors[name] for tensors in each]) for name in each[0]}


def trained(config: Config, data: Mapping[str, Tensor], spec: DataSpec, steps: int, seed: int = 0) -> GanModel:
    """After some steps of plain Adam on batches drawn from the data."""
    model, players = model_of(config, spec, seed), FAMILY.players(config, spec)
    optimisers = [
        torch.optim.Adam(model.get_submodule(p.name).parameters(), config.number("lr") * p.rate, betas=(0.5, 0.99))
        for p in players
    ]
    order = rng(seed)
    for step in range(1, steps + 1):
        rows = torch.randint(len(data["image"]), (B,), generator=order)
        batch = {name: tensor[rows] for name, tensor in data.items()}
        hyper = FAMILY.hyper(config, step / steps)
        for player, optimiser in zip(players, optimisers, strict=True):
            if step % player.every == 0:
                module = model.get_submodule(player.name)
                if player.refresh is not None:
                    buffers = dict(module.named_buffers())
                    with torch.no_grad():
                        for name, fresh in player.refresh({**dict(module.named_parameters()), **buffers}).items():
                            buffers[name].copy_(fresh)
                loss = player.loss_at(step)(model, batch, hyper, noise_of(player, 1000 * seed + step)).mean()
                optimiser.zero_grad()
                loss.backward(inputs=list(module.parameters()))
                optimiser.step()
    return model


def sampled(model: GanModel, config: Config, spec: DataSpec, n: int, label: Tensor | None = None) -> Tensor:
    """Samples of a trained model, of these labels."""
    draws = FAMILY.latents(config, spec, n)
    samplers = {"normal": torch.randn, "uniform": torch.rand}
    g = rng(7)
    noise = {name: samplers[d.kind](d.shape, generator=g, dtype=torch.float64) for name, d in draws.items()}
    return FAMILY.generate(model, FAMILY.hyper(config, 1.0), noise | ({} if label is None else {"label": label}))
