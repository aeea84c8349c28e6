"""What a campaign is to reach: objectives, presets, bounds; each checked against what can be measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maestune.campaign.goals import SEE_VARIETY, Goals, goals_of
from maestune.campaign.presets import FLOOR_OF_VARIETY, PRESETS, expanded, presets_for
from maestune.campaign.settings import SIGNS, Settings, parse_constraint
from maestune.data import load_data
from maestune.errors import SettingsError
from maestune.execution.model import UserTraining, built_in_family
from maestune.quality import DESCRIBED, ImageEvaluator, prepare_extractor
from maestune.quality.features import learning
from maestune.quality.features.fitting import fit_named
from maestune.types import Constraint, Objective


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", "image", size=None, tokens=None, captions=(), progress=lambda _text: None)


@pytest.fixture(scope="module")
def captioned():
    return load_data("digits-captions", "image", size=None, tokens=None, captions=(), progress=lambda _text: None)


def asked(digits, model="gan", conditional=False, **values):
    return goals_of(Settings.make(model=model, **values), None, built_in_family(model), digits, conditional=conditional)


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
    own = UserTraining(lambda config, run: iter(()), None, None, ("mine:max",), 10)
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


# Variety beside adherence ---------------------------------------------------------------------------------------------


def test_adherence_brings_a_floor_of_variety_and_says_so(digits):
    goals = asked(digits, conditional=True, objective=("adherence",))
    assert goals.objectives == (Objective("adherence", higher_is_better=True),)
    assert [c.text for c in goals.constraints] == [FLOOR_OF_VARIETY]
    assert goals.names == ("adherence", "recall")
    [note] = goals.notes
    for part in ("(adherence) is best for the same right picture", f"{FLOOR_OF_VARIETY} is kept", "--constraint"):
        assert part in note


def test_what_was_brought_is_a_persons_own_when_it_is_written_down(digits):
    first = asked(digits, conditional=True, objective=("adherence",))
    written = tuple(c.text for c in first.constraints)
    again = asked(digits, conditional=True, objective=("adherence:max",), constraint=written)
    assert (again.objectives, again.constraints, again.notes) == (first.objectives, first.constraints, ())


@pytest.mark.parametrize("name", ["adherence", "r_precision", "clip_like"])
def test_every_score_of_adherence_that_one_right_picture_satisfies_is_accompanied(captioned, name):
    def goals(*constraints, beside=()):
        objective = (name, *beside)
        return asked(captioned, model="flow", conditional=True, objective=objective, constraint=constraints)

    assert [c.text for c in goals().constraints] == [FLOOR_OF_VARIETY]
    # A floor of one's own under any score that sees variety takes its place.
    for own in ("asked_diversity>=0.2", "recall>=0.3", "fd<=20.5", "ndb<0.4"):
        assert [c.text for c in goals(own).constraints] == [own]
        assert goals(own).notes == ()
    # What does not see it does not, and neither does a bound on the other side.
    for own in ("modes>=9.5", "modes_js<=0.1", "precision>=0.5", "recall<=0.9", "fd>=1.5"):
        assert [c.text for c in goals(own).constraints] == [own, FLOOR_OF_VARIETY]
    for beside in ("fd", "coverage", "cas"):
        assert goals(beside=(beside,)).constraints == ()
    for beside in ("precision", "modes", "fd:max"):
        assert [c.text for c in goals(beside=(beside,)).constraints] == [FLOOR_OF_VARIETY]


def test_scores_that_see_variety_themselves_are_left_alone(digits):
    for objective in (("cas",), ("fd",), ("fd", "coverage")):
        assert asked(digits, conditional=True, objective=objective).constraints == ()
    bounded = asked(digits, conditional=True, constraint=("adherence>=0.9",))
    assert [c.text for c in bounded.constraints] == ["adherence>=0.9"]


def test_adherence_is_refused_where_nothing_sees_variety():
    own = UserTraining(lambda config, run: iter(()), None, None, ("adherence:max",), 10)

    def goals(*constraints):
        settings = Settings.make(model="own.py:train", constraint=constraints)
        return goals_of(settings, own, None, None, conditional=False)

    with pytest.raises(SettingsError, match=r"same right picture again and again, and nothing .*--data .*recall>=0\.1"):
        goals()
    with pytest.raises(SettingsError, match="nothing that sees variety"):
        goals("size<3")
    assert [c.text for c in goals("recall>=0.3").constraints] == ["recall>=0.3"]


def test_what_counts_as_seeing_variety_tells_one_picture_of_each_class_from_real_images(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "MOST_SHOWN", 5000)  # extractors that have learnt little are enough for that
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(0))
    known, unseen = (digits.train.take(part) for part in order.chunk(2))
    data = replace(digits, train=known, fingerprint="half")
    rows = {int(k): torch.nonzero(unseen.labels == k).flatten() for k in unseen.labels.unique()}
    turn = torch.arange(400) % len(rows)
    extractor = prepare_extractor(data, cache=tmp_path)
    evaluator = ImageEvaluator.prepare(
        data,
        "report",
        extractor,
        len(turn),
        conditions={"label": turn},
        second=fit_named("random", data, torch.Generator().manual_seed(0)),
    )

    def scores(most):
        """Of so many different pictures of each class at most."""
        chosen = [rows[k][:most][i // len(rows) % len(rows[k][:most])] for i, k in enumerate(turn.tolist())]
        names = [*SEE_VARIETY, "adherence", "modes", "modes_js", "modes_kl", "precision"]
        return evaluator.score(evaluator.extract(unseen.images[torch.stack(chosen)]), names, intervals=True)

    real, three, one = scores(100), scores(3), scores(1)

    def worse(name, score, than):
        up = DESCRIBED[name].higher_is_better
        return score.high < than.low if up else score.low > than.high

    for name in SEE_VARIETY:
        assert worse(name, three[name], real[name]), name
        assert worse(name, one[name], real[name]), name
    for name in ("adherence", "modes", "modes_js", "modes_kl", "precision"):
        assert not worse(name, one[name], real[name]), name
    floor = parse_constraint(FLOOR_OF_VARIETY)
    noise = evaluator.score(
        evaluator.extract(torch.rand(turn.shape + data.shape, generator=torch.Generator().manual_seed(0))), [floor.name]
    )
    assert floor.met(real[floor.name].value)
    assert not any(floor.met(scores[floor.name].value) for scores in (one, three, noise))
