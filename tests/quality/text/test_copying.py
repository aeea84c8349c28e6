import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.quality.text.copying import Known, Passage


def naive_reach(known: str, text: str, shortest: int) -> list[int]:
    """For each character the length of the longest substring around it that stands in the known text, by trying all."""
    reach = [0] * len(text)
    for i in range(len(text)):
        for j in range(len(text), i + shortest - 1, -1):
            if text[i:j] in known:
                for k in range(i, j):
                    reach[k] = max(reach[k], j - i)
                break
    return reach


def random_text(rng: np.random.Generator, n: int, letters: str = "abcdefgh") -> str:
    return "".join(rng.choice(list(letters), n))


@given(st.integers(0, 2**32 - 1))
def test_every_passage_of_two_windows_is_found_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = random_text(rng, 600)
    known = Known.of(text)
    pieces = []
    for _ in range(4):  # random letters with copies of random lengths between them
        start, length = int(rng.integers(500)), int(rng.integers(5, 60))
        pieces += [random_text(rng, int(rng.integers(20))), text[start : start + length]]
    samples = ["".join(pieces[:4]), "".join(pieces[4:]), ""]
    sure = 2 * known.width - 1
    for sample, reach in zip(samples, known.reaches(samples), strict=True):
        expected = np.array(naive_reach(text, sample, sure), dtype=int)
        np.testing.assert_array_equal(np.where(reach >= sure, reach, 0), expected)


def test_text_that_repeats_itself_is_followed_too() -> None:
    text = "to be or not to be, " * 200
    known = Known.of(text)
    (reach,) = known.reaches([text[7:307]])
    assert reach.min() >= 2 * known.width
    (reach,) = known.reaches(["nothing of it stands there at all, 12345"])
    assert reach.max() == 0


def test_passages_do_not_cross_texts_and_wide_characters_count_as_one() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 500)))
    known = Known.of(text)
    samples = ["xx" + text[100:140] + "y", text[140:180]]
    found = [p for p in known.passages(samples) if p.length >= 2 * known.width]
    assert Passage(0, 2, 40) in found
    assert Passage(1, 0, 40) in found
    assert max(p.length for p in found) == 40
    assert known.signs.dtype == np.uint16


def test_held_out_text_tells_what_counts_as_copied() -> None:
    rng = np.random.default_rng(0)
    phrase = random_text(rng, 30)
    text = "".join(random_text(rng, 50) + phrase for _ in range(50))
    held_out = ["".join(random_text(rng, 70) + phrase for _ in range(2)) for _ in range(20)]
    known = Known.of(text).with_reference(held_out)
    # The phrase is a matter of custom: 30 characters are no copy, and a few more may agree by chance.
    assert 30 < known.shortest <= 36
    assert known.copied(held_out).sum() == known.usual * sum(map(len, held_out)) <= 0.05 * sum(map(len, held_out))
    assert known.copied([text[10:150]]).tolist() == [140]
    assert Known.of(text).with_reference([]).shortest == 2 * known.width


def test_where_all_is_custom_half_of_a_text_is_the_limit() -> None:
    known = Known.of("abcdefghij" * 300).with_reference(["abcdefghij" * 10])
    assert (known.shortest, known.usual) == (50, 1.0)


def test_the_longest_passage_of_each_text() -> None:
    rng = np.random.default_rng(3)
    text = random_text(rng, 5000)
    samples = [text[50:90] + random_text(rng, 30) + text[300:380], random_text(rng, 100), text[1000:1060]]
    known = Known.of(text)
    first, second = known.longest(samples)
    assert first.row == 0
    assert samples[0][first.start : first.start + first.length] in text
    assert first.length >= 80
    assert (second.row, second.start, second.length) == (2, 0, 60)


@pytest.mark.parametrize("text", ["", "short"])
def test_hardly_anything_to_copy_from(text: str) -> None:
    known = Known.of(text)
    assert known.passages(["some text that is long enough"]) == []
    assert known.copied(["some text", ""]).tolist() == [0, 0]


def test_more_places_than_are_followed() -> None:
    rng = np.random.default_rng(5)
    common = random_text(rng, 24)
    parts = [common + random_text(rng, 40) for _ in range(500)]
    text = "".join(parts)
    known = Known.of(text)
    sample = random_text(rng, 10) + common + random_text(rng, 10)
    (reach,) = known.reaches([sample])
    assert reach[10:34].min() >= 24
