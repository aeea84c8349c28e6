"""Text: read strictly, divided by content, in windows."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maestune.data.text import BLOCK_CHARACTERS, FEWEST_CHARACTERS, TextData, blocks, load_text
from maestune.data.tokenizer import Bytes, Characters
from maestune.errors import DataError


def lines(n: int, seed: int = 0) -> str:
    """n different paragraphs of 60 to 80 characters."""
    generator = torch.Generator().manual_seed(seed)
    letters = torch.randint(97, 123, (n, 80), generator=generator).tolist()
    lengths = torch.randint(50, 70, (n,), generator=generator).tolist()
    return "".join(
        f"{seed}.{i}: {''.join(map(chr, row[:length]))}\n\n"
        for i, (row, length) in enumerate(zip(letters, lengths, strict=True))
    )


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def decoded(data: TextData) -> dict[str, str]:
    return {name: data.tokenizer.decode(getattr(data, name)) for name in ("train", "search", "report")}


def hand_made(n: int, vocabulary: str = "\nab") -> TextData:
    part = torch.arange(n) % len(vocabulary)
    return TextData("made", part, part, part.flip(0), Characters(vocabulary), "0" * 16)


@given(st.text("a\n", max_size=400), st.integers(1, 50))
def test_blocks_are_the_text(text: str, size: int) -> None:
    found = blocks(text, size)
    assert "".join(found) == text
    assert all(found)
    assert all(len(block) >= size for block in found[:-1])


def test_blocks_end_at_blank_lines_else_at_lines_else_anywhere() -> None:
    assert blocks("aaaa\n\nbb\n\ncc\ndd", 5) == ["aaaa\n\n", "bb\n\ncc\n", "dd"]
    assert blocks("aaaa\nbb\ncccc", 4) == ["aaaa\n", "bb\nc", "ccc"]
    assert blocks("abcdefgh", 3) == ["abc", "def", "gh"]


def test_the_built_in_text_is_divided_into_tenths() -> None:
    data = load_text("pydoc")
    parts = decoded(data)
    whole = sum(map(len, parts.values()))
    assert whole > 300_000
    for name in ("search", "report"):
        assert 0.1 <= len(parts[name]) / whole < 0.11
    assert data.name == "pydoc"
    assert data.train.dtype == torch.uint8
    assert data.spec.tokens == data.tokenizer.size
    assert data.spec.shape == ()
    assert data.spec.characters_per_token == 1.0
    assert data.class_names == ()
    assert data.size == len(data.train)
    assert '\nThe "if" statement' in parts["train"] + parts["search"] + parts["report"]
    assert load_text("pydoc").fingerprint == data.fingerprint
    assert f"{data.size:,} tokens to learn from" in data.describe()


def test_parts_are_disjoint_keep_their_order_and_lose_nothing(tmp_path: Path) -> None:
    text = lines(3000)
    data = load_text(write(tmp_path, "a.txt", text))
    parts = decoded(data)
    found = {name: part.split("\n\n")[:-1] for name, part in parts.items()}
    paragraphs = text.split("\n\n")[:-1]
    assert sorted(itertools.chain(*found.values())) == sorted(paragraphs)
    position = {paragraph: i for i, paragraph in enumerate(paragraphs)}
    for part in found.values():
        places = [position[paragraph] for paragraph in part]
        assert places == sorted(places)
    # Blocks from all over the text, not one piece of it.
    assert max(position[p] for p in found["report"]) - min(position[p] for p in found["report"]) > 1500


def test_the_split_depends_on_content_alone(tmp_path: Path) -> None:
    files = {f"{i}.txt": lines(40, seed=i) for i in range(60)}
    for name, text in files.items():
        write(tmp_path / "one", name, text)
        write(tmp_path / "two", f"sub/{name[::-1]}.md", text)
    one, two = (load_text(tmp_path / name) for name in ("one", "two"))
    for a, b in zip(decoded(one).values(), decoded(two).values(), strict=True):
        assert sorted(a.split("\n\n")) == sorted(b.split("\n\n"))
    assert one.fingerprint != two.fingerprint  # the order is another
    # Short files are never torn: all paragraphs of one are in one part.
    owner = {}
    for name, part in decoded(one).items():
        for paragraph in part.split("\n\n")[:-1]:
            assert owner.setdefault(paragraph.split(".")[0], name) == name


def test_equal_files_fall_into_one_part(tmp_path: Path) -> None:
    for i in range(50):
        for copy in ("x", "y"):
            write(tmp_path, f"{copy}{i}.txt", lines(20, seed=i))
    parts = decoded(load_text(tmp_path))
    for paragraph in parts["report"].split("\n\n")[:-1]:
        assert parts["report"].count(paragraph) == 2


def test_short_texts_hold_out_a_larger_share(tmp_path: Path) -> None:
    text = lines(FEWEST_CHARACTERS // 60 + 5)
    parts = decoded(load_text(write(tmp_path, "a.txt", text)))
    for name in ("search", "report"):
        assert 0.2 <= len(parts[name]) / len(text) < 0.26


@pytest.mark.parametrize(
    "name", ["val.txt", "my_valid.md", "test.txt", "held-out.txt", "heldout.txt", "wiki.valid.tokens"]
)
def test_a_held_out_file_is_for_the_verdict_whole(tmp_path: Path, name: str) -> None:
    text, held_out = lines(2000), lines(300, seed=1)
    write(tmp_path, "train.txt", text)
    write(tmp_path, name, held_out)
    data = load_text(tmp_path)
    parts = decoded(data)
    assert parts["report"].replace("\ufffd", "1") == held_out.replace("\ufffd", "1")
    assert sorted((parts["train"] + parts["search"]).split("\n\n")) == sorted(f"{text}".split("\n\n"))
    assert 0.1 <= len(parts["search"]) / len(text) < 0.2
    assert name in data.note


def test_a_validation_file_beside_a_test_file_is_searched_with(tmp_path: Path) -> None:
    texts = {name: lines(300, seed) for seed, name in enumerate(("train", "valid", "test"))}
    for name, text in texts.items():
        write(tmp_path, f"{name}.txt", text)
    data = load_text(tmp_path, tokens="bytes")
    assert decoded(data) == {"train": texts["train"], "search": texts["valid"], "report": texts["test"]}


def test_code_named_test_is_code(tmp_path: Path) -> None:
    for name in ("parser.go", "parser_test.go", "test.py", "sub/test.txt", "contest.txt", "latest.md"):
        write(tmp_path, name, lines(100, seed=len(name)))
    assert load_text(tmp_path).note == ""


def test_text_that_is_also_held_out_is_dropped(tmp_path: Path) -> None:
    for i in range(30):
        write(tmp_path, f"{i}.txt", lines(40, seed=i))
    write(tmp_path, "test.txt", lines(40, seed=7))
    data = load_text(tmp_path)
    parts = decoded(data)
    assert "7.0: " not in parts["train"].split("\n\n")[0]
    assert not set(parts["report"].split("\n\n")[:-1]) & set((parts["train"] + parts["search"]).split("\n\n"))
    assert "were dropped" in data.note


def test_line_ends_and_marks_of_order_are_not_text(tmp_path: Path) -> None:
    text = lines(200)
    one = load_text(write(tmp_path, "a.txt", text))
    two = load_text(write(tmp_path, "b.txt", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()))
    assert two.fingerprint == one.fingerprint


def test_bytes_say_how_much_text_a_token_is(tmp_path: Path) -> None:
    text = lines(300).replace("a", "ä")
    data = load_text(write(tmp_path, "a.txt", text), tokens="bytes")
    train = data.tokenizer.decode(data.train)
    assert data.spec.tokens == 256
    assert data.spec.characters_per_token == pytest.approx(len(train) / len(train.encode()))
    assert data.fingerprint != load_text(tmp_path / "a.txt").fingerprint


def test_many_unknown_characters_are_told(tmp_path: Path) -> None:
    write(tmp_path, "train.txt", lines(300))
    write(tmp_path, "test.txt", lines(100).replace("a", "ä"))
    assert "do not occur" in load_text(tmp_path).note
    assert "do not occur" not in load_text(tmp_path, tokens="bytes").note


def test_a_large_vocabulary_takes_wider_numbers(tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + i % 900) + ("\n\n" if i % 50 == 0 else "") for i in range(9000))
    data = load_text(write(tmp_path, "a.txt", text))
    assert data.train.dtype == torch.int32
    assert data.held_out("search", 3, 16)["tokens"].dtype == torch.int64


@given(st.integers(2, 200), st.integers(1, 40), st.integers(1, 300))
def test_windows_predict_every_token_once(n_tokens: int, context: int, n: int) -> None:
    part = torch.arange(n_tokens)
    data = TextData("made", part, part, part, Bytes(), "0" * 16)
    if n_tokens <= context:
        with pytest.raises(DataError, match="context"):
            data.held_out("search", n, context)
        return
    windows = data.held_out("search", n, context)["tokens"]
    assert windows.shape == (min(n, (n_tokens - 1) // context), context + 1)
    assert torch.equal(windows[:, 1:] - windows[:, :-1], torch.ones_like(windows[:, 1:]))
    predicted = windows[:, 1:].flatten().tolist()
    assert len(set(predicted)) == len(predicted)
    assert windows[0, 0] == 0
    if len(windows) > 1:  # from the beginning to the end
        assert n_tokens - 1 - windows[-1, -1] < context


def test_prompts_begin_with_lines_and_are_spread(tmp_path: Path) -> None:
    data = load_text(write(tmp_path, "a.txt", lines(3000)))
    prompts = data.prompts("report", 50)["prompt"]
    assert prompts.shape == (50, 32)
    assert prompts.dtype == torch.int64
    texts = [data.tokenizer.decode(prompt) for prompt in prompts]
    assert all(text.startswith("0.") for text in texts)
    assert len(set(texts)) == 50
    assert torch.equal(prompts, data.prompts("report", 50)["prompt"])
    whole = data.tokenizer.decode(data.report)
    places = [whole.index(text) for text in texts]
    assert places == sorted(places)
    assert places[0] < 200
    assert places[-1] > len(whole) - 200


def test_prompts_where_lines_are_few() -> None:
    data = hand_made(100, "ab")
    prompts = data.prompts("search", 10)["prompt"]
    assert prompts.shape == (10, 32)
    assert data.prompts("search", 1)["prompt"].shape == (1, 32)
    assert data.prompts("search", 0)["prompt"].shape == (0, 32)
    assert hand_made(20).prompts("report", 4)["prompt"].shape == (4, 20)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"  \n\n ", "is empty"),
        (b"abc\0def" * 1000, "binary.*byte 3"),
        (b"line\n" * 999 + b"caf\xe9\n", r"not UTF-8 \(byte 0xe9 at byte 4,998, line 1,000\).*iconv"),
        ("hällo wörld\n" * 1000, None),
        ("hällo\n".encode("utf-16"), "UTF-16.*iconv"),
        (b"short\n", f"6 characters.*expected at least {FEWEST_CHARACTERS:,}"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_by_name(
    tmp_path: Path, content: bytes | str, expected: str | None
) -> None:
    path = write(tmp_path, "a.txt", content)
    if expected is None:
        with pytest.raises(DataError, match=r"a\.txt.*part"):  # a thousand equal lines: nothing is left to hold out
            load_text(path)
        return
    with pytest.raises(DataError, match=rf"a\.txt.*{expected}"):
        load_text(path)


def test_missing_and_empty_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pydok: no such file.*Did you mean pydoc"):
        load_text("pydok")
    with pytest.raises(DataError, match="no text files found"):
        load_text(tmp_path)
    write(tmp_path, ".hidden/a.txt", lines(100))
    write(tmp_path, "picture.png", b"\x89PNG")
    with pytest.raises(DataError, match="no text files found"):
        load_text(tmp_path)


def test_unreadable_files_of_a_folder_are_skipped_and_named(tmp_path: Path) -> None:
    for i in range(5):
        write(tmp_path, f"{i}.txt", lines(60, seed=i))
    write(tmp_path, "sub/bad.txt", b"\xff" * 100)
    write(tmp_path, "empty.md", b"")
    data = load_text(tmp_path)
    assert [line.split(":")[0] for line in data.skipped] == ["empty.md", "sub/bad.txt"]
    assert "2 unreadable" in data.describe()
    for i in range(5, 12):
        write(tmp_path, f"{i}.txt", b"\xff")
    with pytest.raises(DataError, match=r"9 of 14 text files cannot be read"):
        load_text(tmp_path)
    write(tmp_path, "val.txt", b"\xff")
    with pytest.raises(DataError, match=r"val\.txt: is not UTF-8"):
        load_text(tmp_path)


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    write(tmp_path, "a.txt", lines(100))
    load_text(tmp_path, progress=told.append)
    assert told[0].startswith("Reading 1 text files")
    assert "into tokens" in told[-1]


def test_long_text_is_cut_in_blocks_of_about_two_thousand_characters() -> None:
    sizes = [len(block) for block in blocks(lines(2000))[:-1]]
    assert math.isclose(sum(sizes) / len(sizes), BLOCK_CHARACTERS, rel_tol=0.05)
