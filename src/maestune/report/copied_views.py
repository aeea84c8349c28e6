"""What the samples of recipe and best have copied, as their final trainings wrote it down, as frozen values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from maestune.campaign.record import Record
from maestune.errors import FileRefusedError
from maestune.execution.copies import Copied, copies_from
from maestune.folder_files import MIB, list_names, read_text
from maestune.quality.copied import CopiedImages, CopiedPassage, CopiedTexts, NearImage
from maestune.report.comparing import best_trial, finalist, recipe_trial
from maestune.types import Trial

PASSAGES = 4
COPIES_LIMIT = 16 * MIB


@dataclass(frozen=True)
class CopiedView:
    """What a finalist's samples have copied, over all of its final trainings: `copying` of `samples`.

    `usual`: the share of held-out texts or images of which the same would be said.
    """

    samples: int
    copying: int
    usual: float

    @property
    def share(self) -> float:
        """Share of the samples that copy."""
        return self.copying / self.samples if self.samples else 0.0


@dataclass(frozen=True)
class CopiedTextsView(CopiedView):
    """Texts that hold a passage of at least `shortest` characters of the training text; the longest, each once."""

    shortest: int
    passages: tuple[CopiedPassage, ...]


@dataclass(frozen=True)
class CopiedImagesView(CopiedView):
    """Images as near to a training image as few held-out ones; of the first training the nearest, with their picture.

    `picture`: the samples, and below each the training image that is nearest to it; None where the folder has none.
    """

    nearest: tuple[NearImage, ...]
    picture: Path | None


def copied_views(record: Record) -> Mapping[str, CopiedTextsView | CopiedImagesView]:
    """Of "recipe" and "best", as far as it is known; nothing before the finals."""
    views: dict[str, CopiedTextsView | CopiedImagesView] = {}
    for who, trial in (("recipe", recipe_trial(record)), ("best", best_trial(record))):
        found = list(_written(record, trial))
        texts = [copied for _, copied in found if isinstance(copied, CopiedTexts)]
        images = [(path, copied) for path, copied in found if isinstance(copied, CopiedImages)]
        if texts:
            views[who] = _of_texts(texts)
        elif images:
            views[who] = _of_images(*images[0], [copied for _, copied in images])
    return views


def _written(record: Record, trial: Trial | None) -> Iterable[tuple[Path, Copied]]:
    """The newest of each final training, with its path."""
    final = finalist(record, trial)
    for number in () if final is None else final.runs:
        trial_folder = record.trial_folder(number).relative_to(record.folder)
        names = list_names(record.folder, trial_folder, "copied-*.json")
        try:
            if names:
                text = read_text(record.folder, trial_folder / names[-1], COPIES_LIMIT) or ""
                yield record.folder / trial_folder / names[-1], copies_from(text)
        except (FileRefusedError, ValueError, TypeError, KeyError, RecursionError):  # torn by a kill, or not ours
            continue


def _of_texts(found: list[CopiedTexts]) -> CopiedTextsView:
    distinct: dict[str, CopiedPassage] = {}
    for one in sorted((one for each in found for one in each.longest), key=lambda one: -one.length):
        distinct.setdefault(one.marked, one)
    return CopiedTextsView(
        samples=sum(each.texts for each in found),
        copying=sum(each.copying for each in found),
        usual=found[0].usual,
        shortest=found[0].shortest,
        passages=tuple(distinct.values())[:PASSAGES],
    )


def _of_images(path: Path, first: CopiedImages, found: list[CopiedImages]) -> CopiedImagesView:
    picture = path.with_suffix(".png")
    return CopiedImagesView(
        samples=sum(each.images for each in found),
        copying=sum(each.copying for each in found),
        usual=first.usual,
        nearest=first.nearest,
        picture=picture if os.path.lexists(picture) else None,
    )
