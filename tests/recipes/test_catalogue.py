import pytest
from recipe_spaces import names, side, spaces

from maestune.errors import SettingsError
from maestune.recipes import Case, apply, bibtex_of, catalogue, cite, find, unknown
from maestune.recipes.catalogue import FAMILIES
from maestune.recipes.recipe import Recipe

RECIPES = list(catalogue().values())
by_name = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)

ASKED_FOR = {
    "gan": "dcgan dcgan-cond lsgan wgan wgan-gp dragan ttur-wgan-gp sngan sagan biggan biggan-diffaugment cr-gan bcr-gan "
    "stylegan2-ada r3gan mescheder-r1",
    "vae": "vae-mlp vae-conv vae-pythae iwae beta-vae cyclical free-bits annealed-vae",
    "lm": "nanogpt-cpu nanogpt-shakespeare gpt2-124m minigpt pythia-70m opt-125m lm-ladder",
    "flow": "ot-cfm-cifar dit ddpm-cifar edm-cifar sit cfg",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_catalogue_has_the_published_settings_of_every_family(family):
    assert set(ASKED_FOR[family].split()) <= {r.name for r in RECIPES if r.family == family}


@by_name
def test_every_setting_is_a_parameter_of_its_family_or_named_as_beyond_it(recipe):
    variants = {name for settings in recipe.networks.values() for name in settings}
    for name in {*recipe.settings, *recipe.rules, *variants}:
        assert name in names(recipe.family) or name in recipe.beyond, name


@by_name
def test_every_recipe_is_a_point_of_every_space_of_its_family(recipe):
    for spec, space in spaces(recipe.family):
        applied = apply(recipe, space, Case(side=side(spec), tokens=spec.tokens or None))
        assert applied.space.check(applied.config) == applied.space.centre()


@by_name
def test_every_value_is_one_that_some_space_can_be_told(recipe):
    # Words that no space knows would be silently useless; numbers may be beyond small machines.
    for name, value in recipe.settings.items():
        params = [space[name] for _, space in spaces(recipe.family) if name in [p.name for p in space]]
        if isinstance(value, str) and params:
            assert any(value in getattr(param, "values", ()) for param in params) or name in recipe.beyond, (
                name,
                value,
            )


@by_name
def test_every_recipe_says_what_it_is_for_and_where_it_comes_from(recipe):
    assert recipe.title
    assert recipe.applies
    assert "/" in recipe.source or "notes on" in recipe.source
    assert unknown(recipe.citations) == ()
    assert cite([recipe.citation])


@by_name
def test_recipes_survive_being_written(recipe):
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_what_was_not_seen_at_the_source_is_not_told_as_if_it_was():
    ddpm = find("ddpm-cifar")
    assert [r.confidence for r in ddpm.reported] == ["low"]
    assert find("wgan-gp-resnet").prior("latent_dim").confidence == "low"
    assert find("wgan-gp-resnet").prior("lr").confidence == "medium"
    assert find("beta-vae").prior("lr").confidence == "low"  # a repetition by others


def test_names_are_found_with_help():
    with pytest.raises(SettingsError, match="Did you mean sngan"):
        find("sngann")
    with pytest.raises(SettingsError, match=r"for gan, not for vae.*vae-mlp"):
        find("dcgan", "vae")
    with pytest.raises(SettingsError, match="No file"):
        find("nowhere/mine.toml")


def test_a_recipe_of_ones_own_is_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(find("dcgan").to_toml().replace('name = "dcgan"', 'name = "mine"'), encoding="utf-8")
    assert find(str(path), "gan").name == "mine"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        find(str(path))


def test_bibtex_of_recipes_and_citations_has_each_entry_once(tmp_path):
    text = bibtex_of(["dcgan", "dcgan-cond", "Radford et al. 2016, arXiv 1511.06434"])
    assert text.count("@inproceedings{radford2016unsupervised,") == 1
    assert "mirza2014conditional" in text
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\ntitle = "Own"\nfamily = "gan"\ncitation = "Me 2026"\n'
        'bibtex = "@misc{me, title = {Mine}}"\n[settings]\nlr = 0.1\n'
    )
    assert bibtex_of([str(path)]) == "@misc{me, title = {Mine}}"
