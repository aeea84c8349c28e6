"""`maestune features check`: whether the evaluator's feature extractor see what is worse, before anything is tuned by them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maestune.cli.options import Json, print_json

features = typer.Typer(name="features", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@features.callback()
def root() -> None:
    """Feature extractors of images."""


@features.command()
def check(
    data: Annotated[
        str, typer.Argument(help="Images: digits (built in), a folder, .npz or IDX files, hf:NAME.", show_default=False)
    ],
    name: Annotated[
        str,
        typer.Option(
            "--features",
            help="auto, classifier, ssl, autoencoder, random, dinov2:PATH, clip:PATH or torchscript:PATH.",
        ),
    ] = "auto",
    size: Annotated[
        int | None, typer.Option(min=8, max=1024, help="Height and width that images are brought to.")
    ] = None,
    vqa: Annotated[
        str | None,
        typer.Option(help="Folder of a model that would be asked about captions (VQAScore): can it tell them apart?"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where that model runs: auto, cpu, cuda or cuda:N. (default: auto)")
    ] = None,
    as_json: Json = False,
) -> None:
    """Test what images are evaluated with: real images made worse must score worse, by it and by a second opinion.

    Exit code 1 when it fails.
    """
    from maestune.campaign.settings import resolve_device
    from maestune.data import load_images
    from maestune.quality.features.choice import choose, choose_second
    from maestune.quality.features.self_test import self_test
    from maestune.quality.features.vqa import check_vqa, choose_vqa_scorer

    def say(sentence: str) -> None:
        typer.echo(sentence, err=True)

    if vqa is not None:
        check_vqa(vqa)
    images = load_images(data, size=size, progress=say)
    evaluator = choose(name, images, say)
    second = choose_second(evaluator, images, say)
    test = self_test(evaluator, images, second=second)
    asked = None if vqa is None else choose_vqa_scorer(vqa, images, resolve_device(device or "auto"), say)
    if as_json:
        told = {
            "data": images.name,
            "features": {
                "kind": evaluator.kind,
                "fingerprint": evaluator.fingerprint,
                "description": evaluator.description,
            },
            "second": {"kind": second.kind, "fingerprint": second.fingerprint, "description": second.description},
            "distances": _numbers(test.distances),
            "second_distances": _numbers(test.second),
            "agreement": test.agreement,
            "faintest": test.faintest,
            "passed": test.passed,
            "sentence": test.sentence,
            "vqa": None
            if asked is None
            else {
                "fingerprint": asked.fingerprint,
                "description": asked.description,
                "preferred": asked.preferred,
                "passed": asked.able,
            },
        }
        print_json(told)
    else:
        console = Console(highlight=False, markup=False)
        console.print(Text(images.describe()), Text(f"evaluator: {evaluator.description}"), sep="\n")
        console.print(Text(f"second opinion: {second.description}"))
        console.print(_table(test.distances, test.second, evaluator.kind, second.kind))
        console.print(Text(test.sentence, style="green" if test.passed else "red"))
        if asked is not None:
            console.print(Text(f"about captions: {asked.description}"))
            if asked.warning:
                console.print(Text(asked.warning, style="red"))
    if not test.passed or (asked is not None and asked.able is False):
        raise typer.Exit(1)


def _table(distances: Mapping[str, float], second: Mapping[str, float], kind: str, second_kind: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    table.add_column("real images, and made worse")
    table.add_column(f"Fréchet distance ({kind})", justify="right")
    table.add_column(f"second opinion ({second_kind})", justify="right")
    for name, distance in distances.items():
        table.add_row(Text(name), f"{distance:.4g}", f"{second[name]:.4g}" if name in second else "")
    return table


def _numbers(distances: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in distances.items()}
