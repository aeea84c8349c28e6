from collections.abc import Iterator
from threading import Lock

import numpy as np
import pytest
import torch

from maestune.data import ImageData, to_float
from maestune.errors import MetricError
from maestune.quality.features.choice import choose, choose_second
from maestune.quality.features.extractor import BATCH_SIZE, Extractor
from maestune.quality.image_evaluator import ImageEvaluator
from maestune.quality.metric import Features
from maestune.quality.scoring.extraction import extract_parts, floor_features, parts_of

N = 5 * BATCH_SIZE + 17
Two = tuple[Extractor, Extractor]


@pytest.fixture(scope="module")
def two(real: ImageData) -> Two:
    extractor = choose("auto", real)
    return extractor, choose_second(extractor, real)


@pytest.fixture(scope="module")
def many(real: ImageData) -> torch.Tensor:
    """Images, each another, more than are looked at in one go."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (N, *real.shape), generator=generator, dtype=torch.uint8)


def same(one: Features, other: Features) -> None:
    for name in ("values", "second", "probabilities", "places"):
        mine, its = getattr(one, name), getattr(other, name)
        assert (mine is None) == (its is None)
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("workers", [2, 3])
def test_how_many_look_changes_nothing_to_the_last_bit(two: Two, many: torch.Tensor, workers: int) -> None:
    same(extract_parts(parts_of(many), *two, 1), extract_parts(parts_of(many), *two, workers))


def test_what_is_seen_in_parts_is_what_a_judge_sees_at_once(real: ImageData, two: Two, many: torch.Tensor) -> None:
    extractor, second = two
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        evaluator = ImageEvaluator.prepare(real, "report", extractor, N, second=second)
        same(extract_parts(parts_of(many), extractor, second, 2), evaluator.extract(many))
    finally:
        torch.set_num_threads(threads)


def test_only_a_few_parts_are_under_way(two: Two, many: torch.Tensor) -> None:
    given: list[int] = []

    class Counting(torch.nn.Module):
        """Says how many images had been given when it looked."""

        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network, self.seen, self.ahead, self.one = network, 0, 0, Lock()

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
            with self.one:
                self.ahead = max(self.ahead, sum(given) - self.seen)
                self.seen += len(images)
            return self.network(images)

    def parts() -> Iterator[torch.Tensor]:
        for part in parts_of(many.repeat(4, 1, 1, 1)):
            given.append(len(part))
            yield part

    extractor, second = two
    network = Counting(second.network)
    extract_parts(parts(), extractor, Extractor(**{**vars(second), "network": network}), 2)
    assert network.seen == 4 * N
    assert network.ahead <= 8 * BATCH_SIZE


def test_of_large_images_fewer_are_looked_at_in_one_go() -> None:
    for side, expected in ((8, BATCH_SIZE), (64, BATCH_SIZE), (128, BATCH_SIZE // 4), (1024, 1), (2000, 1)):
        images = torch.zeros(1, 1, side, side, dtype=torch.uint8).expand(2 * BATCH_SIZE, -1, -1, -1)
        assert len(next(parts_of(images))) == expected


def test_what_an_extractor_refuses_is_refused_whoever_looks(two: Two, many: torch.Tensor) -> None:
    images = to_float(many)
    images[-1] = float("nan")
    for workers in (1, 2):
        with pytest.raises(MetricError, match="not finite numbers"):
            extract_parts(parts_of(images), *two, workers)
    with pytest.raises(MetricError, match="at least one"):
        extract_parts(iter(()), *two, 2)


def test_the_floor_is_the_judges_own(real: ImageData, two: Two) -> None:
    extractor, second = two
    evaluator = ImageEvaluator.prepare(real, "report", extractor, 300, second=second)
    names = ["fd", "fd_second", "novelty", "coverage", "copies"]
    seen = floor_features(evaluator, names, torch.Generator().manual_seed(3), 2)
    expected = evaluator.floor(names, torch.Generator().manual_seed(3))
    for name in names:
        found = evaluator.score(seen[name], [name], intervals=True)[name]
        assert found.value == pytest.approx(expected[name].value, rel=1e-4)
        assert found.low == pytest.approx(expected[name].low, rel=1e-3)
