from __future__ import annotations

import base64
import io
import json
import math
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maestune.quality.catalogue import METRICS
from maestune.quality.scoring.result import (
    ClassShares,
    Excerpt,
    FeatureSpace,
    Highlights,
    Measured,
    Picture,
    ScoreResult,
    Side,
)
from maestune.quality.text.catalogue import TEXT_METRICS
from maestune.report.labels import AXES
from maestune.report.score_page import render_score, score_page
from maestune.report.score_samples import MOST_SIDE, data_uri
from maestune.report.score_views import LEADS, command, score_view
from maestune.types import Score

HOSTILE = '</pre></style><script>alert(1)</script><img src=http://evil onerror="alert(2)">\x1b[31m&amp;\u202e'
VOID = {"meta", "img", "br", "line", "circle", "rect"}


class Page(HTMLParser):
    """What a browser would see: elements with attributes, balance of tags, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def measured(name: str, value: float, floor: float | None = None, width: float = 0.01) -> Measured:
    metric = METRICS[name] if name in METRICS else TEXT_METRICS[name]

    def score(middle: float) -> Score:
        return Score(middle, middle - width, middle + width)

    return Measured(metric, score(value), None if floor is None else score(floor))


def made(*each: Measured, modality: str = "image", name: str = "samples", **more: object) -> ScoreResult:
    given = {
        "modality": modality,
        "real": Side("real/digits", 1397, 1397, "0123456789abcdef"),
        "fake": Side(name, 1000, 1000, "fedcba9876543210"),
        "measured": each,
        "reference": 558,
        "feature_space": FeatureSpace("classifier", "aaaabbbbccccdddd", "a classifier", True, "It passed."),
        "seed": 0,
    }
    return ScoreResult(**{**given, **more})  # type: ignore[arg-type]


def picture(name: str = "0001.png", side: int = 8, beside: bool = False) -> Picture:
    image = torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Picture(name, 1.5, image, image if beside else None, "note")


GOOD = (measured("fd", 1.0, 0.99), measured("coverage", 0.93, 0.94), measured("kid", 0.001, 0.0))
HOSTILE_RESULT = made(
    *GOOD,
    name=HOSTILE,
    real=Side(HOSTILE, 10, 10, "x", (HOSTILE,)),
    highlights=Highlights(
        (picture(HOSTILE),), (picture(HOSTILE),), (replace(picture(HOSTILE, beside=True), note=HOSTILE),)
    ),
    classes=ClassShares((HOSTILE, "b"), (0.5, 0.5), (1.0, 0.0)),
    feature_space=FeatureSpace("classifier", "x", HOSTILE, False, HOSTILE),
    warnings=(HOSTILE,),
    notes=(HOSTILE,),
    options={"prompts": HOSTILE},
)
HOSTILE_TEXTS = made(
    measured("text_fd", 3.0, 1.0),
    modality="text",
    highlights=Highlights(
        worst=(Excerpt(HOSTILE, 2.0, HOSTILE),),
        copied=(Excerpt(HOSTILE, 80.0, HOSTILE, HOSTILE, HOSTILE),),
        repetitive=(Excerpt(HOSTILE, 0.5, f"{HOSTILE}\nsecond line"),),
    ),
)


@pytest.mark.parametrize(
    "result", [made(), made(*GOOD), HOSTILE_RESULT, HOSTILE_TEXTS], ids=["none", "good", "hostile", "texts"]
)
def test_every_page_is_well_formed_runs_nothing_and_loads_nothing(result: ScoreResult) -> None:
    text = score_page(result)
    parsed = Page(text)
    assert parsed.open == []
    assert not {"script", "iframe", "object", "link", "base", "form"} & {tag for tag, _ in parsed.elements}
    for tag, attributes in parsed.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "action", "data", "srcset", "style"):
            assert (attributes.get(name) or "").startswith(("data:image/png;base64,", "")[name != "src" :]), (tag, name)
    images = [a["src"] for tag, a in parsed.elements if tag == "img"]
    assert all(str(source).startswith("data:image/png;base64,") for source in images)
    policy = [a["content"] for _, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1
    assert {"default-src 'none'", "script-src 'none'"} <= set((policy[0] or "").split("; "))
    ids = [a["id"] for _, a in parsed.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_what_files_and_texts_say_is_shown_as_they_say_it() -> None:
    for result in (HOSTILE_RESULT, HOSTILE_TEXTS):
        assert "<script>alert(1)</script>" in Page(score_page(result)).text
        assert "<script>" not in score_page(result)


def test_the_page_shows_every_measure_with_its_floor_by_axis() -> None:
    parsed = Page(score_page(made(*GOOD)))
    for text in ("Realism", "Diversity", "Fréchet distance", "1.00", "0.990", "0.940", METRICS["coverage"].meaning):
        assert text in parsed.text
    assert parsed.text.index("Realism") < parsed.text.index("Diversity")
    labels = [str(a["aria-label"]) for tag, a in parsed.elements if tag == "svg" and "aria-label" in a]
    assert "coverage: 0.930 (0.920 … 0.940), floor 0.940 (0.930 … 0.950)" in labels
    assert len(labels) == 3


def test_bars_show_value_interval_and_floor_to_scale() -> None:
    parsed = Page(score_page(made(measured("coverage", 0.5, 0.75, width=0.25))))
    (span,) = [a for tag, a in parsed.elements if tag == "line" and a["class"] == "span"]
    (floor,) = [a for tag, a in parsed.elements if tag == "line" and a["class"] == "floor"]
    (dot,) = [a for tag, a in parsed.elements if tag == "circle"]
    begin, end, at, middle = (float(str(v)) for v in (span["x1"], span["x2"], floor["x1"], dot["cx"]))
    assert 0 < begin < middle < end < 200
    assert at == pytest.approx(end, abs=0.1)  # 0.5 + 0.25
    assert middle - begin == pytest.approx(end - middle, abs=0.2)


def test_values_without_interval_or_floor_are_drawn_too() -> None:
    bare = Measured(METRICS["fd"], Score(3.0))
    endless = Measured(METRICS["kid"], Score(math.inf, math.inf, math.inf), Score(math.nan))
    assert Page(score_page(made(bare, endless))).open == []


def test_pictures_are_the_images_and_bounded_in_size() -> None:
    small, large = picture(side=8).image, picture(side=400).image
    decoded = Image.open(io.BytesIO(base64.b64decode(data_uri(small).partition(",")[2])))
    assert decoded.size == (8, 8)
    assert torch.equal(torch.from_numpy(np.array(decoded)).permute(2, 0, 1), small)
    assert Image.open(io.BytesIO(base64.b64decode(data_uri(large).partition(",")[2]))).size == (MOST_SIDE, MOST_SIDE)
    shown = Highlights((picture(side=400),) * 12, (picture(side=400),) * 6, (picture(side=400, beside=True),) * 8)
    assert len(score_page(made(*GOOD, highlights=shown))) < 6_000_000


def test_a_copied_picture_stands_beside_its_training_image() -> None:
    parsed = Page(score_page(made(*GOOD, highlights=Highlights(copied=(picture(beside=True),)))))
    assert [a["alt"] for tag, a in parsed.elements if tag == "img"] == [
        "Sample 0001.png",
        "The training image nearest to 0001.png",
    ]


def test_copied_passages_are_marked_in_their_text() -> None:
    shown = Highlights(copied=(Excerpt("7", 12.0, "before ", "copied\nhere", " after"),))
    page = score_page(made(measured("text_fd", 3.0, 1.0), modality="text", highlights=shown))
    assert "before <mark>copied\nhere</mark> after" in page
    assert "No passage stands in the training text" not in page
    assert "No passage stands in the training text" in score_page(made(modality="text"))


def test_classes_that_differ_most_are_shown_where_there_are_many() -> None:
    names = tuple(f"class {i}" for i in range(100))
    fake = tuple(0.0 if i == 73 else 0.01 for i in range(100))
    page = Page(score_page(made(*GOOD, classes=ClassShares(names, (0.01,) * 100, fake)))).text
    assert "class 73" in page
    assert "The 40 of 100 that differ most." in page
    assert page.count("class ") < 60


@pytest.mark.parametrize(
    ("fd", "coverage", "headline", "said"),
    [
        ((1.0, 0.99), (0.93, 0.94), "As good as real, as far as 1,000 images tell", "No axis falls behind"),
        ((1.5, 1.0), (0.93, 0.94), "Close to real", "Nothing is weaker than its realism"),
        ((5.0, 1.0), (0.88, 0.94), "Apart from real", "Nothing is weaker than its realism"),
        (
            (1.5, 1.0),
            (0.80, 0.94),
            "Close to real, but apart from it in diversity",
            "Weakest is diversity: coverage 0.800",
        ),
        (
            (1.5, 1.0),
            (0.40, 0.94),
            "Close to real, but far from it in diversity",
            "Weakest is diversity: coverage 0.400",
        ),
        ((1.5, 1.0), (0.88, 0.94), "Close to real", "Nothing is weaker than its realism"),
        (
            (1.01, 0.99),
            (0.86, 0.94),
            "As good as real, as far as 1,000 images tell, weakest in diversity",
            "coverage 0.860",
        ),
        ((50.0, 1.0), (0.93, 0.94), "Far from real", "where real data reaches 1.00"),
    ],
)
def test_the_headline_says_how_good_and_where_weak(
    fd: tuple[float, float], coverage: tuple[float, float], headline: str, said: str
) -> None:
    view = score_view(made(measured("fd", *fd), measured("coverage", *coverage)))
    assert view.headline == headline
    assert len(view.sentences) == 2
    assert said in " ".join(view.sentences)
    assert re.search(r"uncertain by ±[\d.]+ %", view.sentences[1])


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (200, "too few to compare models by"),
        (1000, "enough to see what is no good"),
        (5000, "enough to compare models"),
        (10_000, "uncertain by ±1.0 %."),
    ],
)
def test_the_headline_says_how_much_so_many_samples_tell(n: int, said: str) -> None:
    result = made(*GOOD, fake=Side("samples", n, n, "x"))
    assert said in score_view(result).sentences[1]


def test_what_overlaps_its_floor_is_no_better_than_what_stands_beside_it() -> None:
    view = score_view(made(measured("fd", 9.0, 1.0, width=5.0), measured("precision", 0.5, 0.9)))
    assert view.level == 1
    assert view.headline == "Close to real"
    assert "precision 0.500, where real data reaches 0.900" in view.sentences[0]


def test_a_few_texts_of_gibberish_are_not_as_good_as_real() -> None:
    # What sixty texts of a model that was hardly trained scored: the floor of the distance reaches up to them.
    distance = measured("text_fd", 115.0, 58.0, width=54.0)
    view = score_view(made(measured("oracle_gap", 3.0, 0.05, width=0.1), distance))
    assert view.headline == "Far from real"
    assert "oracle" in view.sentences[0]
    fluent = measured("oracle_gap", 0.08, 0.05, width=0.1)
    assert score_view(made(fluent, measured("text_fd", 20.0, 19.0, width=6.0))).level == 0
    assert score_view(made(fluent, measured("mauve", 0.05, 0.98, width=0.02))).level == 1


def test_intervals_that_overlap_the_floor_are_no_worse() -> None:
    assert score_view(made(measured("fd", 9.0, 1.0, width=5.0))).level == 0
    assert score_view(made(measured("fd", 0.5, 1.0))).level == 0


def test_a_score_of_nothing_that_tells_is_said_plainly() -> None:
    view = score_view(made(measured("kid", 0.1, 0.0)))
    assert view.level is None
    assert "kernel distance" in view.sentences[0]
    assert score_view(made()).sentences == ("Nothing could be measured.",)


def test_words_rest_on_measures_that_exist_and_lie_on_their_axis() -> None:
    known = {**METRICS, **TEXT_METRICS}
    assert set(LEADS) <= set(AXES)
    for axis, leads in LEADS.items():
        for name, scale in leads:
            assert known[name].axis == axis, name
            assert scale != "factor" or known[name].ratio_scale, name
    assert {metric.axis for metric in known.values()} <= set(AXES)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
def test_the_command_says_what_was_asked_for_whatever_the_names(real: str, prompts: str) -> None:
    result = made(*GOOD, real=Side(real, 1, 1, "x"), options={"prompts": prompts, "captions": "a {}\none {}"}, seed=3)
    assert shlex.split(command(result)) == [
        "maestune", "score", "--real", real, "--fake", "samples", "--prompts", prompts, "--captions", "a {}", "--captions",
        "one {}", "--seed", "3",
    ]  # fmt: skip


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "score.html"
    assert render_score(made(*GOOD), path) == path
    before = path.read_text()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        render_score(made(), path)
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


def test_numbers_that_are_not_finite_are_null_in_json() -> None:
    endless = Measured(METRICS["kid"], Score(math.inf, math.nan, math.inf), Score(math.nan))
    data = json.loads(json.dumps(made(endless).to_dict(), allow_nan=False))
    assert data["metrics"]["kid"]["value"] is None
    assert data["metrics"]["kid"]["floor"] == {"value": None, "low": None, "high": None}
