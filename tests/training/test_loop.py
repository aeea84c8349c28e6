"""The training loop: exact continuation, order of data, signals, and equality with a loop written by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from members import BATCH, Lazy, Measured, autoencoding, shrinking, tied_configs
from torch import Tensor, nn

from maestune.data import Batch, DataSpec, ImageData, to_float
from maestune.errors import CheckpointError, SettingsError
from maestune.families.base import Family, Hyper, Noise, NoiseSpec, Player, drawer
from maestune.families.gan import GAN
from maestune.space import Float, Fusible, Space
from maestune.training import Run, evaluation, family_training, load_checkpoint, save_checkpoint, train
from maestune.types import Config, Report

SHAPE = (1, 8, 8)
SPEC = DataSpec(shape=SHAPE)
FAMILY = GAN()
SPACE = FAMILY.space(SPEC)


def config_of(**values: Any) -> Config:
    return SPACE.complete({"lr": 2e-3, "batch_size": 16, "latent_dim": 16, **values}).with_(width=12)


def state_of(report: Report) -> Mapping[str, Any]:
    assert report.state is not None
    return report.state()


def weights_of(report: Report) -> dict[str, Tensor]:
    return state_of(report)["model"]


def last(config: Config, run: Run) -> Report:
    *_, report = train(FAMILY, config, run)
    return report


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


RESUMED = {
    "adam": {},
    "adamw, warm-up and decay": {"weight_decay": 0.01, "schedule": "wsd", "warmup": 0.05, "decay": 0.3},
    "rmsprop, spectral, ema": {"optimizer": "rmsprop", "norm_d": "spectral", "ema": 0.95},
    "sgd, dropout": {"optimizer": "sgd", "momentum": 0.5, "lr": 0.01, "dropout_d": 0.3},
    "adam, spectral, ema, dropout, r1": {"norm_d": "spectral", "ema": 0.9, "dropout_d": 0.2, "penalty": "r1"},
    "five critics, gp, noise": {"loss": "wgan", "penalty": "gp", "d_steps": 5, "instance_noise": 0.1},
    "clipped": {"loss": "wgan", "optimizer": "rmsprop", "d_steps": 3, "norm_d": "batch"},
}


@pytest.mark.parametrize("case", RESUMED)
def test_a_paused_training_continues_bit_by_bit(case: str, data: ImageData, tmp_path: Path) -> None:
    config = config_of(**RESUMED[case])
    whole = Run(until_steps=100, full_steps=120, samples_at={100: 5}, report_every=7, seed=3, data=data)
    straight = {report.step: report for report in train(FAMILY, config, whole)}
    state, pieces, start = None, {}, 0
    for until in (1, 13, 38, 64, 100):
        run = replace(whole, start_steps=start, until_steps=until, state=state)
        for report in train(FAMILY, config, run):
            pieces[report.step] = report
        save_checkpoint(tmp_path / "c", state_of(pieces[until]))
        state, start = load_checkpoint(tmp_path / "c"), until
    assert set(straight) <= set(pieces)
    for step, report in straight.items():
        assert dict(pieces[step].signals) == dict(report.signals), step
    assert equal(state_of(pieces[100]), state_of(straight[100]))
    assert equal(pieces[100].samples, straight[100].samples)


def test_a_state_is_not_changed_by_going_on_from_it_or_past_it(data: ImageData) -> None:
    run = Run(until_steps=20, full_steps=20, report_every=10, data=data)
    reports = train(FAMILY, config_of(ema=0.9), run)
    first = next(reports)
    state, again = state_of(first), state_of(first)
    next(reports)
    assert equal(state, again)
    last(config_of(ema=0.9), replace(run, start_steps=10, state=state))
    assert equal(state, again)


def test_the_same_seed_gives_the_same_training_and_another_another(data: ImageData) -> None:
    run = Run(until_steps=10, full_steps=10, data=data)
    a, b, c = (weights_of(last(config_of(), replace(run, seed=seed))) for seed in (1, 1, 2))
    assert equal(a, b)
    assert not equal(a, c)


def test_the_global_random_state_is_neither_used_nor_touched(data: ImageData) -> None:
    run = Run(until_steps=5, full_steps=5, samples_at={5: 3}, data=data)
    before = torch.get_rng_state()
    a = last(config_of(dropout_d=0.3, penalty="gp"), run)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert equal(state_of(a), state_of(last(config_of(dropout_d=0.3, penalty="gp"), run)))


EFFECTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "loss": ({}, {"loss": "hinge"}),
    "optimizer": ({}, {"optimizer": "rmsprop"}),
    "lr": ({}, {"lr": 1e-3}),
    "lr_ratio": ({}, {"lr_ratio": 2.0}),
    "beta1": ({}, {"beta1": 0.0}),
    "beta2": ({}, {"beta2": 0.9}),
    "momentum": ({"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.9}),
    "batch_size": ({}, {"batch_size": 32}),
    "norm_g": ({}, {"norm_g": "layer"}),
    "norm_d": ({}, {"norm_d": "layer"}),
    "spectral": ({}, {"norm_d": "spectral"}),
    "activation_g": ({}, {"activation_g": "leaky_relu"}),
    "activation_d": ({}, {"activation_d": "relu"}),
    "dropout_d": ({}, {"dropout_d": 0.2}),
    "dropout rate": ({"dropout_d": 0.2}, {"dropout_d": 0.4}),
    "weight_decay": ({}, {"weight_decay": 0.1}),
    "weight_decay of sgd": ({"optimizer": "sgd"}, {"optimizer": "sgd", "weight_decay": 0.1}),
    "penalty": ({}, {"penalty": "r1"}),
    "r1_gamma": ({"penalty": "r1"}, {"penalty": "r1", "r1_gamma": 5.0}),
    "gp_lambda": ({"penalty": "gp"}, {"penalty": "gp", "gp_lambda": 1.0}),
    "weight_clip": ({"loss": "wgan"}, {"loss": "wgan", "weight_clip": 0.1}),
    "d_steps": ({}, {"d_steps": 2}),
    "instance_noise": ({}, {"instance_noise": 0.1}),
    "label_smoothing": ({}, {"label_smoothing": 0.1}),
    "warmup": ({}, {"warmup": 0.1}),
    "schedule": ({}, {"schedule": "wsd"}),
    "decay": ({"schedule": "wsd"}, {"schedule": "wsd", "decay": 0.5}),
    "lr_floor": ({"schedule": "cosine"}, {"schedule": "cosine", "lr_floor": 0.5}),
    "step_factor": ({"schedule": "step"}, {"schedule": "step", "step_factor": 0.7}),
    "step_count": ({"schedule": "step"}, {"schedule": "step", "step_count": 1}),
    "cycles": ({"schedule": "cyclical"}, {"schedule": "cyclical", "cycles": 2}),
    "l1": ({}, {"l1": 0.01}),
    "clip": ({"optimizer": "sgd"}, {"optimizer": "sgd", "clip": 0.1}),
    "depth": ({}, {"depth": 3}),
    "latent_dim": ({}, {"latent_dim": 32}),
    "margin": ({"loss": "hinge", "lr": 0.01}, {"loss": "hinge", "lr": 0.01, "margin": 0.1}),
    "minibatch_std": ({}, {"minibatch_std": "on"}),
    "penalty_every": ({"penalty": "r1"}, {"penalty": "r1", "penalty_every": 4}),
    "label_smoothing_fake": ({}, {"label_smoothing_fake": 0.1}),
    "augment": ({}, {"augment": "translation"}),
    "consistency": ({}, {"consistency": "real"}),
    "cr_real": ({"consistency": "real"}, {"consistency": "real", "cr_real": 100.0}),
    "cr_fake": ({"consistency": "both"}, {"consistency": "both", "cr_fake": 100.0}),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_every_hyperparameter_changes_what_is_learnt(name: str, data: ImageData) -> None:
    before, after = EFFECTS[name]
    run = Run(until_steps=8, full_steps=8, data=data)
    a, b = (weights_of(last(config_of(**values), run)) for values in (before, after))
    generator = [k for k in a if k.startswith("generator.") and k in b and a[k].shape == b[k].shape]
    assert any(not torch.equal(a[k], b[k]) for k in generator)


def test_the_effects_cover_the_space() -> None:
    changed = {key for before, after in EFFECTS.values() for key in after if before.get(key) != after[key]}
    # The network and its width decide shapes; the average, which has its own test, and the truncation of latents do not
    # reach what is learnt; which weights are kept, and when a training ends early, is not for the loop to decide.
    assert {param.name for param in SPACE} - changed == {"network", "width", "ema", "truncation", "keep", "patience"}


def test_the_average_follows_the_generator_with_its_decay(data: ImageData) -> None:
    config = config_of(norm_g="none", d_steps=2).with_(ema=0.6)
    run = Run(until_steps=12, full_steps=12, report_every=1, data=data)
    average: dict[str, Tensor] = {}
    moves = 0
    for report in train(FAMILY, config, run):
        weights = weights_of(report)
        current = {k.removeprefix("generator."): v for k, v in weights.items() if k.startswith("generator.")}
        if report.step == 1:
            average = current  # the generator has not moved yet
        elif report.step % 2 == 0:
            moves += 1
            decay = min(0.6, (1 + moves) / (10 + moves))
            average = {k: decay * average[k] + (1 - decay) * current[k] for k in current}
        for name, value in average.items():
            torch.testing.assert_close(weights[f"average.{name}"], value)
    assert moves == 6
    off = weights_of(last(config_of(norm_g="none", d_steps=2), run))
    assert all(torch.equal(off[k], weights[k]) for k in off)  # averaging does not touch what is learnt


@pytest.mark.parametrize(("clip", "l1"), [(0.01, 0.0), (0.0, 0.3), (0.02, 0.1), (1e6, 0.0)])
def test_gradients_are_clipped_and_weights_shrunk_as_by_hand(clip: float, l1: float, data: ImageData) -> None:
    (config, *_) = tied_configs()
    config = config.with_(optimizer="sgd", lr=0.1, clip=clip, l1=l1)
    run = Run(until_steps=10, full_steps=10, report_every=1, seed=2, data=data)
    family = Lazy(period=100)
    model: Any = family.build(config, SPEC, run.generator("weights"))
    sgd = torch.optim.SGD(model.only.parameters(), lr=0.1)
    index = torch.randperm(90, generator=run.generator("order"))
    drawn, images = run.generator("noise"), to_float(data.train.images)
    for step, report in enumerate(train(family, config, run)):
        batch = {"image": images[index[step * BATCH : (step + 1) * BATCH]]}
        sgd.zero_grad()
        autoencoding(model, batch, {}, {"n": torch.randn(BATCH, 64, generator=drawn)}).mean().backward()
        norm = nn.utils.clip_grad_norm_(model.only.parameters(), clip or math.inf)
        assert clip in (0.0, 1e6) or norm > clip
        assert report.signals["grad_norm_only"] == pytest.approx(norm.item(), rel=1e-5), "told as it was"
        sgd.step()
        with torch.no_grad():
            for weight in (p for p in model.only.parameters() if p.ndim > 1):
                weight.copy_(weight.sign() * (weight.abs() - 0.1 * l1).clamp_min(0))
        for name, weight in weights_of(report).items():
            torch.testing.assert_close(weight, model.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert bool((model.only.a.weight == 0).any()) == (l1 > 0)


def test_weight_clipping_bounds_the_discriminator(data: ImageData) -> None:
    config = config_of(loss="wgan", weight_clip=0.05)
    weights = weights_of(last(config, Run(until_steps=3, full_steps=3, data=data)))
    assert max(v.abs().max().item() for k, v in weights.items() if k.startswith("discriminator.")) == pytest.approx(
        0.05
    )


def by_hand(config: Config, run: Run, data: ImageData) -> tuple[nn.Module, nn.Module]:
    """A DCGAN-style loop in plain PyTorch, with the weights, order and noise of a run."""
    z, width, batch_size = 16, 12, 16
    g = nn.Sequential(
        nn.Linear(z, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, 64), nn.Tanh(), nn.Unflatten(1, SHAPE),
    )  # fmt: skip
    d = nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
    )  # fmt: skip
    model = FAMILY.build(config, SPEC, run.generator("weights"))
    for network, source in ((g, model.generator), (d, model.discriminator)):
        for mine, theirs in zip(network.parameters(), source.parameters(), strict=True):
            mine.data.copy_(theirs)
    adam_g = torch.optim.Adam(g.parameters(), lr=2e-3, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(d.parameters(), lr=4e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(batch_size, 1), torch.zeros(batch_size, 1)
    order, noise = run.generator("order"), run.generator("noise")
    images, queue = to_float(data.train.images), torch.empty(0, dtype=torch.int64)
    for _ in run.steps():
        while len(queue) < batch_size:
            queue = torch.cat((queue, torch.randperm(len(images), generator=order)))
        real, queue = images[queue[:batch_size]], queue[batch_size:]
        adam_d.zero_grad()
        fake = g(torch.randn(batch_size, z, generator=noise)).detach()
        (bce(d(real), ones) + bce(d(fake), zeros)).backward()
        adam_d.step()
        adam_g.zero_grad()
        bce(d(g(torch.randn(batch_size, z, generator=noise))), ones).backward()
        adam_g.step()
    return g, d


def test_the_loop_equals_one_written_by_hand(data: ImageData) -> None:
    config, run = config_of(lr_ratio=2.0), Run(until_steps=30, full_steps=30, data=data)
    weights = weights_of(last(config, run))
    g, d = by_hand(config, run, data)
    for name, network in (("generator", g), ("discriminator", d)):
        mine = [v for k, v in weights.items() if k.startswith(f"{name}.")]
        for a, b in zip(mine, network.parameters(), strict=True):
            torch.testing.assert_close(a, b.detach(), rtol=1e-3, atol=1e-4)


def test_reports_come_when_due_with_their_signals(data: ImageData) -> None:
    run = Run(until_steps=25, full_steps=50, report_every=10, samples_at={7: 3, 25: 4}, data=data)
    reports = list(train(FAMILY, config_of(d_steps=2), run))
    assert [r.step for r in reports] == [7, 10, 20, 25]
    assert [None if r.samples is None else len(r.samples) for r in reports] == [3, None, None, 4]
    for name in ("loss_discriminator", "loss_generator", "grad_norm_discriminator", "grad_norm_generator", "lr",
                 "score_real", "score_fake", "d_accuracy", "sample_std"):  # fmt: skip
        assert all(math.isfinite(r.signals[name]) for r in reports), name
    assert reports[0].samples is not None
    assert reports[0].samples.abs().max() <= 1


def test_samples_have_the_latents_of_the_stage_not_of_the_trial(data: ImageData) -> None:
    run = Run(until_steps=1, full_steps=1, samples_at={1: 6}, data=data)
    config = config_of(norm_g="none")
    report = last(config, replace(run, seed=5, sample_seed=9))
    model = FAMILY.build(config, SPEC, torch.Generator())
    model.load_state_dict(weights_of(report))
    draw = drawer(FAMILY.latents(config, SPEC, 6))
    noise = draw(replace(run, seed=77, sample_seed=9).sample_generator())
    expected = FAMILY.generate(model, FAMILY.hyper(config, 0.5), noise)
    assert equal(report.samples, expected)


def test_the_rate_follows_the_schedule_over_the_full_training(data: ImageData) -> None:
    config = config_of(lr=1e-3, schedule="wsd", warmup=0.1, decay=0.5)
    run = Run(until_steps=100, full_steps=100, report_every=1, data=data)
    rates = [r.signals["lr"] for r in train(FAMILY, config, run)]
    assert rates[0] == pytest.approx(1e-3 * 0.005 / 0.1)
    assert rates[20:50] == pytest.approx([1e-3] * 30)
    assert rates[-1] == pytest.approx(1e-3 * 0.005 / 0.5)


def test_a_divergence_is_told_and_ends_the_training(data: ImageData) -> None:
    config = config_of(loss="ls", optimizer="sgd", norm_g="none").with_(lr=1e6)
    reports = list(train(FAMILY, config, Run(until_steps=500, full_steps=500, report_every=5, data=data)))
    assert reports[-1].step < 500
    assert not all(math.isfinite(v) for v in reports[-1].signals.values())
    assert all(math.isfinite(v) for r in reports[:-1] for v in r.signals.values())


def test_wrong_runs_are_named(data: ImageData) -> None:
    run = Run(until_steps=10, full_steps=20, data=data)
    with pytest.raises(SettingsError, match="--data"):
        next(train(FAMILY, config_of(), replace(run, data=None)))
    with pytest.raises(CheckpointError, match=r"step 5, which needs .* none was given"):
        next(train(FAMILY, config_of(), replace(run, start_steps=5)))
    state = state_of(last(config_of(), run))
    with pytest.raises(CheckpointError, match=r"step 5, which needs .* of step 10"):
        next(train(FAMILY, config_of(), replace(run, start_steps=5, state=state)))
    with pytest.raises(CheckpointError, match="not of this config"):
        next(train(FAMILY, config_of(depth=3), replace(run, start_steps=10, until_steps=20, state=state)))


def test_a_familys_training_is_the_loop(data: ImageData) -> None:
    run = Run(until_steps=3, full_steps=3, data=data)
    (report,) = family_training(FAMILY)(config_of(), run)
    assert equal(state_of(report), state_of(last(config_of(), run)))


# What a model shows of itself -----------------------------------------------------------------------------------------

MEASURED = Measured()
GAINED = tied_configs()[0].with_(gain=3.0)


@pytest.fixture
def parts(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> ImageData:
    """The data with other images held out, of which a rung looks at 7, the end at 11, and exhibits show 5."""
    monkeypatch.setattr(evaluation, "IMAGES", (7, 11))
    monkeypatch.setattr(evaluation, "EXHIBITED", 5)
    images = data.train
    return replace(data, search=images.take(torch.arange(30)), report=images.take(torch.arange(30, 60)))


@pytest.mark.parametrize("split", ["search", "report"])
def test_scores_are_those_of_held_out_data_where_it_is_scored(split: Any, parts: ImageData) -> None:
    run = Run(until_steps=6, full_steps=6, report_every=2, scored_at=frozenset({3, 6}), seed=5, split=split, data=parts)
    reports = {report.step: (report, state_of(report)) for report in train(MEASURED, GAINED, run)}
    assert list(reports) == [2, 3, 4, 6]
    assert [step for step, (report, _) in reports.items() if report.scores] == [3, 6]
    assert [step for step, (report, _) in reports.items() if report.exhibits] == [6]
    images = to_float(parts.part(split).images)
    for step, n in ((3, 7), (6, 11)):
        report, state = reports[step]
        model: Any = MEASURED.build(GAINED, SPEC, torch.Generator())
        model.load_state_dict(state["model"])
        x = images[:n].flatten(1)
        with torch.no_grad():
            expected = float((model.only(x) - x).square().mean())
        draw = float(torch.rand((), generator=run.generator("measure")))  # the same at every rung
        assert dict(report.scores) == {"held_out": expected, "draw": 3.0 * (step - 0.5) / 6 * draw}
    noise = torch.randn(5, *SHAPE, generator=run.generator("exhibits"))
    with torch.no_grad():
        restored = model.only((images[:5] + noise).flatten(1)).view(5, *SHAPE)
    assert equal(dict(report.exhibits), {"restored": restored, "held_out": images[:5]})


@pytest.mark.parametrize("split", ["search", "report"])
def test_weights_are_chosen_by_the_part_that_the_search_is_scored_on(split: Any, parts: ImageData) -> None:
    run = Run(until_steps=4, full_steps=8, report_every=4, scored_at=frozenset({2, 4}), seed=5, data=parts, split=split)
    run = replace(run, validation_steps=frozenset({4}), samples_at={4: 3})
    first, second = train(MEASURED, GAINED, run)
    assert (first.choice, first.choice_samples) == ({}, None)
    (_, search) = train(MEASURED, GAINED, replace(run, split="search"))
    assert second.choice == search.scores  # of 11 images, as at the end: it may be the result
    assert (second.choice == second.scores) == (split == "search")
    if split == "search":
        assert second.choice_samples is None
        return
    assert second.choice_samples is not None
    assert second.samples is not None
    assert second.choice_samples.shape == second.samples.shape
    assert not torch.equal(second.choice_samples, second.samples), "the verdict's own have no part in the choice"
    # As many as whoever chooses wants, and asked for what the search asks for.
    (_, more) = train(MEASURED, GAINED, replace(run, n_choice=5))
    assert more.choice_samples is not None
    assert more.samples is not None
    assert (len(more.choice_samples), len(more.samples)) == (5, 3)


def test_what_chooses_is_asked_for_the_prompts_of_the_search(parts: ImageData) -> None:
    labels = torch.arange(30) % 3
    labelled = replace(
        parts, search=replace(parts.search, labels=labels), report=replace(parts.report, labels=9 - labels)
    )
    run = Run(until_steps=4, full_steps=8, seed=5, data=labelled, split="report")
    chosen = evaluation.sample_inputs(MEASURED, GAINED, run, 6, "choice", "search")
    judged = evaluation.sample_inputs(MEASURED, GAINED, run, 6)
    assert torch.equal(chosen["label"], labelled.prompts("search", 6)["label"])
    assert torch.equal(judged["label"], labelled.prompts("report", 6)["label"])
    assert not torch.equal(chosen["label"], judged["label"])


def test_being_looked_at_changes_nothing(parts: ImageData) -> None:
    run = Run(until_steps=6, full_steps=6, report_every=2, seed=5, data=parts)
    plain = list(train(MEASURED, GAINED, run))
    scored = list(train(MEASURED, GAINED, replace(run, scored_at=frozenset({2, 4, 6}))))
    assert [len(report.scores) for report in (*plain, *scored)] == [0] * 3 + [2] * 3
    assert equal([r.signals for r in plain], [r.signals for r in scored])
    assert equal(state_of(plain[-1]), state_of(scored[-1]))


@pytest.mark.parametrize("told", [("held_out",), ("held_out", "draw", "more"), ()])
def test_scores_of_other_names_than_announced_are_refused(told: tuple[str, ...], parts: ImageData) -> None:
    run = Run(until_steps=2, full_steps=4, scored_at=frozenset({2}), data=parts)
    says = rf"measure: tied tells {', '.join(told) or 'nothing'}; its `measures` are held_out, draw\."
    with pytest.raises(SettingsError, match=says):
        list(train(Measured(told=told), GAINED, run))
    list(train(Measured(told=told), GAINED, replace(run, scored_at=frozenset())))  # nobody asks


@pytest.mark.parametrize("every", [1, 2])
def test_a_lazy_loss_takes_the_place_of_the_other_in_every_nth_step(every: int, data: ImageData) -> None:
    (config, *_) = tied_configs()
    run = Run(until_steps=13, full_steps=13, report_every=1, seed=2, data=data)
    family = Lazy(period=3, every=every)
    model: Any = family.build(config, SPEC, run.generator("weights"))
    adam = torch.optim.Adam(model.only.parameters(), lr=config.number("lr"), betas=(0.5, 0.9))
    order, drawn = run.generator("order"), run.generator("noise")
    images = to_float(data.train.images)
    index = torch.cat([torch.randperm(len(images), generator=order) for _ in range(2)])
    for step, report in enumerate(train(family, config, run), 1):
        if step % every == 0:
            batch = {"image": images[index[(step - 1) * BATCH : step * BATCH]]}
            noise = {"n": torch.randn(BATCH, 64, generator=drawn)}
            losses = shrinking if step % 3 == 0 else autoencoding
            loss = losses(model, batch, {}, noise).mean()
            assert report.signals["loss_only"] == pytest.approx(loss.item(), rel=1e-5)
            adam.zero_grad()
            loss.backward()
            adam.step()
        for name, weight in weights_of(report).items():
            torch.testing.assert_close(weight, model.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_samples_are_asked_for_what_held_out_data_show(data: ImageData) -> None:
    asked: list[dict[str, Tensor]] = []

    class Asked(Measured):
        def generate(self, model: Any, hyper: Hyper, noise: Noise) -> Tensor:
            asked.append({name: tensor for name, tensor in noise.items() if name != "latent"})
            return super().generate(model, hyper, noise)

    labels, captions = torch.arange(90) % 3, torch.arange(180).view(90, 2)
    part = replace(data.train, labels=labels, captions=captions)
    told = replace(data, search=part, report=part.take(torch.arange(89, -1, -1)), class_names=("a", "b", "c"))
    run = Run(until_steps=2, full_steps=2, samples_at={2: 70}, data=told)
    list(train(Asked(), GAINED, run))
    list(train(Asked(), GAINED, replace(run, split="report")))
    list(train(Asked(), GAINED, replace(run, data=data)))
    assert equal(asked, [dict(told.prompts("search", 70)), dict(told.prompts("report", 70)), {}])
    assert list(asked[0]) == ["label", "caption"]


# Data -----------------------------------------------------------------------------------------------------------------


@dataclass
class Watcher(Family):
    """A family that learns one number and keeps every batch it sees."""

    name = "watcher"
    fusible = Fusible()

    def __post_init__(self) -> None:
        self.seen: list[Tensor] = []
        self.noise: list[Noise] = []

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        return Space((Float("lr", 1e-5, 1.0),))

    def full_steps(self, spec: DataSpec, n_train: int) -> int:
        return 10

    def build(self, config: Config, spec: DataSpec, generator: torch.Generator) -> nn.Module:
        model = nn.Module()
        model.only = nn.Linear(1, 1)
        return model

    def players(self, config: Config, spec: DataSpec) -> tuple[Player, ...]:
        def loss(model: Any, batch: Batch, hyper: Hyper, noise: Noise) -> Tensor:
            self.seen.append(batch["image"].clone())
            self.noise.append(noise)
            return model.only(batch["image"].flatten(1).mean(1, keepdim=True)).squeeze(1)

        extra = int(config.number("extra", 0))
        draws = {f"n{i}": NoiseSpec("normal", (2, 3)) for i in range(extra)} | {"u": NoiseSpec("uniform", (5,))}
        return (Player("only", loss, draws),)

    def hyper(self, config: Config, progress: float) -> dict[str, float]:
        return {}

    def latents(self, config: Config, spec: DataSpec, n: int) -> dict[str, NoiseSpec]:
        return {"latent": NoiseSpec("normal", (n, *spec.shape))}

    def generate(self, model: nn.Module, hyper: Hyper, noise: Noise) -> Tensor:
        return torch.zeros_like(noise["latent"])


def batches_seen(data: ImageData, steps: int = 20, seed: int = 0, **values: Any) -> Watcher:
    watcher = Watcher()
    config = Config.of({"batch_size": 8, "lr": 1e-3, "optimizer": "sgd", **values})
    with patch("maestune.training.loop.Replay", lambda function: function):  # the loss is called in every step, once
        list(train(watcher, config, Run(until_steps=steps, full_steps=steps, seed=seed, data=data)))
    return watcher


def test_the_order_of_the_data_depends_on_seed_and_batch_size_alone(data: ImageData) -> None:
    plain = batches_seen(data).seen
    assert equal(plain, batches_seen(data, extra=4, lr=0.1).seen)
    assert not equal(plain, batches_seen(data, seed=1).seen)


def test_every_image_is_seen_once_before_any_is_seen_again(data: ImageData) -> None:
    images = to_float(data.train.images)
    for size in (8, 64):
        seen = torch.cat(batches_seen(data, steps=30, batch_size=size).seen)
        for start in range(0, len(seen) - len(images) + 1, len(images)):
            epoch = seen[start : start + len(images)]
            assert len(torch.unique(epoch, dim=0)) == len(images)


def test_a_batch_larger_than_the_data_repeats_it(data: ImageData) -> None:
    few = data.train.take(torch.arange(5))
    (batch,) = batches_seen(replace(data, train=few), steps=1, batch_size=12).seen
    assert batch.shape == (12, *SHAPE)
    assert len(torch.unique(batch, dim=0)) == 5


def test_large_data_stay_bytes_until_a_batch_needs_them(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = batches_seen(data).seen
    monkeypatch.setattr("maestune.training.stream.FLOAT_ONCE_BYTES", 0)
    assert equal(plain, batches_seen(data).seen)


def test_noise_has_the_asked_shapes_and_distributions(data: ImageData) -> None:
    noise = batches_seen(data, steps=200, extra=3).noise
    normals = torch.cat([n[f"n{i}"].flatten() for n in noise for i in range(3)])
    uniforms = torch.cat([n["u"] for n in noise])
    assert noise[0]["n2"].shape == (2, 3)
    assert normals.std().item() == pytest.approx(1.0, abs=0.05)
    assert uniforms.mean().item() == pytest.approx(0.5, abs=0.05)
    assert 0 <= uniforms.min() <= uniforms.max() < 1
    assert not torch.equal(noise[0]["n0"], noise[0]["n1"])
