"""The pages that are written from the code are as the code has them, and every hyperparameter, signal and picture has its words."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from maestune import recipes
from maestune.data import DataSpec
from maestune.errors import SpaceError
from maestune.execution.model import FAMILIES
from maestune.families import Family, drawer
from maestune.families.words import PARAMETERS, describe
from maestune.quality import DESCRIBED
from maestune.report import labels
from maestune.space import Choice, Float, Fusible, Int, Param, Prior, Role, Space
from maestune.types import Config

DOCS = Path(__file__).parents[1] / "docs"
DIGITS = DataSpec(shape=(1, 8, 8), classes=10)
COLOUR = DataSpec(shape=(3, 28, 28))
CAPTIONS = DataSpec(shape=(3, 16, 16), classes=4, words=20, caption_words=5)
MANY_WORDS = DataSpec(shape=(1, 28, 28), words=1000, caption_words=12)
LARGE = DataSpec(shape=(3, 64, 64), classes=2)
IMAGES = (DIGITS, COLOUR, CAPTIONS, MANY_WORDS, LARGE)
TEXT = (DataSpec(tokens=65),)
NETWORKS = ("mlp", "conv", "dit", "unet")


def _generator(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


tables = _generator("generate_tables")
metrics = _generator("generate_metrics")


def data_of(family: Family) -> tuple[DataSpec, ...]:
    return TEXT if family.modality == "text" else IMAGES


def params(name: str) -> Iterator[Param]:
    """Every parameter of a family, on all kinds of data and networks."""
    family = FAMILIES[name]()
    for spec in data_of(family):
        yield from family.space(spec)
        for network in NETWORKS:
            try:
                yield from family.space(spec, network)
            except SpaceError:
                continue


# --- The pages -------------------------------------------------------------------------------------------------------


def test_pages_are_as_the_code_has_them():
    assert tables.stale(DOCS) == [], "run: make docs"
    assert (DOCS / "metrics.md").read_text(encoding="utf-8") == metrics.page(), "run: make docs"


def test_every_metric_has_its_words():
    for name, measure in DESCRIBED.items():
        assert measure.axis in metrics.AXES
        assert measure.name == name
        assert measure.label
        assert measure.meaning.endswith(".")
        assert measure.citation


def test_a_page_that_is_out_of_date_or_missing_is_found(tmp_path, capsys):
    folder = ["--folder", str(tmp_path)]
    assert tables.main(folder) == 0
    assert tables.main(["--check", *folder]) == 0
    page = tmp_path / "hyperparameters.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("0.0002, low", "0.0003, low"), encoding="utf-8")
    assert tables.main(["--check", *folder]) == 1
    assert "hyperparameters.md is out of date" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") != text  # the check mends nothing
    page.write_text(text, encoding="utf-8")
    (tmp_path / "recipes.md").unlink()
    assert tables.stale(tmp_path) == ["recipes.md"]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of a page's tables, heads left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row[0].startswith("`")]


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level."""
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_of_every_family_has_a_row_with_all_of_its_cells(name):
    found = rows(section(tables.hyperparameters(), tables.TITLES[name]))
    assert {row[0].strip("`") for row in found} == {param.name for param in params(name)}
    for row in found:
        assert len(row) == len(tables.HEAD)
        assert row[1] == describe(row[0].strip("`"), name)
        assert row[2]
        assert row[5] in list(Role)
        assert row[7] in ("yes", "no", "when on")


@dataclass(frozen=True)
class Example(Family):
    """A family whose space depends on network, size and labels in all the ways in which spaces may."""

    name: str = "gan"
    fusible: Fusible = field(default=Fusible(frozenset({"rate"}), frozenset({"noise"})))

    def space(self, spec: DataSpec, network: str | None = None) -> Space:
        side = spec.image[1]
        network = network or ("mlp" if side < 20 else "conv")
        if network not in ("mlp", "conv"):
            raise SpaceError(network)
        found: list[Param] = [
            Choice("network", (network,)),
            Float("rate", 1e-5, 1e-2, scale="log", prior=Prior(2e-4, "high", "A 2020, arXiv 2001.00001")),
            Float("noise", 0.1, 0.5, off=0.0, role=Role.REGULARISATION, when={"network": ("mlp", "conv")}),
            Int("depth", 1, 2 if network == "mlp" else 3, prior=Prior(1 if side == 8 else 2, "low")),
        ]
        if spec.classes:
            found.append(Choice("labelled", ("none", "a|b"), prior=Prior("none")))
        if spec.words and side == 64:
            found.append(Choice("worded", (1, 2), ordered=True, unit="words"))
        return Space(tuple(found))


def test_rows_say_what_the_space_says_and_on_which_data():
    text = tables.family_tables("gan", Example())
    shared, mlp, conv = (rows(part) for part in re.split("\n### ", text)[1:])
    assert "`mlp` for 8 × 8 pixels; `conv` for 28 × 28 and 64 × 64 pixels" in text
    cells = {row[0]: row[2:] for row in shared}
    arxiv = "A 2020, [arXiv 2001.00001](https://arxiv.org/abs/2001.00001)"
    assert cells == {
        "`rate`": ["1e-5 to 0.01, log", "", "0.0002, high", "optimizer", "", "yes", arxiv],
        "`noise`": ["0.1 to 0.5", "0", "–", "regularisation", "network is mlp or conv", "when on", ""],
        "`labelled`": [r"none, a\|b", "none", "none, medium", "architecture", "with labels", "no", ""],
        "`worded`": ["1, 2 (words)", "", "–", "architecture", "64 × 64 pixels with captions", "no", ""],
    }
    starts = "1, low: 8 × 8 pixels<br>2, low: 28 × 28 or 64 × 64 pixels"
    assert [row[2:] for row in mlp] == [
        ["mlp", "", "mlp", "architecture", "", "no", ""],
        ["1 to 2", "", starts, "architecture", "", "no", ""],
    ]
    assert [row[2] for row in conv] == ["conv", "1 to 3"]


def test_every_recipe_and_every_shift_of_a_domain_has_a_row():
    text = tables.recipes_and_domains()
    for name in FAMILIES:
        found = {row[0].strip("`"): row for row in rows(section(text, tables.TITLES[name]))}
        known = {recipe.name: recipe for recipe in recipes.catalogue().values() if recipe.family == name}
        assert found.keys() == known.keys()
        for recipe in known.values():
            assert found[recipe.name][1:3] == [recipe.title, recipe.applies]
            assert all(f"{r.value:.6g}" in found[recipe.name][3] for r in recipe.reported)
    for domain in recipes.domains().values():
        part = text.split(f"### {domain.title} (`{domain.name}`)\n", 1)[1].split("\n### ", 1)[0]
        assert len(rows(part)) == sum(len(change.families) for change in domain.changes)
        assert all(change.reason in part for change in domain.changes)
        assert all(advice.text in part for advice in domain.advice)


def test_shifts_are_what_becomes_of_our_spaces():
    domain = recipes.find_domain("medical")
    rate = next(change for change in domain.changes if change.parameter == "lr")
    assert tables._shift(domain, rate, "vae") == "range 0.0001:0.004 instead of 0.0001:0.01"


# --- Words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_on_every_kind_of_data_and_network_has_a_sentence(name):
    for param in params(name):
        words = describe(param.name, name)
        assert words, f"{name}.{param.name} has no words in families/words.py"
        assert words[0].isupper()
        assert words.endswith(".")
        assert ". " not in words, f"{name}.{param.name}: more than one sentence"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_word_that_can_be_chosen_is_explained(name):
    for param in params(name):
        if isinstance(param, Choice):
            words = describe(param.name, name)
            for value in param.values:
                if isinstance(value, str):
                    assert re.search(rf"(?<![\w+]){re.escape(value)}(?![\w+])", words), f"{name}.{param.name}: {value}"


def test_no_words_are_left_for_parameters_that_are_gone():
    used = {f"{name}.{param.name}" for name in FAMILIES for param in params(name)}
    for key in PARAMETERS:
        if "." in key:
            assert key in used
        else:  # at least one family has it that says nothing of its own
            assert any(u.endswith(f".{key}") and u not in PARAMETERS for u in used), key


def test_words_are_the_familys_own_where_a_name_means_something_else_there():
    assert describe("width", "lm") != describe("width", "gan") == describe("width", "vae")
    assert "images" in describe("batch_size", "vae")
    assert "text" in describe("batch_size", "lm")
    assert describe("mine", "gan") == ""


# --- What models tell of themselves ----------------------------------------------------------------------------------


def batch_of(family: Family, config: Config, spec: DataSpec) -> dict[str, torch.Tensor]:
    n, generator = int(config.number("batch_size")), torch.Generator().manual_seed(0)
    if family.modality == "text":
        shape = (n, int(config.number("context")) + 1)
        return {"tokens": torch.randint(spec.tokens, shape, generator=generator)}
    caption = torch.randint(1, spec.words, (n, spec.caption_words), generator=generator) if spec.words else None
    batch = {
        "image": torch.rand((n, *spec.image), generator=generator) * 2 - 1,
        "label": torch.randint(max(spec.classes, 1), (n,), generator=generator),
    }
    return batch if caption is None else {**batch, "caption": caption}


CAPTIONED = DataSpec(shape=(1, 8, 8), classes=4, words=20, caption_words=5)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_signal_and_every_picture_has_words(name):
    family = FAMILIES[name]()
    spec = TEXT[0] if family.modality == "text" else CAPTIONED
    space = family.space(spec)
    has = [param.name for param in space]
    # What tells most: a spread of pixels is told where there is one.
    config = space.complete({"likelihood": "gaussian"} if "likelihood" in has else {})
    generator = torch.Generator().manual_seed(0)
    model, hyper = family.build(config, spec, generator), family.hyper(config, 0.5)
    batch = batch_of(family, config, spec)
    noise = {player.name: drawer(player.noise)(generator) for player in family.players(config, spec)}
    for signal in family.signals(model, batch, hyper, noise):
        assert signal in labels.SIGNALS, f"{name}: the signal {signal} has no words in report/labels.py"
    for exhibit in family.exhibits(model, hyper, batch, generator):
        title, reading = labels.exhibit(exhibit)
        assert title
        assert reading, f"{name}: the pictures {exhibit} have no words in report/labels.py"
