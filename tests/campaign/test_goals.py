"""What a campaign is to reach: objectives, presets, bounds; each checked against what can be measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.campaign.goals import Goals, goals_of
from maestune.campaign.presets import PRESETS, expanded, presets_for
from maestune.campaign.settings import SIGNS, Settings, parse_constraint
from maestune.data import load_data
from maestune.errors import SettingsError
from maestune.execution.model import OwnTraining, family
from maestune.quality import DESCRIBED
from maestune.types import Constraint, Objective


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", "image", size=None, tokens=None, captions=(), progress=lambda _text: None)


def asked(digits, model="gan", **values):
    return goals_of(Settings.make(model=model, **values), None, family(model), digits, conditional=False)


# Bounds ---------------------------------------------------------------------------------------------------------------


@given(
    st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
    st.sampled_from(SIGNS),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_bound_reads_back_as_it_is_written(name, sign, bound):
    constraint = Constraint(name, sign, bound)
    assert parse_constraint(constraint.text) == constraint
    assert parse_constraint(f"  {name} {sign}  {bound!r} ") == constraint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("novelty", r"'novelty' is not understood; write a score, one of >=, <=, >, <, and a number"),
        ("novelty=0.4", "is not understood"),
        ("novelty==0.4", "is not understood"),
        ("novelty=>0.4", "is not understood"),
        (">=0.4", "is not understood"),
        ("novelty>=", "is not understood"),
        ("0.1<=novelty<=0.4", "is not understood"),
        ("novelty>=40%", "'40%' is no finite number"),
        ("novelty>=high", "'high' is no finite number"),
        ("novelty>=inf", "'inf' is no finite number"),
        ("novelty>=nan", "'nan' is no finite number"),
    ],
)
def test_what_is_no_bound_is_said(text, says):
    with pytest.raises(SettingsError, match=says):
        parse_constraint(text)
    with pytest.raises(SettingsError, match=says):
        Settings.make(constraint=(text,))


def test_bounds_are_goals_beside_the_objectives(digits):
    goals = asked(digits, objective=("fd", "coverage"), constraint=("coverage>=0.4", "coverage <= 0.9", "kid<0.5"))
    assert goals.objectives == (Objective("fd"), Objective("coverage", higher_is_better=True))
    assert [c.text for c in goals.constraints] == ["coverage>=0.4", "coverage<=0.9", "kid<0.5"]
    assert goals.names == ("fd", "coverage", "kid")
    assert asked(digits) == Goals((Objective("fd"),))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"constraint": ("coverge>=0.4",)}, r"Unknown score in a constraint: 'coverge'\. Did you mean coverage"),
        ({"constraint": ("bpc<=2",)}, "Unknown score in a constraint: 'bpc'"),
        ({"objective": ("coverge",)}, r"Unknown objective 'coverge'\. Did you mean coverage"),
        ({"objective": ("quality-diversty",)}, r"Did you mean quality-diversity\?"),
        ({"objective": ("zzz",)}, r"Known: fd, .*quality-diversity\."),
        ({"objective": ("fd", "fd:min")}, "An objective was given twice"),
        ({"constraint": ("kid<=0.4", "kid<0.3")}, "Two bounds on the same side of kid: kid<=0.4 and kid<0.3"),
        ({"constraint": ("kid<=0.4", "kid>=0.5")}, "No value keeps both kid>=0.5 and kid<=0.4"),
        ({"constraint": ("kid<0.4", "kid>=0.4")}, "No value keeps both"),
        ({"objective": ("vendi:max",)}, "best where real data have it, neither least nor greatest"),
    ],
)
def test_goals_that_cannot_be_reached_are_said(digits, values, says):
    with pytest.raises(SettingsError, match=says):
        asked(digits, **values)


def test_a_training_of_ones_own_may_be_bounded_by_scores_that_nobody_knows():
    own = OwnTraining(lambda config, run: iter(()), None, None, ("mine:max",), 10)
    goals = goals_of(Settings.make(model="own.py:train", constraint=("size<3",)), own, None, None, conditional=False)
    assert goals == Goals((Objective("mine", higher_is_better=True),), (Constraint("size", "<", 3.0),))


# Presets --------------------------------------------------------------------------------------------------------------


def test_a_preset_is_its_parts(digits):
    goals = asked(digits, objective=("quality-diversity",))
    assert goals.objectives == (Objective("fd"), Objective("coverage", higher_is_better=True))
    assert goals.constraints == ()
    beside = asked(digits, objective=("coverage", "quality-diversity", "kid"), constraint=("fd<=9",))
    assert [o.name for o in beside.objectives] == ["coverage", "fd", "kid"]
    assert beside.constraints == (Constraint("fd", "<=", 9.0),)


def test_texts_get_objective_and_guardrails_of_their_own():
    objectives, constraints = expanded(["quality-diversity"], "text")
    assert objectives == ("cluster_js",)
    assert [parse_constraint(c).name for c in constraints] == ["rep_gap", "entropy_gap", "text_novelty"]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("modality", ["image", "text"])
def test_every_preset_is_made_of_scores_that_there_are(name, modality):
    preset = PRESETS[name][modality]
    assert preset.why
    assert set(preset.objectives) <= DESCRIBED.keys()
    for text in preset.constraints:
        constraint = parse_constraint(text)
        assert constraint.name in DESCRIBED
        # A guardrail holds on the side where it is bad.
        assert constraint.at_least == DESCRIBED[constraint.name].higher_is_better
    assert name in presets_for(modality)


def test_a_persons_own_bound_takes_the_place_of_the_presets(monkeypatch, digits):
    from maestune.campaign import presets

    bounded = presets.Preset(("fd",), ("coverage>=0.2", "kid<=0.5"), "for this test")
    monkeypatch.setitem(presets.PRESETS, "bounded", {"image": bounded})
    goals = asked(digits, objective=("bounded",), constraint=("coverage>0.6",))
    assert [c.text for c in goals.constraints] == ["coverage>0.6", "kid<=0.5"]
    with pytest.raises(SettingsError, match="no preset 'bounded' for data of the kind 'text', only for image"):
        expanded(["bounded"], "text")
