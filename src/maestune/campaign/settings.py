"""Settings of a campaign: what the command line, a TOML file and Python all fill in, checked in one place."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maestune.campaign.budget import Budget
from maestune.errors import SettingsError, did_you_mean
from maestune.execution.jobs import Fuse
from maestune.execution.model import FAMILIES, is_user_model
from maestune.quality.features.choice import parse_features
from maestune.recipes import find, find_domain
from maestune.search import STRATEGIES
from maestune.types import Constraint, Objective, Sign, Value

REPORT_FACTOR = 2
SIGNS: tuple[Sign, ...] = get_args(Sign)
_CONSTRAINT = re.compile(r"\s*([^\s<>=]+)\s*(>=|<=|>|<)\s*([^\s<>=]+)\s*")


class Settings(BaseModel):
    """A campaign, written down. Every field has the meaning and name of the command-line option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field("gan", description="a family (gan, vae, lm, flow), or your own training as path.py:function")
    data: str | None = Field(
        None, description="digits, a folder of images, or MNIST-style IDX files; for a language model pydoc, or text"
    )
    budget: str = Field("2m", description="time (90s, 2m, 4h), trials (40trials) or full trainings (10full)")
    objective: tuple[str, ...] = Field(
        (), description="scores to improve, or a preset; several make a Pareto front; NAME:max for your own"
    )
    constraint: tuple[str, ...] = Field((), description="bounds that must be kept, such as novelty>=0.4")
    seed: int = Field(0, ge=0, description="seed of the whole campaign")
    strategy: str = Field("halving", description="how to search")
    set: dict[str, Value] = Field(default_factory=dict, description="parameters fixed to a value")
    range: dict[str, tuple[float, float]] = Field(default_factory=dict, description="parameters with another range")
    space: dict[str, dict[str, Any]] | None = Field(None, description="the whole space, in place of the model's own")
    steps: int | None = Field(
        None, ge=1, description="length of a full training in steps; default: fitted to the budget"
    )
    rungs: int = Field(4, ge=1, le=8, description="at how many lengths a training is evaluated")
    eta: int = Field(3, ge=2, le=10, description="one in how many goes on to the next rung")
    size: int | None = Field(None, ge=8, le=1024, description="height and width that images are brought to")
    tokens: str | None = Field(None, description="tokens of a text: characters, bytes, or a tokenizer's path")
    recipe: str | None = Field(None, description="the published setting to start from: a name, or a TOML file")
    domain: tuple[str, ...] = Field((), description="kinds of data that shift ranges and priors: medical, small-data …")
    captions: tuple[str, ...] = Field((), description="templates that make captions of class names: a photo of a {}")
    samples: int | None = Field(None, ge=100, description="how many samples are scored in the search")
    report_samples: int | None = Field(
        None, ge=100, description="how many samples the verdict rests on; default: up to twice as many"
    )
    screen_samples: int | None = Field(
        None,
        ge=100,
        description="how many samples are scored where a training goes on; default: fewer where it is slow",
    )
    features: str | None = Field(
        None, description="what images are evaluated with: auto, classifier, ssl, autoencoder, random, dinov2:PATH …"
    )
    vqa: str | None = Field(
        None, description="folder of a model that is asked whether samples show their captions (VQAScore)"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    workers: int | None = Field(None, ge=0, description="worker processes; 0 trains in the campaign's own process")
    fuse: Literal["auto", "off", "fused", "compiled"] = Field(
        "auto", description="whether trials that differ only in numbers are trained as one step; auto: where it pays"
    )
    members: int | None = Field(None, ge=1, le=1024, description="how many trials are trained as one at most")
    trial_timeout: str | None = Field(
        None, description="time without a report after which a training counts as hung (90s, 5m); 0: no limit"
    )
    out: str | None = Field(None, description="folder of the campaign")

    @staticmethod
    def make(**values: Any) -> Settings:
        """Checked settings; raises SettingsError naming the field, its value and what was expected."""
        for name in values:
            if name not in Settings.model_fields:
                raise SettingsError(f"Unknown setting {name!r}. {did_you_mean(name, Settings.model_fields)}")
        given: dict[str, Any] = {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}
        try:
            settings = Settings(**given)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()]
            raise SettingsError("Settings that cannot be used: " + "; ".join(lines)) from error
        Budget.parse(settings.budget)
        parse_timeout(settings.trial_timeout)
        for text in settings.constraint:
            parse_constraint(text)
        if settings.strategy not in STRATEGIES:
            raise SettingsError(
                f"Unknown strategy {settings.strategy!r}. {did_you_mean(settings.strategy, STRATEGIES)}"
            )
        if not is_user_model(settings.model) and settings.model not in FAMILIES:
            raise SettingsError(
                f"Unknown model {settings.model!r}. {did_you_mean(settings.model, FAMILIES)} "
                "Your own training is named path/to/file.py:function."
            )
        if settings.recipe is not None:
            find(settings.recipe, None if is_user_model(settings.model) else settings.model)
        if settings.features is not None:
            parse_features(settings.features)
        for name in settings.domain:
            find_domain(name)
        for name, (low, high) in settings.range.items():
            if low >= high:
                raise SettingsError(
                    f"Range {name} = {low:g}:{high:g} is upside down or empty; low must be smaller than high."
                )
        return settings

    @staticmethod
    def from_toml(path: Path) -> Settings:
        """Settings from a TOML file."""
        return Settings.make(**read_toml(path))

    @property
    def folder(self) -> Path:
        """The campaign's folder: as given, else named after model, data and seed, so that the same command finds it again."""
        if self.out is not None:
            return Path(self.out)
        model = Path(self.model.partition(":")[0]).stem
        data = "" if self.data is None else f"-{Path(self.data).resolve().name}"
        return Path("runs") / f"{model}{data}-seed{self.seed}"


def parse_objective(text: str, known: Mapping[str, bool]) -> Objective:
    """An objective from "fd", "coverage" (direction known) or "name:min" / "name:max" (a score of the user's own)."""
    name, _, direction = text.partition(":")
    if direction not in ("", "min", "max"):
        raise SettingsError(f"Objective {text!r}: the direction {direction!r} is neither min nor max.")
    if name in known:
        return Objective(name, known[name] if not direction else direction == "max")
    return Objective(name, direction == "max")


def parse_constraint(text: str) -> Constraint:
    """A bound from "novelty>=0.4"; raises SettingsError that says what of it is not understood.

    >>> parse_constraint("rep_gap <= 0.1")
    Constraint(name='rep_gap', sign='<=', bound=0.1)
    """
    found = _CONSTRAINT.fullmatch(text)
    if found is None:
        raise SettingsError(
            f"Constraint {text!r} is not understood; write a score, one of {', '.join(SIGNS)}, and a number, for example "
            '"novelty>=0.4".'
        )
    name, sign, number = found.groups()
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise SettingsError(f"Constraint {text!r}: {number!r} is no finite number, such as 0.4.")
    return Constraint(name, cast(Sign, sign), bound)


def parse_timeout(text: str | None) -> float | None:
    """Seconds of a time such as "90s", "5m" or a plain number of seconds; 0 for no limit, None where none is given.

    >>> parse_timeout("5m"), parse_timeout("0"), parse_timeout("12.5"), parse_timeout(None)
    (300.0, 0.0, 12.5, None)
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            budget = Budget.parse(text)
        except SettingsError:
            budget = None
        seconds = budget.amount if budget is not None and budget.kind == "seconds" else math.nan
    if not 0 <= seconds < math.inf:
        raise SettingsError(
            f"trial_timeout = {text!r} is not understood; give a time (90s, 5m, 300), or 0 for no limit."
        )
    return seconds


def report_samples(settings: Settings, search: int, real: int) -> int:
    """How many samples the verdict rests on: as given, else twice those of the search.

    `real`: how many real samples its floor can be made of, none of them twice; beyond that number floor and scores would
    not be on equal terms, so that it is the limit (never below the search's). More would cost more than it brings: on digits
    the spread of paired differences in the logarithm of the Fréchet distance is 0.165 with 1,000 samples, 0.157 with 2,500
    and with 5,000 (eight pairs of final trainings), since trainings differ by more than samples of one do.
    """
    return settings.report_samples or max(search, min(REPORT_FACTOR * search, real))


def parse_value(text: str) -> Value:
    """A value given on the command line: a whole number, a number, true/false, or text."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def default_workers(device: str) -> int:
    """One worker per core on a CPU (small models gain more from two processes than from two threads); one on a GPU."""
    if device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, 8))


def how_to_fuse(settings: Settings) -> Fuse:
    """How trials of one structure are trained; the clock is asked only where it decides about the campaign anyway."""
    if settings.fuse != "auto":
        return settings.fuse
    return "measured" if Budget.parse(settings.budget).kind == "seconds" else "fused"


def resolve_device(text: str) -> str:
    """The device to train on; raises SettingsError where it is not there."""
    import torch

    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise SettingsError(f"Device {text!r} is not understood; use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            f"Device {text!r} was asked for, but this PyTorch sees no CUDA device; use --device cpu or auto."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"Device {text!r}: there are {torch.cuda.device_count()} CUDA devices, numbered from 0.")
    return text


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as plain data; raises SettingsError where it is missing or malformed."""
    try:
        return parse_toml(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise SettingsError(f"No file {path}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """The text of a TOML file as plain data; SettingsError names the file where it is malformed."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
