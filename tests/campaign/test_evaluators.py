"""Evaluators refuse goals that they cannot measure, and say why."""

import pytest

from maestune.campaign.evaluators import EvaluationSetup, check_measurable, prepare_evaluators
from maestune.campaign.goals import Goals, measurable
from maestune.campaign.settings import Settings
from maestune.data import load_images
from maestune.errors import SettingsError
from maestune.types import Objective


@pytest.fixture(scope="module")
def evaluation() -> EvaluationSetup:
    settings = Settings.make(model="gan", data="digits", features="random", samples=200, report_samples=200)
    return prepare_evaluators(settings, load_images("digits"), None, False, "cpu", lambda text: None)


def goal(name: str) -> Goals:
    return Goals((Objective(name),))


def test_what_the_judges_measure_is_accepted(evaluation: EvaluationSetup) -> None:
    for name in evaluation.floor:
        check_measurable(goal(name), evaluation)
    check_measurable(goal("fd_second"), evaluation)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("modes", r"knows no classes .*--features classifier"),
        ("clip_like", "no encoder of images and captions"),
        ("fd_inf", r"It needs 260 samples, there are 200; give more with --samples"),
    ],
)
def test_what_they_cannot_measure_is_refused_with_the_reason(evaluation: EvaluationSetup, name: str, why: str) -> None:
    with pytest.raises(SettingsError, match=f"\\({name}\\) cannot be measured on these data.*{why}"):
        check_measurable(goal(name), evaluation)


def test_scores_of_the_training_itself_are_no_matter_of_the_judges(evaluation: EvaluationSetup) -> None:
    check_measurable(goal("bpd"), evaluation)
    check_measurable(goal("a_score_of_my_own"), EvaluationSetup())


def test_captions_and_a_second_opinion_can_be_goals() -> None:
    captioned = load_images("digits-captions")
    assert {"r_precision", "clip_like", "fd_second"} <= set(measurable(captioned, True, None))
    assert "clip_like" not in measurable(captioned, False, None)
    assert "clip_like" not in measurable(load_images("digits"), True, None)
