"""Strict decoding of what study.db holds: a value of the wrong type is refused by name, wherever the folder came from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, get_args

from maestune.data.prompts import Prompts
from maestune.errors import DataError, SpaceError, StoreError
from maestune.plain_text import shortened
from maestune.space import Space
from maestune.types import Config, Rung, Score, Sign, Trial, TrialState

SHOWN_LETTERS = 40  # of a value that a message quotes
LARGEST_WHOLE = 2**63 - 1
TEXT_LIMIT = 1_000_000  # characters; a reason, a note or a name is never that long

STAGES = ("search", "sampling", "finals")
ROLES = ("", "recipe", "candidate")


@dataclass(frozen=True)
class Study:
    """Facts that the trials must agree with: the space, the number of classes, the names of the objectives."""

    space: Space | None = None  # None: only in a store that has no facts yet
    classes: int = 0
    objectives: tuple[str, ...] = ()

    @staticmethod
    def of(facts: Mapping[str, Any]) -> Study:
        """Of facts that `check_facts` has passed."""
        space = Space.from_dict(facts["space"]) if "space" in facts else None
        return Study(space, len(facts.get("class_names", ())), tuple(name for name, _ in facts.get("objectives", ())))


def trial_from(number: int, data: Any, study: Study) -> Trial:
    """The trial that the store wrote as JSON; StoreError names the first field that cannot be one of a trial."""
    place = f"trial {number}"
    fields = {**_OPTIONAL, **_mapping(data, place)}
    for name in fields.keys() - _READERS.keys():
        _refuse(f"{place}: {shortened(name, SHOWN_LETTERS)!r}", fields[name], "no such field")
    values = {name: read(_field(fields, name, place), f"{place}: {name}") for name, read in _READERS.items()}
    trial = Trial(number=number, **values)
    _check_config(trial, study, place)
    for rung in trial.rungs:
        if len(rung.classes) not in (0, study.classes):
            _refuse(f"{place}: classes", list(rung.classes), f"a share for each of {study.classes} classes")
    if trial.source is not None and trial.source >= number:
        _refuse(f"{place}: source", trial.source, "the number of an earlier trial")
    if trial.stage == "finals":
        if trial.source is None:
            _refuse(f"{place}: source", None, "the number of an earlier trial")
        missing = [name for name in study.objectives if trial.rungs and name not in trial.rungs[-1].scores]
        if trial.state == TrialState.COMPLETE and (missing or not trial.rungs):
            _refuse(
                f"{place}: scores", list(trial.rungs[-1].scores if trial.rungs else ()), "a score of each objective"
            )
    return trial


def _check_config(trial: Trial, study: Study, place: str) -> None:
    if study.space is None:
        return
    try:
        study.space.check(trial.config)
    except SpaceError as error:
        told = shortened(str(error), 4 * SHOWN_LETTERS)
        raise StoreError(f"{place}: config is no point of the space ({told}); {_CHANGED}") from error


def check_facts(facts: Any) -> dict[str, Any]:
    """Stored facts of a campaign, unchanged; StoreError names the first whose type is wrong."""
    facts = _mapping(facts, "facts")
    for name, read in _FACTS.items():
        if name in facts:
            read(facts[name], f"facts: {name}")
    if len(facts.get("real_classes", ())) not in (0, len(facts.get("class_names", ()))):
        _refuse("facts: real_classes", facts["real_classes"], "a share for each class")
    if facts.get("asking") is not None:
        prompts = _mapping(facts["asking"], "facts: asking")
        _texts(_field(prompts, "class_names", "facts: asking"), "facts: asking: class_names")
    if facts.get("conditional"):
        with refusing("facts: asking"):
            _texts(list(Prompts.from_dict(_mapping(facts["asking"], "facts: asking")).rows), "facts: asking")
    return facts


def require_facts(facts: Mapping[str, Any]) -> None:
    """Raise StoreError where a fact is missing that every campaign has."""
    missing = [name for name in _FACTS if name not in facts and name not in _LATER]
    if facts.get("done") and "seconds" not in facts:
        missing.append("seconds")
    if missing:
        raise StoreError(f"facts: {missing[0]} is missing; {_CHANGED}")


def _refuse(place: str, value: object, expected: str) -> NoReturn:
    try:
        text = repr(shortened(value, SHOWN_LETTERS)) if isinstance(value, str) else shortened(str(value), SHOWN_LETTERS)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, a list in a list in a list …
        text = "a value that cannot be printed"
    kind = "null" if value is None else type(value).__name__
    raise StoreError(f"{place} is {text} ({kind}), {expected} was expected; {_CHANGED}")


_CHANGED = "study.db was changed by something other than maestune. Restore it from a copy."


@contextmanager
def refusing(place: str) -> Iterator[None]:
    """Turns whatever a decoder of another module raises for damaged data into a StoreError."""
    try:
        yield
    except StoreError:
        raise
    except (SpaceError, DataError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        told = shortened(f"{type(error).__name__}: {error}", 4 * SHOWN_LETTERS)
        raise StoreError(f"{place} cannot be read ({told}); {_CHANGED}") from error
    except RuntimeError as error:  # of torch; a RecursionError too
        raise StoreError(f"{place} cannot be read ({type(error).__name__}); {_CHANGED}") from error


def _field(fields: Mapping[str, Any], name: str, place: str) -> Any:
    if name not in fields:
        raise StoreError(f"{place}: {name} is missing; {_CHANGED}")
    return fields[name]


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(place, value, "an object")
    return value


def _items(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse(place, value, "a list")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        _refuse(place, value, "a text")
    return value


def _texts(value: Any, place: str) -> None:
    for item in _items(value, place):
        _text(item, place)


def _one_of(*known: str) -> Callable[[Any, str], str]:
    def read(value: Any, place: str) -> str:
        if not isinstance(value, str) or value not in known:
            _refuse(place, value, f"one of {', '.join(map(repr, known))}")
        return value

    return read


def _stage(value: Any, place: str) -> str:
    return _one_of(*STAGES)("sampling" if value == "drawing" else value, place)  # as earlier versions called it


def _whole(value: Any, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_WHOLE:
        _refuse(place, value, "a whole number")
    return value


def _whole_or_null(value: Any, place: str) -> int | None:
    return None if value is None else _whole(value, place)


def _flag(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        _refuse(place, value, "true or false")
    return value


def _number(value: Any, place: str) -> float:
    """A float or an int that fits in one; what is stored as it is stays as it is."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not _fits(value):
        _refuse(place, value, "a finite number")
    return value


def _fits(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _amount(value: Any, place: str) -> float:
    if _number(value, place) < 0:
        _refuse(place, value, "a number from 0")
    return value


def _config(value: Any, place: str) -> Config:
    config = _mapping(value, place)
    for name, setting in config.items():
        if isinstance(setting, str):
            _text(setting, f"{place}: {shortened(name, SHOWN_LETTERS)}")
        elif not isinstance(setting, bool):
            _number(setting, f"{place}: {shortened(name, SHOWN_LETTERS)}")
    return Config.of(config)


def _state(value: Any, place: str) -> TrialState:
    return TrialState(_one_of(*TrialState)(value, place))


def _rungs(value: Any, place: str) -> tuple[Rung, ...]:
    rungs = tuple(_rung(rung, f"{place}: rung {i}") for i, rung in enumerate(_items(value, place)))
    for before, after in itertools.pairwise(rungs):
        if after.step <= before.step:
            _refuse(f"{place}: step", after.step, f"a step after {before.step}")
    return rungs


def _rung(value: Any, place: str) -> Rung:
    data = _mapping(value, place)
    step, seconds, scores = (_field(data, name, place) for name in ("step", "seconds", "scores"))
    read = {
        name: _score(values, f"{place}: {shortened(name, SHOWN_LETTERS)}")
        for name, values in _mapping(scores, f"{place}: scores").items()
    }
    classes = _shares(data.get("classes", []), f"{place}: classes")
    return Rung(_whole(step, f"{place}: step"), read, _amount(seconds, f"{place}: seconds"), classes)


def _score(value: Any, place: str) -> Score:
    """Value, low and high of a trial's score; null where there is none."""
    values = _items(value, place)
    if not 1 <= len(values) <= 3:
        _refuse(place, value, "a list of value, low and high")
    for item in values:
        if item is not None:
            _number(item, place)
    return Score(*(math.nan if item is None else item for item in values))


def _scores(value: Any, place: str) -> None:
    """Scores among the facts; NaN and infinities are stored as they are there."""
    for name, values in _mapping(value, place).items():
        inside = f"{place}: {shortened(name, SHOWN_LETTERS)}"
        if not 1 <= len(_items(values, inside)) <= 3:
            _refuse(inside, values, "a list of value, low and high")
        for item in values:
            if not isinstance(item, float) or math.isfinite(item):
                _number(item, inside)


def _shares(value: Any, place: str) -> tuple[float, ...]:
    return tuple(_amount(share, place) for share in _items(value, place))


def _steps(value: Any, place: str) -> None:
    steps = _items(value, place)
    for step in steps:
        _whole(step, place)
    if not steps or steps[0] < 1 or sorted(set(steps)) != steps:
        _refuse(place, value, "a list of rising steps")


def _settings(value: Any, place: str) -> None:
    settings = _mapping(value, place)
    _text(_field(settings, "strategy", place), f"{place}: strategy")
    _whole(_field(settings, "seed", place), f"{place}: seed")


def _space(value: Any, place: str) -> None:
    with refusing(place):
        Space.from_dict(_mapping(value, place))


def _objectives(value: Any, place: str) -> None:
    rows = _items(value, place)
    for row in rows:
        name, higher = _row(row, 2, place)
        _text(name, place)
        _flag(higher, place)
    if not rows:
        _refuse(place, value, "at least one objective")


def _constraints(value: Any, place: str) -> None:
    for row in _items(value, place):
        name, sign, bound = _row(row, 3, place)
        _text(name, place)
        _one_of(*get_args(Sign))(sign, place)
        _number(bound, place)


def _limits(value: Any, place: str) -> None:
    """Least and greatest values of metrics, infinite where there is none."""
    for name, row in _mapping(value, place).items():
        inside = f"{place}: {shortened(name, SHOWN_LETTERS)}"
        low, high = (float(v) if isinstance(v, float) else _number(v, inside) for v in _row(row, 2, inside))
        if not low <= high:
            _refuse(inside, row, "a least and a greatest value")


def _row(value: Any, length: int, place: str) -> Sequence[Any]:
    if len(row := _items(value, place)) != length:
        _refuse(place, value, f"a list of {length}")
    return row


def _table_of_texts(value: Any, place: str) -> None:
    for name, text in _mapping(value, place).items():
        _text(text, f"{place}: {shortened(name, SHOWN_LETTERS)}")


def _groups(value: Any, place: str) -> None:
    for group in _mapping(value, place).values():
        fields = _mapping(group, place)
        for name, read in (("manner", _text), ("reason", _text), ("trials", _whole), ("members", _whole)):
            read(_field(fields, name, place), f"{place}: {name}")


def _terms(value: Any, place: str) -> None:
    stages = _mapping(value, place)
    for stage, terms in stages.items():
        _one_of("screen", "search", "finals")(stage, place)
        fields = _mapping(terms, place)
        _whole(_field(fields, "samples", place), f"{place}: samples")
        _text(_field(fields, "reference", place), f"{place}: reference")
        if len(fields) != 2:
            _refuse(place, terms, "samples and reference")


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "config": _config,
    "seed": _whole,
    "stage": _stage,
    "state": _state,
    "until_steps": _whole,
    "reason": _text,
    "decision": _text,
    "seconds": _amount,
    "role": _one_of(*ROLES),
    "source": _whole_or_null,
    "clock_seconds": _amount,
    "fused": _flag,
    "group": _whole_or_null,
    "rungs": _rungs,
}
# Fields that campaigns of earlier versions lack.
_OPTIONAL: Mapping[str, Any] = {"source": None, "clock_seconds": 0.0, "fused": False, "group": None}

_FACTS: Mapping[str, Callable[[Any, str], object]] = {
    "model": _text,
    "recipe_name": _text,
    "data_text": _text,
    "settings": _settings,
    "budget_text": _text,
    "space": _space,
    "objectives": _objectives,
    "rungs": _steps,
    "failure": _scores,
    "floor": _scores,
    "environment": _table_of_texts,
    "citations": _texts,
    "notes": _texts,
    "conditional": _flag,
    "class_names": _texts,
    "real_classes": _shares,
    "done": _flag,
    "seconds": _amount,
    "id": _text,
    "signature": _text,
    "groups": _groups,
    "terms": _terms,
    "search_floor": _scores,
    "constraints": _constraints,
    "limits": _limits,
}
# Facts that come in the course of a campaign, or that campaigns of earlier versions lack.
_LATER = ("done", "seconds", "id", "signature", "groups", "terms", "search_floor", "constraints", "limits")
