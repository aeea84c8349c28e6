"""Self-attention against PyTorch's own attention and its definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from gan_cases import rng

from maestune.families.attention import SelfAttention
from maestune.families.layers import SpectralLinear, Stack, initialise, refreshed_spectral


def block(channels: int, *, spectral: bool = False, gain: float = 0.7) -> SelfAttention:
    layer = SelfAttention(channels, spectral=spectral)
    initialise(layer, rng(1))
    torch.nn.init.constant_(layer.gain, gain)
    return layer.double()


@pytest.mark.parametrize("side", [(8, 8), (9, 6)])
def test_it_is_pytorchs_attention_over_pixels(side: tuple[int, int]) -> None:
    layer = block(16)
    x = torch.randn(2, 16, *side, generator=rng(), dtype=torch.float64)

    def conv(linear: torch.nn.Module) -> torch.Tensor:
        return F.conv2d(x, linear.weight[:, :, None, None])  # type: ignore[union-attr, index]

    q, k, v = conv(layer.query), F.max_pool2d(conv(layer.key), 2), F.max_pool2d(conv(layer.value), 2)
    assert (q.shape[1], k.shape[1], v.shape[1]) == (2, 2, 8)
    queries, keys, values = (t.flatten(2).transpose(1, 2) for t in (q, k, v))
    found = F.scaled_dot_product_attention(queries, keys, values, scale=1.0).transpose(1, 2).unflatten(2, side)
    expected = x + 0.7 * F.conv2d(found, layer.output.weight[:, :, None, None])
    torch.testing.assert_close(layer(x), expected)


def test_it_begins_as_if_it_were_not_there() -> None:
    layer = SelfAttention(4)
    initialise(layer, rng())
    x = torch.randn(2, 4, 8, 8, generator=rng())
    assert layer.gain.item() == 0.0
    assert torch.equal(layer(x), x)
    (slope,) = torch.autograd.grad(layer(x).square().sum(), layer.gain)
    assert slope.abs() > 0


def test_a_pixel_sees_all_others() -> None:
    layer = block(8)
    x = torch.randn(1, 8, 8, 8, generator=rng(), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, :, 0, 0].sum(), x)
    # Of each 2 × 2 the largest key and value of every channel are seen, so some pixel of each.
    assert (F.max_pool2d(gradient.abs().sum(1), 2) > 0).all()


def test_its_gradient_is_that_of_finite_differences_twice() -> None:
    layer = block(4, spectral=True)
    x = torch.randn(1, 4, 4, 4, generator=rng(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))


def test_spectral_norm_is_in_all_four_and_kept_up_to_date() -> None:
    stack = Stack([SelfAttention(16, spectral=True)])
    initialise(stack, rng())
    tensors = {n: t.detach() for n, t in (*stack.named_parameters(), *stack.named_buffers())}
    for _ in range(50):
        fresh = refreshed_spectral(tensors)
        tensors |= fresh
    assert set(fresh) == {f"layers.0.{name}.{v}" for name in ("query", "key", "value", "output") for v in "uv"}
    for name, layer in stack.named_modules():
        if isinstance(layer, SpectralLinear):
            layer.u.copy_(tensors[f"{name}.u"])
            layer.v.copy_(tensors[f"{name}.v"])
            assert torch.linalg.matrix_norm(layer.normalised(), 2).item() == pytest.approx(1.0, abs=1e-4)
