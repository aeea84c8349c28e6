"""Which metrics are measured, one kind after the other, and what to know about so many samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from maestune.errors import MetricError, did_you_mean
from maestune.quality.catalogue import DESCRIBED
from maestune.quality.metric import Measure
from maestune.quality.scoring.working import ordered_map
from maestune.types import Score

SCREEN, COMPARE, REPORT = 1_000, 5_000, 10_000  # images: to see what is no good, to compare models, to publish
FEWEST = 12  # samples: halves of an interval then still have a fifth neighbour
NAMED = 3  # files that a sentence names

Tell = Callable[[str], None]
Measuring = Callable[[Sequence[str]], Mapping[str, Score]]


def check_names(wanted: Sequence[str], known: Mapping[str, Measure]) -> None:
    """Raises MetricError for names of metrics that are unknown, with the nearest, and that such samples do not tell."""
    for name in wanted:
        if name not in known and name in DESCRIBED:
            raise MetricError(
                f"{name} is not told by such samples ({DESCRIBED[name].label}). {did_you_mean('', known)}"
            )
        if name not in known:
            raise MetricError(f"There is no metric {name!r}. {did_you_mean(name, known)}")


def chosen(wanted: Sequence[str], available: Sequence[str], why_not: Callable[[str], str]) -> tuple[str, ...]:
    """The metrics to measure: those that were named, else all that are available.

    Raises MetricError for what cannot be measured here, with the reason.
    """
    for name in wanted:
        if name not in available:
            raise MetricError(f"{name} ({DESCRIBED[name].label}) cannot be measured here: {why_not(name)}")
    return tuple(dict.fromkeys(wanted or available))


def measure(
    names: Sequence[str],
    kinds: Mapping[str, str],
    score: Measuring,
    floor: Measuring,
    *,
    named: bool,
    tell: Tell,
    workers: int = 1,
) -> tuple[dict[str, Score], dict[str, Score], list[str]]:
    """Values and floors of metrics, those of a kind together, and notes on what could not be measured.

    `kinds`: the kind of each. `named`: somebody asked for just these, so that what cannot be measured is an error. `workers`:
    how many threads measure a kind each; with one, floors are measured together, which is quicker where real data have to be
    made ready for them.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(kinds[name], []).append(name)
    tasks = [partial(_tried, score, group) for group in groups.values()]
    if workers > 1:  # floors too, so that nobody waits for the last of the values
        tasks += [partial(_tried, floor, group) for group in groups.values()]
    results = ordered_map(tasks, workers)
    values: dict[str, Score] = {}
    floors: dict[str, Score] = {}
    notes: list[str] = []
    for i, group in enumerate(groups.values(), start=1):
        tell(f"Measuring {', '.join(group)} ({i} of {len(groups)})")
        found = next(results)
        if isinstance(found, MetricError):
            if named:
                raise found
            notes.append(f"Not measured: {', '.join(group)}. {found}")
        else:
            values |= found
    tell("Measuring the floor: real data in place of the samples")
    if workers == 1:
        together = _tried(floor, [name for name in names if name in values])
        if not isinstance(together, MetricError):
            return values, together, notes
        results = (
            _tried(floor, group) for group in groups.values()
        )  # one of them has none, and the others have theirs
    for group, found in zip(groups.values(), results, strict=True):
        if isinstance(found, MetricError):
            notes += [f"No floor for {', '.join(group)}: {found}"] if group[0] in values else []
        elif group[0] in values:
            floors |= found
    return values, floors, notes


def _tried(measuring: Measuring, group: Sequence[str]) -> dict[str, Score] | MetricError:
    try:
        return dict(measuring(group))
    except MetricError as error:
        return error


def number_notes(n: int, reference: int) -> list[str]:
    """What to know about so many images, held against so many."""
    notes: list[str] = []
    if n < SCREEN:
        notes.append(
            f"{n:,} samples are few: distances come out larger than with more, and close models cannot be told apart. Use "
            f"{SCREEN:,} to see what is no good, {COMPARE:,} to compare models, {REPORT:,} to publish."
        )
    elif n < COMPARE:
        notes.append(
            f"{n:,} samples show what is no good; use {COMPARE:,} to compare close models and {REPORT:,} to publish, always as "
            "many for each model."
        )
    if reference < SCREEN:
        notes.append(
            f"The samples are held against {reference:,} real images, which are few: every distance, the floor too, is larger "
            "than it would be against more."
        )
    return notes


def listed(names: Sequence[str]) -> str:
    """The first few of some names.

    >>> listed(["a", "b", "c", "d"])
    'a; b; c; …'
    """
    return "; ".join(names[:NAMED]) + ("; …" if len(names) > NAMED else "")


def skipped_note(what: str, skipped: Sequence[str]) -> str:
    """A sentence that names files that were left out; empty where none was."""
    return f"Left out, since they cannot be read ({len(skipped):,} of the {what}): {listed(skipped)}" if skipped else ""
