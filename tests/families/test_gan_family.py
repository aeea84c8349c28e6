"""The GAN as a family: its space, players, numbers and samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maestune.data import DataSpec
from maestune.errors import SettingsError, SpaceError
from maestune.families.base import drawer
from maestune.families.gan import GAN, family
from maestune.families.gan.networks import GanModel
from maestune.families.gan.space import RECIPE
from maestune.recipes import bibtex_of
from maestune.space import Role
from maestune.types import Config

FAMILY = GAN()
DIGITS = DataSpec((1, 8, 8))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(seed: int = 0, **values: object):
    config = FAMILY.space(DIGITS).complete(values)  # type: ignore[arg-type]
    return FAMILY.build(config, DIGITS, rng(seed)), config


def generated(
    model: GanModel, config: Config, n: int, generator: torch.Generator, spec: DataSpec = DIGITS
) -> torch.Tensor:
    noise = drawer(FAMILY.latents(config, spec, n))(generator)
    return FAMILY.generate(model, FAMILY.hyper(config, 1.0), noise | {"label": torch.arange(n) % max(1, spec.classes)})


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64)])
def test_the_centre_of_the_space_is_the_published_recipe(shape: tuple[int, int, int]) -> None:
    space = FAMILY.space(DataSpec(shape, classes=10))
    centre, recipe = space.centre(), RECIPE
    published = dict(recipe.on(centre.text("network")))
    published.pop("width", None)  # by a rule, from the side
    assert {name: centre[name] for name in published} == published
    assert centre == space.complete(published)
    assert centre["penalty"] == "none"
    assert centre["schedule"] == "constant"
    assert [centre[name] for name in ("ema", "dropout_d", "weight_decay", "instance_noise", "warmup")] == [0.0] * 5
    assert [centre[name] for name in ("label_smoothing", "label_smoothing_fake")] == [0.0] * 2
    assert {centre[name] for name in ("augment", "consistency", "minibatch_std")} == {"none"}
    assert centre["truncation"] == 1.0
    assert all(centre[name] == "none" for name in ("attention", "condition") if name in centre)
    assert centre["norm_d"] == ("none" if centre["network"] == "mlp" else "batch")
    assert recipe.citation
    assert bibtex_of([recipe.name]).startswith("@")


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_every_parameter_has_a_role_and_a_cited_prior(network: str) -> None:
    for param in FAMILY.space(DataSpec((1, 16, 16), classes=10), network):
        assert isinstance(param.role, Role)
        if param.name != "network":
            assert param.prior is not None, param.name
            assert param.prior.citation, param.name


def test_the_network_follows_the_size_unless_it_is_chosen() -> None:
    assert FAMILY.space(DataSpec((1, 16, 16))).centre()["network"] == "mlp"
    assert FAMILY.space(DataSpec((1, 28, 28))).centre()["network"] == "conv"
    assert FAMILY.space(DataSpec((1, 8, 8)), network="conv").centre()["network"] == "conv"
    assert "instance" not in FAMILY.space(DataSpec((1, 8, 8)), "mlp")["norm_d"].values  # type: ignore[union-attr]
    with pytest.raises(SpaceError, match=r"'cnn'.*mlp"):
        FAMILY.space(DataSpec((1, 8, 8)), network="cnn")


def test_the_space_survives_plain_data() -> None:
    space = FAMILY.space(DIGITS)
    assert type(space).from_dict(space.to_dict()) == space


def test_weight_clipping_is_for_wasserstein_without_penalty() -> None:
    space = FAMILY.space(DIGITS)
    assert "weight_clip" in space.complete({"loss": "wgan"})
    assert "weight_clip" not in space.complete({"loss": "wgan", "penalty": "gp"})
    assert "weight_clip" not in space.complete({"loss": "ns"})
    assert "label_smoothing" not in space.complete({"loss": "hinge"})
    assert FAMILY.players(space.complete({"loss": "wgan"}), DIGITS)[0].constrain is not None


def test_parameters_are_there_where_they_are_used() -> None:
    space = FAMILY.space(DIGITS)
    for structure, there in (
        ({"loss": "hinge"}, {"margin"}),
        ({"loss": "ns"}, {"label_smoothing", "label_smoothing_fake"}),
        ({"penalty": "r1r2"}, {"r1_gamma", "penalty_every"}),
        ({"penalty": "dragan"}, {"gp_lambda", "penalty_every"}),
        ({"consistency": "real"}, {"cr_real"}),
        ({"consistency": "both"}, {"cr_real", "cr_fake"}),
    ):
        found = set(space.complete({"loss": "relativistic", **structure})) - set(
            space.complete({"loss": "relativistic"})
        )
        assert found == there


def test_every_number_that_only_a_loss_or_the_samples_look_at_may_differ_between_members() -> None:
    """What `hyper` tells differs freely, or is a switch; nothing else of it decides about shapes or code."""
    for network in ("mlp", "conv"):
        for loss, penalty, consistency in (("hinge", "r1", "both"), ("ns", "gp", "none"), ("wgan", "none", "real")):
            config = FAMILY.space(DIGITS, network).complete(
                {"loss": loss, "penalty": penalty, "consistency": consistency}
            )
            for name in FAMILY.hyper(config, 0.5):
                assert name in FAMILY.fusible.numbers | FAMILY.fusible.switches, name


def test_text_is_refused() -> None:
    FAMILY.check(DIGITS)
    with pytest.raises(SettingsError, match="learns from images"):
        FAMILY.check(DataSpec(tokens=65))


def test_full_steps_fall_with_the_cost_of_a_step() -> None:
    assert FAMILY.full_steps(DataSpec((1, 8, 8)), 1000) == 3000
    assert FAMILY.full_steps(DataSpec((1, 28, 28)), 5000) == 2000
    assert FAMILY.full_steps(DataSpec((3, 64, 64)), 5000) == 1000
    assert FAMILY.full_steps(DataSpec((3, 128, 128)), 100_000) == math.ceil(100_000 / 64)
    assert FAMILY.full_steps(DataSpec((3, 128, 128)), 10**8) == 10_000


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 12, 12), (3, 20, 20)])
@pytest.mark.parametrize("classes", [0, 3])
def test_every_config_of_the_space_builds_plays_and_generates(shape: tuple[int, int, int], classes: int) -> None:
    spec = DataSpec(shape, classes)
    space, numbers = FAMILY.space(spec), np.random.default_rng(0)
    for i in range(16):
        config = space.sample(numbers).with_(batch_size=4, width=8)
        model = FAMILY.build(config, spec, rng(i))
        batch = {"image": torch.rand(4, *shape, generator=rng(i)) * 2 - 1, "label": torch.arange(4) % max(1, classes)}
        hyper = FAMILY.hyper(config, 0.5)
        samplers = {"normal": torch.randn, "uniform": torch.rand}
        for player in FAMILY.players(config, spec):
            noise = {name: samplers[d.kind](d.shape, generator=rng(i)) for name, d in player.noise.items()}
            for step in range(1, 17):  # each has its own loss, at most
                loss = player.loss_at(step)(model, batch, hyper, noise)
                assert loss.shape == (4,)
                assert torch.isfinite(loss).all(), dict(config)
                if player.lazy is None:
                    break
        assert generated(model, config, 5, rng(i), spec).shape == (5, *shape)


def test_instance_noise_falls_linearly_to_nothing() -> None:
    _, config = model_of(instance_noise=0.4)
    assert [FAMILY.hyper(config, p)["instance_noise"] for p in (0.0, 0.5, 1.0)] == pytest.approx([0.4, 0.2, 0.0])
    assert FAMILY.hyper(config.with_(penalty="gp", gp_lambda=7.0), 0.5)["gp_lambda"] == 7.0


def test_players_move_as_the_config_says() -> None:
    _, config = model_of(d_steps=3, lr_ratio=4.0, ema=0.99, norm_d="spectral")
    d, g = FAMILY.players(config, DIGITS)
    assert (d.name, d.every, d.rate, d.average) == ("discriminator", 1, 4.0, "")
    assert (g.name, g.every, g.rate, g.average) == ("generator", 3, 1.0, "average")
    assert d.refresh is not None
    assert g.refresh is None


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_generating_changes_nothing_and_depends_only_on_the_generator(norm: str) -> None:
    model, config = model_of(norm_g=norm, norm_d="spectral", ema=0.9)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    a, b, c = (generated(model, config, 40, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.shape == (40, *DIGITS.image)
    assert not a.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_sample_does_not_depend_on_those_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = model_of(norm_g="batch")
    whole = generated(model, config, 50, rng())
    monkeypatch.setattr(family, "CHUNK", 7)
    torch.testing.assert_close(generated(model, config, 50, rng()), whole)


def test_samples_come_from_the_average_where_it_is_kept() -> None:
    model, config = model_of(ema=0.9, norm_g="none")
    assert model.average is not None
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.fill_(float("nan"))
    assert torch.isfinite(generated(model, config, 4, rng())).all()


def test_signals_say_what_the_discriminator_thinks() -> None:
    model, config = model_of()
    batch = torch.rand(64, *DIGITS.image, generator=rng()) * 2 - 1
    latent = torch.randn(64, int(config.number("latent_dim")), generator=rng())
    found = FAMILY.signals(model, {"image": batch}, FAMILY.hyper(config, 0.0), {"discriminator": {"latent": latent}})
    assert all(value.shape == () and not value.requires_grad for value in found.values())
    signals = {name: value.item() for name, value in found.items()}
    fake = model.generator(latent)
    r, f = model.discriminator(batch), model.discriminator(fake)
    assert signals["score_real"] == pytest.approx(r.mean().item(), abs=1e-6)
    assert signals["score_fake"] == pytest.approx(f.mean().item(), abs=1e-6)
    assert signals["d_accuracy"] == pytest.approx(((r > 0).sum() + (f < 0).sum()).item() / 128)
    assert signals["sample_std"] == pytest.approx((fake.std(0).mean() / batch.std(0).mean()).item(), rel=1e-5)


def test_where_only_differences_of_scores_mean_something_pairs_are_counted() -> None:
    model, config = model_of(loss="relativistic")
    assert model.relative
    batch = torch.rand(64, *DIGITS.image, generator=rng()) * 2 - 1
    latent = torch.randn(64, int(config.number("latent_dim")), generator=rng())
    found = FAMILY.signals(model, {"image": batch}, FAMILY.hyper(config, 0.0), {"discriminator": {"latent": latent}})
    right = (model.discriminator(batch) > model.discriminator(model.generator(latent))).sum().item() / 64
    assert found["d_accuracy"].item() == pytest.approx(right)


def test_a_config_without_optional_parameters_is_enough() -> None:
    bare = Config.of(
        network="mlp", loss="ns", d_steps=1, lr_ratio=1.0, batch_size=4, latent_dim=3, width=8, depth=1,
        norm_g="none", norm_d="none", activation_g="relu", activation_d="relu",
    )  # fmt: skip
    model = FAMILY.build(bare, DIGITS, rng())
    d, _ = FAMILY.players(bare, DIGITS)
    latent = torch.randn(4, 3, generator=rng())
    assert d.loss(
        model, {"image": torch.zeros(4, *DIGITS.image)}, FAMILY.hyper(bare, 0.0), {"latent": latent}
    ).shape == (4,)
