from collections.abc import Sequence

import pytest

from maestune.errors import MetricError
from maestune.quality.scoring.measuring import measure
from maestune.types import Score

KINDS = {"a": "one", "b": "one", "c": "two", "d": "three"}


def measured(
    workers: int, *, poor: Sequence[str] = (), floorless: Sequence[str] = (), named: bool = False
) -> tuple[dict[str, Score], dict[str, Score], list[str]]:
    def score(group: Sequence[str]) -> dict[str, Score]:
        if any(name in poor for name in group):
            raise MetricError("too few")
        return {name: Score(float(ord(name))) for name in group}

    def floor(group: Sequence[str]) -> dict[str, Score]:
        if any(name in floorless for name in group):
            raise MetricError("no floor")
        return {name: Score(-1.0) for name in group}

    said: list[str] = []
    found = measure(list(KINDS), KINDS, score, floor, named=named, tell=said.append, workers=workers)
    assert said == [
        "Measuring a, b (1 of 3)",
        "Measuring c (2 of 3)",
        "Measuring d (3 of 3)",
        "Measuring the floor: real data in place of the samples",
    ]
    return found


@pytest.mark.parametrize(
    "given", [{}, {"poor": "c"}, {"floorless": "a"}, {"poor": "abcd"}, {"poor": "a", "floorless": "d"}]
)
def test_how_many_measure_changes_nothing(given: dict[str, str]) -> None:
    assert measured(1, **given) == measured(3, **given)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_cannot_be_measured_is_noted_and_the_rest_is_there(workers: int) -> None:
    values, floors, notes = measured(workers, poor="c", floorless="ac")
    assert sorted(values) == ["a", "b", "d"]
    assert sorted(floors) == ["d"]
    assert notes == ["Not measured: c. too few", "No floor for a, b: no floor"]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_asked_for_by_name_is_an_error(workers: int) -> None:
    with pytest.raises(MetricError, match="too few"):
        measured(workers, poor="c", named=True)
