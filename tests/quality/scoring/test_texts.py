import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.errors import DataError, MetricError, SettingsError
from maestune.quality.scoring.result import Excerpt, ScoreResult
from maestune.quality.scoring.samples import score_samples
from maestune.quality.scoring.text_samples import pieces_like, read_fake_texts

Pieces = Callable[..., list[str]]
N = 120


def scored(real: Path, texts: list[str], *metrics: str, **more: object) -> ScoreResult:
    return score_samples(real, texts, metrics=metrics, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def perfect(real_text: Path, pieces: Pieces) -> ScoreResult:
    return scored(real_text, pieces(N))


def test_real_text_scores_near_the_floor(perfect: ScoreResult) -> None:
    scores, floor = perfect.scores, perfect.floor
    assert {"cluster_js", "text_fd", "mauve", "rep_gap", "self_bleu", "text_novelty"} <= set(scores)
    assert "prompt_coherence" not in scores
    assert scores["text_fd"].value < 3 * floor["text_fd"].value
    assert scores["text_novelty"].value > 0.9
    assert floor["text_novelty"].value > 0.9
    assert perfect.fake.used == perfect.reference == N
    assert json.loads(json.dumps(perfect.to_dict(), allow_nan=False))["modality"] == "text"


def test_shuffled_letters_repetition_and_copies_show_where_they_should(
    real_text: Path, pieces: Pieces, perfect: ScoreResult
) -> None:
    rng = np.random.default_rng(0)
    shuffled = ["".join(rng.permutation(list(text))) for text in pieces(N)]
    noise = scored(real_text, shuffled, "oracle_gap", "char_js")
    assert noise.scores["oracle_gap"].low > perfect.scores["oracle_gap"].high
    assert noise.scores["char_js"].low > perfect.scores["char_js"].high
    loops = scored(real_text, [(text[:24] * 10)[:240] for text in pieces(N)], "rep_gap")
    assert loops.scores["rep_gap"].low > perfect.scores["rep_gap"].high + 0.2
    repeated = loops.highlights.repetitive[0]
    assert repeated.value > 0.5
    real = real_text.read_text()
    copies = scored(real_text, [real[i : i + 240] for i in range(0, 240 * N, 240)], "text_novelty")
    assert copies.scores["text_novelty"].value < 0.6
    marked = copies.highlights.copied[0]
    assert isinstance(marked, Excerpt)
    assert marked.marked.removesuffix("…") in real
    assert marked.value >= len(marked.marked) - 1


def test_each_piece_is_as_long_as_its_sample_and_comes_from_the_text() -> None:
    text = "".join(f"line {i} of the text\n" for i in range(200))
    begun, made = ["ab", "", "abc"], ["x" * 10, "y" * 35, "z"]
    found = pieces_like(text, begun, made, np.array([0.0, 0.5, 0.99]))
    assert [list(map(len, part)) for part in found] == [[2, 0, 3], [10, 35, 1]]
    for before, after in zip(*found, strict=True):
        assert before + after in text
        assert (before + after).startswith("line"[: len(before + after)])


@given(
    st.text(alphabet="ab\n ", min_size=30, max_size=80),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 10)), min_size=1, max_size=6),
)
def test_pieces_fit_any_text(text: str, lengths: list[tuple[int, int]]) -> None:
    order = np.arange(len(lengths)) / len(lengths)
    begun, made = pieces_like(text, ["b" * b for b, _ in lengths], ["m" * m for _, m in lengths], order)
    assert [(len(b), len(m)) for b, m in zip(begun, made, strict=True)] == lengths
    assert all(b + m in text for b, m in zip(begun, made, strict=True))


def read(source: object, **more: object) -> object:
    given = {"samples": None, "seed": 0, "prompts": None, "tell": lambda _: None} | more
    return read_fake_texts(source, **given)  # type: ignore[arg-type]


def test_texts_come_from_a_folder_a_file_or_lines(tmp_path: Path) -> None:
    texts = tuple(f"text {i}\nof two lines" for i in range(15))
    for i, text in enumerate(texts):
        folder = tmp_path / "folder" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:02d}.txt").write_text(text + "\n")
    (tmp_path / "blank.txt").write_text("\n\n  \n".join(texts))
    (tmp_path / "numbered.txt").write_text("".join(f"--- {i} ---\n{text}\n" for i, text in enumerate(texts, start=1)))
    (tmp_path / "lines.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    (tmp_path / "bare.jsonl").write_text("\n".join(map(json.dumps, texts)))
    for name in ("folder", "blank.txt", "numbered.txt", "lines.jsonl", "bare.jsonl"):
        assert read(tmp_path / name).made == texts, name
    assert read(texts).made == texts
    assert read(tmp_path / "folder").names[0] == "deep/00.txt"


def test_numbered_texts_may_have_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "made.txt").write_text("".join(f"--- {i} ---\none\n\ntwo {i}\n" for i in range(1, 14)))
    assert read(tmp_path / "made.txt").made == tuple(f"one\n\ntwo {i}" for i in range(1, 14))


def test_what_a_text_goes_on_from_is_taken_off(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Once ", "text": f"Once upon {i}"} if i % 2 else {"prompt": "Once ", "text": f"upon {i}"}
        for i in range(14)
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read(tmp_path / "lines.jsonl")
    assert found.made == tuple(f"upon {i}" for i in range(14))
    assert set(found.begun) == {"Once "}
    assert found.prompted
    (tmp_path / "asked.csv").write_text("prompt\n" + "Hello\n" * 13)
    assert set(read([f"Hello {i}" for i in range(13)], prompts=tmp_path / "asked.csv").begun) == {"Hello"}


def of_topics(rng: np.random.Generator, n: int) -> list[str]:
    """So many passages of 320 characters, each about one of eight things: of few letters, which others do not use."""
    letters = [
        list("abc "),
        list("def "),
        list("ghi "),
        list("jkl "),
        list("mno "),
        list("pqr "),
        list("stu "),
        list("vwx "),
    ]
    return ["".join(rng.choice(letters[rng.integers(8)], 319)).strip() + "\n" for _ in range(n)]


def test_prompts_make_coherence_measurable(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "real.txt").write_text("\n".join(of_topics(rng, 400)))
    rows = [{"prompt": text[:100], "text": text[100:-1]} for text in of_topics(rng, 60)]
    others = [{**a, "prompt": b["prompt"]} for a, b in zip(rows, rows[31:] + rows[:31], strict=True)]
    found: list[ScoreResult] = []
    for made in (rows, others):
        (tmp_path / "made.jsonl").write_text("\n".join(map(json.dumps, made)))
        found.append(
            score_samples(
                tmp_path / "real.txt", tmp_path / "made.jsonl", metrics=["prompt_coherence", "long_coherence"]
            )
        )
    right, shuffled = (result.scores["prompt_coherence"] for result in found)
    assert right.value > 0.7
    assert shuffled.high < right.low
    assert found[0].floor["prompt_coherence"].value > 0.7
    assert found[0].scores["long_coherence"] == found[1].scores["long_coherence"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    good = [json.dumps({"text": f"text {i}"}) for i in range(13)]
    (tmp_path / "lines.jsonl").write_text("\n".join([*good, '{"text": 3}', "{", '{"text": " "}', "[]"]))
    found = read(tmp_path / "lines.jsonl")
    assert len(found) == 13
    assert [text.split(":")[0] for text in found.skipped] == ["13", "14", "15", "16"]
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(13):
        (folder / f"{i:02d}.txt").write_text(f"text {i}")
    (folder / "20.txt").write_bytes(b"\xff\xff")
    (folder / "21.txt").write_bytes(b"a\0b")
    (folder / "22.txt").write_bytes(b"")
    assert [text.split(":")[0] for text in read(folder).skipped] == ["20.txt", "21.txt", "22.txt"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("few.txt", "one\n\ntwo", "There are 2 texts to be scored; at least 12"),
        ("missing.txt", None, "no such file or folder"),
        ("empty.txt", "", "is empty"),
    ],
)
def test_what_is_too_little_is_refused(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        read(tmp_path / name)
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="no text files found"):
        read(tmp_path / "folder")


def test_texts_are_drawn_by_the_seed_and_cut(tmp_path: Path) -> None:
    texts = [f"text {i} " + "x" * (5000 if i < 20 else 0) for i in range(40)]
    one, again, other = (read(texts, samples=15, seed=seed) for seed in (1, 1, 2))
    assert one.made == again.made != other.made
    assert max(map(len, read(texts).made)) == 2000
    assert "20 texts are longer than 2,000 characters" in read(texts).notes[0]


def test_wrong_requests_name_the_repair(real_text: Path, pieces: Pieces, tmp_path: Path) -> None:
    with pytest.raises(MetricError, match=r"no metric 'mauv'\. Did you mean mauve"):
        scored(real_text, pieces(20), "mauv")
    with pytest.raises(MetricError, match=r"prompt_coherence .* cannot be measured here: it needs to know how each"):
        scored(real_text, pieces(20), "prompt_coherence")
    with pytest.raises(SettingsError, match="embedder:PATH"):
        scored(real_text, pieces(20), features="dinov2:x")
    with pytest.raises(SettingsError, match="--size: for images"):
        scored(real_text, pieces(20), size=32)
    with pytest.raises(DataError, match="the samples are the real text itself"):
        score_samples(real_text, real_text)
    with pytest.raises(DataError, match="lie in each other"):
        score_samples(real_text.parent, real_text)
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"looks like texts and .* like images"):
        score_samples(real_text, tmp_path)


def test_the_kind_of_samples_is_seen_in_what_they_are(real_text: Path, pieces: Pieces, tmp_path: Path) -> None:
    (tmp_path / "README").write_text("\n\n".join(text.replace("\n", " ") for text in pieces(20)))
    assert score_samples(real_text, tmp_path / "README", metrics=["char_js"]).modality == "text"
    result = score_samples("pydoc", tmp_path / "README", metrics=["char_js"], modality="text")
    assert result.options == {"metrics": "char_js", "modality": "text"}


def test_equal_seeds_give_equal_numbers(real_text: Path, pieces: Pieces) -> None:
    one, again = (scored(real_text, pieces(40), "text_fd", "ead", samples=30, seed=5) for _ in range(2))
    assert one.to_dict() == again.to_dict()
