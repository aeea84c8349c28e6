"""What the parameters do to a training: each, changed, changes it as is said of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from gan_cases import (
    FAMILY,
    LABELLED,
    SPEC,
    WIDE,
    B,
    batch_of,
    config_of,
    images,
    losses_of,
    model_of,
    noise_of,
    rng,
    sampled,
    trained,
)
from torch import Tensor

from maestune.families.augment import shifted
from maestune.families.gan.adversarial import GAMES
from maestune.families.gan.networks import GanModel
from maestune.families.gan.penalties import scores_and_gradient

STEPS = 150


def faces(n: int = 60) -> dict[str, Tensor]:
    """Images that a small network learns in a moment: three kinds of stripes, each of its own label, and some noise."""
    label = torch.arange(n) % 3
    bright = torch.tensor([-0.8, 0.0, 0.8], dtype=torch.float64)[label]
    x = bright[:, None, None, None] + 0.1 * torch.randn(n, 1, 8, 8, generator=rng(3), dtype=torch.float64)
    return {"image": x.clamp(-1, 1), "label": label}


@cache
def learnt(steps: int = STEPS, **values: Any) -> GanModel:
    return trained(config_of(spec=LABELLED, lr=3e-3, **values), faces(), LABELLED, steps)


def scores(model: GanModel, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model.discriminator(x).squeeze(1)


def slope(model: GanModel, x: Tensor) -> float:
    """Mean norm of the discriminator's gradient."""
    with torch.no_grad():
        _, squared = scores_and_gradient(lambda x: model.discriminator(x).squeeze(1), x)
    return float(squared.sqrt().mean())


def fakes(model: GanModel) -> Tensor:
    with torch.no_grad():
        return model.generator(torch.randn(60, 5, generator=rng(9), dtype=torch.float64))


# Everything that a loss or a network looks at: changed, it changes the first step already.
CHANGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("mlp", {"loss": "hinge", "margin": 0.1}, {"loss": "hinge", "margin": 3.0}),
    ("mlp", {}, {"label_smoothing_fake": 0.2}),
    ("mlp", {}, {"label_smoothing": 0.2}),
    ("mlp", {}, {"loss": "relativistic"}),
    ("mlp", {"loss": "relativistic"}, {"loss": "relativistic_average"}),
    ("mlp", {}, {"augment": "translation"}),
    ("mlp", {"augment": "translation"}, {"augment": "translation+cutout"}),
    ("mlp", {"augment": "translation+cutout"}, {"augment": "colour+translation+cutout"}),
    ("mlp", {}, {"consistency": "real"}),
    ("mlp", {"consistency": "real"}, {"consistency": "both"}),
    ("mlp", {"consistency": "real", "cr_real": 1.0}, {"consistency": "real", "cr_real": 2.0}),
    ("mlp", {"consistency": "both", "cr_fake": 1.0}, {"consistency": "both", "cr_fake": 2.0}),
    ("mlp", {}, {"minibatch_std": "on"}),
    ("mlp", {}, {"condition": "concat"}),
    ("mlp", {"condition": "concat"}, {"condition": "projection"}),
    ("mlp", {}, {"activation_d": "silu"}),
    ("mlp", {}, {"activation_g": "silu"}),
    ("mlp", {"penalty": "r1"}, {"penalty": "r2"}),
    ("mlp", {"penalty": "r2"}, {"penalty": "r1r2"}),
    ("mlp", {"penalty": "gp"}, {"penalty": "dragan"}),
    ("mlp", {"penalty": "r1r2", "r1_gamma": 0.1}, {"penalty": "r1r2", "r1_gamma": 1.0}),
    ("mlp", {"penalty": "dragan", "gp_lambda": 1.0}, {"penalty": "dragan", "gp_lambda": 2.0}),
    ("mlp", {"penalty": "r1"}, {"penalty": "r1", "penalty_every": 4}),
    ("conv", {}, {"attention": "self"}),
]


@pytest.mark.parametrize(("network", "one", "other"), CHANGES)
def test_what_is_changed_changes_the_training(network: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    def step(**values: Any) -> list[list[float]]:
        config = config_of(network, WIDE, **{"loss": "ns", **values})
        model = model_of(config, WIDE)
        found = []
        for player in FAMILY.players(config, WIDE):
            own = list(model.get_submodule(player.name).parameters())
            for loss in losses_of(player)[-1:]:
                value = loss(model, batch_of(1, WIDE), FAMILY.hyper(config, 0.0), noise_of(player, 2)).mean()
                gradients = torch.autograd.grad(value, own, materialize_grads=True)
                found.append([float(gradient.norm()) for gradient in gradients])
        return found

    assert step(**one) == step(**one)
    assert step(**one) != step(**other)


def test_truncation_draws_samples_together_and_does_not_touch_the_training() -> None:
    config = config_of(norm_g="batch")
    model = model_of(config)
    spread = [float(sampled(model, config.with_(truncation=t), SPEC, 200).std(0).mean()) for t in (1.0, 0.7, 0.5)]
    assert spread[0] > spread[1] > spread[2] > 0
    same = config_of(norm_g="batch", truncation=0.5)
    for player, other in zip(FAMILY.players(config, SPEC), FAMILY.players(same, SPEC), strict=True):
        noise, batch = noise_of(player, 1), batch_of(0)
        a = player.loss(model, batch, FAMILY.hyper(config, 0.0), noise)
        assert torch.equal(a, other.loss(model, batch, FAMILY.hyper(same, 0.0), noise))


def test_a_condition_makes_what_the_label_asks_for() -> None:
    for condition in ("concat", "projection"):
        config = config_of(spec=LABELLED, lr=5e-3, condition=condition)
        model = trained(config, faces(), LABELLED, 250)
        means = [float(sampled(model, config, LABELLED, 60, torch.full((60,), k)).mean()) for k in range(3)]
        assert means == pytest.approx([-0.8, 0.0, 0.8], abs=0.25), condition


def test_consistency_makes_scores_indifferent_to_shifts() -> None:
    x, u = faces()["image"], torch.rand(60, 2, generator=rng(5), dtype=torch.float64)

    def change(model: GanModel, x: Tensor) -> float:
        return float((scores(model, shifted(x, u)) - scores(model, x)).abs().mean() / scores(model, x).std())

    off, real = learnt(), learnt(consistency="real", cr_real=10.0)
    both = learnt(consistency="both", cr_real=10.0, cr_fake=10.0)
    assert change(real, x) < 0.5 * change(off, x)
    assert change(both, fakes(both)) < 0.5 * change(off, fakes(off))


@pytest.mark.parametrize("penalty", ["r1", "r2", "r1r2"])
def test_zero_centred_penalties_flatten_the_discriminator_where_they_look(penalty: str) -> None:
    off, on = learnt(), learnt(penalty=penalty, r1_gamma=10.0)
    real = faces()["image"]
    if penalty != "r2":
        assert slope(on, real) < 0.3 * slope(off, real)
    if penalty != "r1":
        assert slope(on, fakes(on)) < 0.3 * slope(off, fakes(off))


def test_one_centred_penalties_draw_the_slope_to_one() -> None:
    real = faces()["image"]
    between = learnt(penalty="gp", gp_lambda=100.0, loss="wgan")
    assert slope(between, (real + fakes(between)) / 2) == pytest.approx(1.0, abs=0.2)
    around = learnt(penalty="dragan", gp_lambda=100.0, loss="wgan")
    assert slope(around, real + 0.25 * real.std()) == pytest.approx(1.0, abs=0.2)
    off = learnt(loss="wgan")  # whose weights nobody clips here
    assert slope(off, real) > 1.3


def test_a_lazy_penalty_does_the_same_with_fewer_gradients() -> None:
    real = faces()["image"]
    off, every, lazy = (
        learnt(),
        learnt(penalty="r1", r1_gamma=10.0),
        learnt(penalty="r1", r1_gamma=10.0, penalty_every=4),
    )
    assert slope(every, real) < 0.3 * slope(off, real)
    assert slope(lazy, real) < 0.3 * slope(off, real)


def test_a_wide_margin_lets_scores_grow() -> None:
    def gap(model: GanModel) -> float:
        return float(scores(model, faces()["image"]).mean() - scores(model, fakes(model)).mean())

    narrow, wide = (learnt(loss="hinge", margin=margin, d_steps=5) for margin in (0.2, 5.0))
    assert gap(wide) > 2 * gap(narrow) > 0


def test_smoothed_fakes_keep_their_scores_from_falling() -> None:
    """Where the discriminator wins, the score of fakes ends at the logit of the target."""
    config = config_of(label_smoothing_fake=0.3, label_smoothing=0.3, d_steps=5, lr=3e-3)
    model, d = model_of(config), FAMILY.players(config, SPEC)[0]
    optimiser = torch.optim.Adam(model.discriminator.parameters(), 5e-3)
    data = {"image": images(1, n=60)}
    for step in range(200):  # the discriminator alone
        rows = torch.randint(60, (B,), generator=rng(step))
        loss = d.loss(model, {"image": data["image"][rows]}, FAMILY.hyper(config, 0.0), noise_of(d, step)).mean()
        optimiser.zero_grad()
        loss.backward(inputs=list(model.discriminator.parameters()))
        optimiser.step()
    assert scores(model, fakes(model)).mean().item() == pytest.approx(torch.logit(torch.tensor(0.3)).item(), abs=0.25)
    assert scores(model, data["image"]).mean().item() == pytest.approx(torch.logit(torch.tensor(0.7)).item(), abs=0.25)


def test_the_minibatchs_spread_tells_a_collapsed_generator_from_a_varied_one() -> None:
    """Fakes that are all the same real image: each alone cannot be told from real ones, all together can."""
    real = faces()["image"]

    def gap(minibatch_std: str) -> float:
        critic = model_of(config_of(minibatch_std=minibatch_std)).discriminator
        optimiser, order = torch.optim.Adam(critic.parameters(), 2e-2), rng()
        found: list[float] = []
        for step in range(300):
            rows = torch.randint(len(real), (9,), generator=order)
            r, f = critic(real[rows[:8]]), critic(real[rows[8:]].expand(8, -1, -1, -1))
            optimiser.zero_grad()
            GAMES["hinge"].discriminator(r, f, {}).mean().backward()
            optimiser.step()
            found += [(r.mean() - f.mean()).item()] if step >= 200 else []
        return sum(found) / len(found)

    assert gap("on") > 1.5
    assert abs(gap("none")) < 0.5


def test_augmentation_hides_from_the_discriminator_what_it_could_learn_by_heart() -> None:
    """Random images, few of them: their scores rise above those of others of the kind less where they are augmented."""
    few, others = {"image": images(1, n=12)}, images(2, n=200)

    def by_heart(augment: str) -> float:
        config = config_of(lr=2e-3, augment=augment, latent_dim=16)
        model = trained(config, few, SPEC, 200)
        known, strange = scores(model, few["image"]), scores(model, others)
        return float((known.mean() - strange.mean()) / strange.std())

    assert by_heart("translation+cutout") < 0.7 * by_heart("none")
