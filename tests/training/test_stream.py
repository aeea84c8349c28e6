"""The stream of batches and noise: images once an epoch, windows of text anywhere, in everyone's turn, exactly continued."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from members import precision, same
from torch import Tensor

from maestune.data import Batch, Data, ImageData, TextData, load_text, to_float
from maestune.errors import SettingsError
from maestune.families.base import NoiseSpec, Player, drawer
from maestune.training import Run, load_checkpoint, save_checkpoint
from maestune.training.stream import Pictures, Stream, Windows, source_of
from maestune.types import Config


def silent(*_: Any) -> Tensor:
    raise AssertionError("a stream computes no loss")


PLAYERS = (
    Player("a", silent, {"x": NoiseSpec("normal", (3, 2)), "u": NoiseSpec("uniform", (5,))}),
    Player("b", silent, {"x": NoiseSpec("normal", (4,))}, every=2),
    Player("c", silent, {}, every=3),
)


CONTEXT = 12
CONFIG = Config.of(context=CONTEXT)


def stream_of(data: Data, size: int = 8, seed: int = 0, players: Sequence[Player] = PLAYERS) -> Stream:
    run = Run(until_steps=100, full_steps=100, seed=seed, data=data)
    return Stream(source_of(data, CONFIG, "cpu"), size, players, run)


def shown(stream: Stream, steps: range) -> list[tuple[Batch, Mapping[str, Mapping[str, Tensor]]]]:
    return [stream.next(step) for step in steps]


def numbers(images: Tensor, batches: Sequence[Batch]) -> list[int]:
    """Which images the batches are made of."""
    place = {image.numpy().tobytes(): i for i, image in enumerate(images)}
    return [place[image.numpy().tobytes()] for batch in batches for image in batch["image"]]


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextData:
    """5,000 numbers one after the other, so that a window tells where it is from."""
    path = tmp_path_factory.mktemp("text") / "numbers.txt"
    path.write_text("\n".join(map(str, range(5000))))
    return load_text(path)


@pytest.mark.parametrize("size", [1, 8, 64, 90, 91, 200])
def test_each_image_is_shown_once_before_any_is_shown_again(size: int, data: ImageData) -> None:
    images = to_float(data.train.images)
    batches = [batch for batch, _ in shown(stream_of(data, size), range(1, 400 // size + 2))]
    assert all(list(batch) == ["image"] for batch in batches)
    assert all(batch["image"].shape == (size, 1, 8, 8) for batch in batches)
    assert all(batch["image"].dtype == torch.float32 for batch in batches)
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
    assert not any(same(a, b) for (a, _), (b, _) in zip(first, other, strict=True))
    assert not any(same(a, b) for (_, a), (_, b) in zip(first, other, strict=True))


def test_the_order_does_not_depend_on_the_players(data: ImageData) -> None:
    steps = range(1, 25)
    some, none = (shown(stream_of(data, players=players), steps) for players in (PLAYERS, ()))
    assert same([batch for batch, _ in some], [batch for batch, _ in none])
    assert all(not noise for _, noise in none)


def test_labels_and_captions_are_those_of_the_images_beside_them(data: ImageData) -> None:
    labels, captions = torch.arange(90) % 7, torch.stack((torch.arange(90) * 3, torch.arange(90) * 5), dim=1)
    plain = [batch["image"] for batch, _ in shown(stream_of(data), range(1, 25))]
    told = replace(data, train=replace(data.train, labels=labels, captions=captions))
    for image, (batch, _) in zip(plain, shown(stream_of(told), range(1, 25)), strict=True):
        assert list(batch) == ["image", "label", "caption"]
        assert torch.equal(batch["image"], image)  # which are the same without them
        index = numbers(to_float(data.train.images), [batch])
        assert torch.equal(batch["label"], labels[index])
        assert torch.equal(batch["caption"], captions[index])
        assert batch["label"].dtype == batch["caption"].dtype == torch.int64


def goes_on_exactly(data: Data, folder: Path, pause: int, size: int, seed: int) -> None:
    straight = stream_of(data, size, seed)
    shown(straight, range(1, pause + 1))
    path = folder / "stream"
    save_checkpoint(path, straight.state())
    resumed = stream_of(data, size, seed + 1)
    shown(resumed, range(1, 4))  # whatever it has shown before
    resumed.restore(load_checkpoint(path))
    rest = range(pause + 1, pause + 15)
    assert same(shown(resumed, rest), shown(straight, rest))
    assert same(resumed.state(), straight.state())


@given(pause=st.integers(0, 40), size=st.integers(1, 100), seed=st.integers(0, 2**48))
def test_a_restored_stream_goes_on_exactly(
    data: ImageData, tmp_path_factory: pytest.TempPathFactory, pause: int, size: int, seed: int
) -> None:
    goes_on_exactly(data, tmp_path_factory.getbasetemp(), pause, size, seed)


@given(pause=st.integers(0, 40), size=st.integers(1, 300), seed=st.integers(0, 2**48))
def test_a_restored_stream_of_text_goes_on_exactly(
    text: TextData, tmp_path_factory: pytest.TempPathFactory, pause: int, size: int, seed: int
) -> None:
    # Up to 40 batches of 300, so that places are drawn again before, at, and after the pause.
    goes_on_exactly(text, tmp_path_factory.getbasetemp(), pause, size, seed)


def test_a_state_is_not_changed_by_going_on(data: ImageData) -> None:
    stream = stream_of(data)
    shown(stream, range(1, 4))
    state, again = stream.state(), stream.state()
    shown(stream, range(4, 20))
    assert same(state, again)
    assert not same(state, stream.state())


def test_large_data_stay_bytes_until_a_batch_needs_them(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = range(1, 20)
    assert held(data).dtype == torch.float32
    plain = shown(stream_of(data), steps)
    monkeypatch.setattr("maestune.training.stream.FLOAT_ONCE_BYTES", 4 * data.train.images.numel() - 1)
    assert held(data).dtype == torch.uint8
    assert same(plain, shown(stream_of(data), steps))


def held(data: ImageData) -> Tensor:
    source = source_of(data, CONFIG, "cpu")
    assert isinstance(source, Pictures)
    return source.images


def test_images_and_noise_have_the_default_precision(data: ImageData) -> None:
    with precision(torch.float64):
        batch, noise = stream_of(data).next(1)
    assert batch["image"].dtype == noise["a"]["x"].dtype == noise["a"]["u"].dtype == torch.float64
    assert batch["image"].min() >= -1
    assert batch["image"].max() <= 1


# Text -----------------------------------------------------------------------------------------------------------------


def windows(text: TextData, size: int, steps: int, seed: int = 0) -> list[Tensor]:
    return [batch["tokens"] for batch, _ in shown(stream_of(text, size, seed), range(1, steps + 1))]


@pytest.mark.parametrize("size", [1, 8, 5000])
def test_windows_are_consecutive_tokens_of_the_text_to_learn_from(size: int, text: TextData) -> None:
    known = text.tokenizer.decode(text.train)
    for batch in windows(text, size, 3):
        assert batch.shape == (size, CONTEXT + 1)
        assert batch.dtype == torch.int64
        assert all(text.tokenizer.decode(window) in known for window in batch[:50])


def test_windows_begin_anywhere_also_at_both_ends(text: TextData) -> None:
    short = replace(text, train=text.train[: CONTEXT + 20])
    assert short.train.dtype == torch.uint8
    batch = torch.cat(windows(short, 50, 40)).to(torch.uint8)
    places = [int((short.train.unfold(0, CONTEXT + 1, 1) == window).all(1).nonzero()[0]) for window in batch]
    counts = torch.bincount(torch.tensor(places), minlength=20)
    assert len(counts) == 20  # the last window ends with the last token
    assert counts.min() > 50  # of 100 each: five standard deviations
    assert counts.max() < 150


def test_windows_depend_on_seed_alone(text: TextData) -> None:
    first = windows(text, 8, 20)
    assert same(first, windows(text, 8, 20))
    assert not any(torch.equal(a, b) for a, b in zip(first, windows(text, 8, 20, seed=1), strict=True))
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(first))
    # As one long sequence, it does not even depend on the size of the batches, and not on when places are drawn.
    assert torch.equal(torch.cat(windows(text, 700, 12)), torch.cat(windows(text, 100, 84)))


def test_a_text_shorter_than_a_window_is_refused(text: TextData) -> None:
    assert source_of(replace(text, train=text.train[: CONTEXT + 1]), CONFIG, "cpu").order(rng()).unique().tolist() == [
        0
    ]
    with pytest.raises(
        SettingsError, match=r"context: windows of 12 tokens .* the 12 tokens of numbers.*--set context"
    ):
        source_of(replace(text, train=text.train[:CONTEXT]), CONFIG, "cpu")


def test_a_text_is_kept_as_small_as_it_is(text: TextData) -> None:
    source = source_of(text, CONFIG, "cpu")
    assert isinstance(source, Windows)
    assert source.tokens.dtype == torch.uint8
    assert source.tokens.data_ptr() == text.train.data_ptr()


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)
