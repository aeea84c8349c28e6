"""Augmentation against the definition, image by image."""

from __future__ import annotations

import pytest
import torch
from gan_cases import rng
from torch import Tensor
from torch.func import vmap

from maestune.families.augment import AUGMENTATIONS, augmented, coloured, holed, shifted, uniforms

N = 400


def pictures(channels: int = 1, height: int = 16, width: int = 24, n: int = N) -> Tensor:
    return torch.rand(n, channels, height, width, generator=rng(), dtype=torch.float64) + 0.5  # nowhere 0


def drawn(k: int, n: int = N) -> Tensor:
    return torch.rand(n, k, generator=rng(1), dtype=torch.float64)


def test_a_shift_moves_each_image_by_whole_pixels_up_to_an_eighth() -> None:
    x = pictures()
    y = shifted(x, drawn(2))
    found = set()
    for before, after in zip(x, y, strict=True):
        padded = torch.nn.functional.pad(before, (3, 3, 2, 2))
        places = [
            (i - 2, j - 3) for i in range(5) for j in range(7) if torch.equal(padded[:, i : i + 16, j : j + 24], after)
        ]
        assert len(places) == 1
        found.add(places[0])
    assert found == {(i, j) for i in range(-2, 3) for j in range(-3, 4)}


def test_every_shift_and_place_is_as_likely() -> None:
    x = torch.ones(10_000, 1, 8, 8)
    places = (torch.arange(10_000) + 0.5) / 10_000
    moved = shifted(x, torch.stack((places, torch.full((10_000,), 0.5)), 1))
    counts = torch.unique(moved[:, 0, :, 0], dim=0, return_counts=True)[1]
    assert counts.tolist() == [3333, 3333, 3334] or sorted(counts.tolist()) == [3333, 3333, 3334]


def test_a_hole_is_a_square_of_half_the_side_centred_anywhere() -> None:
    x = pictures()
    y = holed(x, drawn(2))
    kept = y == x
    assert ((y == 0) | kept).all()
    rows, columns = set(), set()
    for mask in ~kept[:, 0]:
        i, j = mask.nonzero().unbind(1)
        box = mask[i.min() : i.max() + 1, j.min() : j.max() + 1]
        assert box.all()
        assert box.sum() == mask.sum()
        rows.add((int(i.min()), int(i.max()) + 1))
        columns.add((int(j.min()), int(j.max()) + 1))
    # Centres from the first to the last row: of what would lie outside, nothing is left.
    assert rows == {(max(0, c - 4), min(16, c + 4)) for c in range(17)}
    assert columns == {(max(0, c - 6), min(24, c + 6)) for c in range(25)}


def test_colour_is_brightness_then_saturation_then_contrast() -> None:
    x, u = pictures(3, 4, 5), drawn(3)
    y = coloured(x, u)
    for before, after, (b, s, c) in zip(x, y, u.tolist(), strict=True):
        bright = before + b - 0.5
        grey = bright.mean(0)
        colour = torch.stack([grey + 2 * s * (channel - grey) for channel in bright])
        torch.testing.assert_close(after, (0.5 + c) * colour + (0.5 - c) * colour.mean())
    identity = torch.tensor([[0.5, 0.5, 0.5]], dtype=torch.float64).expand(N, 3)
    torch.testing.assert_close(coloured(x, identity), x)


def test_grey_images_stay_grey() -> None:
    x, u = pictures(1, 4, 4), drawn(3)
    other = u.clone()
    other[:, 1] = 0.9
    assert torch.equal(coloured(x, u), coloured(x, other))


def test_a_policy_is_its_parts_one_after_the_other() -> None:
    x, u = pictures(3), drawn(7)
    expected = holed(shifted(coloured(x, u[:, :3]), u[:, 3:5]), u[:, 5:])
    assert torch.equal(augmented(x, "colour+translation+cutout", u), expected)
    assert torch.equal(augmented(x, "translation", u[:, :2]), shifted(x, u[:, :2]))
    assert augmented(x, "none", u) is x


@pytest.mark.parametrize("policy", AUGMENTATIONS[1:])
def test_gradients_and_many_members_at_once(policy: str) -> None:
    x = pictures(3, 8, 8, n=2).requires_grad_(True)
    u = drawn(uniforms(policy), 2)
    assert torch.autograd.gradcheck(lambda x: augmented(x, policy, u), (x,))
    several, own = torch.stack((x, x + 1, x * 2)), torch.stack((u, u / 2, 1 - u))
    for axis, noise in ((0, own), (None, u)):
        found = vmap(lambda x, u: augmented(x, policy, u), in_dims=(0, axis))(several, noise)
        for k in range(3):
            torch.testing.assert_close(found[k], augmented(several[k], policy, own[k] if axis == 0 else u))


@pytest.mark.parametrize("policy", AUGMENTATIONS[1:])
def test_uniforms_at_the_ends_of_their_range_are_fine(policy: str) -> None:
    """A uniform in single precision may be rounded up to 1."""
    x = pictures(1, 8, 8, n=2)
    for end in (0.0, 1.0):
        y = augmented(x, policy, torch.full((2, uniforms(policy)), end))
        assert y.abs().max() > 0
        assert torch.isfinite(y).all()
    assert torch.equal(shifted(x, torch.ones(2, 2))[:, :, :-1, :-1], x[:, :, 1:, 1:])
