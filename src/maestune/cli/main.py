"""The command line: `maestune tune | resume | report | generate | trials | score | features | recipes | domains | cite`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from maestune.cli.features import features
from maestune.cli.recipes import cite, domains, recipes
from maestune.cli.results import generate, report, trials
from maestune.cli.score import score
from maestune.cli.tune import resume, tune
from maestune.errors import MaestuneError
from maestune.plain_text import clean

app = typer.Typer(
    name="maestune",
    help="Tunes generative models for what they generate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(f"maestune {version('maestune')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tunes generative models for what they generate."""


def strategies() -> None:
    """List the search strategies."""
    from maestune.search import STRATEGIES

    for name, text in STRATEGIES.items():
        typer.echo(f"{name:16} {text}")


for _command in (recipes, domains, cite, score, tune, resume, report, generate, trials, strategies):
    app.command()(_command)
app.add_typer(features)


def main() -> None:
    """Entry point: errors that are the user's to repair are one paragraph on stderr, exit status 2."""
    try:
        app()
    except MaestuneError as error:
        sys.stderr.write(f"error: {clean(str(error))}\n")  # it may quote a folder, a file or a text of others
        raise SystemExit(2) from None
