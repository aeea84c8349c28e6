"""The stream of batches and noise: each image once an epoch, in everyone's turn, and exactly continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from members import precision, same
from torch import Tensor

from maestune.data import ImageData, to_float
from maestune.families.base import Draw, Player, drawer
from maestune.training import Run, load_checkpoint, save_checkpoint
from maestune.training.stream import Stream, prepared


def silent(*_: Any) -> Tensor:
    raise AssertionError("a stream computes no loss")


PLAYERS = (
    Player("a", silent, {"x": Draw("normal", (3, 2)), "u": Draw("uniform", (5,))}),
    Player("b", silent, {"x": Draw("normal", (4,))}, every=2),
    Player("c", silent, {}, every=3),
)


def stream_of(data: ImageData, size: int = 8, seed: int = 0, players: Sequence[Player] = PLAYERS) -> Stream:
    run = Run(until_steps=100, full_steps=100, seed=seed, data=data)
    return Stream(prepared(data.train.images, "cpu"), size, players, run)


def shown(stream: Stream, steps: range) -> list[tuple[Tensor, Mapping[str, Mapping[str, Tensor]]]]:
    return [stream.next(step) for step in steps]


def numbers(images: Tensor, batches: Sequence[Tensor]) -> list[int]:
    """Which images the batches are made of."""
    place = {image.numpy().tobytes(): i for i, image in enumerate(images)}
    return [place[image.numpy().tobytes()] for batch in batches for image in batch]


@pytest.mark.parametrize("size", [1, 8, 64, 90, 91, 200])
def test_each_image_is_shown_once_before_any_is_shown_again(size: int, data: ImageData) -> None:
    images = to_float(data.train.images)
    batches = [batch for batch, _ in shown(stream_of(data, size), range(1, 400 // size + 2))]
    assert all(batch.shape == (size, 1, 8, 8) and batch.dtype == torch.float32 for batch in batches)
    order = numbers(images, batches)
    epochs = [order[start : start + 90] for start in range(0, len(order) - 89, 90)]
    assert len(epochs) >= 4
    assert all(sorted(epoch) == list(range(90)) for epoch in epochs)
    assert epochs[0] != epochs[1] != list(range(90))


def test_everyone_has_noise_in_its_turn_and_in_no_other(data: ImageData) -> None:
    for step, (_, noise) in enumerate(shown(stream_of(data), range(1, 13)), 1):
        assert list(noise) == [p.name for p in PLAYERS if step % p.every == 0]
        for player in PLAYERS:
            if player.name in noise:
                assert {n: t.shape for n, t in noise[player.name].items()} == {
                    n: d.shape for n, d in player.noise.items()
                }


def test_noise_is_what_the_players_draw_one_after_the_other(data: ImageData) -> None:
    run = Run(until_steps=6, full_steps=6, seed=3, data=data)
    generator = run.generator("noise")
    for step, (_, noise) in enumerate(shown(stream_of(data, seed=3), range(1, 7)), 1):
        expected = {p.name: drawer(p.noise)(generator) for p in PLAYERS if step % p.every == 0}
        assert same(noise, expected)
    assert not torch.equal(noise["a"]["x"].flatten()[:4], noise["b"]["x"])


def test_equal_seeds_give_equal_streams_and_others_others(data: ImageData) -> None:
    steps = range(1, 25)
    first = shown(stream_of(data, seed=5), steps)
    assert same(first, shown(stream_of(data, seed=5), steps))
    other = shown(stream_of(data, seed=6), steps)
    assert not any(torch.equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))
    assert not any(same(a, b) for (_, a), (_, b) in zip(first, other, strict=True))


def test_the_order_does_not_depend_on_the_players(data: ImageData) -> None:
    steps = range(1, 25)
    some, none = (shown(stream_of(data, players=players), steps) for players in (PLAYERS, ()))
    assert same([batch for batch, _ in some], [batch for batch, _ in none])
    assert all(not noise for _, noise in none)


@given(pause=st.integers(0, 40), size=st.integers(1, 100), seed=st.integers(0, 2**48))
def test_a_restored_stream_goes_on_exactly(
    data: ImageData, tmp_path_factory: pytest.TempPathFactory, pause: int, size: int, seed: int
) -> None:
    straight = stream_of(data, size, seed)
    shown(straight, range(1, pause + 1))
    path = tmp_path_factory.getbasetemp() / "stream"
    save_checkpoint(path, straight.state())
    resumed = stream_of(data, size, seed + 1)
    shown(resumed, range(1, 4))  # whatever it has shown before
    resumed.restore(load_checkpoint(path))
    rest = range(pause + 1, pause + 15)
    assert same(shown(resumed, rest), shown(straight, rest))
    assert same(resumed.state(), straight.state())


def test_a_state_is_not_changed_by_going_on(data: ImageData) -> None:
    stream = stream_of(data)
    shown(stream, range(1, 4))
    state, again = stream.state(), stream.state()
    shown(stream, range(4, 20))
    assert same(state, again)
    assert not same(state, stream.state())


def test_large_data_stay_bytes_until_a_batch_needs_them(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = range(1, 20)
    assert prepared(data.train.images, "cpu").dtype == torch.float32
    plain = shown(stream_of(data), steps)
    monkeypatch.setattr("maestune.training.stream.FLOAT_ONCE_BYTES", 4 * data.train.images.numel() - 1)
    assert prepared(data.train.images, "cpu").dtype == torch.uint8
    assert same(plain, shown(stream_of(data), steps))


def test_images_and_noise_have_the_default_precision(data: ImageData) -> None:
    with precision(torch.float64):
        batch, noise = stream_of(data).next(1)
    assert batch.dtype == noise["a"]["x"].dtype == noise["a"]["u"].dtype == torch.float64
    assert batch.min() >= -1
    assert batch.max() <= 1
