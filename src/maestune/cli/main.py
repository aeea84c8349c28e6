"""The command line: `maestune tune | resume | report | generate | trials | score | features | recipes | domains | cite`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from maestune.cli.features import features
from maestune.cli.recipes import cite, domains, recipes
from maestune.cli.score import score
from maestune.errors import MaestuneError, SettingsError

app = typer.Typer(
    name="maestune",
    help="Tunes generative models for what they generate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Budget = Annotated[
    str | None,
    typer.Option("--budget", help="Time (90s, 2m, 4h), trials (40trials) or full trainings (10full). (default: 2m)"),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Worker processes; 0: train in this process. (default: one per core)"),
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N. (default: auto)")]
Folder = Annotated[Path, typer.Argument(help="Folder of a campaign.", show_default=False)]


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        typer.echo(f"maestune {version('maestune')}")
        raise typer.Exit


for _command in (recipes, domains, cite, score):
    app.command()(_command)
app.add_typer(features)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tunes generative models for what they generate."""


@app.command()
def tune(
    model: Annotated[
        str,
        typer.Argument(
            help="gan, vae, lm or flow; or your own training as path.py:function; or a campaign.toml.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Images: digits or digits-captions (built in), a folder (class folders = labels), .npz or IDX files. "
            "Text, for lm: pydoc (built in), a file or a folder."
        ),
    ] = None,
    budget: Budget = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="Score to improve, or quality-diversity; repeat for a Pareto front; NAME:max for your own. (default: fd)"
        ),
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(help='Bound that must be kept: "novelty>=0.4" (or <=, >, <); repeatable.', show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the whole campaign. (default: 0)")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the campaign. (default: runs/MODEL-DATA-seedS)")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="How to search; `maestune strategies` lists them. (default: halving)")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Fix a parameter; repeatable.")
    ] = None,
    range_: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="NAME=LOW:HIGH", help="Another range for a parameter; repeatable."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length of a full training. (default: fitted to the budget)")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=8, max=1024, help="Height and width that images are brought to.")
    ] = None,
    samples: Annotated[int | None, typer.Option(min=100, help="How many samples are scored in the search.")] = None,
    report_samples: Annotated[
        int | None,
        typer.Option(min=100, help="How many samples the verdict rests on. (default: up to twice the search's)"),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Published setting to start from; `maestune recipes` lists them. Or a TOML file.")
    ] = None,
    domain: Annotated[
        list[str] | None,
        typer.Option(help="Kind of data (medical, small-data …): shifts ranges and priors; repeatable."),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(help="Tokens of a text: characters, bytes, or a tokenizer. (default: characters)")
    ] = None,
    captions: Annotated[
        list[str] | None, typer.Option(help='Makes captions of class names: "a photo of a {}"; repeatable.')
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="What images are judged with; `maestune score --help` lists them. (default: auto)"),
    ] = None,
    device: Device = None,
    workers: Workers = None,
    fuse: Annotated[
        str | None,
        typer.Option(
            help="auto, off, fused or compiled: train trials that differ only in numbers as one step. (default: auto)"
        ),
    ] = None,
    members: Annotated[
        int | None, typer.Option(min=1, help="How many trials are trained as one at most. (default: 16)")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, train a few steps, estimate time and memory; then stop."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Search the hyperparameters of MODEL for the quality of what it generates; run again to go on."""
    from maestune.campaign import Campaign, Settings

    given: dict[str, Any] = {
        "data": data,
        "budget": budget,
        "objective": tuple(objective) if objective else None,
        "constraint": tuple(constraint) if constraint else None,
        "seed": seed,
        "out": str(out) if out else None,
        "strategy": strategy,
        "set": dict(_assignment(text, "--set", "NAME=VALUE") for text in set_) if set_ else None,
        "range": dict(_range(text) for text in range_) if range_ else None,
        "steps": steps,
        "size": size,
        "samples": samples,
        "report_samples": report_samples,
        "recipe": recipe,
        "domain": tuple(domain) if domain else None,
        "tokens": tokens,
        "features": features,
        "captions": tuple(captions) if captions else None,
        "device": device,
        "workers": workers,
        "fuse": fuse,
        "members": members,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if model.endswith(".toml"):
        written = Settings.from_toml(Path(model)).model_dump(exclude_unset=True)
        for name in ("set", "range"):
            if name in given:
                given[name] = {**written.get(name, {}), **given[name]}
        settings = Settings.make(**{**written, **given})
    else:
        settings = Settings.make(model=model, **given)
    campaign = Campaign(settings)
    if dry_run:
        _dry_run(campaign, as_json)
    else:
        _run(campaign, as_json)


@app.command()
def resume(
    folder: Folder, budget: Budget = None, workers: Workers = None, device: Device = None, as_json: Json = False
) -> None:
    """Go on with an interrupted campaign."""
    from maestune.campaign import Campaign

    changes = {k: v for k, v in {"budget": budget, "workers": workers, "device": device}.items() if v is not None}
    _run(Campaign.resume(folder, **changes), as_json)


@app.command()
def report(folder: Folder, as_json: Json = False) -> None:
    """Write a campaign's report.html anew, finished or not."""
    from maestune.api import open_campaign, write_report

    result = open_campaign(folder)
    path = write_report(result.record)
    if as_json:
        _print_json(result.summary)
    else:
        typer.echo(str(path))


@app.command()
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
) -> None:
    """Draw samples from the best model of a campaign: pictures into a file, texts to the terminal or into a file."""
    from maestune.campaign.samples import draw_samples, write_samples, write_texts

    values = dict(_assignment(text, "--set", "NAME=VALUE") for text in set_ or ())
    drawn = draw_samples(
        folder, n or 0, seed=seed, recipe=recipe, device=device or "auto", prompts=tuple(prompt or ()), values=values
    )
    if drawn.images is not None:
        typer.echo(str(write_samples(drawn.images, out or Path("grid.png"))))
    elif out is not None:
        typer.echo(str(write_texts(drawn.texts, out)))
    else:
        typer.echo("\n\n".join(f"--- {i} ---\n{begun}{made}" for i, (begun, made) in enumerate(drawn.texts, start=1)))


@app.command()
def trials(
    folder: Folder,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every rung.")] = False,
) -> None:
    """List the trials of a campaign: what was tried, how it scored, and why it went on or not."""
    from rich.console import Console

    from maestune.api import open_campaign
    from maestune.report.console import trials_csv, trials_json, trials_table

    record = open_campaign(folder).record
    if as_csv:
        sys.stdout.write(trials_csv(record))
    elif as_json:
        sys.stdout.write(trials_json(record) + "\n")
    else:
        Console().print(trials_table(record))


@app.command()
def strategies() -> None:
    """List the search strategies."""
    from maestune.search import STRATEGIES

    for name, text in STRATEGIES.items():
        typer.echo(f"{name:16} {text}")


def _run(campaign: Any, as_json: bool) -> None:
    from maestune.api import run_campaign
    from maestune.report.console import make_console

    try:
        result = run_campaign(campaign, [make_console(sys.stderr if as_json else sys.stdout)])
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the same command again to go on\n")
        raise typer.Exit(130) from None
    done = result.record.done
    if as_json:
        _print_json(result.summary)
    elif done:
        typer.echo(f"report: {result.folder / 'report.html'}\nbest configuration: {result.folder / 'best.toml'}")
    else:
        typer.echo(
            f"Interrupted; go on with: maestune resume {result.folder}\nreport so far: {result.folder / 'report.html'}"
        )
    if not done:
        raise typer.Exit(130)


def _dry_run(campaign: Any, as_json: bool) -> None:
    from maestune.campaign.budget import seconds_text

    found = campaign.dry_run()
    if as_json:
        _print_json(asdict(found))
        return
    typer.echo(found.data_text)
    typer.echo(
        f"{found.parameters} parameters vary; {found.workers} workers; {found.memory_mib:,.0f} MiB of memory in all"
    )
    typer.echo(
        f"{found.steps_per_second:,.0f} steps/s a worker; a full training of {found.full_steps:,} steps takes {seconds_text(found.full_training_seconds)}"
    )
    typer.echo(f"the budget of {campaign.settings.budget} pays about {found.full_trainings:,.0f} full trainings")


def _assignment(text: str, option: str, form: str) -> tuple[str, Any]:
    from maestune.campaign.settings import parse_value

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(
            f"{option} {text!r} is not understood; write {option} {form}, for example {option} lr=0.001."
        )
    return name.strip(), parse_value(value.strip())


def _range(text: str) -> tuple[str, tuple[float, float]]:
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


def _print_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def main() -> None:
    """Entry point: errors that are the user's to repair are one paragraph on stderr, exit status 2."""
    try:
        app()
    except MaestuneError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
