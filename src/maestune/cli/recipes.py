"""`maestune recipes`, `maestune domains`, `maestune cite`: what is known, where it comes from, and how it is cited."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maestune import recipes as known
from maestune.cli.options import Json, print_json
from maestune.errors import SettingsError, did_you_mean
from maestune.plain_text import one_line
from maestune.recipes.catalogue import FAMILIES
from maestune.recipes.recipe import CONFIDENCES
from maestune.types import Config


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Show this recipe: its name, or a TOML file.", show_default=False)
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only recipes for gan, vae, lm or flow.")] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="A campaign's folder: its best becomes a recipe.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Where that recipe is written (FILE.toml).")] = None,
    title: Annotated[str, typer.Option(help="Title of the recipe that is saved.")] = "",
    as_json: Json = False,
) -> None:
    """List the published recipes; show one; or save what a campaign found as one of your own."""
    if from_ is not None or save is not None:
        if from_ is None or save is None or name is not None:
            raise SettingsError("To save a recipe give both: maestune recipes --from FOLDER --save FILE.toml.")
        _save(from_, save, title, as_json)
    elif name is not None:
        recipe = known.find(name, family)
        print_json(recipe_data(recipe)) if as_json else _console().print(*_shown(recipe), sep="\n")
    else:
        if family is not None and family not in FAMILIES:
            raise SettingsError(f"There are no recipes for {family!r}. {did_you_mean(family, FAMILIES)}")
        found = [r for r in known.catalogue().values() if family in (None, r.family)]
        print_json([recipe_data(r) for r in found]) if as_json else _console().print(_table(found))


def domains(
    name: Annotated[str | None, typer.Argument(help="Show this one.", show_default=False)] = None, as_json: Json = False
) -> None:
    """List the kinds of data and use that ask for other ranges and priors; show what one of them changes."""
    if name is None:
        found = list(known.domains().values())
        if as_json:
            print_json([_domain_data(domain) for domain in found])
            return
        table = _columns("domain", "for", "families")
        table.columns[0].no_wrap = True
        for domain in found:
            table.add_row(Text(domain.name, style="bold"), Text(domain.applies), Text(", ".join(domain.families)))
        _console().print(table)
        return
    domain = known.find_domain(name)
    if as_json:
        print_json(_domain_data(domain))
        return
    lines = [Text(domain.title, style="bold"), Text(domain.applies), Text("")]
    for change in domain.changes:
        what = Text(f"{'|'.join(change.families)} {change.parameter}: ", style="cyan")
        lines.append(what + Text(f"{change.reason} ({change.source})", style="default"))
    lines += [Text(f"{a.text}" + (f" ({a.source})" if a.source else "")) for a in domain.advice]
    _console().print(*lines, sep="\n")


def cite(
    what: Annotated[str, typer.Argument(help="A campaign's folder, or a recipe (name or TOML file).")],
    as_json: Json = False,
) -> None:
    """Print BibTeX of everything that a campaign or a recipe rests on."""
    texts = ["maestune", *_citations(what)]
    entries = known.cite(texts)
    missing = known.unknown(texts)
    if as_json:
        data = [{"key": e.key, "type": e.kind, **e.fields} for e in entries]
        print_json({"citations": texts[1:], "entries": data, "without_entry": list(missing)})
        return
    sys.stdout.write(known.bibtex_of([*texts, what] if _is_recipe(what) else texts) + "\n")
    for text in missing:
        sys.stdout.write(f"\n% no entry for: {one_line(text)}\n")


def recipe_data(recipe: known.Recipe) -> dict[str, Any]:
    """A recipe as plain data, with the BibTeX keys of what it rests on."""
    return {
        "name": recipe.name,
        "title": recipe.title,
        "family": recipe.family,
        "settings": dict(recipe.settings),
        "rules": {name: known.RULES[rule].formula for name, rule in recipe.rules.items()},
        "networks": {network: dict(settings) for network, settings in recipe.networks.items()},
        "units": dict(recipe.units),
        "beyond": dict(recipe.beyond),
        "applies": recipe.applies,
        "data": vars(recipe.data),
        "reported": [vars(reported) for reported in recipe.reported],
        "result": recipe.result,
        "confidence": recipe.confidence,
        "doubtful": list(recipe.doubtful),
        "citation": recipe.citation,
        "related": list(recipe.related),
        "source": recipe.source,
        "notes": recipe.notes,
        "bibtex": [entry.key for entry in known.cite(recipe.citations)],
    }


def _is_recipe(what: str) -> bool:
    return what in known.catalogue() or what.endswith(".toml")


def _citations(what: str) -> tuple[str, ...]:
    if _is_recipe(what):
        return known.find(what).citations
    if not Path(what).is_dir():
        raise SettingsError(
            f"{what!r} is neither a folder of a campaign nor a recipe. {did_you_mean(what, known.catalogue())}"
        )
    from maestune.api import open_campaign

    return open_campaign(what).record.citations


def _save(folder: Path, file: Path, title: str, as_json: bool) -> None:
    from maestune.api import open_campaign
    from maestune.campaign.settings import parse_toml
    from maestune.folder_files import MIB, read_text
    from maestune.report.importance_views import importance_view
    from maestune.report.verdict_views import verdict_view

    if file.suffix != ".toml":
        raise SettingsError(f"{file}: the name of a recipe's file must end in .toml, so that --recipe knows it.")
    if file.exists():
        raise SettingsError(f"{file} exists already; choose another name or remove it.")
    record = open_campaign(folder).record
    best = read_text(folder, "best.toml", MIB)
    if best is None:
        raise SettingsError(f"{folder} has no best configuration yet; go on with: maestune resume {folder}")
    text = known.recipe_from(
        Config.of(parse_toml(best, folder / "best.toml")),
        record.model,
        record.data_text,
        verdict_view(record, importance_view(record).weights).text,
        record.citations,
        name=file.stem,
        title=title,
        steps=record.rungs[-1],
    )
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error}") from error
    if as_json:
        print_json(recipe_data(known.find(str(file))))
    else:
        typer.echo(f"{file}: use it with maestune tune {record.model} --recipe {file}")


def _table(found: Iterable[known.Recipe]) -> Table:
    table = _columns("recipe", "family", "what", "for")
    table.columns[0].no_wrap = True
    for recipe in found:
        table.add_row(Text(recipe.name, style="bold"), Text(recipe.family), Text(recipe.title), Text(recipe.applies))
    return table


def _shown(recipe: known.Recipe) -> list[Any]:
    settings = _columns("setting", "value", "")
    for name, value in recipe.settings.items():
        doubt = "from memory" if name in recipe.doubtful else ""
        told = "; ".join(filter(None, (recipe.units.get(name, ""), doubt)))
        settings.add_row(Text(name), Text(_said(value), style="cyan"), Text(told))
    for name, rule_name in recipe.rules.items():
        rule = known.RULES[rule_name]
        told = "; ".join(filter(None, (recipe.units.get(name, ""), rule.citation)))
        settings.add_row(Text(name), Text(rule.formula, style="cyan"), Text(told))
    for network, others in recipe.networks.items():
        for name, value in others.items():
            settings.add_row(Text(name), Text(_said(value), style="cyan"), Text(f"where networks are {network}"))
    known_by = "" if recipe.result else CONFIDENCES[recipe.confidence]
    facts: Mapping[str, str] = {
        "for": recipe.applies,
        "data": _data(recipe),
        "citation": "; ".join(recipe.citations),
        "source": ", ".join(filter(None, (recipe.source, known_by))),
        "result": recipe.result,
    }
    parts: list[Any] = [Text(f"{recipe.title} ({recipe.name}, for {recipe.family})", style="bold")]
    parts += [_fact(name, text) for name, text in facts.items() if text]
    parts += [
        _fact("reported", f"{r.metric} {r.value:g} on {r.data or recipe.data.set} ({CONFIDENCES[r.confidence]})")
        for r in recipe.reported
    ]
    parts.append(settings)
    parts += [_fact("beyond our parameters", text) for text in recipe.beyond.values()]
    return [*parts, *([Text(recipe.notes)] if recipe.notes else [])]


def _data(recipe: known.Recipe) -> str:
    data = recipe.data
    size = "" if data.size is None else f"{data.size:,} {'tokens' if recipe.family == 'lm' else 'images'}"
    side = "" if data.side is None else f"{data.side} pixels"
    return ", ".join(filter(None, (data.set, side, size, data.length)))


def _fact(name: str, text: str) -> Text:
    return Text(f"{name}: ", style="bright_black") + Text(text, style="default")


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _columns(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _domain_data(domain: known.Domain) -> dict[str, Any]:
    return {
        "name": domain.name,
        "title": domain.title,
        "applies": domain.applies,
        "families": list(domain.families),
        "changes": [{k: v for k, v in vars(change).items() if v not in (None, (), False)} for change in domain.changes],
        "advice": [vars(advice) for advice in domain.advice],
        "citations": list(domain.citations),
    }


def _console() -> Console:
    return Console(highlight=False, markup=False)
