import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from maestune.campaign.settings import (
    Settings,
    default_workers,
    how_to_fuse,
    parse_objective,
    parse_value,
    report_samples,
    resolve_device,
)
from maestune.cli.main import app
from maestune.errors import SettingsError
from maestune.recipes.writing import toml_text

_values = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
_data = st.recursive(
    st.dictionaries(st.text(), _values | st.lists(_values)),
    lambda inner: st.dictionaries(st.text(), inner | _values),
    max_leaves=12,
)


@given(_data)
def test_toml_text_reads_back(data):
    assert tomllib.loads(toml_text(data)) == data


def test_settings_survive_their_toml(tmp_path):
    settings = Settings.make(
        model="gan",
        data="digits",
        budget="3m",
        set={"lr": 1e-3, "loss": "hinge"},
        range={"beta1": (0.0, 0.5)},
        out=str(tmp_path),
    )
    path = tmp_path / "campaign.toml"
    path.write_text(toml_text(settings.model_dump(exclude_none=True)))
    assert Settings.from_toml(path) == settings


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"budgett": "2m"}, "budget"),
        ({"strategy": "halvin"}, "halving"),
        ({"model": "gn"}, "gan"),
        ({"seed": -1}, "seed = -1"),
        ({"budget": "soon"}, "soon"),
        ({"range": {"lr": (1.0, 0.1)}}, "upside down"),
        ({"steps": 0}, "steps"),
        ({"workers": -2}, "workers"),
        ({"fuse": "nonsense"}, "fuse = 'nonsense'.*'auto', 'off', 'fused' or 'compiled'"),
        ({"fuse": "measured"}, "fuse = 'measured'"),
        ({"members": 0}, "members = 0"),
        ({"members": 1025}, "members = 1025"),
        ({"members": "many"}, "members = 'many'"),
    ],
)
def test_errors_name_value_and_repair(values, says):
    with pytest.raises(SettingsError, match=says):
        Settings.make(**values)


def test_files_that_are_no_settings(tmp_path):
    with pytest.raises(SettingsError, match="No file"):
        Settings.from_toml(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("budget = ")
    with pytest.raises(SettingsError, match="not valid TOML"):
        Settings.from_toml(broken)


def test_the_same_command_finds_the_same_folder():
    assert (
        Settings.make(model="gan", data="digits", seed=3).folder
        == Settings.make(model="gan", data="digits", seed=3, budget="9m").folder
    )
    assert Settings.make(data="digits", seed=3).folder != Settings.make(data="digits", seed=4).folder


def test_values_and_objectives_from_text():
    assert [parse_value(t) for t in ("3", "1e-3", "true", "hinge")] == [3, 1e-3, True, "hinge"]
    known = {"fd": False, "coverage": True}
    assert not parse_objective("fd", known).higher_is_better
    assert parse_objective("coverage", known).higher_is_better
    assert parse_objective("mine:max", known).higher_is_better
    with pytest.raises(SettingsError, match="neither min nor max"):
        parse_objective("mine:big", known)


def test_devices():
    assert resolve_device("cpu") == "cpu"
    assert default_workers("cuda") == 1
    assert default_workers("cpu") >= 1
    with pytest.raises(SettingsError, match="not understood"):
        resolve_device("abacus")


@pytest.mark.parametrize(
    ("fuse", "budget", "how"),
    [
        ("auto", "2m", "measured"),
        ("auto", "40trials", "fused"),
        ("auto", "10full", "fused"),
        ("off", "2m", "off"),
        ("fused", "2m", "fused"),
        ("compiled", "40trials", "compiled"),
    ],
)
def test_the_clock_is_asked_how_to_fuse_only_where_it_decides_anyway(fuse, budget, how):
    assert how_to_fuse(Settings.make(fuse=fuse, budget=budget)) == how


def test_the_command_says_what_fuse_may_be(tmp_path):
    result = CliRunner().invoke(app, ["tune", "gan", "--fuse", "nonsense", "--out", str(tmp_path / "c")])
    assert result.exit_code not in (0, 1) or isinstance(result.exception, SettingsError)
    assert "nonsense" in result.output + str(result.exception)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("search", "real", "given", "expected"),
    [
        (1000, 60_000, None, 2000),
        (1000, 1079, None, 1079),  # the floor on equal terms
        (1000, 300, None, 1000),  # never fewer than in the search
        (1000, 60_000, 5000, 5000),
        (1000, 300, 150, 150),
    ],
)
def test_the_verdict_rests_on_more_samples_where_the_floor_can(search, real, given, expected):
    assert report_samples(Settings.make(report_samples=given), search, real) == expected


def test_a_folder_may_be_a_path(tmp_path):
    assert Settings.make(model="gan", data="digits", out=tmp_path / "c").folder == tmp_path / "c"
