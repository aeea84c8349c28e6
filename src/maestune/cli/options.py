"""What several commands have in common: options, and how values are written on the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from maestune.errors import SettingsError
from maestune.plain_text import json_text

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout, and nothing else there.")]

Budget = Annotated[
    str | None,
    typer.Option("--budget", help="Time (90s, 2m, 4h), trials (40trials) or full trainings (10full). (default: 2m)"),
]

Workers = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Worker processes; 0: train in this process. (default: one per core)"),
]

Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N. (default: auto)")]

TrialTimeout = Annotated[
    str | None,
    typer.Option(
        "--trial-timeout",
        help="Time without a report after which a training counts as hung (90s, 5m); 0: no limit. "
        "(default: 20 times the usual, at least 60 s)",
    ),
]

Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Execute the training file that the folder names, though you have not run it for this campaign."
    ),
]

Folder = Annotated[Path, typer.Argument(help="Folder of a campaign.", show_default=False)]


def assignment(text: str, option: str, form: str) -> tuple[str, Any]:
    """Name and value of NAME=VALUE; SettingsError names the option and its form."""
    from maestune.campaign.settings import parse_value

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(
            f"{option} {text!r} is not understood; write {option} {form}, for example {option} lr=0.001."
        )
    return name.strip(), parse_value(value.strip())


def value_range(text: str) -> tuple[str, tuple[float, float]]:
    """Name and limits of NAME=LOW:HIGH."""
    name, _, value = text.partition("=")
    low, colon, high = value.partition(":")
    try:
        if not colon:
            raise ValueError
        return name.strip(), (float(low), float(high))
    except ValueError as error:
        raise SettingsError(
            f"--range {text!r} is not understood; write --range NAME=LOW:HIGH, for example --range lr=1e-4:1e-2."
        ) from error


def print_json(data: Any) -> None:
    """One JSON value on stdout."""
    echo(json_text(data))


def echo(text: str) -> None:
    """Print a text and a line break; nothing where nobody reads any more (`maestune … | head`): what was done is done."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):  # a broken pipe, or a training that closed the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more at its end
