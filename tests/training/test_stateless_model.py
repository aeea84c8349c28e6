"""A model's modules used with the tensors of any member."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from members import SHAPE, SPEC, Net, Tied, same
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from maestune.families.gan import GAN
from maestune.training.stateless_model import StatelessModel

CONFIG = GAN().space(SPEC).complete({"norm_d": "spectral", "ema": 0.9}).with_(width=8, latent_dim=5)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tied(tie: str, seed: int) -> nn.Module:
    return Tied(tie).build(CONFIG, SPEC, rng(seed))


def gan(seed: int) -> nn.Module:
    return GAN().build(CONFIG, SPEC, rng(seed))


def test_it_computes_what_the_model_of_the_tensors_does() -> None:
    stateless = StatelessModel(gan(0))
    x, z = torch.randn(4, *SHAPE, generator=rng(9)), torch.randn(4, 5, generator=rng(8))
    for seed in (1, 2, 1):
        model: Any = gan(seed)
        with_: Any = stateless.with_(stateless.tensors_of(gan(seed)))
        assert torch.equal(with_.discriminator(x), model.discriminator(x))
        assert torch.equal(with_.generator(z), model.generator(z))
        assert torch.equal(with_.sampler(z), model.sampler(z))


def test_its_own_model_has_no_values_and_keeps_none_of_the_others() -> None:
    stateless = StatelessModel(gan(0))
    assert all(tensor.is_meta for tensor in (*stateless.model.parameters(), *stateless.model.buffers()))
    model = gan(1)
    tensors = stateless.tensors_of(model)
    assert all(
        tensors[name].data_ptr() == tensor.data_ptr() for name, tensor in model.state_dict(keep_vars=True).items()
    )
    assert not any(tensor.requires_grad for tensor in tensors.values())
    stateless.with_(tensors)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    stateless.with_({name: torch.full_like(tensor, 7.0) for name, tensor in tensors.items()})
    assert same(tensors, before)


def test_names_are_those_of_the_state_dict() -> None:
    model = gan(0)
    names, parameters = list(model.state_dict()), [name for name, _ in model.named_parameters()]
    stateless = StatelessModel(model)
    assert list(stateless.saved.items()) == [(name, name) for name in names]
    assert stateless.parameters == parameters
    assert set(stateless.tensors_of(gan(1))) == set(names)


@pytest.mark.parametrize(
    ("tie", "parameters", "saved"),
    [
        ("", ["a.weight", "a.bias", "b.weight", "b.bias"], {}),
        ("weight", ["a.weight", "a.bias", "b.bias"], {"b.weight": "a.weight"}),
        ("layer", ["a.weight", "a.bias"], {"b.weight": "a.weight", "b.bias": "a.bias"}),
    ],
)
def test_tied_tensors_are_kept_once_and_put_in_all_their_places(
    tie: str, parameters: list[str], saved: dict[str, str]
) -> None:
    model = tied(tie, 0)
    names = list(model.state_dict())
    stateless = StatelessModel(model)
    assert stateless.parameters == [f"only.{name}" for name in parameters]
    assert list(stateless.saved) == names
    own = {f"only.{name}": f"only.{saved.get(name, name)}" for name in ("a.weight", "a.bias", "b.weight", "b.bias")}
    assert stateless.saved == {**own, "only.shift": "only.shift"}
    tensors = stateless.tensors_of(tied(tie, 1))
    assert set(tensors) == {*stateless.parameters, "only.shift", "only.scale"}  # with what is not saved
    x = torch.randn(3, 64, generator=rng(5))
    other: Any = tied(tie, 1)
    with_: Any = stateless.with_(tensors)
    assert torch.equal(with_.only(x), other.only(x))
    with_ = stateless.with_({**tensors, "only.scale": torch.tensor(0.25)})
    torch.testing.assert_close(with_.only(x) - other.only.shift, 0.5 * (other.only(x) - other.only.shift))


@pytest.mark.parametrize("tie", ["", "weight", "layer"])
def test_gradients_of_many_members_are_those_of_each(tie: str) -> None:
    stateless = StatelessModel(tied(tie, 0))
    members = [tied(tie, seed) for seed in (1, 2, 3)]
    rows = [stateless.tensors_of(member) for member in members]
    stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    x = torch.randn(3, 64, generator=rng(5))

    def loss(own: dict[str, Tensor], rest: dict[str, Tensor]) -> Tensor:
        model: Any = stateless.with_({**rest, **own})
        return model.only(x).square().mean()

    own = {name: stacked[name] for name in stateless.parameters}
    rest = {name: tensor for name, tensor in stacked.items() if name not in own}
    gradients = vmap(grad(loss))(own, rest)
    for k, member in enumerate(members):
        value = functional_call(member.only, {}, (x,)).square().mean()  # type: ignore[operator]
        expected = torch.autograd.grad(value, list(member.parameters()))
        for name, gradient in zip(stateless.parameters, expected, strict=True):
            torch.testing.assert_close(gradients[name][k], gradient)


def test_a_model_without_buffers_or_with_empty_places() -> None:
    model = nn.Module()
    model.only = nn.Linear(2, 3, bias=False)  # its bias is a place that holds nothing
    model.net = Net(rng(0), "")
    stateless = StatelessModel(model)
    assert "only.bias" not in stateless.tensors_of(_again())
    assert list(stateless.saved) == list(_again().state_dict())


def _again() -> nn.Module:
    model = nn.Module()
    model.only = nn.Linear(2, 3, bias=False)
    model.net = Net(rng(0), "")
    return model
