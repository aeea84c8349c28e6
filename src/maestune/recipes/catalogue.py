"""The recipes by name: those that come with the package, and a person's own in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from maestune.errors import SettingsError, did_you_mean
from maestune.recipes.bibliography import bibtex, cite
from maestune.recipes.recipe import Recipe

FAMILIES = ("gan", "vae", "lm", "flow")


@cache
def catalogue() -> Mapping[str, Recipe]:
    """All recipes that come with the package, by name, family by family."""
    found: dict[str, Recipe] = {}
    for family in FAMILIES:
        folder = files("maestune.recipes") / family
        for file in sorted(folder.iterdir(), key=lambda f: f.name.removesuffix(".toml")):
            if file.name.endswith(".toml"):
                recipe = Recipe.from_toml(file.read_text(encoding="utf-8"), where=f"recipe {family}/{file.name}")
                found[recipe.name] = recipe
    return found


def find(name_or_path: str, family: str | None = None) -> Recipe:
    """A recipe by its name, or a person's own from a TOML file; for a `family`, where one is given.

    Raises SettingsError, with the nearest names, where there is none, and where it is for another family.

    >>> find("dcgan").settings["lr"]
    0.0002
    """
    if name_or_path.endswith(".toml"):
        recipe = _read(Path(name_or_path))
    elif name_or_path in catalogue():
        recipe = catalogue()[name_or_path]
    else:
        near = [name for name, r in catalogue().items() if family in (None, r.family)] or list(catalogue())
        raise SettingsError(
            f"There is no recipe {name_or_path!r}. {did_you_mean(name_or_path, near)} `maestune recipes` lists them; "
            "one of your own is a file that ends in .toml."
        )
    if family is not None and recipe.family != family:
        others = [name for name, r in catalogue().items() if r.family == family]
        there = f" Recipes for {family}: {', '.join(others)}." if others else ""
        raise SettingsError(f"The recipe {recipe.name} is for {recipe.family}, not for {family}.{there}")
    return recipe


def bibtex_of(names: Iterable[str]) -> str:
    """BibTeX of what is named: recipes (by name or file) and citations as they stand in reports. Each entry once."""
    texts: list[str] = []
    own: list[str] = []
    for name in names:
        if name in catalogue() or name.endswith(".toml"):
            recipe = find(name)
            texts += recipe.citations
            own += [recipe.bibtex.strip()] if recipe.bibtex.strip() else []
        else:
            texts.append(name)
    return "\n\n".join(dict.fromkeys([*(bibtex(entry) for entry in cite(texts)), *own]))


def _read(path: Path) -> Recipe:
    try:
        return Recipe.from_toml(path.read_text(encoding="utf-8"), where=str(path))
    except FileNotFoundError as error:
        raise SettingsError(f"No file {path}; a recipe of your own is a TOML file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
