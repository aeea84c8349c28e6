import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.errors import SettingsError
from maestune.recipes import recipe_from
from maestune.recipes.recipe import Recipe
from maestune.types import Config

HEAD = 'name = "n"\ntitle = "t"\nfamily = "gan"\ncitation = "c"\n'
texts = st.text(st.characters(exclude_categories=("Cs",)))
values = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**62), 2**62), st.booleans(), texts)


@given(st.dictionaries(texts, values), texts, texts, st.lists(texts))
def test_what_a_campaign_found_can_be_written_and_read_back(settings, data_text, result, citations):
    text = recipe_from(Config.of(settings), "gan", data_text, result, citations, name="mine")
    recipe = Recipe.from_toml(text)
    assert {k: (type(v), v) for k, v in recipe.settings.items()} == {k: (type(v), v) for k, v in settings.items()}
    assert recipe.name == "mine"
    assert recipe.family == "gan"
    assert recipe.result == " ".join(result.split())
    assert recipe.related == tuple(dict.fromkeys(citations))


def test_a_recipe_that_was_found_says_on_what():
    recipe = Recipe.from_toml(recipe_from(Config.of(lr=1e-3), "gan", "1,797 digits", "FD 18 → 7: better"))
    assert recipe.applies == "1,797 digits"
    assert recipe.citation == "found by a campaign of maestune on 1,797 digits"
    assert recipe.result == "FD 18 → 7: better"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = [", "is not valid TOML"),
        ('name = "n"\n[settings]', "'title' is missing"),
        ("lr = 0.1", "unknown key 'lr'"),
        (HEAD + "[setting]", "Did you mean settings"),
        (HEAD + "[settings]\nlr = [1]", "settings.lr is \\[1\\]"),
        (HEAD + "[settings]\nlr = nan", "settings.lr is nan"),
        (HEAD + '[settings]\nlr = { rule = "r1_gama" }', "Did you mean r1_gamma"),
        (HEAD + '[settings]\nr1_gamma = 1.0\n[rules]\nr1_gamma = "r1_gamma"', "both a value and a rule"),
        (HEAD + 'confidence = "sure"\n[settings]', "'sure' is none of high, medium, low"),
        (HEAD + 'doubtful = ["lt"]\n[settings]\nlr = 0.1', "'lt', which is no setting. Known: lr"),
        (HEAD + "doubtful = 3\n[settings]", "a list is needed"),
        (HEAD + "applies = 3\n[settings]", "applies is 3; a text is needed"),
        (HEAD + 'settings = "x"', "a table"),
        (HEAD + "[settings]\n[data]\nside = 1.5", "data.side is 1.5; a whole number is needed"),
        (HEAD + "[settings]\n[data]\nsides = 1", "Did you mean side"),
        (HEAD + '[settings]\n[[reported]]\nmetric = "FID"', "needs metric and value"),
        (HEAD + '[settings]\n[[reported]]\nmetric = "FID"\nvalue = true', "reported.value is True; a number"),
        (HEAD + "[settings]\n[networks.mlp]\nwidth = [3]", "settings.width is \\[3\\]"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_named(text, told):
    with pytest.raises(SettingsError, match=f"^mine.toml.*{told}"):
        Recipe.from_toml(text, "mine.toml")


def test_a_campaigns_best_toml_is_not_taken_for_a_recipe():
    with pytest.raises(SettingsError, match="unknown key 'beta1'"):
        Recipe.from_toml("beta1 = 0.5\nlr = 0.001\n")


def test_settings_for_other_networks_lose_the_sizes_that_are_not_theirs():
    recipe = Recipe(
        "r",
        "R",
        "gan",
        Config.of(network="conv", lr=0.1, width=64, depth=3),
        "c",
        networks={"mlp": Config.of(width=128, norm="none")},
    )
    assert recipe.on("conv") == recipe.settings
    assert dict(recipe.on("mlp")) == {"network": "mlp", "lr": 0.1, "width": 128, "norm": "none"}
    assert dict(recipe.on("dit")) == {"network": "dit", "lr": 0.1}


def test_floats_stay_exact():
    recipe = Recipe.from_toml(recipe_from(Config.of(lr=math.pi * 1e-5), "gan", "d"))
    assert recipe.settings["lr"] == math.pi * 1e-5
