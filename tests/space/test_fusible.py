from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spaces import seeds, spaces

from maestune.errors import SpaceError
from maestune.space import Choice, Float, Fusible, Int, Prior, Space, structure, within
from maestune.types import Config


@st.composite
def kinds(draw: st.DrawFn, space: Space) -> Fusible:
    """Any division of a space's parameters; switches may lack an off value, and names may be unknown."""
    kind = {p.name: draw(st.sampled_from(["number", "switch", "shared"])) for p in space}
    numbers, switches = (frozenset(n for n, k in kind.items() if k == word) for word in ("number", "switch"))
    return Fusible(numbers | {"unknown"}, switches | {"unknown too"})


@given(space=spaces(), seed=seeds, data=st.data())
def test_all_that_is_drawn_within_a_structure_is_a_point_and_has_it(space: Space, seed: int, data) -> None:
    fusible = data.draw(kinds(space))
    rng = np.random.default_rng(seed)
    config = space.sample(rng)
    common = structure(space, config, fusible)
    part = within(space, config, fusible)
    assert part.check(config) == config
    assert [p.name for p in part] == [p.name for p in space]
    drawn = [part.sample(rng), part.sample_prior(rng), part.centre(), part.mutate(config, rng)]
    drawn.append(part.mutate(drawn[0], rng))
    drawn.append(part.mutate({}, rng))
    for other in drawn:
        assert part.check(other) == other
        assert space.check(other) == other
        assert structure(space, other, fusible) == common
        assert hash(structure(space, other, fusible)) == hash(common)


@given(space=spaces(), seed=seeds, data=st.data())
def test_structures_are_equal_where_configs_agree_on_what_must_be_shared(space: Space, seed: int, data) -> None:
    fusible = data.draw(kinds(space))
    rng = np.random.default_rng(seed)
    one = space.sample(rng)
    other = data.draw(st.sampled_from([space.sample(rng), space.mutate(one, rng), one]))

    def agree(name: str) -> bool:
        if name in fusible.numbers:
            return True
        if (name in one) != (name in other):
            return False
        off = getattr(space[name], "off", None)
        if name in fusible.switches and name in one and off is not None:
            return (one[name] == off) == (other[name] == off)
        return one.get(name) == other.get(name)

    same = structure(space, one, fusible) == structure(space, other, fusible)
    assert same == all(agree(p.name) for p in space)


SPACE = Space(
    (
        Float("lr", 1e-5, 1e-2, scale="log", prior=Prior(2e-4)),
        Choice("schedule", ("constant", "wsd")),
        Float("decay", 0.1, 0.5, when={"schedule": ("wsd",)}),
        Choice("optimizer", ("adam", "sgd")),
        Float("beta1", 0.0, 0.9, when={"optimizer": ("adam",)}),
        Int("width", 8, 64),
        Float("dropout", 0.05, 0.5, off=0.0, prior=Prior(0.0)),
        Float("noise", 0.01, 0.5, scale="log", off=0.0, prior=Prior(0.1)),
    )
)
FUSIBLE = Fusible(frozenset({"lr", "schedule", "decay", "beta1"}), frozenset({"dropout", "noise"}))
CONFIG = SPACE.complete({"width": 16, "dropout": 0.2, "noise": 0.0})


def draws(part: Space, n: int = 200) -> list[Config]:
    return [part.sample(np.random.default_rng(i)) for i in range(n)]


def test_the_structure_in_words() -> None:
    assert dict(structure(SPACE, CONFIG, FUSIBLE)) == {
        "optimizer": "adam",
        "width": 16,
        "dropout": True,
        "noise": False,
    }
    assert structure(SPACE, CONFIG, Fusible()) == CONFIG


def test_numbers_vary_shared_values_do_not_and_switches_stay() -> None:
    drawn = draws(within(SPACE, CONFIG, FUSIBLE))
    assert {c["width"] for c in drawn} == {16}
    assert {c["optimizer"] for c in drawn} == {"adam"}
    assert {c["noise"] for c in drawn} == {0.0}
    assert len({c["dropout"] for c in drawn}) > 100
    assert min(c.number("dropout") for c in drawn) >= 0.05
    assert len({c["lr"] for c in drawn}) > 100
    assert len({c["beta1"] for c in drawn}) > 100


def test_a_number_may_be_there_in_one_member_and_not_in_another() -> None:
    drawn = draws(within(SPACE, CONFIG, FUSIBLE))
    assert {"decay" in c for c in drawn} == {True, False}
    sgd = draws(within(SPACE, SPACE.complete({"optimizer": "sgd"}), FUSIBLE))
    assert not any("beta1" in c for c in sgd)  # its parent is shared


def test_a_prior_that_says_off_is_dropped_where_it_is_on_and_another_is_kept() -> None:
    assert within(SPACE, CONFIG, FUSIBLE)["dropout"].prior is None
    on = SPACE.complete({"noise": 0.3})
    assert within(SPACE, on, FUSIBLE)["noise"].prior == Prior(0.1)


def test_a_number_that_decides_about_the_structure_is_fixed() -> None:
    space = Space(
        (
            Choice("schedule", ("constant", "wsd")),
            Choice("tail", ("linear", "cosine"), when={"schedule": ("wsd",)}),  # a number that decides about `steps`
            Int("steps", 1, 9, when={"tail": ("cosine",)}),
            Float("penalty", 0.1, 1.0, off=0.0),
            Choice("kind", ("r1", "gp"), when={"penalty": (0.5,)}),
        )
    )
    fusible = Fusible(frozenset({"schedule", "tail"}), frozenset({"penalty"}))
    config = Config.of(schedule="wsd", tail="cosine", steps=3, penalty=0.5, kind="gp")
    assert within(space, config, fusible).varying == ()
    free = Fusible(fusible.numbers | {"steps"}, fusible.switches)
    assert [p.name for p in within(space, config, free).varying] == ["schedule", "tail", "steps"]


def test_a_switch_without_an_off_value_is_shared() -> None:
    fixed = SPACE.fix("dropout", 0.2)
    assert structure(fixed, fixed.complete({}), FUSIBLE)["dropout"] == 0.2


def test_a_name_is_one_of_both() -> None:
    with pytest.raises(SpaceError, match="dropout: declared both"):
        Fusible(frozenset({"lr", "dropout"}), frozenset({"dropout"}))
