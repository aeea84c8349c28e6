"""Layers against PyTorch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from maestune.families.layers import (
    BatchNorm,
    Dropout,
    GroupNorm,
    Labelled,
    MinibatchStd,
    SpectralConv2d,
    SpectralLinear,
    Stack,
    initialise,
    power_iteration,
    refreshed_spectral,
    standing_statistics,
)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def filled(module: Any, rng: torch.Generator) -> Any:
    for tensor in module.parameters():
        tensor.data.normal_(generator=rng)
    return module


def refresh(module: nn.Module) -> None:
    """Bring the singular vectors of all spectral norms inside a module up to date."""
    buffers = dict(module.named_buffers())
    with torch.no_grad():
        for name, fresh in refreshed_spectral({**dict(module.named_parameters()), **buffers}).items():
            buffers[name].copy_(fresh)


SHAPES = [(16, 5), (8, 5, 6, 7)]


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_in_training_is_pytorchs(shape: tuple[int, ...], rng: torch.Generator) -> None:
    ours = filled(BatchNorm(5), rng)
    reference = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(5)
    reference.load_state_dict(ours.state_dict(), strict=False)
    x = torch.randn(shape, generator=rng) * 3 + 1
    torch.testing.assert_close(ours(x), reference(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_with_given_statistics_is_pytorchs_evaluation_mode(shape: tuple[int, ...], rng) -> None:
    ours = filled(BatchNorm(5), rng)
    reference = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(5).eval()
    mean, variance = torch.randn(5, generator=rng), torch.rand(5, generator=rng) + 0.1
    reference.load_state_dict({**ours.state_dict(), "running_mean": mean, "running_var": variance}, strict=False)
    x = torch.randn(shape, generator=rng)
    torch.testing.assert_close(ours(x, (mean, variance)), reference(x))


def test_group_norm_is_layer_norm_and_instance_norm(rng: torch.Generator) -> None:
    x = torch.randn(4, 6, 5, 5, generator=rng)
    layer, instance, flat = (filled(GroupNorm(groups, 6), rng) for groups in (1, 6, 1))
    whole = nn.functional.layer_norm(x, (6, 5, 5))
    torch.testing.assert_close(layer(x), whole * layer.weight[:, None, None] + layer.bias[:, None, None])
    torch.testing.assert_close(instance(x), nn.functional.instance_norm(x, weight=instance.weight, bias=instance.bias))
    v = x[:, :, 0, 0]
    torch.testing.assert_close(flat(v), nn.functional.layer_norm(v, (6,), flat.weight, flat.bias))


def test_dropout_drops_where_uniforms_are_below_the_rate() -> None:
    x = torch.ones(1, 4)
    uniforms = torch.tensor([[0.0, 0.24, 0.25, 0.9]])
    torch.testing.assert_close(Dropout((4,))(x, uniforms, 0.25), torch.tensor([[0.0, 0.0, 4 / 3, 4 / 3]]))
    torch.testing.assert_close(Dropout((4,))(x, uniforms, torch.tensor(0.0)), x)


@pytest.mark.parametrize("make", [lambda: SpectralLinear(12, 7), lambda: SpectralConv2d(3, 7, 4, 2, 1)])
def test_spectral_norm_reaches_a_largest_singular_value_of_one(make, rng: torch.Generator) -> None:
    layer = make()
    initialise(layer, rng, 0.02)
    for _ in range(300):
        refresh(layer)
    matrix = layer.normalised().flatten(1)
    assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1.0, abs=1e-4)
    # The same direction, only scaled.
    ratio = layer.weight.flatten(1) / matrix
    assert ratio.std().item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("conv", [False, True])
def test_spectral_norm_equals_pytorchs_and_has_its_gradient(conv: bool, rng: torch.Generator) -> None:
    ours = SpectralConv2d(3, 7, 4, 2, 1) if conv else SpectralLinear(12, 7)
    initialise(ours, rng)
    plain = nn.Conv2d(3, 7, 4, 2, 1) if conv else nn.Linear(12, 7)
    ours, plain = ours.double(), plain.double()  # the two round differently in float32
    plain.load_state_dict({name: ours.state_dict()[name] for name in ("weight", "bias")})
    reference: Any = nn.utils.parametrizations.spectral_norm(plain)
    inner = reference.parametrizations.weight[0]
    inner._u.copy_(ours.u)
    inner._v.copy_(ours.v)
    reference.eval()  # no power iteration in forward: both look at the same vectors
    x = (torch.randn(5, 3, 8, 8, generator=rng) if conv else torch.randn(5, 12, generator=rng)).double()
    a, b = ours(x), reference(x)
    torch.testing.assert_close(a, b)
    (a**2).sum().backward()
    (b**2).sum().backward()
    torch.testing.assert_close(ours.weight.grad, reference.parametrizations.weight.original.grad)


def test_a_refresh_is_pytorchs_power_iteration(rng: torch.Generator) -> None:
    matrix, u = torch.randn(7, 12, generator=rng), torch.randn(7, generator=rng)
    _, v = power_iteration(matrix, u)
    normalised: Any = nn.utils.parametrizations.spectral_norm(nn.Linear(12, 7))
    reference = normalised.parametrizations.weight[0]
    # PyTorch takes the left vector first: from our right vector its next left one is ours.
    reference._v.copy_(v)
    reference._power_method(matrix, 1)
    new_u, _ = power_iteration(matrix, u)
    torch.testing.assert_close(new_u, reference._u)
    torch.testing.assert_close(power_iteration(matrix, new_u)[1], reference._v)


def test_a_refresh_finds_every_spectral_norm_and_writes_nothing(rng: torch.Generator) -> None:
    stack = Stack(
        [SpectralConv2d(1, 3, 4, 2, 1), nn.ReLU(), Stack([nn.Flatten(), SpectralLinear(12, 7)]), BatchNorm(7)]
    )
    initialise(stack, rng)
    tensors = {**dict(stack.named_parameters()), **dict(stack.named_buffers())}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    fresh = refreshed_spectral({name: tensor.detach() for name, tensor in tensors.items()})
    assert set(fresh) == {f"{layer}.{kind}" for layer in ("layers.0", "layers.2.layers.1") for kind in "uv"}
    for layer in ("layers.0", "layers.2.layers.1"):
        u, v = power_iteration(before[f"{layer}.weight"].flatten(1), before[f"{layer}.u"])
        assert torch.equal(fresh[f"{layer}.u"], u)
        assert torch.equal(fresh[f"{layer}.v"], v)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())
    # A spectral layer that stands alone.
    alone = stack.layers[0]
    bare = refreshed_spectral({**dict(alone.named_parameters()), **dict(alone.named_buffers())})
    assert torch.equal(bare["u"], fresh["layers.0.u"])
    assert torch.equal(bare["v"], fresh["layers.0.v"])


def test_forward_writes_nothing(rng: torch.Generator) -> None:
    stack = Stack([nn.Flatten(), SpectralLinear(12, 7), BatchNorm(7), nn.ReLU(), SpectralLinear(7, 1)])
    initialise(stack, rng)
    before = {name: tensor.clone() for name, tensor in stack.state_dict().items()}
    stack(torch.randn(8, 12, generator=rng)).sum().backward()
    for name, tensor in stack.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_standing_statistics_are_the_cumulative_averages_of_pytorchs_batch_norm(rng: torch.Generator) -> None:
    stack = Stack([nn.Linear(4, 6), BatchNorm(6), nn.ReLU(), Dropout((6,)), nn.Linear(6, 3), BatchNorm(3), nn.Tanh()])
    initialise(stack, rng)
    reference: Any = nn.Sequential(
        nn.Linear(4, 6),
        nn.BatchNorm1d(6, momentum=None),
        nn.ReLU(),
        nn.Linear(6, 3),
        nn.BatchNorm1d(3, momentum=None),
        nn.Tanh(),
    )
    for mine, theirs in zip(stack.parameters(), reference.parameters(), strict=True):
        theirs.data.copy_(mine)
    batches = [torch.randn(32, 4, generator=rng) for _ in range(5)]
    for batch in batches:
        reference(batch)
    found = standing_statistics(stack, batches)
    for (mean, variance), norm in zip(found, (reference[1], reference[4]), strict=True):
        torch.testing.assert_close(mean, norm.running_mean)
        torch.testing.assert_close(variance * 32 / 31, norm.running_var)  # PyTorch stores the unbiased one
    x = torch.randn(7, 4, generator=rng)
    reference.eval()
    for (mean, variance), norm in zip(found, (reference[1], reference[4]), strict=True):
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    torch.testing.assert_close(stack(x, standing=found), reference(x))


class Shifted(Labelled):
    """Adds the label."""

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return x + label[:, None]


def test_labels_reach_the_layers_that_depend_on_them(rng: torch.Generator) -> None:
    x, label = torch.randn(8, 3, generator=rng), torch.arange(8)
    stack = Stack([nn.Identity(), Shifted(), BatchNorm(3)])
    stack.layers[2].weight.data.fill_(1.0)
    stack.layers[2].bias.data.zero_()
    torch.testing.assert_close(stack(x, label=label), stack.layers[2](x + label[:, None]))
    ((mean, variance),) = standing_statistics(stack, [x, x], [label, 2 * label])
    both = torch.stack((x + label[:, None], x + 2 * label[:, None]))
    torch.testing.assert_close(mean, both.mean((0, 1)))
    torch.testing.assert_close(variance, both.var(1, correction=0).mean(0))


@pytest.mark.parametrize(("n", "group"), [(12, 4), (6, 6)])
def test_the_minibatchs_spread_is_that_of_groups_of_four(n: int, group: int, rng: torch.Generator) -> None:
    x = torch.randn(n, 5, generator=rng, dtype=torch.float64)
    y = MinibatchStd()(x)
    assert torch.equal(y[:, :5], x)
    step = n // group
    for i in range(n):
        others = x[i % step :: step]
        assert len(others) == group
        spread = (others.var(0, correction=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(y[i, 5], spread)
    assert Stack([MinibatchStd()]).couples_samples


def test_the_minibatchs_spread_tells_equal_samples_from_different_ones(rng: torch.Generator) -> None:
    x = torch.randn(8, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    same = x[:1].expand(8, 5)
    assert (MinibatchStd()(same)[:, 5] < 1e-3).all()
    assert (MinibatchStd()(x)[:, 5] > 0.5).all()
    assert torch.autograd.gradcheck(MinibatchStd(), (x,))
    assert torch.autograd.gradgradcheck(MinibatchStd(), (x,))


def test_no_batch_norm_no_statistics() -> None:
    assert standing_statistics(Stack([nn.Linear(2, 2)]), [torch.zeros(3, 2)]) == ()


def test_initial_weights_come_from_the_generator_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        stack = Stack([nn.Linear(100, 50), BatchNorm(50), nn.Conv2d(3, 4, 3)])
        initialise(stack, torch.Generator().manual_seed(seed), 0.02)
        return torch.cat([p.detach().flatten() for p in stack.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_initial_weights_have_the_published_spread(rng: torch.Generator) -> None:
    layer, norm = nn.Linear(300, 300), BatchNorm(3000)
    initialise(Stack([layer, norm]), rng, 0.02)
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert layer.bias.abs().max() == 0
    assert norm.weight.mean().item() == pytest.approx(1.0, abs=2e-3)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.05)
    initialise(layer, rng)
    assert layer.weight.abs().max().item() == pytest.approx(300**-0.5, rel=1e-3)
    assert layer.weight.std().item() == pytest.approx((300 * 3) ** -0.5, rel=0.02)
