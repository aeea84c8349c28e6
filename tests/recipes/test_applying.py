import pytest

from maestune.recipes import Case, apply
from maestune.recipes.recipe import Recipe
from maestune.space import Choice, Float, Int, Prior, Role, Space
from maestune.types import Config

SPACE = Space(
    (
        Choice("network", ("conv",)),
        Choice("loss", ("ns", "hinge"), prior=Prior("ns")),
        Float("lr", 1e-4, 1e-2, scale="log", prior=Prior(2e-4, "high", "before")),
        Float("beta2", 0.9, 0.999, scale="logit", prior=Prior(0.99)),
        Float("momentum", 0.0, 0.9, prior=Prior(0.0)),
        Float("dropout", 0.05, 0.5, off=0.0, prior=Prior(0.0)),
        Choice("batch_size", (16, 32, 64), ordered=True, prior=Prior(32)),
        Int("width", 16, 64, prior=Prior(32)),
        Int("steps", 2, 8, prior=Prior(4), role=Role.OPTIMIZER),
        Choice("on", (True, False), prior=Prior(False)),
        Float("margin", 0.1, 10.0, scale="log", prior=Prior(1.0), when={"loss": ("hinge",)}),
    )
)


def applied(case=None, space=SPACE, rules=None, confidence="high", doubtful=(), networks=None, **settings):
    recipe = Recipe(
        "r",
        "R",
        "gan",
        Config.of(settings),
        "Me 2026",
        confidence,
        rules=rules or {},
        doubtful=doubtful,
        networks=networks or {},
    )
    return apply(recipe, space, case)


def told(found, name):
    return [note for note in found.notes if note.startswith(f"{name}:")]


def test_what_the_space_holds_becomes_the_centre_and_nothing_is_said():
    found = applied(
        loss="hinge",
        lr=1e-3,
        batch_size=64,
        dropout=0.2,
        width=16,
        on=True,
        margin=2.0,
        beta2=0.9,
        momentum=0.5,
        steps=2,
    )
    assert found.notes == ()
    assert found.config == Config.of(
        network="conv",
        loss="hinge",
        lr=1e-3,
        beta2=0.9,
        momentum=0.5,
        dropout=0.2,
        batch_size=64,
        width=16,
        steps=2,
        on=True,
        margin=2.0,
    )
    assert found.space.centre() == found.config
    assert found.space["lr"].prior == Prior(1e-3, "medium", "Me 2026")
    assert [(p.name, p.points) for p in found.space] == [(p.name, p.points) for p in SPACE]


def test_what_the_recipe_leaves_open_stays_and_is_told_unless_it_is_off():
    found = applied(loss="ns")
    assert found.space["lr"] == SPACE["lr"]
    (note,) = found.notes
    assert "lr (0.0002)" in note
    assert "dropout" not in note  # it is off
    assert "margin" not in note  # it has no part


@pytest.mark.parametrize(
    ("name", "value", "low", "high"),
    [
        ("lr", 0.1, 1e-4, 0.1),
        ("lr", 1e-5, 1e-5, 1e-2),
        ("beta2", 0.9999, 0.9, 0.9999),
        ("momentum", 0.99, 0.0, 0.99),
        ("width", 128, 16, 128),
        ("width", 8, 8, 64),
        ("steps", 80, 2, 80),
    ],
)
def test_ranges_are_widened_by_a_decade_at_most_and_sizes_twofold(name, value, low, high):
    found = applied(**{name: value})
    param = found.space[name]
    assert (param.low, param.high) == (low, high)
    assert found.config[name] == value
    assert len(told(found, name)) == 1
    assert "the range is now" in told(found, name)[0]


@pytest.mark.parametrize(
    ("name", "value", "used"),
    [
        ("lr", 0.11, 1e-2),
        ("lr", 9e-6, 1e-4),
        ("beta2", 0.99995, 0.999),
        ("beta2", 1.0, 0.999),
        ("width", 129, 64),
        ("steps", 81, 8),
        ("steps", 0, 2),
        ("batch_size", 2048, 64),
        ("batch_size", 4, 16),
        ("dropout", -0.1, 0.05),
    ],
)
def test_farther_values_become_the_nearest_and_are_told(name, value, used):
    found = applied(**{name: value})
    assert found.config[name] == used
    assert found.space[name].prior.centre == used
    (note,) = told(found, name)
    assert f"{value:g} is beyond what the space has; {used:g} is used" in note


def test_between_choices_the_nearest_by_ratio_is_used():
    found = applied(batch_size=46)
    assert found.config["batch_size"] == 64
    assert told(found, "batch_size") == ["batch_size: 46 is none of 16, 32, 64; 64 is used."]
    assert applied(batch_size=44).config["batch_size"] == 32


def test_a_range_is_not_widened_over_the_value_that_means_off():
    found = applied(dropout=0.01)
    assert found.config["dropout"] == 0.01  # 0 stays outside 0.01:0.5
    space = Space((Float("guidance", 1.5, 4.0, off=1.0, prior=Prior(1.0)),))
    assert applied(space=space, guidance=0.9).config["guidance"] == 1.5


def test_words_that_the_space_does_not_know_leave_it_as_it_was():
    found = applied(loss="wgan", on="yes", lr="high")
    assert found.config["loss"] == "ns"
    assert found.config["on"] is False
    assert found.config["lr"] == 2e-4
    assert told(found, "loss") == ["loss: the recipe has wgan, the space only ns, hinge; its prior stays."]
    assert told(found, "lr")


def test_true_is_not_one():
    assert applied(on=1).config["on"] is False
    assert applied(batch_size=True).config["batch_size"] == 32


def test_what_is_missing_is_told_unless_it_is_to_be_done_without():
    found = applied(attention="self", mixing="none", weight=0.0)
    assert told(found, "attention") == ["attention: the recipe has self; there is no such parameter here."]
    assert not told(found, "mixing")
    assert not told(found, "weight")


def test_what_has_no_part_is_told():
    found = applied(loss="ns", margin=2.0)
    assert "margin" not in found.config
    assert told(found, "margin") == ["margin: has no part in the rest of this configuration and is left out."]


def test_doubt_is_passed_on():
    found = applied(lr=1e-3, beta2=0.95, doubtful=("lr",))
    assert found.space["lr"].prior.confidence == "low"
    assert found.space["beta2"].prior.confidence == "medium"
    assert applied(lr=1e-3, confidence="medium").space["lr"].prior.confidence == "low"


def test_rules_are_worked_out_for_the_case_and_the_values_that_are_used():
    space = Space((*SPACE.params, Float("r1_gamma", 1e-3, 10.0, scale="log", prior=Prior(0.1))))
    rules = {"r1_gamma": "r1_gamma"}
    found = applied(Case(side=256), space, rules, batch_size=4096)
    assert found.config["r1_gamma"] == pytest.approx(0.0002 * 256**2 / 64)  # 64 is what the space has
    assert "by the rule" in told(found, "r1_gamma")[0]
    unknown_side = applied(None, space, rules)
    assert unknown_side.config["r1_gamma"] == 0.1
    assert "needs what is not known here" in told(unknown_side, "r1_gamma")[0]
    assert "no such parameter" in told(applied(Case(side=256), SPACE, rules), "r1_gamma")[0]


def test_other_networks_have_their_own_values_and_keep_their_sizes():
    networks = {"mlp": Config.of(dropout=0.3)}
    space = SPACE.fix("network", "conv")
    other = Space((Choice("network", ("mlp",)), *space.params[1:]))
    found = applied(space=other, network="conv", width=64, lr=1e-3, networks=networks)
    assert found.config["width"] == 32
    assert found.config["dropout"] == 0.3
    assert found.config["lr"] == 1e-3
    assert told(found, "network") == [
        "network: the recipe is for conv, the networks here are mlp; its width is left out."
    ]


def test_fixed_parameters_stay_and_are_told():
    found = applied(space=SPACE.fix("batch_size", 16), batch_size=64)
    assert found.config["batch_size"] == 16
    assert told(found, "batch_size") == ["batch_size: fixed at 16 here; the recipe has 64."]


def test_how_text_is_drawn_is_set_although_it_is_not_searched():
    space = Space((Float("lr", 1e-4, 1e-2), Choice("temperature", (0.8,), role=Role.SAMPLING)))
    found = applied(space=space, temperature=0.6)
    assert found.config["temperature"] == 0.6
    assert found.space["temperature"].values == (0.6,)
