"""Writes docs/hyperparameters.md and docs/recipes.md from the code: `python docs/generate_tables.py`.

With `--check` it writes nothing, and ends with 1 where one of them is out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maestune import recipes
from maestune.data import DataSpec
from maestune.errors import SpaceError
from maestune.execution.model import FAMILIES
from maestune.families import Family
from maestune.families.words import describe
from maestune.recipes.domains import Change, Domain, apply_domain
from maestune.recipes.recipe import CONFIDENCES, Recipe, Reported
from maestune.space import Choice, Float, Param
from maestune.types import Value

HERE = Path(__file__).parent
NOTHING = "–"

TITLES: Mapping[str, str] = {
    "gan": "Generative adversarial networks (`gan`)",
    "vae": "Variational autoencoders (`vae`)",
    "lm": "Language models (`lm`)",
    "flow": "Flows, of captions or labels where the data have them (`flow`)",
}
NETWORKS: Mapping[str, str] = {
    "mlp": "Dense networks (`network=mlp`)",
    "conv": "Convolutions (`network=conv`)",
    "dit": "Transformers over patches (`network=dit`)",
    "unet": "U-Nets (`network=unet`)",
}

# The kinds of data that a space may depend on; a size stands for those like it.
SIDES: Mapping[int, str] = {8: "8 × 8", 28: "28 × 28", 64: "64 × 64"}
ASKED: Mapping[str, DataSpec] = {
    "neither labels nor captions": DataSpec(),
    "labels": DataSpec(classes=10),
    "captions of 20 different words": DataSpec(words=20, caption_words=5),
    "captions of 1,000 different words": DataSpec(words=1000, caption_words=16),
}


@dataclass(frozen=True)
class Case:
    """One kind of data: the side of its images (0: text), what they come with, and what networks are told of it."""

    side: int
    asked: str
    spec: DataSpec


IMAGES = tuple(
    Case(side, asked, replace(spec, shape=(1, side, side))) for side in SIDES for asked, spec in ASKED.items()
)
TEXT = (Case(0, "", DataSpec(tokens=65)),)


@dataclass(frozen=True)
class Found:
    """A parameter with its definitions, each with the data for which it is this one; `every`: all data there are."""

    variants: tuple[tuple[Param, tuple[Case, ...]], ...]
    every: tuple[Case, ...]

    @property
    def name(self) -> str:
        """Its name, the same in all definitions."""
        return self.variants[0][0].name

    def only(self) -> str:
        """The data that have it, in words; "" where all."""
        return _words([case for _, some in self.variants for case in some], self.every)

    def cell(self, told: Callable[[Param], str]) -> str:
        """What is told of it; where data differ in that, of each."""
        texts: dict[str, list[Case]] = {}
        for param, some in self.variants:
            texts.setdefault(told(param), []).extend(some)
        if len(texts) == 1:
            return next(iter(texts))
        return "<br>".join(f"{text}: {_words(some, self.every)}" for text, some in texts.items() if text)


# --- Hyperparameters -------------------------------------------------------------------------------------------------

HYPERPARAMETERS = """# Hyperparameters

Every hyperparameter of every family, written down from the code by `python docs/generate_tables.py`.

- **Range**: what is searched, with its scale and unit. On a log scale every factor has the same share, on a logit scale (decays close
  to 1) every factor of the distance from 1. `--range NAME=LOW:HIGH` changes the range, `--set NAME=VALUE` fixes a value, also one outside
  of it. What has one value alone is not searched.
- **Off**: the value with which it is not used. A number that can be off is so in a quarter of all configurations drawn evenly.
- **Start**: the value of the first trial, which is the centre of the prior, and how sure the prior is of it (low, medium or high
  confidence). *Draws*: where practice has moved on since, the search draws its other configurations around
  that. `--recipe NAME` starts from another published setting ([recipes.md](recipes.md)), and `--domain NAME` from what a
  kind of data asks for. The learning rate is published for some length of training: draws for trainings of another length are centred
  elsewhere, by the power law of [Bjorck et al. 2024](https://arxiv.org/abs/2409.19913); a campaign's notes tell where.
- **Active**: on which other values, or on which data, it depends whether it is there. Empty: always.
- **In a group**: whether it may differ among configurations that are trained as one fused step. *When on*: it may, but all of a group
  have it on, or all have it off.
- **Source**: where start and range come from.

A step is one batch of data shown, and shares of the training are shares of a full one. What depends on the data is shown for
images of 8 × 8, 28 × 28 and 64 × 64 pixels, with labels, with captions and with neither.
"""

HEAD = ("Parameter", "What it does", "Range", "Off", "Start", "Role", "Active", "In a group", "Source")


def hyperparameters() -> str:
    """All of docs/hyperparameters.md."""
    return "\n".join([HYPERPARAMETERS, *(family_tables(name, make()) for name, make in FAMILIES.items())])


def family_tables(name: str, family: Family) -> str:
    """One family: what all its networks have, then what each has of its own."""
    spaces = {network: _variants(family, network) for network in networks(family)}
    first = next(iter(spaces.values()))
    shared = [f for f in first if all(f in variants for variants in spaces.values())]
    parts = [f"## {TITLES[name]}\n", *([_told(family)] if len(spaces) > 1 else [])]
    if len(spaces) == 1:
        return "\n".join([*parts, _table(name, family, first)])
    parts += ["### All networks\n", _table(name, family, shared)]
    for network, variants in spaces.items():
        own = [f for f in variants if f not in shared]
        parts += [f"### {NETWORKS[str(network)]}\n", _table(name, family, own)]
    return "\n".join(parts)


def networks(family: Family) -> tuple[str | None, ...]:
    """The kinds of networks that a family can be told to have; None alone where there is nothing to choose."""
    found = tuple(n for n in NETWORKS if any(_space(family, case, n) is not None for case in cases(family)))
    return found or (None,)


def cases(family: Family) -> tuple[Case, ...]:
    """The kinds of data that a family learns from."""
    return TEXT if family.modality == "text" else IMAGES


def _space(family: Family, case: Case, network: str | None) -> tuple[Param, ...] | None:
    try:
        return tuple(family.space(case.spec, network))
    except SpaceError:
        return None


def _told(family: Family) -> str:
    """Which networks are taken where nobody says."""
    chosen: dict[str, list[int]] = {}
    for side in SIDES:
        case = next(case for case in cases(family) if case.side == side)
        network = next(p for p in family.space(case.spec) if p.name == "network")
        assert isinstance(network, Choice)
        chosen.setdefault(str(network.values[0]), []).append(side)
    told = "; ".join(f"`{network}` for {_sizes(sides, 'and')}" for network, sides in chosen.items())
    return f"Unless `--set network=…` says otherwise: {told}.\n"


def _variants(family: Family, network: str | None) -> list[Found]:
    """Every parameter with all its definitions, in the order of the spaces."""
    spaces = {case: _space(family, case, network) or () for case in cases(family)}
    order: list[str] = []
    for space in spaces.values():
        names = [param.name for param in space]
        for name in names:
            if name not in order:  # behind the one that it follows there
                before = [order.index(other) for other in names[: names.index(name)]]
                order.insert(max(before, default=-1) + 1, name)
    return [_found(name, spaces) for name in order]


def _found(name: str, spaces: Mapping[Case, tuple[Param, ...]]) -> Found:
    defined = {case: param for case, space in spaces.items() for param in space if param.name == name}
    different: list[Param] = []  # parameters hold mappings, and have no hash
    for param in defined.values():
        if param not in different:
            different.append(param)
    variants = ((param, tuple(case for case, other in defined.items() if other == param)) for param in different)
    return Found(tuple(variants), tuple(spaces))


def _words(some: Sequence[Case], every: Sequence[Case]) -> str:
    """Which data these are, in words; "" where all."""
    if len(some) == len(every):
        return ""
    sides, asked = ({getattr(case, axis) for case in some} for axis in ("side", "asked"))
    if len(some) != len(sides) * len(asked):  # no rectangle of sizes and kinds: one size after the other
        return "; ".join(_words([c for c in some if c.side == side], every) for side in SIDES if side in sides)
    sizes = "" if len(sides) == len(SIDES) else _sizes([side for side in SIDES if side in sides], "or")
    if len(asked) == len(ASKED):
        return sizes
    kinds = [kind for kind in ASKED if kind in asked]
    captions = [kind for kind in ASKED if kind.startswith("captions")]
    if set(captions) <= asked:
        kinds = [kind for kind in kinds if kind not in captions] + ["captions"]
    return f"{sizes} with {_listed(kinds, 'or')}".strip()


def _sizes(sides: Iterable[int], last: str) -> str:
    return f"{_listed([SIDES[side] for side in sides], last)} pixels"


def _table(name: str, family: Family, found: Sequence[Found]) -> str:
    return _markdown(HEAD, [_row(name, family, f) for f in found])


def _row(name: str, family: Family, found: Found) -> tuple[str, ...]:
    active = filter(None, [found.cell(_conditions), found.only()])
    return (
        f"`{found.name}`",
        describe(found.name, name),
        *map(found.cell, (_range, _off, _start, lambda param: str(param.role))),
        ", ".join(active),
        found.cell(lambda param: _grouped(family, param)),
        found.cell(_sources),
    )


def _conditions(param: Param) -> str:
    when = param.when.items()
    return ", ".join(f"{parent} is {_listed(map(_value, values), 'or')}" for parent, values in when)


def _range(param: Param) -> str:
    unit = f" ({param.unit})" if param.unit else ""
    if isinstance(param, Choice):
        return ", ".join(map(_value, param.values)) + unit
    scale = "" if param.scale == "linear" else f", {param.scale}"
    return f"{_value(param.low)} to {_value(param.high)}{scale}{unit}"


def _off(param: Param) -> str:
    if isinstance(param, Choice):
        return "none" if "none" in param.values else ""
    off = param.off if isinstance(param, Float) else None
    return "" if off is None else _value(off)


def _sources(param: Param) -> str:
    prior = param.prior
    if prior is None:
        return ""
    since = "" if prior.practice is None else f"; since: {linked(prior.practice.citation)}"
    return linked(prior.citation) + since


def _start(param: Param) -> str:
    if param.prior is not None:
        since = param.prior.practice
        drawn = "" if since is None else f"; draws: {_value(since.centre)}, {since.confidence}"
        return f"{_value(param.prior.centre)}, {param.prior.confidence}{drawn}"
    return _value(param.values[0]) if isinstance(param, Choice) and param.points == 1 else NOTHING


def _grouped(family: Family, param: Param) -> str:
    if param.name in family.fusible.numbers:
        return "yes"
    switched = isinstance(param, Float) and param.off is not None and param.name in family.fusible.switches
    return "when on" if switched else "no"


# --- Recipes and domains ---------------------------------------------------------------------------------------------

RECIPES = """# Recipes and domains

What is known, written down from `src/maestune/recipes` by `python docs/generate_tables.py`.

A **recipe** is a published setting: `--recipe NAME` makes it the centre of the priors and the first trial; `maestune recipes NAME` shows
its values and how they were brought to our parameters. What it was published for is mostly larger than what a campaign trains, so that its
result is no promise. **Known** says how surely its settings are known, and the word behind a result how surely that is:

{known}

A **domain** is a kind of data or of use: `--domain NAME` shifts ranges and priors, each shift with its reason.
`maestune cite NAME` prints the BibTeX of a recipe.
"""
DOMAINS = """## Domains

**Shift** is what becomes of the model's own space ([hyperparameters.md](hyperparameters.md)); – where it has nothing to shift. What
`--set` and `--range` say comes after it.
"""


def recipes_and_domains() -> str:
    """All of docs/recipes.md."""
    known = "\n".join(f"- {sure}: {how}" for sure, how in CONFIDENCES.items())
    parts = [RECIPES.format(known=known)]
    head = ("Recipe", "What", "For", "Reported", "Known", "Source")
    for family in FAMILIES:
        found = [recipe for recipe in recipes.catalogue().values() if recipe.family == family]
        parts += [f"## {TITLES[family]}\n", _markdown(head, [_recipe(recipe) for recipe in found])]
    parts.append(DOMAINS)
    parts += [_domain(domain) for domain in recipes.domains().values()]
    return "\n".join(parts)


def _recipe(recipe: Recipe) -> tuple[str, ...]:
    doubtful = f"; low for {_listed([f'`{name}`' for name in recipe.doubtful], 'and')}" if recipe.doubtful else ""
    return (
        f"`{recipe.name}`",
        recipe.title,
        recipe.applies,
        "<br>".join(_reported(recipe, reported) for reported in recipe.reported) or NOTHING,
        recipe.confidence + doubtful,
        "<br>".join(map(linked, recipe.citations)),
    )


def _reported(recipe: Recipe, reported: Reported) -> str:
    data = reported.data or recipe.data.set
    return f"{reported.metric}: {_value(reported.value)}{f' on {data}' if data else ''} ({reported.confidence})"


def _domain(domain: Domain) -> str:
    changes = [
        (f"`{family}`", f"`{change.parameter}`", _shift(domain, change, family), change.reason, linked(change.source))
        for change in domain.changes
        for family in change.families
    ]
    advice = [
        f"- {a.text}{f' ({linked(a.source)})' if a.source else ''}."
        + (f" For {_listed([f'`{family}`' for family in a.families], 'and')}." if a.families else "")
        for a in domain.advice
    ]
    return "\n".join(
        [
            f"### {domain.title} (`{domain.name}`)\n",
            f"Applies to: {domain.applies}.\n",
            _markdown(("Family", "Parameter", "Shift", "Why", "Source"), changes),
            *([*advice, ""] if advice else []),
        ]
    )


def _shift(domain: Domain, change: Change, family: str) -> str:
    """What a change makes of the family's own spaces, in the words in which a campaign tells it."""
    alone, made = replace(domain, changes=(change,), advice=()), FAMILIES[family]()
    told = [apply_domain(alone, made.space(case.spec), family)[1] for case in cases(made)]
    behind = f": {change.reason} ({change.source})."
    shifts = [note.removesuffix(behind).removeprefix(f"{change.parameter} ") for notes in told for note in notes]
    return "<br>".join(dict.fromkeys(shifts)) or NOTHING


# --- Text ------------------------------------------------------------------------------------------------------------

_NUMBERED = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})|doi[: ](10\.\d{4,}/[^\s;,]+)")


def linked(citation: str) -> str:
    """A citation with its arXiv numbers and DOIs as links.

    >>> linked("Yao 2020, arXiv 2001.00001")
    'Yao 2020, [arXiv 2001.00001](https://arxiv.org/abs/2001.00001)'
    """

    def link(match: re.Match[str]) -> str:
        to = f"https://arxiv.org/abs/{match[1]}" if match[1] else f"https://doi.org/{match[2]}"
        return f"[{match[0]}]({to})"

    return _NUMBERED.sub(link, citation)


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    return re.sub(r"e([+-])0+", r"e\1", f"{value:.6g}").replace("e+", "e")


def _listed(items: Iterable[str], last: str) -> str:
    """Items as people list them: a, b and c."""
    *head, tail = items
    return f"{', '.join(head)} {last} {tail}" if head else tail


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *map(line, rows), ""])


def pages() -> Iterator[tuple[str, str]]:
    """The files that are written, by name, with their text."""
    yield "hyperparameters.md", hyperparameters()
    yield "recipes.md", recipes_and_domains()


def stale(folder: Path) -> list[str]:
    """The names of those pages in a folder that are not as the code has them, or missing."""
    found: list[str] = []
    for name, text in pages():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            found.append(name)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or check them; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/hyperparameters.md and docs/recipes.md from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 where a page is out of date")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the pages are (docs)")
    given = parser.parse_args(arguments)
    if given.check:
        old = stale(given.folder)
        for name in old:
            print(f"{given.folder / name} is out of date; run: python docs/generate_tables.py", file=sys.stderr)
        return 1 if old else 0
    for name, text in pages():
        (given.folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
