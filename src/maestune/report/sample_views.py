"""What a campaign's models make, as frozen values: pictures and texts that its trials left in its folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from maestune.campaign.record import Record
from maestune.errors import FileRefusedError
from maestune.folder_files import MIB, list_names, read_text
from maestune.report.comparing import best_trial, finalist, recipe_trial, trained
from maestune.types import Trial

GRIDS_OVER_TRAINING = 6
TEXTS = 4
TEXT_LETTERS = 20_000  # of a text that are shown
TEXTS_LIMIT = 16 * MIB
EXHIBITS = 8
_SAMPLES_FILE = re.compile(r"samples-([0-9]{1,15})\.png")
_EXHIBIT_FILE = re.compile(r"exhibit-([a-z_]{1,40})-([0-9]{1,15})\.png")


@dataclass(frozen=True)
class Grid:
    """A picture of 8×8 samples of a trial (`source` names it) after `step` steps; of real images where None."""

    path: Path
    source: str = ""
    step: int | None = None


@dataclass(frozen=True)
class Passage:
    """A text that a model wrote: how it was asked to begin, and how it went on."""

    begun: str
    made: str


@dataclass(frozen=True)
class SamplesView:
    """Real images, recipe and best from the same latents, the best one over its training; or texts."""

    real: Grid | None
    recipe: Grid | None
    best: Grid | None
    training: tuple[Grid, ...] = ()
    exhibits: tuple[tuple[str, Grid], ...] = ()  # other pictures of the best, by name
    rows: tuple[str, ...] = ()  # what each row of the pictures was asked for
    texts: tuple[tuple[Passage, Passage], ...] = ()  # of recipe and best, from the same beginnings


def samples_view(record: Record) -> SamplesView:
    """The pictures worth showing; None or empty where the folder has none.

    Where the finals left pictures of both recipe and best, these are shown (same fresh seed, full training), otherwise
    those of the search.
    """
    real = record.folder / "real.png"
    recipe, best = recipe_trial(record), best_trial(record)
    final_recipe, final_best = _final_grids(record, recipe), _final_grids(record, best)
    if final_recipe and final_best:
        recipe_grids, best_grids = final_recipe, final_best
    else:
        recipe_grids, best_grids = _grids(record, recipe), _grids(record, best)
    final = bool(final_recipe and final_best)
    over_training = max(best_grids, _grids(record, trained(record, best)), key=len)
    return SamplesView(
        Grid(real) if os.path.lexists(real) else None,
        recipe_grids[-1] if recipe_grids else None,
        best_grids[-1] if best_grids else None,
        _spread(over_training, GRIDS_OVER_TRAINING) if len(over_training) > 1 else (),
        _exhibits(record, best),
        record.prompts if final else (),  # the search asks for other things
        _texts(record, recipe, best),
    )


def _final_grids(record: Record, trial: Trial | None) -> tuple[Grid, ...]:
    final = finalist(record, trial)
    return () if final is None or not final.runs else _grids(record, record.trial(final.runs[0]))


def _grids(record: Record, trial: Trial | None) -> tuple[Grid, ...]:
    if trial is None:
        return ()
    names = _names(record, trial, "samples-*.png")
    found = [(int(m[1]), path) for path in names if (m := _SAMPLES_FILE.fullmatch(path.name))]
    source = f"trial {trial.number},"
    if trial.source is not None:
        source = f"trial {trial.source} retrained,"
    return tuple(Grid(path, source, step) for step, path in sorted(found))


def _exhibits(record: Record, trial: Trial | None) -> tuple[tuple[str, Grid], ...]:
    """The newest of each kind, of the trial's first final training where there is one."""
    for shown in _final_then_own(record, trial):
        newest = {
            m[1]: Grid(path, "", int(m[2]))
            for path in _names(record, shown, "exhibit-*.png")
            if (m := _EXHIBIT_FILE.fullmatch(path.name))
        }
        if newest:
            return tuple(newest.items())[:EXHIBITS]
    return ()


def _texts(record: Record, recipe: Trial | None, best: Trial | None) -> tuple[tuple[Passage, Passage], ...]:
    """Texts of recipe and best in pairs; none where one of them has none, or they do not begin alike."""
    ours, theirs = _passages(record, best), _passages(record, recipe)
    return tuple((before, after) for before, after in zip(theirs, ours, strict=False) if before.begun == after.begun)[
        :TEXTS
    ]


def _passages(record: Record, trial: Trial | None) -> tuple[Passage, ...]:
    for shown in _final_then_own(record, trial):
        files = _names(record, shown, "samples-*.json")
        if files:
            try:
                text = read_text(record.folder, files[-1].relative_to(record.folder), TEXTS_LIMIT)
                return tuple(_passage(begun, made) for begun, made in json.loads(text or "[]"))
            except (FileRefusedError, ValueError, TypeError, RecursionError):  # torn by a kill, or not ours
                return ()
    return ()


def _passage(begun: object, made: object) -> Passage:
    if not isinstance(begun, str) or not isinstance(made, str):
        raise TypeError("a text was expected")
    return Passage(begun[:TEXT_LETTERS], made[:TEXT_LETTERS])


def _names(record: Record, trial: Trial, pattern: str) -> list[Path]:
    folder = record.trial_folder(trial.number)
    return [folder / name for name in list_names(record.folder, folder.relative_to(record.folder), pattern)]


def _final_then_own(record: Record, trial: Trial | None) -> Iterator[Trial]:
    final = finalist(record, trial)
    if final is not None and final.runs:
        yield record.trial(final.runs[0])
    if trial is not None:
        yield trial


def _spread(grids: tuple[Grid, ...], n: int) -> tuple[Grid, ...]:
    """At most n of them, evenly spread, the first and the last among them."""
    if len(grids) <= n:
        return grids
    return tuple(grids[round(i * (len(grids) - 1) / (n - 1))] for i in range(n))
