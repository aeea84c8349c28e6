"""The language model as a family: its space, loss, numbers, scores, and members side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lm_reference import FAMILY, SPEC, TINY, config_of, model_of, rng, tokens_of
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from maestune.data import DataSpec
from maestune.errors import SettingsError, SpaceError
from maestune.families import training_space
from maestune.families.base import drawer
from maestune.families.lm.family import loss
from maestune.families.lm.networks import LanguageModel
from maestune.families.lm.space import FULL_STEPS, RECIPE
from maestune.recipes import bibtex_of
from maestune.space import Choice, Float, Role
from maestune.types import Config


def losses_of(model: LanguageModel, config: Config, tokens: Tensor, seed: int = 0) -> Tensor:
    (player,) = FAMILY.players(config, SPEC)
    noise = drawer(player.noise)(rng(seed))
    return player.loss(model, {"tokens": tokens}, FAMILY.hyper(config, 0.5), noise)


def test_the_centre_of_the_space_is_the_published_recipe() -> None:
    space, recipe = FAMILY.space(SPEC), RECIPE
    centre = space.centre()
    published = {
        name: value for name, value in recipe.settings.items() if name != "top_k"
    }  # more than characters there are
    assert {name: centre[name] for name in published} == published
    assert centre == space.complete(published)
    assert recipe.citation
    assert bibtex_of([recipe.name]).startswith("@")
    assert FAMILY.full_steps(SPEC, 10**6) == FULL_STEPS == 2000


def test_every_parameter_has_a_role_and_a_cited_prior() -> None:
    space = FAMILY.space(SPEC)
    for param in space.varying:
        assert isinstance(param.role, Role)
        assert param.prior is not None, param.name
        assert param.prior.citation, param.name
    # What bits per character do not depend on is not searched.
    assert all(param.role is not Role.SAMPLING or param.name == "ema" for param in space.varying)
    assert type(space).from_dict(space.to_dict()) == space
    assert FAMILY.space(SPEC, "transformer") == space
    with pytest.raises(SpaceError, match=r"'lstm'.*transformer"):
        FAMILY.space(SPEC, "lstm")


def test_images_are_refused() -> None:
    FAMILY.check(SPEC)
    with pytest.raises(SettingsError, match=r"learns from text.*pydoc"):
        FAMILY.check(DataSpec(shape=(1, 8, 8)))


def test_every_config_of_the_space_builds_plays_and_generates() -> None:
    space, numbers = FAMILY.space(SPEC), np.random.default_rng(0)
    for i in range(20):
        config = space.sample(numbers).with_(batch_size=2, context=8, layers=2)
        model = FAMILY.build(config, SPEC, rng(i))
        found = losses_of(model, config, tokens_of(2, 9, i))
        assert found.shape == (2,)
        assert torch.isfinite(found).all(), dict(config)
        noise = {"prompt": tokens_of(2, 3), "uniform": torch.rand(2, 12, generator=rng())}
        assert FAMILY.generate(model, FAMILY.hyper(config, 1.0), noise).shape == (2, 15)


def test_the_loss_is_the_mean_surprise_in_nats() -> None:
    model, config = model_of()
    tokens = tokens_of(3, 13)
    chances = torch.softmax(model.network(tokens[:, :-1]), 2).detach()
    expected = [-sum(math.log(chances[b, t, tokens[b, t + 1]]) for t in range(12)) / 12 for b in range(3)]
    torch.testing.assert_close(losses_of(model, config, tokens), torch.tensor(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.02, 0.1])
def test_label_smoothing_is_that_of_pytorch(smoothing: float) -> None:
    model, config = model_of(label_smoothing=smoothing)
    tokens = tokens_of(3, 13)
    logits = model.network(tokens[:, :-1])
    expected = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), label_smoothing=smoothing)
    torch.testing.assert_close(losses_of(model, config, tokens).mean(), expected)


def test_noise_is_drawn_only_for_dropout() -> None:
    (player,) = FAMILY.players(config_of(), SPEC)
    assert player.noise == {}
    assert (player.name, player.every, player.average) == ("network", 1, "")
    (player,) = FAMILY.players(config_of(dropout=0.1, ema=0.99), SPEC)
    assert player.noise["dropout"].shape == (5, 3, 12, 16)
    assert player.average == "average"
    model, config = model_of(dropout=0.2)
    tokens = tokens_of(3, 13)
    assert not torch.equal(losses_of(model, config, tokens, 0), losses_of(model, config, tokens, 1))


EFFECTS: Mapping[str, Any] = {
    "layers": 3, "width": 32, "heads": 2, "context": 16, "positions": "rotary", "activation": "relu", "norm": "rms",
    "qk_norm": "rms", "head": "untied", "init": 0.1, "dropout": 0.2, "label_smoothing": 0.1,
}  # fmt: skip
TRAINER = training_space.NUMBERS | training_space.SWITCHES | {"optimizer", "batch_size"}
SAMPLING = {"temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty"}


@pytest.mark.parametrize("name", EFFECTS)
def test_every_hyperparameter_changes_loss_or_gradient(name: str) -> None:
    def found(**values: Any) -> tuple[float, list[float]]:
        model, config = model_of(**values)
        tokens = tokens_of(3, int(config.number("context")) + 1)
        value = losses_of(model, config, tokens).mean()
        gradients = torch.autograd.grad(value, list(model.network.parameters()))
        return float(value.detach()), [float(g.norm()) for g in gradients]

    before, after = found(), found(**{name: EFFECTS[name]})
    assert before[0] != after[0], name
    assert before[1] != after[1], name


def test_every_hyperparameter_is_somebodys() -> None:
    # Those of the trainer and of sampling have tests of their own.
    assert {p.name for p in FAMILY.space(SPEC)} == set(EFFECTS) | TRAINER | SAMPLING
    for name in FAMILY.fusible.switches - SAMPLING:
        param = FAMILY.space(SPEC)[name]
        assert isinstance(param, Float)
        assert param.off == 0.0


def test_scores_are_means_over_all_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model, config = model_of(ema=0.9)
    assert model.average is not None
    with torch.no_grad():
        model.average.embedding.mul_(1.1)
    tokens = tokens_of(10, 13)
    hyper = FAMILY.hyper(config, 1.0)
    scores = FAMILY.measure(model, hyper, {"tokens": tokens}, rng())
    logits = model.average(tokens[:, :-1])
    nats = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()
    assert scores["val_loss"] == pytest.approx(nats, rel=1e-6)
    assert scores["perplexity"] == pytest.approx(math.exp(nats), rel=1e-6)
    assert scores["bpc"] == pytest.approx(nats / math.log(2) / SPEC.characters_per_token, rel=1e-6)
    assert set(scores) == set(FAMILY.measures)
    assert set(FAMILY.objectives) <= set(FAMILY.measures)
    monkeypatch.setattr("maestune.families.lm.family.LOGIT_VALUES", 1)
    assert FAMILY.measure(model, hyper, {"tokens": tokens}, rng()) == pytest.approx(scores, rel=1e-6)


def test_failure_is_guessing() -> None:
    model, config = model_of(init=1e-9)
    guessed = FAMILY.measure(model, FAMILY.hyper(config, 1.0), {"tokens": tokens_of(4, 13)}, rng())
    assert FAMILY.failure(SPEC) == pytest.approx(guessed, rel=1e-4)
    assert FAMILY.failure(SPEC)["perplexity"] == pytest.approx(SPEC.tokens)


def test_signals_are_plain_means() -> None:
    model, config = model_of(dropout=0.5)
    tokens = tokens_of(3, 13)
    signals = FAMILY.signals(model, {"tokens": tokens}, FAMILY.hyper(config, 0.5), {})
    chances = torch.softmax(model.network(tokens[:, :-1]), 2).detach()
    entropies = [-sum(p * math.log(p) for p in row) for text in chances.tolist() for row in text]
    assert signals["entropy"].item() == pytest.approx(sum(entropies) / len(entropies), rel=1e-4)
    right = [int(row.argmax()) == int(t) for row, t in zip(chances.flatten(0, 1), tokens[:, 1:].flatten(), strict=True)]
    assert signals["accuracy"].item() == pytest.approx(sum(right) / len(right))
    block: Any = model.network.blocks[0]
    x = model.network.embedding[tokens[:, :-1]]
    assert model.network.positions is not None
    q, k, _ = block.attention.inputs(block.norm_1(x + model.network.positions)).unflatten(2, (3, 4, 4)).unbind(2)
    first = torch.einsum("bihc,bjhc->bhij", q, k).detach().amax() / 2
    assert signals["attention_logit"] >= first - 1e-6
    with torch.no_grad():  # no attention in the second block: the first is the largest
        model.network.blocks[1].attention.inputs.weight.zero_()
    signals = FAMILY.signals(model, {"tokens": tokens}, FAMILY.hyper(config, 0.5), {})
    assert signals["attention_logit"].item() == pytest.approx(max(float(first), 0.0), rel=1e-5)


MEMBERS = (
    {},
    {"positions": "rotary", "norm": "rms", "qk_norm": "rms", "activation": "swiglu", "head": "untied"},
    {"dropout": 0.2, "label_smoothing": 0.1, "activation": "relu2"},
)


@pytest.mark.parametrize("values", MEMBERS, ids=["centre", "modern", "regularised"])
@pytest.mark.parametrize("own_batches", [False, True], ids=["shared", "own"])
def test_many_members_at_once_have_each_ones_loss_and_gradient(values: dict[str, Any], own_batches: bool) -> None:
    models, configs = zip(*(model_of(seed, **values) for seed in range(3)), strict=True)
    configs = [
        c.with_(**{n: float(c[n]) * f for n in ("dropout", "label_smoothing")})
        for c, f in zip(configs, (1, 2, 3), strict=True)
    ]
    models = [m.double() for m in models]
    tokens = torch.stack([tokens_of(3, 13, seed if own_batches else 0) for seed in range(3)])
    (player,) = FAMILY.players(configs[0], SPEC)
    noise = {n: u.double() for n, u in drawer(player.noise)(rng()).items()}
    rows = [FAMILY.hyper(config, 0.5) for config in configs]
    hyper = {n: torch.tensor([row[n] for row in rows], dtype=torch.float64) for n in rows[0]}
    weights = {
        n: torch.stack([dict(m.named_parameters())[n] for m in models]).detach()
        for n, _ in models[0].named_parameters()
    }

    class Call(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = models[0]

        def forward(self, tokens: Tensor, hyper: Any) -> Tensor:
            return loss(self.model, {"tokens": tokens}, hyper, noise)

    def one(weights: dict[str, Tensor], hyper: dict[str, Tensor], tokens: Tensor) -> Tensor:
        return functional_call(Call(), {f"model.{n}": t for n, t in weights.items()}, (tokens, hyper)).mean()

    batch = tokens if own_batches else tokens[0]
    gradients, values_ = vmap(grad_and_value(one), in_dims=(0, 0, 0 if own_batches else None))(weights, hyper, batch)
    for k, model in enumerate(models):
        alone = loss(model, {"tokens": tokens[k]}, rows[k], noise).mean()
        torch.testing.assert_close(values_[k], alone, rtol=1e-10, atol=1e-12)
        for name, parameter in model.named_parameters():
            (expected,) = torch.autograd.grad(alone, [parameter], retain_graph=True)
            torch.testing.assert_close(gradients[name][k], expected, rtol=1e-9, atol=1e-11, msg=name)


def test_the_loss_compiles_whole() -> None:
    model, config = model_of(positions="rotary", dropout=0.1, label_smoothing=0.1, qk_norm="rms")
    (player,) = FAMILY.players(config, SPEC)
    noise, tokens = drawer(player.noise)(rng()), tokens_of(3, 13)
    hyper = FAMILY.hyper(config, 0.5)
    traced = torch.compile(lambda t: loss(model, {"tokens": t}, hyper, noise), fullgraph=True, backend="eager")
    torch.testing.assert_close(traced(tokens), loss(model, {"tokens": tokens}, hyper, noise))


def test_a_few_steps_learn_a_simple_text() -> None:
    model, config = model_of(init=0.02)
    optimiser = torch.optim.Adam(model.network.parameters(), 1e-2)
    text = (torch.arange(3)[:, None] + torch.arange(13)) % SPEC.tokens
    before = float(losses_of(model, config, text).mean().detach())
    for _ in range(60):
        optimiser.zero_grad()
        losses_of(model, config, text).mean().backward()
        optimiser.step()
    assert before == pytest.approx(math.log(SPEC.tokens), abs=0.3)
    assert float(losses_of(model, config, text).mean().detach()) < 0.1


def test_sizes_below_the_space_are_the_tests_own() -> None:
    width = FAMILY.space(SPEC)["width"]
    assert isinstance(width, Choice)
    assert TINY["width"] not in width.values
