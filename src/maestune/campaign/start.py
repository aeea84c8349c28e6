"""Where a campaign starts: the space, its centre a published setting, bent by domains and by what the person fixes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maestune.campaign.settings import Settings
from maestune.data import Data
from maestune.errors import SettingsError
from maestune.execution.model import UserTraining, recipe_of, spec_for
from maestune.families.base import Family
from maestune.families.lm import LM
from maestune.families.lm.family import decoding_freed
from maestune.recipes import Case, Recipe, apply, apply_domain, find, find_domain
from maestune.space import Space


@dataclass(frozen=True)
class Start:
    """The space that is searched, from its centre on. `name`: what people call that centre."""

    space: Space
    name: str
    citations: tuple[str, ...]
    notes: tuple[str, ...]  # what of a recipe could not be as published, and what domains changed


def start_of(settings: Settings, user_model: UserTraining | None, family: Family | None, data: Data | None) -> Start:
    """The start that settings ask for: a space of their own, or that of the model with recipe and domains applied.

    `--set` and `--range` come last. Raises SettingsError when then nothing is left to search.
    """
    recipe = _recipe(settings, family)
    citations = list(recipe.citations) if recipe is not None else []
    notes: list[str] = []
    if settings.space is not None:  # recipe and domains are in it already, when it was written down by a campaign
        space = Space.from_dict(settings.space)
    elif family is not None:
        spec = spec_for(family, data)
        network = settings.set.get("network")
        space = family.space(spec, network if isinstance(network, str) else None)
        if settings.recipe is not None and recipe is not None:
            side = max(spec.shape[1:]) if spec.shape else None
            applied = apply(
                recipe, space, Case(side=side, n_train=data.size if data else None, tokens=spec.tokens or None)
            )
            space = applied.space
            notes += applied.notes
        for name in settings.domain:
            domain = find_domain(name)
            space, told = apply_domain(domain, space, family.name)
            notes += told
            citations += domain.citations
    else:
        assert user_model is not None
        assert user_model.space is not None
        space = user_model.space
    for name, value in settings.set.items():
        space = space.fix(name, value)
    if isinstance(family, LM):
        space = decoding_freed(space, settings.range)  # who gives a range for how texts are drawn wants it searched
    for name, (low, high) in settings.range.items():
        space = space.restrict(name, low, high)
    if not space.varying:
        raise SettingsError(
            "Every parameter of the space is fixed, so there is nothing to search; release one (drop a --set)."
        )
    return Start(space, _name(settings, recipe), tuple(citations), tuple(notes))


def located(name: str) -> str:
    """A name of ours as it is, or a path that holds from every folder."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def _recipe(settings: Settings, family: Family | None) -> Recipe | None:
    if settings.recipe is None:
        return recipe_of(settings.model)
    if family is None:
        raise SettingsError(
            f"--recipe {settings.recipe}: a training of your own has a space of its own; put the values into its priors."
        )
    return find(settings.recipe, family.name)


def _name(settings: Settings, recipe: Recipe | None) -> str:
    if recipe is None or (settings.space is not None and settings.recipe is None):
        return "the starting configuration"
    options = {"--domain": settings.domain, "--set": settings.set, "--range": settings.range}
    changed = [option for option, given in options.items() if given]
    return f'the recipe "{recipe.title}"' + (f" as changed by {' and '.join(changed)}" if changed else "")
