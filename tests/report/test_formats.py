from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.report import formats


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12), st.integers(2, 4))
def test_numbers_keep_their_leading_digits(value: float, digits: int) -> None:
    text = formats.number(value, digits)
    back = float(text.replace("−", "-").replace(",", ""))
    assert back == pytest.approx(value, rel=0.5 * 10.0 ** (1 - digits) * 1.001, abs=1e-300)
    assert sum(c.isdigit() for c in text.split("e")[0].replace(",", "").lstrip("−0.").rstrip("0")) <= digits


@given(st.floats(min_value=0, max_value=1e9))
def test_durations_grow_with_the_seconds(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    words = formats.duration(seconds).split()
    told = sum(float(n) * units[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    assert told <= seconds + 0.51
    assert seconds - told <= max(0.51, units[words[1]] / 24 + 1800 * (words[1] == "d"))
