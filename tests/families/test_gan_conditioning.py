"""Labels in a GAN: the layers by their formulas, and that each network listens to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gan_cases import (
    CLASSES,
    FAMILY,
    LABELLED,
    SPEC,
    WIDE,
    B,
    batch_of,
    config_of,
    images,
    model_of,
    noise_of,
    rng,
    sampled,
)

from maestune.families.gan.conditioning import EMBEDDING, JoinLabel, Projection, SpectralTable
from maestune.families.layers import Stack, initialise, refreshed_spectral

LABEL = torch.tensor([2, 0, 1, 1])


def test_numbers_of_the_class_stand_beside_latents_and_beside_pixels() -> None:
    layer = JoinLabel(CLASSES)
    initialise(layer, rng())
    z, x = torch.randn(4, 5, generator=rng()), torch.randn(4, 3, 2, 6, generator=rng())
    assert torch.equal(layer(z, LABEL), torch.cat((z, layer.weight[LABEL]), 1))
    found = layer(x, LABEL)
    assert torch.equal(found[:, :3], x)
    assert torch.equal(found[:, 3:], layer.weight[LABEL].reshape(4, EMBEDDING, 1, 1).repeat(1, 1, 2, 6))


@pytest.mark.parametrize("spectral", [False, True])
def test_projection_is_its_formula(spectral: bool) -> None:
    layer = Projection(7, CLASSES, spectral=spectral)
    initialise(layer, rng())
    layer = layer.double()
    x = torch.randn(4, 7, generator=rng(), dtype=torch.float64)
    table, weight = layer.classes.weight, layer.score.weight
    if spectral:
        assert isinstance(layer.classes, SpectralTable)
        table = table / (layer.classes.u @ table @ layer.classes.v)
        weight = weight / weight.norm()  # the only singular value of one row
    expected = [weight[0] @ x[i] + layer.score.bias[0] + table[int(y)] @ x[i] for i, y in enumerate(LABEL)]
    torch.testing.assert_close(layer(x, LABEL).squeeze(1), torch.stack(expected))


def test_spectral_norm_of_the_classes_is_kept_up_to_date() -> None:
    stack = Stack([Projection(7, CLASSES, spectral=True)])
    initialise(stack, rng(), 0.02)
    tensors = {**dict(stack.named_parameters()), **dict(stack.named_buffers())}
    fresh = refreshed_spectral({name: tensor.detach() for name, tensor in tensors.items()})
    assert set(fresh) == {f"layers.0.{name}.{v}" for name in ("score", "classes") for v in "uv"}
    table: Any = stack.layers[0].classes
    assert torch.linalg.matrix_norm(table.normalised(), 2).item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("spread", [None, 0.02])
def test_first_values_come_from_the_generator_alone(spread: float | None) -> None:
    def made(seed: int) -> list[torch.Tensor]:
        with torch.device("meta"):
            stack = Stack([JoinLabel(50), Projection(400, 50)])
        initialise(stack.to_empty(device="cpu"), rng(seed), spread)
        return list(stack.parameters())

    before = torch.get_rng_state()
    a, b, c = made(1), made(1), made(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, a, b))
    assert not torch.equal(a[0], c[0])
    assert a[0].std().item() == pytest.approx(1.0, rel=0.1)
    assert a[-1].std().item() == pytest.approx(spread or 1 / (400 * 3) ** 0.5, rel=0.05)


CASES = [
    (network, condition, norm)
    for network in ("mlp", "conv")
    for condition in ("concat", "projection")
    for norm in ("none", "batch", "spectral")
]


@pytest.mark.parametrize(("network", "condition", "norm"), CASES)
def test_both_networks_listen_to_the_label(network: str, condition: str, norm: str) -> None:
    config = config_of(network, WIDE, condition=condition, norm_d=norm)
    model = model_of(config, WIDE)
    z, label = torch.randn(B, 5, generator=rng(), dtype=torch.float64), torch.arange(B) % CLASSES
    # Not the same for all: what all have in common, the generator's batch norms take away.
    assert not torch.allclose(model.generator(z, label=label), model.generator(z, label=label.flip(0)))
    x = images(0, WIDE)
    assert not torch.allclose(model.discriminator(x, label=label), model.discriminator(x, label=label.flip(0)))
    assert model.classes == CLASSES
    assert FAMILY.conditional(config, WIDE)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_fakes_are_of_the_labels_of_the_batch(network: str) -> None:
    config = config_of(network, WIDE, condition="projection", loss="relativistic", norm_d="none")
    model, batch = model_of(config, WIDE), batch_of(3, WIDE)
    for player, sign in zip(FAMILY.players(config, WIDE), (1.0, -1.0), strict=True):
        noise = noise_of(player, 1)
        fake = model.generator(noise["latent"], label=batch["label"])
        r, f = (model.discriminator(x, label=batch["label"]).squeeze(1) for x in (batch["image"], fake))
        torch.testing.assert_close(player.loss(model, batch, {}, noise), torch.nn.functional.softplus(sign * (f - r)))


@pytest.mark.parametrize("norm_g", ["batch", "layer"])
def test_samples_are_of_the_label_asked_for(norm_g: str) -> None:
    config = config_of(spec=LABELLED, condition="projection", norm_g=norm_g)
    model = model_of(config, LABELLED)
    mixed = torch.arange(9) % CLASSES
    whole = sampled(model, config, LABELLED, 9, mixed)
    for label in range(CLASSES):
        alone = sampled(model, config, LABELLED, 9, torch.full((9,), label))
        torch.testing.assert_close(alone[mixed == label], whole[mixed == label])
        assert not torch.allclose(alone[mixed != label], whole[mixed != label])


def test_standing_statistics_are_of_all_classes_alike() -> None:
    config = config_of(spec=LABELLED, condition="concat")
    assert FAMILY.latents(config, LABELLED, 4)["standing_label"].shape == (4, 128)
    model = model_of(config, LABELLED)
    noise = {
        "latent": torch.zeros(1, 5, dtype=torch.float64),
        "standing": torch.randn(4, 128, 5, generator=rng(), dtype=torch.float64),
        "label": torch.zeros(1, dtype=torch.int64),
    }
    found = FAMILY.generate(model, {}, noise | {"standing_label": torch.full((4, 128), 0.99)})
    ends = FAMILY.generate(model, {}, noise | {"standing_label": torch.ones(4, 128)})  # rounded up
    other = FAMILY.generate(model, {}, noise | {"standing_label": torch.zeros(4, 128)})
    assert torch.equal(found, ends)
    assert not torch.allclose(found, other)


def test_without_a_condition_labels_are_not_looked_at() -> None:
    config = config_of(spec=LABELLED)
    assert not FAMILY.conditional(config, LABELLED)
    model, plain = model_of(config, LABELLED), model_of(config_of(), SPEC)
    assert model.classes == 0
    assert all(map(torch.equal, model.state_dict().values(), plain.state_dict().values()))
    batch = batch_of(0, LABELLED)
    for player in FAMILY.players(config, LABELLED):
        noise, hyper = noise_of(player, 1), FAMILY.hyper(config, 0.0)
        a = player.loss(model, batch, hyper, noise)
        assert torch.equal(a, player.loss(model, {"image": batch["image"]}, hyper, noise))


def test_data_without_labels_cannot_be_asked() -> None:
    assert "condition" not in {param.name for param in FAMILY.space(SPEC)}
    param = FAMILY.space(LABELLED)["condition"]
    assert param.prior is not None
    assert param.prior.centre == "none"
    assert FAMILY.space(LABELLED).fix("condition", "projection").centre()["condition"] == "projection"
