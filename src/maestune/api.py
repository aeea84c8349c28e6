"""Campaigns from Python: run one with its report, tune your own training in one call, or score samples of anybody."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maestune.campaign import Campaign, Observer, Record
from maestune.campaign.build_record import read_record
from maestune.campaign.settings import default_workers, resolve_device
from maestune.errors import SettingsError, StoreError
from maestune.execution.folder import disk_error
from maestune.execution.model import is_family, user_model_name
from maestune.families.base import Family
from maestune.folder_files import replace_file
from maestune.plain_text import json_text
from maestune.quality.scoring.result import ScoreResult
from maestune.quality.scoring.samples import Fake, Real, score_samples
from maestune.report.console import make_console
from maestune.report.summary import summary
from maestune.space import Space
from maestune.training.run import Training


@dataclass(frozen=True)
class Result:
    """What a campaign found. `best` and `recipe` are configs; `summary` is what `--json` prints."""

    record: Record

    @property
    def folder(self) -> Path:
        """The campaign's folder: report.html, best.toml, study.db, trials/."""
        return self.record.folder

    @property
    def best(self) -> dict[str, Any]:
        """The configuration to use: the best found, or the recipe where nothing better was."""
        found = self.record.recommended
        return {} if found is None else dict(self.record.trial(found.trial).config)

    @property
    def decision(self) -> str:
        """The verdict on the first objective: better, worse, inconclusive or infeasible ("none" before the finals)."""
        return self.record.verdicts[0].decision if self.record.verdicts else "none"

    @property
    def summary(self) -> dict[str, Any]:
        """The campaign in one JSON-ready object."""
        return summary(self.record)


def run_campaign(
    campaign: Campaign, observers: Sequence[Observer] = (), training: Training | Family | None = None
) -> Result:
    """Run (or go on with) a campaign and leave its summary and report in its folder."""
    record = campaign.run(observers, training)
    write_report(record)
    return Result(record)


def write_report(record: Record, out: Path | None = None) -> Path:
    """Write summary.json and report.html into a campaign's folder, or the report alone to `out`; returns the report's path.

    Raises StoreError where it cannot be written.
    """
    from maestune.report.html import render  # plotly and scikit-learn: only when there is something to draw

    if out is not None:
        try:
            return render(record, out)
        except OSError as error:
            raise StoreError(
                f"The report cannot be written to {out}: {error.strerror or error}. Give another --out."
            ) from error
    text = json_text(summary(record))
    try:
        replace_file(record.folder / "summary.json", text + "\n")
        return render(record, record.folder / "report.html")
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise StoreError(
                f"The report cannot be written to {record.folder}, which is read-only here; write it elsewhere with "
                "maestune report … --out FILE."
            ) from error
        raise disk_error(record.folder, error) from error


def tune(train: Training | Family, space: Space | None = None, *, verbose: bool = True, **settings: Any) -> Result:
    """Tune your own training, a generator of reports `train(config, run)`, over a space; or a `Network` over its own.

    Keywords are those of `Settings`: budget="2m", data="digits" or a path (to be evaluated by samples), objective="fd" or
    "my_score:max", constraint="novelty>=0.4", seed, out, strategy, workers …. What is defined in a file runs in worker
    processes; what has no file (a notebook, a function inside a function) runs in this process. Running it again
    continues.
    """
    if space is None and not is_family(train):
        raise SettingsError("A training of your own needs a space: maestune.tune(train, maestune.Space((…))).")
    name = user_model_name(train)
    for field in ("objective", "constraint"):
        if isinstance(settings.get(field), str):
            settings[field] = (settings[field],)
    own = None
    if name is None or (settings.get("workers") == 0 and not is_family(train)):
        own, name = train, name or f"notebook.py:{getattr(train, '__name__', 'family')}"
    if space is not None:
        settings["space"] = space.to_dict()
    campaign = Campaign(model=name, **settings)
    observers = [make_console(sys.stderr)] if verbose else []
    return run_campaign(campaign, observers, own)


def open_campaign(folder: Path | str) -> Result:
    """The result of a campaign's folder, finished or not; nothing is written."""
    path = Path(folder)
    if not path.is_dir():
        raise SettingsError(f"No folder {path}; name the folder that `maestune tune` wrote.")
    return Result(read_record(path))


def score(
    real: Real,
    fake: Fake,
    *,
    metrics: Sequence[str] = (),
    prompts: Path | str | None = None,
    features: str | None = None,
    size: int | None = None,
    samples: int | None = None,
    seed: int = 0,
    captions: Sequence[str] = (),
    modality: str | None = None,
    vqa: Path | str | None = None,
    device: str | None = None,
    workers: int | None = None,
    out: Path | str | None = None,
    progress: Callable[[str], None] | None = None,
) -> ScoreResult:
    """How good samples are beside real data: `score("digits", "samples/").scores["fd"]`, as `maestune score` prints it.

    `real`: a path or name of images or text, or `ImageData`. `fake`: a path, images (N, C, H, W) uint8 or float in [-1, 1], or
    texts. `out`: where a page with values and pictures is written. The others are the options of the command, see
    `score_samples`. Raises MaestuneError for whatever cannot be used, with the repair.
    """
    result = score_samples(
        real,
        fake,
        metrics=metrics,
        prompts=prompts,
        features=features,
        size=size,
        samples=samples,
        seed=seed,
        captions=captions,
        modality=modality,
        vqa=vqa,
        device=resolve_device(device or "auto"),
        workers=default_workers("cpu") if workers is None else workers,
        progress=progress,
    )
    if out is not None:
        from maestune.report.score_page import render_score

        try:
            render_score(result, Path(out))
        except OSError as error:
            raise StoreError(
                f"The page cannot be written to {out}: {error.strerror or error}. Give another --out."
            ) from error
    return result
