"""Sets of images of Hugging Face: by name from its hub, or from their parquet and arrow files. Needs the extra `hf`.

Images are taken as the files they were (bytes), so that they are decoded as those of a folder are: by several processes,
upright, with unreadable ones named.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maestune.data.captions import one_wording
from maestune.data.collection import Collection, Labels, Part, Pixels
from maestune.data.columns import NONE, Columns, find_columns, kind
from maestune.data.decode import Read, Source
from maestune.data.decoding import Decoders, check_readable, reading_note
from maestune.data.fit import choose_side
from maestune.data.image_cache import entry, fits, keep, load_kept, scratch, writing
from maestune.errors import DataError, did_you_mean

PREFIX = "hf:"
FILES = (".parquet", ".arrow")
SAVED = ("dataset_dict.json", "state.json")  # of save_to_disk: a set with splits, a set without
OPTIONS = ("image", "label", "caption", "split")

HELD_OUT = ("test", "validation", "valid", "val")
LOOKED_AT = 1_000  # images, evenly spread, whose sizes settle the common one

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Address:
    """Where a set is, `name` on the hub or `path` here, and the columns and the split that were told, by role."""

    name: str
    config: str | None = None
    path: Path | None = None
    told: Mapping[str, str] | None = None

    @staticmethod
    def parse(source: str | Path) -> Address:
        """From "hf:NAME", "hf:NAME:CONFIG", either with "?image=COLUMN&label=COLUMN&caption=COLUMN&split=NAME", or a path.

        Raises DataError for another option.

        >>> Address.parse("hf:org/birds:small?label=species&caption=none").told
        {'label': 'species', 'caption': 'none'}
        """
        text = str(source)
        place, _, query = text.removeprefix(PREFIX).partition("?") if text.startswith(PREFIX) else (text, "", "")
        told: dict[str, str] = {}
        for item in filter(None, query.split("&")):
            option, _, value = item.partition("=")
            if option not in OPTIONS or not value:
                raise DataError(
                    f"{text}: {item!r} is not understood; expected OPTION=NAME such as image=picture. "
                    f"{did_you_mean(option, OPTIONS)}"
                )
            told[option] = value
        path = Path(place).expanduser()
        if is_hub(path):
            return Address(path.resolve().stem, None, path, told)
        name, _, config = place.partition(":")
        if not name:
            raise DataError(f"{text}: names no set; expected hf:NAME or hf:NAME:CONFIG, such as hf:ylecun/mnist.")
        return Address(name, config or None, None, told)


def is_hub(source: str | Path) -> bool:
    """Whether a source is a set of Hugging Face: "hf:…", a folder that `save_to_disk` made, or parquet and arrow files."""
    if isinstance(source, str) and source.startswith(PREFIX):
        return True
    path = Path(source).expanduser()
    if path.is_dir():
        return any((path / name).is_file() for name in SAVED) or any(
            file.suffix in FILES and file.stem != "metadata"  # of a folder of images: what is known of them
            for folder in (path, path / "data")
            if folder.is_dir()
            for file in folder.iterdir()
        )
    return path.suffix in FILES and path.is_file()


def read_hub(
    source: str | Path,
    size: int | None = None,
    progress: Callable[[str], None] | None = None,
    limit_bytes: float | None = None,
) -> Collection:
    """A set of Hugging Face: its split "train" (or its only one) to learn from, its "test" or "validation" held out.

    The columns of images, labels and captions are found by their kind and name, or told ("hf:NAME?image=picture&label=none");
    the note says which they are. Of several captions of one image one is taken. A test part without labels is not used
    where there are labels to learn from. `limit_bytes`: as for `read_folder`.

    Raises DataError: the library is not installed, the set cannot be loaded, its columns or splits leave open what to
    take, a caption is missing, or more than half of the images cannot be read.
    """
    tell = progress or (lambda _: None)
    address = Address.parse(source)
    tell(f"Opening {address.name} with the datasets library")
    library = _library(source)
    splits = _splits(library, address)
    if not len(splits[0].rows):
        raise DataError(f"{address.name}: its split {splits[0].name} has no rows; expected images. Say another split.")
    columns = find_columns(address.name, splits[0].rows.features, address.told or {})
    splits = [each for each in splits if {columns.image, columns.caption} - {None} <= set(each.rows.features)]
    splits, class_names, note = _labelled(splits, columns)
    splits = [_captioned(address, each, columns) for each in splits]
    notes = [columns.note, note]
    place = entry(("hub", size, columns, *(each.rows._fingerprint for each in splits)))
    if found := load_kept(place):
        tell(f"{len(found.images):,} images of {address.name} were decoded before and are in {place}")
        return replace(found, name=address.name)
    fetches = [_fetch(library, each.rows, columns.image) for each in splits]
    n = sum(len(each.rows) for each in splits)
    tell(f"Reading {n:,} images of {address.name}")
    side = _common_side(address, fetches[0], len(splits[0].rows)) if size is None else size

    def read(room: Callable[[int], Pixels]) -> Collection:
        decoded = [_decoded(fetch, room(len(each.rows)), tell) for fetch, each in zip(fetches, splits, strict=True)]
        return _collection(address, splits, decoded, class_names, notes)

    if fits(n, side, limit_bytes):
        return read(lambda n_images: np.empty((n_images, 3, side, side), np.uint8))
    with writing(place, tell):
        if found := load_kept(place):  # another process made it in the meantime
            return replace(found, name=address.name)
        tell(f"They do not fit in memory and are decoded into {place}: remove it when they are not needed any more")
        return keep(read(lambda n_images: scratch(place, n_images, side)), place)


@dataclass(frozen=True)
class _Split:
    name: str
    rows: Any  # datasets.Dataset
    labels: Labels | None = None
    captions: tuple[str, ...] | None = None


def _library(source: str | Path) -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise DataError(
            f"{source}: sets of Hugging Face need the datasets library; pip install 'maestune[hf]'. "
            "Or save the images as files in class folders and give their folder."
        ) from error


def _splits(library: Any, address: Address) -> list[_Split]:
    # The part to learn from; behind it those that may be held out, the best one first.
    try:
        opened = _opened(library, address)
    except Exception as error:  # the library raises errors of many others: of networks, of files, of its own
        lines = str(error).strip().splitlines() or [""]
        raise DataError(
            f"{address.name}: the datasets library cannot load it ({type(error).__name__}: {lines[0]}). "
            "Check the name, its configuration (hf:NAME:CONFIG) and, for a set of the hub, the network."
        ) from error
    by_name: dict[str, Any] = dict(opened) if isinstance(opened, Mapping) else {"train": opened}
    told = (address.told or {}).get("split")
    if told is not None:
        if told not in by_name:
            raise DataError(f"{address.name}: no split {told!r}. {did_you_mean(told, by_name)}")
        return [_Split(told, by_name[told])]
    learn = "train" if "train" in by_name else next(iter(by_name)) if len(by_name) == 1 else None
    if learn is None:
        raise DataError(
            f"{address.name}: has the splits {', '.join(by_name)}; expected one named train. "
            f"Say which to learn from: {PREFIX}{address.name}?split={next(iter(by_name), 'NAME')}."
        )
    held_out = [name for name in HELD_OUT if name in by_name and name != learn]
    return [_Split(name, by_name[name]) for name in (learn, *held_out)]


def _opened(library: Any, address: Address) -> Any:
    path = address.path
    if path is None:
        return library.load_dataset(address.name, address.config)
    if path.is_file():
        return library.load_dataset(path.suffix.removeprefix("."), data_files=str(path))
    if any((path / name).is_file() for name in SAVED):
        return library.load_from_disk(str(path))
    return library.load_dataset(str(path))


def _labelled(splits: Sequence[_Split], columns: Columns) -> tuple[list[_Split], tuple[str, ...], str]:
    # The part to learn from and one to hold out, with codes of their classes, the classes' names, and a sentence.
    learn, others = splits[0], splits[1:]
    if columns.label is None:
        return [learn, *others[:1]], (), ""
    values = {each.name: _values(each.rows, columns.label) for each in splits if columns.label in each.rows.features}
    whole = {name: some for name, some in values.items() if not any(v is None or v == -1 for v in some)}
    if learn.name not in whole:
        return [learn, *others[:1]], (), f"Some labels in {columns.label!r} are missing, so no image is labelled."
    held_out = next((each for each in others if each.name in whole), None)
    chosen = [learn] if held_out is None else [learn, held_out]
    unused = [each.name for each in others if each.name not in whole]
    note = f"The split {', '.join(unused)} has no labels and is not used." if unused and held_out != others[0] else ""
    feature = learn.rows.features[columns.label]
    if kind(feature) == "ClassLabel":
        codes = [np.array(whole[each.name], np.int64) for each in chosen]
        class_names = tuple(map(str, feature.names))
    else:
        together = np.array([value for each in chosen for value in whole[each.name]])
        classes, numbers = np.unique(together, return_inverse=True)
        codes = np.split(numbers.astype(np.int64), [len(whole[learn.name])])[: len(chosen)]
        class_names = tuple(map(str, classes))
    return [replace(each, labels=some) for each, some in zip(chosen, codes, strict=True)], class_names, note


def _captioned(address: Address, split: _Split, columns: Columns) -> _Split:
    if columns.caption is None:
        return split
    texts = [
        [text.strip() for text in ([value] if isinstance(value, str) else value or []) if text and text.strip()]
        for value in _values(split.rows, columns.caption)
    ]
    without = [i for i, wordings in enumerate(texts) if not wordings]
    if without:
        raise DataError(
            f"{address.name}: {len(without):,} of {len(texts):,} images of the split {split.name} have no caption in "
            f"{columns.caption!r} (the first in row {without[0]}); expected one for every image. "
            f"Go without captions: {PREFIX}{address.name}?caption={NONE}."
        )
    return replace(split, captions=tuple(map(one_wording, texts)))


def _values(rows: Any, column: str) -> list[Any]:
    return list(rows.select_columns([column])[:][column])


def _fetch(library: Any, rows: Any, column: str) -> Callable[[Sequence[int]], list[Source]]:
    # The files of images at some positions, as they are.
    alone = rows.select_columns([column])
    if kind(rows.features[column]) == "Image":
        alone = alone.cast_column(column, library.Image(decode=False))

    def fetch(positions: Sequence[int]) -> list[Source]:
        where = slice(positions.start, positions.stop) if isinstance(positions, range) else list(positions)
        return [_file(cell) for cell in alone[where][column]]

    return fetch


def _file(cell: Any) -> Source:
    if isinstance(cell, Mapping):
        cell = cell["bytes"] if cell["bytes"] is not None else cell.get("path")
    return b"" if cell is None else cell  # nothing: named as unreadable


def _common_side(address: Address, fetch: Callable[[Sequence[int]], list[Source]], n: int) -> int:
    with Decoders(fetch, n) as decoders:
        peeked = decoders.peek(np.linspace(0, n - 1, min(n, LOOKED_AT)).astype(int).tolist())
    check_readable(address.name, [f"an image: {peek.reason}" for peek in peeked if peek.reason], len(peeked))
    return choose_side(Counter(peek.size for peek in peeked if not peek.reason))


def _decoded(fetch: Callable[[Sequence[int]], list[Source]], pixels: Pixels, tell: Tell) -> tuple[Pixels, list[Read]]:
    with Decoders(fetch, len(pixels)) as decoders:
        return pixels, decoders.decode(pixels, tell)


def _collection(
    address: Address,
    splits: Sequence[_Split],
    decoded: Sequence[tuple[Pixels, Sequence[Read]]],
    class_names: tuple[str, ...],
    notes: Sequence[str],
) -> Collection:
    all_reads = [read for _, reads in decoded for read in reads]
    together = [
        (each.name, i, read) for each, (_, reads) in zip(splits, decoded, strict=True) for i, read in enumerate(reads)
    ]
    skipped = tuple(f"{name}, row {i}: {read.reason}" for name, i, read in together if read.reason)
    check_readable(address.name, skipped, len(all_reads))
    channels = 1 if all(read.grey for read in all_reads if not read.reason) else 3
    parts: list[Part] = []
    for each, (pixels, reads) in zip(splits, decoded, strict=True):
        good = [i for i, read in enumerate(reads) if not read.reason]
        labels = None if each.labels is None else each.labels[good]
        captions = None if each.captions is None else tuple(each.captions[i] for i in good)
        parts.append(Part(pixels[: len(good), :channels], labels, captions))
    side = decoded[0][0].shape[-1]
    return Collection(
        name=address.name,
        images=parts[0],
        held_out=parts[1] if len(parts) > 1 else None,
        class_names=class_names,
        skipped=skipped,
        note=" ".join(filter(None, (*notes, reading_note(all_reads, side)))),
    )
