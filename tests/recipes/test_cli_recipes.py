import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from maestune.api import tune
from maestune.cli import recipes as commands
from maestune.errors import MaestuneError, SettingsError
from maestune.recipes import catalogue, domains, find
from maestune.recipes.bibliography import read_bibtex
from maestune.space import Float, Prior, Space
from maestune.types import Report

app = typer.Typer(pretty_exceptions_enable=False)
for command in (commands.recipes, commands.domains, commands.cite):
    app.command()(command)


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "100"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def training(config, run):
    yield Report(run.until_steps, scores={"miss": abs(config["x"] - 0.3)}, state=dict)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes") / "campaign"
    space = Space((Float("x", 0.0, 1.0, prior=Prior(0.8, "low", "Lucic et al. 2018, arXiv 1711.10337")),))
    tune(training, space, verbose=False, budget="6trials", objective="miss:min", workers=0, out=str(folder))
    return folder


def test_all_recipes_are_listed_by_name_and_by_family():
    assert [r["name"] for r in json.loads(run("recipes", "--json"))] == list(catalogue())
    listed = run("recipes")
    assert all(name in listed for name in catalogue())
    of_texts = run("recipes", "--family", "lm")
    assert "pythia-70m" in of_texts
    assert "dcgan" not in of_texts
    with pytest.raises(SettingsError, match="Did you mean vae"):
        run("recipes", "--family", "vaee")


@pytest.mark.parametrize("name", ["stylegan2-ada", "wgan-gp-resnet", "dcgan", "nanogpt-cpu"])
def test_a_recipe_is_shown_with_its_values_units_and_doubts(name):
    recipe, shown = find(name), " ".join(run("recipes", name).split())
    for part in (*recipe.settings, *recipe.rules, recipe.title, recipe.notes):
        assert part in shown
    assert all(" ".join(text.split()[:3]) in shown for text in (*recipe.units.values(), *recipe.beyond.values()))
    assert shown.count("from memory") == len(recipe.doubtful)
    data = json.loads(run("recipes", name, "--json"))
    assert data["settings"] == dict(recipe.settings)
    assert data["bibtex"]


def test_markup_in_a_recipe_is_shown_as_it_is(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(find("dcgan").to_toml().replace('title = "DCGAN"', 'title = "[red]x[/red] [/nothing]"'))
    assert "[red]x[/red] [/nothing]" in run("recipes", path)


def test_domains_are_listed_and_shown():
    assert [d["name"] for d in json.loads(run("domains", "--json"))] == list(domains())
    listed = run("domains")
    assert all(name in listed for name in domains())
    shown = " ".join(run("domains", "medical").split())
    assert "gan r1_gamma" in shown
    assert "segmentation" in shown
    assert json.loads(run("domains", "medical", "--json"))["changes"][0]["upper"] == 0.4
    with pytest.raises(SettingsError, match="Did you mean medical"):
        run("domains", "medicl")


def test_what_a_campaign_rests_on_is_cited(folder):
    keys = {entry.key for entry in read_bibtex(run("cite", folder))}
    assert {"maestune", "lucic2018are"} <= keys
    data = json.loads(run("cite", folder, "--json"))
    assert "Lucic et al. 2018, arXiv 1711.10337" in data["citations"]
    assert {entry["key"] for entry in data["entries"]} == keys


def test_a_recipe_is_cited_with_its_own_bibtex(tmp_path):
    assert "huang2024gan" in run("cite", "r3gan")
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\ntitle = "Own"\nfamily = "gan"\ncitation = "Nobody 1999\\u001b[31m"\n'
        'bibtex = "@misc{me, title = {Mine}}"\n[settings]\nlr = 0.1\n'
    )
    told = run("cite", path)
    assert "@misc{me, title = {Mine}}" in told
    assert "% no entry for: Nobody 1999" in told
    assert "\x1b" not in told
    with pytest.raises(SettingsError, match=r"neither a folder of a campaign nor a recipe\. Did you mean r3gan"):
        run("cite", "r3gam")


def test_what_a_campaign_found_becomes_a_recipe(folder, tmp_path):
    path = tmp_path / "found.toml"
    assert str(path) in run("recipes", "--from", folder, "--save", path)
    recipe = find(str(path))
    assert recipe.name == "found"
    assert abs(recipe.settings["x"] - 0.3) < 0.5
    assert recipe.result
    assert "Lucic et al. 2018, arXiv 1711.10337" in recipe.related
    assert "lucic2018are" in run("cite", path)
    with pytest.raises(SettingsError, match="exists already"):
        run("recipes", "--from", folder, "--save", path)
    other = tmp_path / "other.toml"
    assert json.loads(run("recipes", "--from", folder, "--save", other, "--title", "Mine", "--json"))["title"] == "Mine"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--save", "x.toml"), "give both"),
        (("dcgan", "--from", ".", "--save", "x.toml"), "give both"),
        (("--from", ".", "--save", "x.txt"), r"must end in \.toml"),
        (("--from", "nowhere", "--save", "x.toml"), "No folder nowhere"),
        (("dcgann",), "Did you mean dcgan"),
    ],
)
def test_what_cannot_be_is_told(arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MaestuneError, match=told):
        run("recipes", *arguments)
    assert not list(Path.cwd().iterdir())


def test_a_campaign_without_a_best_is_told(folder, tmp_path):
    best = folder / "best.toml"
    kept = best.read_text()
    best.unlink()
    try:
        with pytest.raises(SettingsError, match="no best configuration yet"):
            run("recipes", "--from", folder, "--save", tmp_path / "none.toml")
    finally:
        best.write_text(kept)
