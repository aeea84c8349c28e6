"""Budgets: wall time, number of trials, or full trainings; and how much of them the finals keep."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from maestune.errors import SettingsError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(trials?|full)")

FINALS_SHARE = 0.4
MIN_FINAL_SEEDS = 2  # a verdict from one seed is none
TIMED_FINAL_SEEDS = 3  # what time is kept for: with two, Student's t asks for four times the difference
GOOD_FINAL_SEEDS = 5  # with fewer, Student's t asks for differences that good configurations rarely show
MAX_FINAL_SEEDS = 10


@dataclass(frozen=True)
class Budget:
    """How much a campaign may spend.

    >>> Budget.parse("90s"), Budget.parse("1h30m").amount, Budget.parse("40trials").kind
    (Budget(kind='seconds', amount=90.0), 5400.0, 'trials')
    """

    kind: Literal["seconds", "trials", "full"]
    amount: float

    @staticmethod
    def parse(text: str) -> Budget:
        """Read "90s", "2m", "4h", "1h30m", "40trials" or "10full"; raises SettingsError otherwise."""
        clean = text.strip().lower().replace(" ", "")
        if count := _COUNT.fullmatch(clean):
            kind: Literal["trials", "full"] = "full" if count[2] == "full" else "trials"
            amount = float(count[1])
            if kind == "trials" and not amount.is_integer():
                raise SettingsError(f"Budget {text!r}: the number of trials must be whole.")
        elif clean and (time := _TIME.fullmatch(clean)):
            kind_seconds: Literal["seconds"] = "seconds"
            values = [float(group or 0) for group in time.groups()]
            budget = Budget(kind_seconds, sum(v * u for v, u in zip(values, (86400.0, 3600.0, 60.0, 1.0), strict=True)))
            return _positive(budget, text)
        else:
            raise SettingsError(
                f"Budget {text!r} is not understood; give a time (90s, 2m, 4h, 1h30m), a number of trials (40trials) "
                "or of full trainings (10full)."
            )
        return _positive(Budget(kind, amount), text)

    @property
    def search_amount(self) -> float:
        """What the search may spend; the rest is kept for the finals. Of a time it may be more, where finals are quick."""
        if self.kind == "seconds":
            return self.amount * (1 - FINALS_SHARE)
        # The finals need the recipe and one candidate on two seeds each; the search needs the recipe and one more.
        finals = max(self.amount * FINALS_SHARE, 2 * MIN_FINAL_SEEDS)
        return max(float(round(self.amount - finals)), 2.0)

    @property
    def longest_search(self) -> float:
        """Trials or full trainings for a search that has found nothing promising: all but two seeds of recipe and candidate."""
        return max(self.search_amount, self.amount - 2 * MIN_FINAL_SEEDS)

    def describe(self) -> str:
        """In words."""
        if self.kind == "seconds":
            return seconds_text(self.amount)
        noun = "trial" if self.kind == "trials" else "full training"
        return f"{self.amount:g} {noun}{'s' * (self.amount != 1)}"


def _positive(budget: Budget, text: str) -> Budget:
    if budget.amount <= 0:
        raise SettingsError(f"Budget {text!r} is nothing; it must be above zero.")
    return budget


def seconds_text(seconds: float) -> str:
    """Seconds as people say them.

    >>> seconds_text(8.4), seconds_text(123), seconds_text(7260)
    ('8 s', '2 min 3 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
