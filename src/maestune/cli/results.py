"""`maestune report`, `trials` and `generate`: what a campaign has found, from its folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from maestune.cli.options import Device, Folder, Json, Trust, assignment, print_json
from maestune.plain_text import clean


def report(
    folder: Folder,
    out: Annotated[
        Path | None,
        typer.Option(help="File of the report; nothing is written into the folder then. (default: FOLDER/report.html)"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a campaign's report.html anew, finished or not."""
    from maestune.api import open_campaign, write_report

    result = open_campaign(folder)
    path = write_report(result.record, out)
    if as_json:
        print_json(result.summary)
    else:
        typer.echo(str(path))


def generate(
    folder: Folder,
    n: Annotated[
        int | None, typer.Option("--n", min=1, max=100_000, help="How many samples. (default: 64; 4 texts)")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Picture (a grid; default: grid.png), a folder ending in / (one PNG a sample), or a text file."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the latents.")] = 0,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="Draw from the starting recipe instead of the best.")
    ] = False,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="What to ask for: a class, a caption, or how a text begins; repeat for one row each."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Another value for a parameter of generation (temperature …)."
        ),
    ] = None,
    device: Device = None,
    trust: Trust = False,
) -> None:
    """Draw samples from the best model of a campaign: pictures into a file, texts to the terminal or into a file."""
    from maestune.campaign.samples import draw_samples, write_samples, write_texts

    values = dict(assignment(text, "--set", "NAME=VALUE") for text in set_ or ())
    drawn = draw_samples(
        folder,
        n or 0,
        seed=seed,
        recipe=recipe,
        device=device or "auto",
        prompts=tuple(prompt or ()),
        values=values,
        trust=trust,
    )
    if drawn.images is not None:
        typer.echo(str(write_samples(drawn.images, out or Path("grid.png"))))
    elif out is not None:
        typer.echo(str(write_texts(drawn.texts, out)))
    else:
        texts = (f"--- {i} ---\n{begun}{made}" for i, (begun, made) in enumerate(drawn.texts, start=1))
        typer.echo(clean("\n\n".join(texts)))


def trials(
    folder: Folder,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every rung.")] = False,
) -> None:
    """List the trials of a campaign: what was tried, how it scored, and why it went on or not."""
    from rich.console import Console

    from maestune.api import open_campaign
    from maestune.report.trials_text import trials_csv, trials_json, trials_table

    record = open_campaign(folder).record
    if as_csv:
        sys.stdout.write(trials_csv(record))
    elif as_json:
        sys.stdout.write(trials_json(record) + "\n")
    else:
        Console().print(trials_table(record))
