"""best.toml: the configuration to use, with the reason. A worse one is never recommended."""

from __future__ import annotations

from maestune.campaign.record import Record
from maestune.execution.folder import disk_error
from maestune.folder_files import replace_file
from maestune.recipes.writing import toml_text


def write_best(record: Record) -> None:
    """Write best.toml into the campaign's folder, once a best is known: the recipe where nothing better was found."""
    recommended = record.recommended
    if recommended is None:
        return
    name = "the starting recipe" if recommended.role == "recipe" else f"trial {recommended.trial}"
    told = f"{name}: {recommended.reason}; campaign of {record.data_text}, budget {record.budget_text}"
    text = f"# {''.join(c if c.isprintable() else ' ' for c in told)}\n"  # names of data are not ours: no line breaks
    body = toml_text(record.trial(recommended.trial).config)
    try:
        replace_file(record.folder / "best.toml", text + body + "\n")
    except OSError as error:
        raise disk_error(record.folder, error) from error
