"""What every family must do, as tests to run on your own: subclass `FamilySuite` and give it your family.

```python
class TestMine(FamilySuite):
    @pytest.fixture
    def family(self) -> Family:
        return Mine()
```

Data are made here, tiny, of the family's modality; a subclass whose family needs other data overrides the fixture `data`.
Configs are the centre of the family's space and some drawn from it; where those are too large to be trained in a test,
override `shrunk`, which makes any config small. Everything is computed in float64, so that the same computation in another
order is told from another computation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maestune.data import Data, DataSpec, ImageData, Images, TextData
from maestune.data.tokenizer import Characters
from maestune.errors import SettingsError
from maestune.families.base import Family, drawer
from maestune.families.fusing import why_not_fused
from maestune.space import Space, within
from maestune.training import Run, train
from maestune.training.evaluation import sample_inputs
from maestune.training.fused import Group
from maestune.training.member import Task
from maestune.training.stream import source_of
from maestune.types import Config, Report

CLASSES = 3
IMAGES = 24
SIDE = 8  # pixels
SENTENCE = "The quick brown fox jumps over the lazy dog, and the dog does not mind. "
STEPS = 4
DRAWN = 6  # configs from the space, beside its centre
TOLERANCE = 1e-9
FUSED_SEED = 5
SAMPLES = 5

Stored = list[tuple[Report, Mapping[str, Any]]]  # reports, each with the state that it gave


class FamilySuite:
    """Subclass it, override the fixture `family`, and pytest does the rest."""

    batch_size: int | None = 4

    @pytest.fixture
    def family(self) -> Family:
        """The family under test."""
        raise NotImplementedError("Override the fixture `family`.")

    @pytest.fixture
    def data(self, family: Family) -> Data:
        """What it learns from here: 8×8 images with three labels, or a sentence over and over."""
        return text_data() if family.modality == "text" else image_data()

    def shrunk(self, config: Config) -> Config:
        """The config made small enough for a test; by default only its batch is."""
        return config if self.batch_size is None else config.with_(batch_size=self.batch_size)

    @pytest.fixture(autouse=True)
    def _double(self) -> Iterator[None]:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(before)

    @pytest.fixture
    def drawn(self, family: Family, data: Data) -> list[Config]:
        """The centre of the space, and some configs drawn from its priors."""
        space = family.space(data.spec)
        rng = np.random.default_rng(0)
        return [space.centre(), *(space.sample_prior(rng) for _ in range(DRAWN))]

    @pytest.fixture
    def configs(self, drawn: list[Config]) -> list[Config]:
        """The same, made small."""
        return [self.shrunk(config) for config in drawn]

    def test_the_space_has_what_the_trainer_reads(self, family: Family, data: Data) -> None:
        """Rate, optimiser and batch size, of which something varies; the length of a full training is positive."""
        space = family.space(data.spec)
        assert {"lr", "optimizer", "batch_size"} <= {param.name for param in space}
        assert space.varying
        assert family.full_steps(data.spec, data.size) > 0

    def test_fusible_names_are_of_the_space(self, family: Family, data: Data) -> None:
        """What may differ within a group is numbers of the space; switches can be off."""
        names = {param.name for param in family.space(data.spec)}
        named = family.fusible.numbers | family.fusible.switches
        common = {"lr", "beta1", "beta2", "momentum", "weight_decay", "l1", "clip", "keep", "patience", "ema"}
        schedule = {"schedule", "warmup", "decay", "lr_floor", "step_factor", "step_count", "cycles"}
        elsewhere = {p.name for other in self.other_spaces(family, data.spec) for p in other}
        assert named <= names | common | schedule | elsewhere, "fusible names parameters that no space has"

    def test_what_samples_are_drawn_with_leaves_training_alone(
        self, family: Family, data: Data, configs: list[Config]
    ) -> None:
        """Other values of `sampling_parameters` lead to the same weights, and weights of the one config serve the other."""
        space = family.space(data.spec)
        names = family.sampling_parameters & {param.name for param in space.varying}
        rng = np.random.default_rng(1)
        for config in configs:
            other = config.with_(**{n: space[n].from_unit(float(rng.random())) for n in sorted(names & set(config))})
            first, second = (_serially(family, one, _run(data)) for one in (config, other))
            assert _same([state for _, state in first], [state for _, state in second])
            model = family.build(other, data.spec, _generator(0))
            assert model.state_dict().keys() == family.build(config, data.spec, _generator(0)).state_dict().keys()

    def other_spaces(self, family: Family, spec: DataSpec) -> Sequence[Space]:
        """Spaces of the family for other data or networks than those of this suite."""
        larger = replace(spec, shape=(3, 32, 32)) if spec.shape else spec
        captioned = replace(larger, words=10, caption_words=4) if spec.shape else larger
        return [family.space(larger), family.space(captioned)]

    def test_data_that_do_not_fit_are_refused(self, family: Family, data: Data) -> None:
        """Text given to a family of images, or images to one of text, is a SettingsError; fitting data are none."""
        family.check(data.spec)
        other = image_data().spec if family.modality == "text" else text_data().spec
        if family.modality == "text":
            with pytest.raises(SettingsError):
                family.check(other)

    def test_weights_come_from_the_generator_alone(self, family: Family, data: Data, configs: list[Config]) -> None:
        """Equal generators make equal weights, and global random state is neither used nor changed."""
        for config in configs:
            before = torch.get_rng_state()
            first, second = (family.build(config, data.spec, _generator(1)) for _ in range(2))
            assert torch.equal(before, torch.get_rng_state())
            other = family.build(config, data.spec, _generator(2))
            assert _same(first.state_dict(), second.state_dict())
            assert not _same(first.state_dict(), other.state_dict())
            assert all(bool(torch.isfinite(t).all()) for t in first.state_dict().values() if t.is_floating_point())

    def test_numbers_have_the_same_names_at_all_times(self, family: Family, data: Data, configs: list[Config]) -> None:
        """`hyper` tells finite numbers, of the same names from the first step to the last."""
        for config in configs:
            rows = [family.hyper(config, progress) for progress in (0.0, 0.01, 0.5, 0.99, 1.0)]
            assert len({tuple(row) for row in rows}) == 1
            assert all(math.isfinite(value) for row in rows for value in row.values())

    def test_losses_are_pure_and_per_sample(self, family: Family, data: Data, configs: list[Config]) -> None:
        """A loss a sample, finite, the same when asked again; the model and global random state stay as they are."""
        for config in configs:
            model = family.build(config, data.spec, _generator(1))
            batch = _batch(data, config)
            size = len(next(iter(batch.values())))
            hyper = family.hyper(config, 0.3)
            before = {name: t.clone() for name, t in model.state_dict().items()}
            for player in family.players(config, data.spec):
                noise = drawer(player.noise)(_generator(2))
                for loss in {player.loss, player.loss_at(player.lazy[0] if player.lazy else 1)}:
                    state = torch.get_rng_state()
                    losses, again = loss(model, batch, hyper, noise), loss(model, batch, hyper, noise)
                    assert losses.shape == (size,)
                    assert bool(torch.isfinite(losses).all())
                    assert torch.equal(losses, again)
                    assert torch.equal(state, torch.get_rng_state())
            assert _same(model.state_dict(), before)

    def test_losses_reach_their_player(self, family: Family, data: Data) -> None:
        """At the centre of the space most of a player's parameters have a gradient that is not zero."""
        config = self.shrunk(family.space(data.spec).centre())
        model = family.build(config, data.spec, _generator(1))
        for player in family.players(config, data.spec):
            parameters = list(model.get_submodule(player.name).parameters())
            assert parameters
            noise = drawer(player.noise)(_generator(2))
            loss = player.loss(model, _batch(data, config), family.hyper(config, 0.3), noise).mean()
            gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
            assert any(bool(g.abs().sum() > 0) for g in gradients)
            assert all(bool(torch.isfinite(g).all()) for g in gradients)

    def test_samples_are_pure_and_of_the_right_shape(self, family: Family, data: Data, configs: list[Config]) -> None:
        """The same noise makes the same samples, images in [-1, 1] or tokens of the vocabulary; the model stays."""
        for config in configs:
            model = family.build(config, data.spec, _generator(1))
            hyper = family.hyper(config, 1.0)
            before = {name: t.clone() for name, t in model.state_dict().items()}
            noise = sample_inputs(family, config, _run(data), SAMPLES)
            with torch.no_grad():
                first, second = (family.generate(model, hyper, noise) for _ in range(2))
            assert torch.equal(first, second)
            assert _same(model.state_dict(), before)
            if data.spec.tokens:
                assert first.ndim == 2
                assert first.shape[0] == SAMPLES
                assert first.dtype == torch.int64
                assert 0 <= int(first.min()) <= int(first.max()) < data.spec.tokens
            else:
                assert first.shape == (SAMPLES, *data.spec.shape)
                assert float(first.abs().max()) <= 1.0 + 1e-6

    def test_training_goes_on_as_if_it_had_not_stopped(self, family: Family, data: Data, configs: list[Config]) -> None:
        """Paused half-way and gone on from its state, a training ends with the same weights and signals, bit by bit."""
        for config in configs[:3]:
            whole = _serially(family, config, _run(data))
            half = _serially(family, config, replace(_run(data), until_steps=STEPS // 2))
            rest = _serially(family, config, replace(_run(data), start_steps=STEPS // 2, state=half[-1][1]))
            assert _same(whole[-1][1], rest[-1][1])
            assert dict(whole[-1][0].signals) == dict(rest[-1][0].signals)
            assert all(math.isfinite(value) for value in whole[-1][0].signals.values())

    def test_held_out_scores(self, family: Family, data: Data, configs: list[Config]) -> None:
        """`measure` tells what `measures` names, finite and the same when asked again; `failure` is never better."""
        for config in configs[:3]:
            (report, _) = _serially(family, config, replace(_run(data), scored_at=frozenset((STEPS,))))[-1]
            (again, _) = _serially(family, config, replace(_run(data), scored_at=frozenset((STEPS,))))[-1]
            assert set(report.scores) == set(family.measures)
            assert all(math.isfinite(value) for value in report.scores.values())
            assert dict(report.scores) == dict(again.scores)
            for images in report.exhibits.values():
                assert images.shape[1:] == data.spec.shape
        assert set(family.failure(data.spec)) == set(family.measures)

    def test_a_group_trains_as_its_members_alone(self, family: Family, data: Data, drawn: list[Config]) -> None:
        """Members that differ in numbers come out of a fused group as out of serial training, beside one that is NaN."""
        space = family.space(data.spec)
        for leader in drawn[:4]:
            members = [self.shrunk(c) for c in (leader, *(_sibling(family, space, leader, seed) for seed in (1, 2)))]
            config = members[0]
            assert why_not_fused(family, config, data.spec) == ""
            run = replace(_run(data), samples_at={STEPS: SAMPLES}, scored_at=frozenset((STEPS,)))
            tasks = [Task(k, member, replace(run, seed=FUSED_SEED)) for k, member in enumerate(members)]
            # One whose rate is absurd: whatever becomes of it, the others must not notice.
            lost = Task("lost", config.with_(lr=1e30), replace(run, seed=FUSED_SEED))
            found: dict[Any, list[Report]] = {}
            states: dict[Any, Mapping[str, Any]] = {}
            for reports in Group(family, [*tasks, lost], len(tasks) + 1).reports():
                for key, report in reports.items():
                    found.setdefault(key, []).append(report)
                    assert report.state is not None
                    states[key] = report.state()
            for task in tasks:
                alone = _serially(family, task.config, task.run)
                last = found[task.key][-1]
                _close(dict(last.signals), dict(alone[-1][0].signals), f"signals of member {task.key}")
                _close(dict(last.scores), dict(alone[-1][0].scores), f"scores of member {task.key}")
                _close(last.samples, alone[-1][0].samples, f"samples of member {task.key}")
                _close(states[task.key]["model"], alone[-1][1]["model"], f"weights of member {task.key}")


def image_data() -> ImageData:
    """Images (1, 8, 8) of three classes: noise around a level of their own."""
    generator = _generator(0)

    def part() -> Images:
        labels = torch.arange(IMAGES) % CLASSES
        levels = 60 * (labels + 1).view(-1, 1, 1, 1)
        noise = torch.randint(0, 50, (IMAGES, 1, SIDE, SIDE), generator=generator)
        return Images((levels + noise).to(torch.uint8), labels)

    return ImageData("levels", part(), part(), part(), ("dark", "grey", "light"), "levels")


def text_data() -> TextData:
    """A sentence over and over."""
    tokenizer = Characters.of(SENTENCE)
    tokens = tokenizer.encode(SENTENCE * 40).to(torch.uint8)
    return TextData("sentence", tokens, tokens[: len(tokens) // 2], tokens[len(tokens) // 2 :], tokenizer, "sentence")


def _sibling(family: Family, space: Space, config: Config, seed: int) -> Config:
    """Another config of the same structure."""
    drawn = within(space, config, family.fusible).sample_prior(np.random.default_rng(seed))
    free = family.fusible.numbers | family.fusible.switches
    return config.with_(**{name: drawn[name] for name in free if name in drawn and name in config})


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _run(data: Data) -> Run:
    return Run(until_steps=STEPS, full_steps=2 * STEPS, report_every=STEPS // 2, data=data, seed=FUSED_SEED)


def _batch(data: Data, config: Config) -> Mapping[str, Tensor]:
    source = source_of(data, config, "cpu")
    return source.take(source.order(_generator(3))[: int(config.number("batch_size"))])


def _serially(family: Family, config: Config, run: Run) -> Stored:
    found: Stored = []
    for report in train(family, config, run):
        assert report.state is not None
        found.append((report, report.state()))
    return found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return set(a) == set(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


def _close(found: Any, expected: Any, place: str) -> None:
    if isinstance(expected, Mapping):
        assert set(found) == set(expected), place
        for key in expected:
            _close(found[key], expected[key], f"{place}, {key}")
    elif isinstance(expected, Tensor):
        torch.testing.assert_close(
            found, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True, msg=lambda m: f"{place}: {m}"
        )
    elif expected is not None:
        assert math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE), (place, found, expected)
