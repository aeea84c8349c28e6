"""`maestune score`: how good samples are beside real data, whoever made them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from maestune.cli.options import Json, print_json
from maestune.errors import SettingsError

DEFAULT_PAGE = Path("score.html")
CUT = 5  # columns of the table that are shown whole
WIDE = 100  # letters of a terminal in which there is room to say what is measured


def score(
    real: Annotated[
        str,
        typer.Option(
            help="Real data. Images: digits, a folder (class folders = labels), .npz or IDX files, hf:NAME. Text: pydoc, a "
            "file or a folder.",
            show_default=False,
        ),
    ],
    fake: Annotated[
        str,
        typer.Option(
            help="The samples. Images: a folder (class folders = what was asked), .npz …. Text: a folder of one text a file, "
            "a .jsonl, or a file of texts between blank lines.",
            show_default=False,
        ),
    ],
    metrics: Annotated[
        list[str] | None, typer.Option(help="What is measured, comma-separated; repeatable. (default: all that apply)")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="Table of what each sample was asked for: .csv or .jsonl with file and class (or caption)."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="What the evaluator sees with: auto, classifier, ssl, random, dinov2:PATH, clip:PATH, torchscript:PATH; for text "
            "auto or embedder:PATH. (default: auto)"
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=8, max=1024, help="Height and width that images are brought to.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="How many are scored, drawn by the seed. (default: all)")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is drawn: samples, floor.")] = 0,
    captions: Annotated[
        list[str] | None,
        typer.Option(help='Makes captions of class names of the real images: "a photo of a {}"; repeatable.'),
    ] = None,
    vqa: Annotated[
        str | None,
        typer.Option(
            help="Folder of a model (Hugging Face) that is asked whether images show their captions: adds vqa_score (VQAScore)."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where networks look at samples: auto, cpu, cuda or cuda:N. (default: auto)")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Threads that look at images and measure; text takes one. (default: one per core)"),
    ] = None,
    modality: Annotated[str | None, typer.Option(help="image or text, where the content does not tell.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Page with values and pictures. (default: score.html; none with --json)")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score samples against real data: values with intervals, floor, and what is worst and most copied."""
    # Threads of PyTorch that wait for work spin otherwise, and beside a busy process all of them wait for the slowest.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when its library is loaded
    from maestune.api import score as scored

    page = out if out is not None or as_json else DEFAULT_PAGE
    if page is not None:
        _check_page(page)
    try:
        result = scored(
            real,
            fake,
            metrics=[name for text in metrics or () for name in text.split(",")],
            prompts=prompts,
            features=features,
            size=size,
            samples=samples,
            seed=seed,
            captions=captions or (),
            modality=modality,
            vqa=vqa,
            device=device,
            workers=workers,
            out=page,
            progress=_tell,
        )
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        sys.stderr.flush()
        os._exit(130)  # what is being measured in other threads would be waited for
    if as_json:
        print_json(result.to_dict())
        return
    _show(result)
    typer.echo(f"page: {page}")


def _check_page(page: Path) -> None:
    """Before minutes of work: whether the page can be written."""
    if page.is_dir():
        raise SettingsError(f"--out {page}: a folder; give the name of a file, such as {page / DEFAULT_PAGE}.")
    if page.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--out {page}: the page is HTML; give a name that ends in .html.")


def _tell(text: str) -> None:
    from maestune.report import formats

    sys.stderr.write(formats.one_line(text) + "\n")
    sys.stderr.flush()


def _show(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from maestune.report import formats
    from maestune.report.labels import sentence_case
    from maestune.report.score_views import better, score_view

    view = score_view(result)
    console = Console(highlight=False, markup=False)
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    rows: list[tuple[str, ...]] = []
    for axis, measured in view.axes:
        rows.append((sentence_case(axis),))
        for each in measured:
            value, _, interval = formats.score(each.score).partition(" ")
            floor = formats.score(each.floor).partition(" ")[0]
            cells = (f"  {each.metric.name}", value, interval.strip("()"), floor, better(each), each.metric.unit)
            rows.append((*cells, each.metric.label))
    heads = ("measure", "value", "95 % interval", "floor", "better", "unit", "what")
    if console.width < WIDE:
        heads = heads[:-1]
    for i, head in enumerate(heads):
        # Only the unit and what is measured may be cut where the terminal is narrow.
        width = max(len(row[i]) for row in [heads, *rows] if i < len(row)) if i < CUT else 0
        justify = "right" if i in (1, 3) else "left"
        table.add_column(head, justify=justify, no_wrap=True, overflow="ellipsis", min_width=width)
    for row in rows:
        table.add_row(*(Text(cell, style="bold" if len(row) == 1 else "") for cell in row[: len(heads)]))
    console.print(table)
    for warning in result.warnings:
        console.print(Text(f"warning: {formats.one_line(warning)}", style="bold red"))
    for note in result.notes:
        console.print(Text(f"note: {formats.one_line(note)}", style="bright_black"))
    console.print(Text(view.headline, style="bold"))
    for sentence in view.sentences:
        console.print(Text(formats.one_line(sentence)))
