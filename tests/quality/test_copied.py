"""What samples have copied, in the surroundings in which people read it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch

from maestune.data import ImageData, load_images
from maestune.quality import ImageEvaluator, choose
from maestune.quality.copied import CONTEXT, LETTERS, copied_images, copied_texts
from maestune.quality.metric import Features
from maestune.quality.text.copying import Known
from maestune.quality.text.text_evaluator import TextEvaluator
from maestune.quality.text.texts import RealTexts, Texts

TRAINING = "".join(f"{n} bottles of beer on the wall, {n * n} of them are green. " for n in range(2000))
FRESH = "".join(chr(97 + (i * i * 7 + i // 3) % 26) for i in range(900))


class Evaluator:
    """As much of an evaluator of texts as is asked."""

    def __init__(self, held_out: tuple[str, ...], shortest: int = 40) -> None:
        known = replace(Known.of(TRAINING), shortest=shortest)
        self.real = RealTexts(texts(*held_out), texts(*held_out), known, 100)

    def copied(self, seen: Texts) -> list:
        return self.real.known.longest(seen.made)


def texts(*made: str) -> Texts:
    return Texts(("",) * len(made), made, cast("object", None))  # type: ignore[arg-type]


def evaluator(*held_out: str, shortest: int = 40) -> TextEvaluator:
    return cast(TextEvaluator, Evaluator(held_out, shortest))


def test_passages_are_shown_in_their_surroundings_longest_first() -> None:
    short, long = TRAINING[500:545], TRAINING[9000:9400]
    seen = texts(FRESH[:100], FRESH[:50] + short + FRESH[50:90], FRESH[:300] + long + FRESH[300:700])
    found = copied_texts(evaluator(FRESH, FRESH[:300] + TRAINING[:50]), seen)
    assert (found.texts, found.copying, found.usual, found.shortest) == (3, 2, 0.5, 40)
    first, second = found.longest
    assert (first.row, second.row) == (2, 1)
    assert long in first.marked + "…"
    assert first.length >= 400
    assert first.before == "…" + FRESH[300 - CONTEXT : 300]
    assert first.after.endswith("…")
    assert second.before + second.marked + second.after == seen.made[1]


def test_long_passages_are_cut_and_only_so_many_are_shown() -> None:
    made = [TRAINING[n * 1000 : n * 1000 + LETTERS + 200] for n in range(6)]
    found = copied_texts(evaluator(FRESH), texts(*made), most=3)
    assert found.copying == 6
    assert len(found.longest) == 3
    assert all(one.marked == made[one.row][:LETTERS] + "…" for one in found.longest)
    assert all(one.length == LETTERS + 200 for one in found.longest)


def test_nothing_copied_is_told_as_nothing() -> None:
    found = copied_texts(evaluator(FRESH), texts(FRESH[:200], FRESH[100:300]))
    assert (found.copying, found.usual, found.longest) == (0, 0.0, ())


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageData, ImageEvaluator]:
    data = load_images("digits")
    extractor = choose("random", data, cache=tmp_path_factory.mktemp("cache"))
    return data, ImageEvaluator.prepare(data, "report", extractor, 60)


def test_the_nearest_training_images_are_found(digits: tuple[ImageData, ImageEvaluator]) -> None:
    data, evaluator = digits
    copies = data.train.images[[3, 700, 12]]
    noise = torch.randint(256, (57, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = copied_images(evaluator, evaluator.extract(torch.cat((noise[:10], copies, noise[10:]))))
    assert found is not None
    assert len(found.nearest) == 8
    assert {(one.row, one.nearest) for one in found.nearest[:3]} == {(10, 3), (11, 700), (12, 12)}
    assert all(one.counts and one.distance < 1e-3 for one in found.nearest[:3])
    assert [one.distance for one in found.nearest] == sorted(one.distance for one in found.nearest)
    assert (found.images, found.copying) == (60, 3)
    assert not found.nearest[3].counts
    assert found.usual == pytest.approx(0.01, abs=1 / len(data.report))


def test_held_out_images_copy_as_much_as_is_usual(digits: tuple[ImageData, ImageEvaluator]) -> None:
    data, evaluator = digits
    everyone = replace(evaluator, n_samples=len(data.report))
    found = copied_images(everyone, everyone.extract(data.report.images))
    assert found is not None
    assert found.copying / found.images == pytest.approx(found.usual)
    assert found.copying < 0.05 * found.images


def test_without_training_images_nobody_can_tell(digits: tuple[ImageData, ImageEvaluator]) -> None:
    evaluator = replace(digits[1], real=replace(digits[1].real, train=None))
    assert copied_images(evaluator, Features(np.zeros((3, 64)))) is None
