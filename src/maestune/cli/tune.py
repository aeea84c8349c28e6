"""`maestune tune` and `maestune resume`: campaigns from the command line."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from maestune.cli.options import (
    Budget,
    Device,
    Folder,
    Json,
    TrialTimeout,
    Trust,
    Workers,
    assignment,
    echo,
    print_json,
    value_range,
)
from maestune.cli.stopping import status_of


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
            "Text, for lm: pydoc (built in), a file or a folder. (default: digits; pydoc for lm)"
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
    screen_samples: Annotated[
        int | None,
        typer.Option(
            min=100, help="How many samples are scored where a training goes on. (default: fewer where that takes long)"
        ),
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
        typer.Option(help="What images are evaluated with; `maestune score --help` lists them. (default: auto)"),
    ] = None,
    vqa: Annotated[
        str | None,
        typer.Option(
            help="Folder of a model (Hugging Face) that is asked whether samples show their captions: adds vqa_score (VQAScore)."
        ),
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
    trial_timeout: TrialTimeout = None,
    trust: Trust = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Move what a campaign left in the folder aside (to previous-N in it) and begin anew."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, train a few steps, estimate time and memory; then stop."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Search the hyperparameters of MODEL for the quality of what it generates; run again to go on."""
    from maestune.campaign import Campaign, Settings
    from maestune.campaign.trust import check_trusted

    given: dict[str, Any] = {
        "data": data,
        "budget": budget,
        "objective": tuple(objective) if objective else None,
        "constraint": tuple(constraint) if constraint else None,
        "seed": seed,
        "out": str(out) if out else None,
        "strategy": strategy,
        "set": dict(assignment(text, "--set", "NAME=VALUE") for text in set_) if set_ else None,
        "range": dict(value_range(text) for text in range_) if range_ else None,
        "steps": steps,
        "size": size,
        "samples": samples,
        "report_samples": report_samples,
        "screen_samples": screen_samples,
        "recipe": recipe,
        "domain": tuple(domain) if domain else None,
        "tokens": tokens,
        "features": features,
        "vqa": vqa,
        "captions": tuple(captions) if captions else None,
        "device": device,
        "workers": workers,
        "fuse": fuse,
        "members": members,
        "trial_timeout": trial_timeout,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if model.endswith(".toml"):
        written = Settings.from_toml(Path(model)).model_dump(exclude_unset=True)
        if not trust:
            check_trusted(Path(model).parent, written.get("model", ""))
        for name in ("set", "range"):
            if name in given:
                given[name] = {**written.get(name, {}), **given[name]}
        settings = Settings.make(**{**written, **given})
    else:
        settings = Settings.make(model=model, **given)
    campaign = Campaign(settings, fresh=fresh)
    if dry_run:
        _dry_run(campaign, as_json)
    else:
        _run(campaign, as_json)


def resume(
    folder: Folder,
    budget: Budget = None,
    workers: Workers = None,
    device: Device = None,
    trial_timeout: TrialTimeout = None,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """Go on with an interrupted campaign."""
    from maestune.campaign import Campaign

    given = {"budget": budget, "workers": workers, "device": device, "trial_timeout": trial_timeout}
    changes = {k: v for k, v in given.items() if v is not None}
    _run(Campaign.resume(folder, trust=trust, **changes), as_json)


def _run(campaign: Any, as_json: bool) -> None:
    from maestune.api import run_campaign
    from maestune.report.console import make_console

    try:
        result = run_campaign(campaign, [make_console(sys.stderr if as_json else sys.stdout)])
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the same command again to go on\n")
        raise typer.Exit(status_of(campaign.stopped_by)) from None
    done = result.record.done
    if as_json:
        print_json(result.summary)
    elif done:
        echo(f"report: {result.folder / 'report.html'}")
        if (result.folder / "best.toml").exists():
            echo(f"best configuration: {result.folder / 'best.toml'}")
    else:
        echo(
            f"Interrupted; go on with: maestune resume {result.folder}\nreport so far: {result.folder / 'report.html'}"
        )
    if not done:
        raise typer.Exit(status_of(campaign.stopped_by))


def _dry_run(campaign: Any, as_json: bool) -> None:
    from maestune.campaign.budget import seconds_text

    found = campaign.dry_run()
    if as_json:
        print_json(asdict(found))
        return
    echo(found.data_text)
    bounds = f"; bounds {', '.join(found.constraints)}" if found.constraints else ""
    echo(f"objective {', '.join(found.objectives)}{bounds}")
    for note in found.notes:
        echo(note)
    echo(f"{found.parameters} parameters vary; {found.workers} workers; {found.memory_mib:,.0f} MiB of memory in all")
    echo(
        f"{found.steps_per_second:,.0f} steps/s a worker; a full training of {found.full_steps:,} steps takes {seconds_text(found.full_training_seconds)}"
    )
    if found.silence_seconds is None:
        echo("a training may go without a report for any time (--trial-timeout 0)")
    else:
        silence = seconds_text(found.silence_seconds)
        echo(f"a training without a report for {silence} counts as hung and is ended (--trial-timeout)")
    echo(f"the budget of {campaign.settings.budget} pays about {found.full_trainings:,.0f} full trainings")
