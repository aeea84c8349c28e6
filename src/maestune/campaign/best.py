"""best.toml: the configuration to use, with what is known of it. A worse one is never recommended."""

from __future__ import annotations

from maestune.campaign.record import Record
from maestune.execution.folder import disk_error
from maestune.execution.folder_files import replace_file
from maestune.recipes.writing import toml_text


def write_best(record: Record) -> None:
    """Write best.toml into the campaign's folder, once a best is known: the recipe where nothing better was found."""
    if record.best is None:
        return
    number = record.best
    if record.verdicts and record.verdicts[0].keep_recipe:
        number = next(t.number for t in record.trials if t.role == "recipe")
    told = f"{_what_best_is(record)}; campaign of {record.data_text}, budget {record.budget_text}"
    text = f"# {''.join(c if c.isprintable() else ' ' for c in told)}\n"  # names of data are not ours: no line breaks
    body = toml_text(record.trial(number).config)
    try:
        replace_file(record.folder / "best.toml", text + body + "\n")
    except OSError as error:
        raise disk_error(record.folder, error) from error


def _what_best_is(record: Record) -> str:
    """What is recommended, in words."""
    if record.nothing_better:
        return "the starting recipe (nothing better was found)"
    if not record.verdicts:
        return f"trial {record.best}, not yet judged"
    verdict = record.verdicts[0]
    nearest = "; nothing kept the bounds that were asked for, and this is the nearest" if verdict.outside else ""
    if verdict.keep_recipe:
        near = nearest if verdict.recipe_outside else " (nothing better was found)"
        return f"the starting recipe{near}"
    return f"trial {record.best}{nearest or f', {verdict.decision} against the recipe'}"
