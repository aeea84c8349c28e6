from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.errors import SpaceError
from maestune.space import Choice, Float, Int, Param, Prior, Role
from maestune.space.params import OFF_SHARE

FLOATS = [
    Float("linear", -2.0, 3.0),
    Float("log", 1e-6, 10.0, scale="log"),
    Float("logit", 0.5, 0.9999, scale="logit"),
    Float("dropout", 0.05, 0.8, off=0.0),
    Float("decay", 1e-6, 1e-1, scale="log", off=0.0),
    Float("ema", 0.9, 0.999, scale="logit", off=0.0),
]
INTS = [Int("depth", 1, 7), Int("steps", -3, 12), Int("width", 1, 200, scale="log"), Int("one", 4, 4)]
CHOICES = [
    Choice("loss", ("ns", "hinge", "wgan")),
    Choice("batch", (16, 32, 64, 128), ordered=True),
    Choice("on", (False, True)),
]
unit = st.floats(0.0, 1.0)


def by_name(param: Param) -> str:
    return param.name


# The unit interval and back


@given(position=unit)
@pytest.mark.parametrize("param", FLOATS, ids=by_name)
def test_float_survives_the_unit_interval(param: Float, position: float) -> None:
    value = param.from_unit(position)
    assert param.check(value) == value
    # Six significant digits are kept; close to 1 that is a millionth of the value itself.
    assert param.from_unit(param.to_unit(value)) == pytest.approx(value, rel=1e-5)
    if param.off is not None and position < OFF_SHARE:
        assert value == param.off
    else:
        assert value != param.off
        assert param.to_unit(value) == pytest.approx(position, abs=2e-3)


@given(position=unit)
@pytest.mark.parametrize("param", [*INTS, *CHOICES], ids=by_name)
def test_discrete_values_survive_the_unit_interval_exactly(param: Int | Choice, position: float) -> None:
    value = param.from_unit(position)
    assert param.check(value) == value
    assert type(param.check(value)) is type(value)
    assert param.from_unit(param.to_unit(value)) == value


@given(one=unit, two=unit)
@pytest.mark.parametrize(
    "param", [p for p in (*FLOATS, *INTS, CHOICES[1]) if p.name not in ("on", "loss")], ids=by_name
)
def test_numbers_grow_with_the_position(param: Param, one: float, two: float) -> None:
    low, high = sorted((one, two))
    assert param.from_unit(low) <= param.from_unit(high)  # type: ignore[operator]


@pytest.mark.parametrize("param", FLOATS, ids=by_name)
def test_bounds_are_reached_exactly_and_never_left(param: Float) -> None:
    start = 0.0 if param.off is None else OFF_SHARE
    assert (param.from_unit(start), param.from_unit(1.0)) == (param.low, param.high)
    assert param.from_unit(7.0) == param.high
    assert param.from_unit(-7.0) == (param.low if param.off is None else param.off)
    assert (param.to_unit(param.low), param.to_unit(param.high)) == pytest.approx((start, 1.0))


@pytest.mark.parametrize("param", [*FLOATS, *INTS], ids=by_name)
def test_positions_of_values_outside_are_those_of_the_bounds(param: Float | Int) -> None:
    # Also where a value has no logarithm: an earlier stage may have had a wider range or another scale.
    assert param.to_unit(-1e9) == param.to_unit(param.low)
    assert param.to_unit(1e9) == param.to_unit(param.high)


def test_scales() -> None:
    assert Float("x", 0.0, 10.0).from_unit(0.3) == 3.0
    assert Float("x", 1e-4, 1.0, scale="log").from_unit(0.25) == pytest.approx(1e-3)
    logit = Float("x", 0.5, 0.99, scale="logit")
    expected = math.log(99) / 2  # half way between the logits 0 and log 99
    assert logit.from_unit(0.5) == pytest.approx(1 / (1 + math.exp(-expected)), rel=1e-5)
    # 1 - x shrinks by equal factors near 1: that is what a logit scale is for.
    steps = [1 - Float("x", 0.9, 0.99999, scale="logit").from_unit(u) for u in (0.25, 0.5, 0.75, 1.0)]
    assert steps[0] / steps[1] == pytest.approx(steps[1] / steps[2], rel=0.1)


def test_values_are_what_a_person_would_write() -> None:
    assert Float("x", 0.0, 1.0).from_unit(1 / 3) == 0.333333
    assert Float("lr", 1e-5, 1e-2, scale="log").from_unit(0.5) == 0.000316228


@pytest.mark.parametrize(
    "param", [Int("a", 1, 5), Int("b", -2, 2), Choice("c", ("x", "y", "z", "u", "v"))], ids=by_name
)
def test_every_value_has_an_equal_share(param: Int | Choice) -> None:
    values = [param.from_unit((i + 0.5) / 1000) for i in range(1000)]
    assert [values.count(v) for v in dict.fromkeys(values)] == [200] * 5


def test_shares_of_whole_numbers_on_a_log_scale_are_equal_in_the_logarithm() -> None:
    param = Int("width", 1, 100, scale="log")
    values = [param.from_unit((i + 0.5) / 20_000) for i in range(20_000)]
    whole = math.log(100.5) - math.log(0.5)
    for k in (1, 2, 10, 100):
        assert values.count(k) / 20_000 == pytest.approx((math.log(k + 0.5) - math.log(k - 0.5)) / whole, abs=2e-4)


def test_off_has_its_share_of_the_interval() -> None:
    param = Float("dropout", 0.1, 0.5, off=0.0)
    values = [param.from_unit((i + 0.5) / 1000) for i in range(1000)]
    assert values.count(0.0) == round(1000 * OFF_SHARE)
    assert param.to_unit(0.0) < OFF_SHARE
    assert param.check(0) == 0.0
    assert param.check(0.1) == 0.1
    with pytest.raises(SpaceError, match=r"0.05 is outside 0.1:0.5 \(or 0 for off\)"):
        param.check(0.05)


# What is refused, and how it is said


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float("lr", 1.0, 0.1), r"lr: range 1:0\.1 is upside down or empty.*--set lr=1"),
        (lambda: Float("lr", 0.1, 0.1), r"lr: range 0\.1:0\.1 is upside down or empty.*--set lr=0\.1"),
        (lambda: Float("lr", math.nan, 1), r"lr: low is nan; a finite number is needed"),
        (lambda: Float("lr", 0, math.inf), r"lr: high is inf; a finite number is needed"),
        (lambda: Float("lr", "0", 1), r"lr: low is '0'; a finite number is needed"),
        (lambda: Float("lr", False, 1), r"lr: low is False; a finite number is needed"),
        (lambda: Float("lr", 1, 2, off=math.nan), r"lr: off is nan; a finite number is needed"),
        (lambda: Float("lr", 0, 1, scale="log"), r"lr: low is 0 on a log scale; it must be above 0 \(for example"),
        (lambda: Float("b", 0.5, 1, scale="logit"), r"b: range 0\.5:1 on a logit scale must lie inside \(0, 1\)"),
        (lambda: Float("b", 0, 0.5, scale="logit"), r"b: range 0:0\.5 on a logit scale must lie inside \(0, 1\)"),
        (
            lambda: Float("lr", 0.1, 1, scale="logg"),
            r"lr: scale 'logg' is none of linear, log, logit\. Did you mean log",
        ),
        (lambda: Float("d", 0, 1, off=0), r"d: the off value 0 lies inside the range 0:1; .*for example low=0\.01"),
        (lambda: Float("lr", 0, 1, prior=Prior(2)), r"lr: prior centre 2 is outside 0:1\. Widen .*--range lr=0:2"),
        (lambda: Int("n", 4, 3), r"n: range 4:3 is upside down; low must not exceed high"),
        (lambda: Int("n", 1.5, 3), r"n: low is 1\.5; a whole number is needed"),
        (lambda: Int("n", 1, True), r"n: high is True; a whole number is needed"),
        (lambda: Int("n", 0, 3, scale="log"), r"n: low is 0 on a log scale; it must be at least 1"),
        (lambda: Int("n", 1, 3, scale="logit"), r"n: scale 'logit' is none of linear, log\. Did you mean"),
        (lambda: Int("n", 1, 3, prior=Prior(4)), r"n: prior centre 4 is outside 1:3\. Widen .*--range n=1:4"),
        (lambda: Choice("c", ()), r"c: a choice needs at least one value; none was given"),
        (lambda: Choice("c", "hinge"), r"c: the choices are 'hinge'; a tuple or list is needed, .*\('hinge',\)"),
        (lambda: Choice("c", 3), r"c: the choices are 3; a tuple or list is needed"),
        (lambda: Choice("c", ((1, 2), 3)), r"c: the choice \(1, 2\) is neither text, number nor true/false"),
        (lambda: Choice("c", ("a", "a")), r"c: the choices \['a', 'a'\] contain a value twice; give each once"),
        (
            lambda: Choice("c", (2, 1), ordered=True),
            r"c: the ordered choices \[2, 1\] are not numbers in growing order",
        ),
        (lambda: Choice("c", ("a", "b"), ordered=True), r"c: the ordered choices .*sort them, or leave out ordered"),
        (
            lambda: Choice("c", ("ns", "hinge"), prior=Prior("hinges")),
            r"c: prior centre 'hinges' .*Did you mean hinge\?",
        ),
    ],
)
def test_definitions_that_cannot_be_used(make, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


@pytest.mark.parametrize(
    ("param", "value", "message"),
    [
        (Float("lr", 0.1, 1), 5, r"lr: value 5 is outside 0\.1:1\. Widen the range \(--range lr=0\.1:5\) or choose"),
        (Float("lr", 0.1, 1), "0.5", r"lr: value '0\.5' is not a finite number; give one in 0\.1:1"),
        (Float("lr", 0.1, 1), True, r"lr: value True is not a finite number"),
        (Float("lr", 0.1, 1), math.nan, r"lr: value nan is not a finite number"),
        (Int("n", 2, 9), 1, r"n: value 1 is outside 2:9\. Widen the range \(--range n=1:9\) or choose"),
        (Int("n", 2, 9), 2.5, r"n: value 2\.5 is not a whole number; give one in 2:9"),
        (Int("n", 2, 9), "3", r"n: value '3' is not a whole number"),
        (Int("n", 0, 9), False, r"n: value False is not a whole number"),
        (Int("n", 2, 9), math.inf, r"n: value inf is not a whole number"),
        (
            Choice("c", ("ns", "hinge")),
            "hing",
            r"c: value 'hing' is none of its choices \(ns, hinge\)\. Did you mean hinge",
        ),
        (Choice("c", (0, 1)), True, r"c: value True is none of its choices \(0, 1\)"),
        (Choice("c", (False, True)), 1, r"c: value 1 is none of its choices \(False, True\)"),
    ],
)
def test_values_that_are_no_point(param: Param, value, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        param.check(value)


def test_values_are_cast_to_the_kind_of_the_parameter() -> None:
    assert repr(Float("x", 0, 3).check(2)) == "2.0"
    assert repr(Int("x", 0, 3).check(2.0)) == "2"
    assert repr(Choice("x", (16, 32)).check(32.0)) == "32"
    assert Choice("x", ["a", "b"]).values == ("a", "b")  # type: ignore[arg-type]


def test_number_of_points() -> None:
    assert [p.points for p in (Float("a", 0, 1), Int("b", 3, 7), Choice("c", ("x", "y")))] == [None, 5, 2]


def test_parameters_are_frozen_values() -> None:
    param = Float("lr", 0.1, 1.0, prior=Prior(0.2, "high", "Kingma & Ba 2015"))
    assert param == Float("lr", 0.1, 1.0, prior=Prior(0.2, "high", "Kingma & Ba 2015"))
    assert param.role is Role.OPTIMIZER
    with pytest.raises(FrozenInstanceError):
        param.low = 0.0  # type: ignore[misc]
