"""Numbers for people: two or three significant digits, a real minus sign, units; the only place that formats them."""

from __future__ import annotations

import math

from maestune.plain_text import clean as clean
from maestune.plain_text import one_line as one_line
from maestune.plain_text import shortened as shortened
from maestune.types import Score, Value

NOTHING = "–"
"""What stands where there is no number."""


def number(value: float, digits: int = 3) -> str:
    """A number with the given significant digits.

    >>> number(18.234), number(-0.00012345, 2), number(123456.0), number(3e-6), number(float("nan"))
    ('18.2', '−0.00012', '123,000', '3e−6', '–')
    """
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    exponent = math.floor(math.log10(abs(rounded)))
    if -5 < exponent < 6:
        decimals = max(digits - 1 - exponent, 0)
        text = f"{rounded:,.{decimals}f}"
        # Zeros say how exact a measured number is, except far behind the point.
        text = text.rstrip("0").rstrip(".") if decimals > digits + 1 else text
    else:
        mantissa, power = f"{rounded:.{digits - 1}e}".split("e")
        text = f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(power)}"
    return text.replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign.

    >>> signed(3.14159), signed(-11.3), signed(0.0)
    ('+3.1', '−11', '0')
    """
    text = number(value, digits)
    return f"+{text}" if value > 0 else text


def percent(share: float) -> str:
    """A signed share in whole percent (one decimal below ten percent), without the sign of percent.

    >>> percent(-0.6213), percent(0.0312), percent(0.0)
    ('−62', '+3.1', '0')
    """
    return signed(100 * share, 2 if abs(share) < 1 else 3)


def score(value: Score | None) -> str:
    """A score with its interval where it has one.

    >>> score(Score(6.912, 6.1, 7.84)), score(Score(6.912)), score(None)
    ('6.91 (6.10 … 7.84)', '6.91', '–')
    """
    if value is None:
        return NOTHING
    if math.isnan(value.low) or math.isnan(value.high) or value.low == value.high:
        return number(value.value)
    return f"{number(value.value)} ({number(value.low)} … {number(value.high)})"


def duration(seconds: float) -> str:
    """A time in its two largest units.

    >>> duration(0.62), duration(41.4), duration(123), duration(3900), duration(100000)
    ('0.6 s', '41 s', '2 min 3 s', '1 h 5 min', '1 d 3 h')
    """
    if not math.isfinite(seconds):
        return NOTHING
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def setting(value: Value | None) -> str:
    """The value of a parameter, as one would write it down.

    >>> setting(0.0002), setting(64), setting("hinge"), setting(True), setting(0.5), setting(0.99853), setting(None)
    ('0.0002', '64', 'hinge', 'true', '0.5', '0.9985', 'unused')
    """
    if value is None:
        return "unused"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # Of a decay close to 1, the distance to 1 is what counts.
        near_one = 0.9 < value < 1
        text = number(value, 1 + math.ceil(-math.log10(1 - value)) if near_one else 3)
        return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text
    return str(value)


def count(n: int, singular: str, plural: str = "") -> str:
    """A number of things.

    >>> count(1, "configuration"), count(1234, "configuration")
    ('1 configuration', '1,234 configurations')
    """
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"
