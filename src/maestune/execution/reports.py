"""Reports of a training as the rest of the program may rely on them: whole steps in order, signals and scores as floats.

A training is the user's code. Slips that have one meaning are mended (a tensor with one number is that number); all others raise
`TrainingError`, which names the value and what was expected, and end the trial and nothing else.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from maestune.errors import MaestuneError
from maestune.types import Report

SHOWN_CHARACTERS = 60  # of a value that a message quotes


class TrainingError(MaestuneError):
    """A training that breaks its contract: a report of the wrong kind, step or value."""


def checked_report(report: Any, last_step: int, until_steps: int) -> Report:
    """The report with its step as an int and its numbers as floats; NaN and infinity stay.

    `last_step`: the newest step of the segment so far (0 at the start of a trial). `until_steps`: the end of the segment.
    Raises TrainingError for anything else than a Report with a step in (last_step, until_steps] and numbers by name.
    """
    if not isinstance(report, Report):
        raise TrainingError(f"The training yielded {_shown(report)}; yield maestune.Report(step, signals, …).")
    step = _step(report.step)
    if step > until_steps:
        raise TrainingError(
            f"The training reported step {step}, beyond step {until_steps} at which it was to pause; train for run.steps(), "
            "or end the loop at run.until_steps."
        )
    if step <= last_step:
        raise TrainingError(
            f"The training reported step {step} after step {last_step}; steps must grow. A training that goes on begins after "
            "run.start_steps (run.steps() does)."
        )
    return replace(
        report,
        step=step,
        signals=_numbers(report.signals, "signal"),
        scores=_numbers(report.scores, "score"),
        choice=_numbers(report.choice, "choice"),
    )


def _step(step: Any) -> int:
    number = None if isinstance(step, bool) else _number(step)
    if number is None or not number.is_integer():
        raise TrainingError(f"The training reported step {_shown(step)}; a whole number was expected.")
    return int(number)


def _numbers(values: Any, kind: str) -> dict[str, float]:
    if not isinstance(values, Mapping):
        raise TrainingError(f"The {kind}s of a report are {_shown(values)}; a dict of numbers by name was expected.")
    found: dict[str, float] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise TrainingError(f"The name of a {kind} is {_shown(name)}; text was expected.")
        number = _number(value)
        if number is None:
            raise TrainingError(
                f"The {kind} {name!r} is {_shown(value)}; one real number was expected (a tensor of one element counts as one)."
            )
        found[name] = number
    return found


def _number(value: Any) -> float | None:
    """One real number as a float; None for anything else."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        array = value.detach().cpu() if isinstance(value, torch.Tensor) else np.asarray(value)
        size = array.numel() if isinstance(array, torch.Tensor) else array.size
        if size != 1:
            return None
        value = array.item()
    if isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:  # a whole number beyond what floats hold
            return None
    return None


def _shown(value: Any) -> str:
    """A value and its type, short enough for a line."""
    kind = type(value).__name__
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, int) and abs(value) >= 10**SHOWN_CHARACTERS:  # repr() of thousands of digits raises
        return f"a whole number of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:
        return f"a {kind}"
    return f"{text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + '…'} ({kind})"
