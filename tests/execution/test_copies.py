"""What final trainings write down of copies: for the weights that they are worth, and for nobody else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from maestune.data import ImageData, TextData, load_images, load_text
from maestune.execution.copies import copies_from, copies_of, copies_path, copies_text, pairs_of
from maestune.execution.jobs import Job, Setup
from maestune.execution.segment import run_segment
from maestune.quality import Evaluator, ImageEvaluator, choose
from maestune.quality.copied import CopiedImages, CopiedPassage, CopiedTexts, NearImage
from maestune.quality.text import TextEvaluator
from maestune.quality.text.copying import Known
from maestune.types import Config, Objective, Report

PASSAGE = CopiedPassage(3, 70, "…before ", "<script>alert(1)</script> é", " after…")


@pytest.mark.parametrize(
    "found",
    [
        CopiedTexts(100, 2, 0.05, 40, (PASSAGE, PASSAGE)),
        CopiedTexts(100, 0, 0.0, 40, ()),
        CopiedImages(1000, 1, 0.01, (NearImage(5, 77, 0.25, True), NearImage(0, 1, 1.5, False))),
    ],
)
def test_what_was_written_reads_back(found: CopiedTexts | CopiedImages) -> None:
    assert copies_from(copies_text(found)) == found


@pytest.mark.parametrize(
    "text", ["", "null", "3", "{}", '{"texts": 3}', '{"images": 1, "nearest": [{"row": 1}]}', "[1"]
)
def test_what_is_something_else_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        copies_from(text)


# Images ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageData, ImageEvaluator]:
    data = load_images("digits")
    extractor = choose("random", data, cache=tmp_path_factory.mktemp("cache"))
    return data, ImageEvaluator.prepare(data, "report", extractor, 100)


def setup(data: ImageData | TextData, evaluator: Evaluator, **values: Any) -> Setup:
    evaluators = {"search": evaluator, "report": evaluator}
    made = Setup("own", "cpu", data, cast(Any, evaluators), (), (), (Objective("score"),), report_every=5)
    return replace(made, verdict_metrics=evaluator.metrics[:1], **values)


def job(folder: Path, split: str = "report", **config: float) -> Job:
    return Job(0, Config.of(x=1.0, **cast(Any, config)), 0, 0, cast(Any, split), folder, 40, 40, (), ())


def copying(data: ImageData, scores: dict[int, float], told: list[int]) -> Any:
    """A training that copies as many training images as it has trained steps, and is as good as `scores` say."""

    def training(config: Config, run: Any) -> Any:
        for step in run.steps():
            if run.due(step):
                n = run.n_samples(step)
                images = torch.zeros(n, 1, 8, 8)
                images[:step] = data.train.images[:step].float() / 127.5 - 1 if n else images[:step]
                told.append(step)
                yield Report(
                    step, samples=images if n else None, scores={"score": scores.get(step, 9.0)}, state=dict, choice={}
                )

    return training


def test_a_final_training_of_images_leaves_pairs(tmp_path: Path, digits: tuple[ImageData, ImageEvaluator]) -> None:
    data, evaluator = digits
    list(run_segment(copying(data, {}, []), setup(data, evaluator), job(tmp_path), lambda: False))
    found = copies_from(copies_path(tmp_path, 40).read_text(encoding="utf-8"))
    assert isinstance(found, CopiedImages)
    assert found.images == 100
    assert found.copying >= 40
    assert all(one.row == one.nearest < 40 for one in found.nearest)
    picture = np.asarray(Image.open(copies_path(tmp_path, 40).with_suffix(".png")))
    assert picture.shape == (17, 71)  # two rows of eight
    assert np.abs(picture[:8].astype(int) - picture[9:].astype(int)).max() <= 1, "copies stand above what they copy"


def test_a_search_trial_leaves_none(tmp_path: Path, digits: tuple[ImageData, ImageEvaluator]) -> None:
    data, evaluator = digits
    one = setup(data, evaluator, full_metrics=evaluator.metrics[:1])
    list(run_segment(copying(data, {}, []), one, job(tmp_path, "search"), lambda: False))
    assert not list(tmp_path.glob("copied-*"))


def test_of_weights_that_were_kept_alone(tmp_path: Path, digits: tuple[ImageData, ImageEvaluator]) -> None:
    data, evaluator = digits
    scores = {step: float(abs(step - 15)) for step in range(41)}  # best at 15
    list(run_segment(copying(data, scores, []), setup(data, evaluator), job(tmp_path, keep="best"), lambda: False))  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.glob("copied-*")} == {"copied-00000015.json", "copied-00000015.png"}


def test_pairs_are_the_samples_above_their_neighbours(digits: tuple[ImageData, ImageEvaluator]) -> None:
    data, _ = digits
    samples = torch.linspace(-1, 1, 5)[:, None, None, None].expand(5, 1, 8, 8)
    pairs = pairs_of(
        CopiedImages(5, 0, 0.01, (NearImage(4, 7, 1.0, False), NearImage(1, 2, 2.0, False))), samples, data.train
    )
    assert pairs[:2, 0, 0, 0].tolist() == [1.0, -0.5]
    assert torch.equal(pairs[2:], data.train.images[[7, 2]].float() / 127.5 - 1)


# Text -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> TextData:
    path = tmp_path_factory.mktemp("text") / "numbers.txt"
    path.write_text("\n".join(f"{n} is followed by {n + 1} «é»" for n in range(2000)), encoding="utf-8")
    data = load_text(path)
    assert isinstance(data, TextData)
    return data


class Reading(TextEvaluator):
    """An evaluator of texts that looks for copies alone: it needs no models."""

    def extract(self, samples: torch.Tensor) -> Any:
        made = tuple(self.data.tokenizer.decode(row[self.begun :]) for row in samples.cpu())
        return Said(made)

    def score(self, seen: Any, metrics: Any, intervals: bool = False) -> dict[str, Any]:
        return {}

    @property
    def begun(self) -> int:
        return self.data.prompts("report", 1)["prompt"].shape[1]


class Said:
    def __init__(self, made: tuple[str, ...]) -> None:
        self.made = made

    def __len__(self) -> int:
        return len(self.made)


def test_a_final_training_of_texts_leaves_its_longest_passages(tmp_path: Path, numbers: TextData) -> None:
    training_text = numbers.tokenizer.decode(numbers.train)
    known = replace(Known.of(training_text), shortest=30)
    real = SimpleNamespace(known=known, held_out=Said(("nothing known" * 9, training_text[:99])))
    evaluator = Reading("report", cast(Any, None), 20, 60, ("text_novelty",), cast(Any, real), numbers)

    def training(config: Config, run: Any) -> Any:
        for step in run.steps():
            if run.due(step):
                n = run.n_samples(step)
                made = numbers.train[5000:5060].long().expand(n, -1).clone()
                made[3:] = made[3:, :1]  # the others say one thing over and over
                samples = torch.cat((run.prompts(n)["prompt"], made), 1) if n else None
                yield Report(step, samples=samples, scores={"score": 1.0}, state=dict)

    list(run_segment(training, setup(numbers, evaluator), job(tmp_path), lambda: False))
    written = copies_path(tmp_path, 40).read_text(encoding="utf-8")
    found = copies_from(written)
    assert isinstance(found, CopiedTexts)
    assert (found.texts, found.copying, found.usual, found.shortest) == (20, 3, 0.5, 30)
    assert [one.row for one in found.longest] == [0, 1, 2]
    assert all(one.length == 60 and one.marked in training_text for one in found.longest)
    assert json.loads(written)["longest"][0]["marked"] == found.longest[0].marked
    assert not list(tmp_path.glob("*.png"))


def test_who_cannot_tell_writes_nothing() -> None:
    assert copies_of(cast(Evaluator, SimpleNamespace(n_samples=3)), None) is None
