"""Samples of a finished campaign's models, as tensors and as pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from maestune.campaign.build_record import record_of
from maestune.campaign.reader import read_campaign
from maestune.campaign.record import Record
from maestune.campaign.settings import resolve_device
from maestune.campaign.trust import check_trusted
from maestune.data import DataSpec
from maestune.data.grid import grid_image, save_png
from maestune.data.prompts import Prompts
from maestune.errors import CheckpointError, SettingsError, did_you_mean
from maestune.execution.folder import disk_error
from maestune.execution.generate import generate
from maestune.execution.jobs import Identity
from maestune.folder_files import check_no_link
from maestune.space import Choice, Role
from maestune.types import Config, Value

IMAGES, TEXTS = 64, 4  # that are drawn where nobody says how many


@dataclass(frozen=True)
class Drawn:
    """Samples, with what they were asked for: images (n, C, H, W) in [-1, 1], or texts."""

    images: Tensor | None
    texts: tuple[tuple[str, str], ...] = ()  # how each begins, and how it goes on


def draw_samples(
    folder: Path,
    n: int,
    *,
    seed: int = 0,
    recipe: bool = False,
    device: str = "auto",
    prompts: Sequence[str] = (),
    values: Mapping[str, Value] | None = None,
    trust: bool = False,
) -> Drawn:
    """n samples from the best configuration of a campaign (or from its recipe); 0: 64 images, or 4 texts.

    `prompts`: what to ask for, a class, a caption or the beginning of a text; held-out ones when left out. `values`: other
    values for parameters of generation (temperature, guidance …), which need no training; SettingsError for any other. `trust`: execute
    the file of a user's own training even where this user has not run it for this campaign.
    """
    stored = read_campaign(folder)
    record, facts = record_of(stored, 0.0), stored.facts
    if not trust:
        check_trusted(folder, record.model)
    spec = DataSpec.from_dict(facts["spec"]) if facts["spec"] else None
    prompting = Prompts.from_dict(facts["asking"]) if facts["asking"] else None
    found = record.recommended
    use = None if found is None else found.trial
    finals = [f for f in record.finalists if (f.role == "recipe" if recipe else f.trial == use)]
    number = finals[0].runs[0] if finals else use
    if number is None:
        raise CheckpointError(f"{folder} has no trained model yet; go on with it: maestune resume {folder}")
    trial = record.trial(number)
    config, where = _changed(record, trial.config, values or {}), record.trial_folder(number)
    check_no_link(folder, where.relative_to(folder))
    owner = Identity(record.id, number, trial.config, trial.seed)
    n = n or (IMAGES if prompting is None or prompting.tokenizer is None else TEXTS)
    conditions = prompting.prompts(prompts, n) if prompting is not None else {}
    drawn = generate(record.model, config, where, spec, n, seed, resolve_device(device), conditions, owner)
    if prompting is None or prompting.tokenizer is None:
        return Drawn(drawn)
    decode = prompting.tokenizer.decode
    texts = ((decode(p), decode(tokens[len(p) :])) for p, tokens in zip(conditions["prompt"], drawn.cpu(), strict=True))
    return Drawn(None, tuple(texts))


def _changed(record: Record, config: Config, values: Mapping[str, Value]) -> Config:
    """The config with other values for generation."""
    free = [p.name for p in record.space if p.role is Role.SAMPLING and p.name != "ema"]
    for name in values:
        if name not in free:
            raise SettingsError(f"{name}: only parameters of generation can be changed now. {did_you_mean(name, free)}")
    return config.with_(**{name: _checked(record, name, value) for name, value in values.items()})


def _checked(record: Record, name: str, value: Value) -> Value:
    """A value that a parameter can have; where the search had fixed a number, it can be any other."""
    (param,) = (p for p in record.space if p.name == name)
    if isinstance(param, Choice) and len(param.values) == 1 and _is_number(param.values[0]):
        if not _is_number(value) or not 0 <= float(value) < math.inf:
            raise SettingsError(f"{name}: {value!r} is no number from 0; give for example {name}={param.values[0]}.")
        return value
    return record.space.fix(name, value).centre()[name]


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def write_texts(texts: Sequence[tuple[str, str]], out: Path) -> Path:
    """Write texts, each after a line that numbers it; returns the path."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"--- {i} ---\n{begun}{made}\n" for i, (begun, made) in enumerate(texts, start=1))
        out.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise disk_error(out, error) from error
    return out


def write_samples(images: Tensor, out: Path) -> Path:
    """Write samples as one grid (a file name) or as one PNG each (a folder); returns the path."""
    try:
        if out.suffix:
            out.parent.mkdir(parents=True, exist_ok=True)
            save_png(grid_image(images.cpu()), out)
        else:
            out.mkdir(parents=True, exist_ok=True)
            for index, image in enumerate(images.cpu()):
                save_png(grid_image(image[None], columns=1, gap=0), out / f"{index:06d}.png")
    except OSError as error:
        raise disk_error(out, error) from error
    return out
