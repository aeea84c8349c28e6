"""Errors that name the value, what was expected, and how to repair it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MaestuneError(Exception):
    """Base of every error that is the user's to repair; the command line prints it without a traceback."""


class SpaceError(MaestuneError):
    """A parameter, range, prior, condition or config that cannot be used."""


class DataError(MaestuneError):
    """Data that cannot be read or learnt from."""


class MetricError(MaestuneError):
    """A metric that is unknown or cannot be computed on what it was given."""


class SettingsError(MaestuneError):
    """A campaign setting (budget, strategy, device, user file …) that cannot be used."""


class StoreError(MaestuneError):
    """The campaign folder cannot be written, is in use, or belongs to a different campaign."""


class FileRefusedError(StoreError):
    """A file of a campaign's folder that is not read: a link, a pipe, a device, or too large."""


class CheckpointError(MaestuneError):
    """A checkpoint that cannot be written or read back."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Sentence naming the nearest known names, or all of them when none is near.

    >>> did_you_mean("lr_ration", ["lr", "lr_ratio", "beta1"])
    'Did you mean lr_ratio?'
    >>> did_you_mean("zzz", ["fd", "kid"])
    'Known: fd, kid.'
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(names)}."
