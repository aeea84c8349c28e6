"""What samples were asked to show: a table beside them, their class folders, or what their source says.

A table (.csv with a heading, or .jsonl) has a row for each sample: its `file` (also file_name, filename, path, name), below the
folder or bare where that is unique, and what was asked for, as `class` (label), as `caption` (text), or as `prompt`, which is
either. Without a column of files, rows are taken in the order of samples that have no file names.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

import torch

from maestune.data import ImageData
from maestune.data.spec import Batch
from maestune.errors import DataError, did_you_mean
from maestune.quality.scoring.measuring import listed

FILES = ("file", "file_name", "filename", "path", "image", "name")
CLASSES = ("class", "label")
CAPTIONS = ("caption", "text")
PROMPTS = ("prompt",)
EXAMPLE = 'Expected a .csv with the columns file and class (or caption), or lines such as {"file": "0001.png", "class": "cat"}.'

Row = Mapping[str, str]


def read_prompts(path: Path, names: Sequence[str]) -> list[Row]:
    """The row of each sample, its columns in lower case; DataError naming file and line for what does not fit."""
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path}: no rows. {EXAMPLE}")
    by_path: dict[str, Row] = {}
    for i, (line, row) in enumerate(rows):
        column = next((name for name in FILES if name in row), None)
        key = str(i) if column is None else PurePosixPath(row[column].strip().replace("\\", "/")).as_posix()
        if key in by_path:
            raise DataError(f"{path}, line {line}: {key!r} stands there twice. Leave one of the rows out.")
        by_path[key] = row
    found = [by_path.get(name) for name in names]
    if None in found:
        bare = _by_last_part(by_path)
        unique = Counter(PurePosixPath(name).name for name in names)
        found = [
            row if row is not None else bare.get(last) if unique[last := PurePosixPath(name).name] == 1 else None
            for row, name in zip(found, names, strict=True)
        ]
    without = [name for name, row in zip(names, found, strict=True) if row is None]
    if without:
        raise DataError(
            f"{path}: {len(without):,} of {len(names):,} samples have no row ({listed(without)}); its rows are of "
            f"{listed(list(by_path))}. Give each sample a row, with its path below the folder."
        )
    return [row for row in found if row is not None]


def conditions_by_table(rows: Sequence[Row], path: Path, data: ImageData) -> dict[str, torch.Tensor]:
    """What rows ask for, as `label` (N,) and `caption` (N, L) of the real images.

    Raises DataError for classes that the real images do not have, captions where they have none, and rows with neither.
    """
    told = _told(rows, data)
    if not any(told.values()):
        raise DataError(
            f"{path}: no column says what each sample was asked for; it has {', '.join(rows[0])}. {EXAMPLE}"
        )
    conditions: dict[str, torch.Tensor] = {}
    if told["class"]:
        conditions["label"] = _labels(told["class"], path, data)
    if told["caption"]:
        if data.vocabulary is None:
            raise DataError(
                f"{path}: it tells captions, and the real images have none from which their meaning could be learnt. Give the "
                "real images captions (captions.csv, or a text file beside each image), or tell classes."
            )
        conditions["caption"] = data.vocabulary.encode_all(told["caption"])
    return conditions


def captions_by_table(rows: Sequence[Row], data: ImageData) -> tuple[str, ...]:
    """The captions that rows ask for as they are written, words that no real image has among them; empty where there are none."""
    return tuple(_told(rows, data)["caption"])


def _told(rows: Sequence[Row], data: ImageData) -> dict[str, list[str]]:
    """The class and the caption of each row, as far as there are columns that tell."""
    told = {kind: _column(rows, names) for kind, names in (("class", CLASSES), ("caption", CAPTIONS))}
    if prompts := _column(rows, PROMPTS):
        is_class = all(prompt in data.class_names for prompt in prompts)
        kind = "class" if is_class or data.vocabulary is None else "caption"
        told[kind] = told[kind] or prompts
    return told


def conditions_by_names(names: Sequence[str], labels: Sequence[str] | None, data: ImageData) -> tuple[Batch, str]:
    """What class folders, or the labels of the source, ask for, and a sentence on it; nothing where they do not tell.

    The class of a file is the first folder on its path that is called as a class of the real images is.
    """
    if not data.class_names or not data.labelled:
        return {}, ""
    if labels is None:
        folders = [PurePosixPath(name).parts[:-1] for name in names]
        told = [next((part for part in parts if part in data.class_names), None) for parts in folders]
        where = "Folders"
    else:
        told = [label if label in data.class_names else None for label in labels]
        where = "The labels of the samples"
    known = [one for one in told if one is not None]
    if not known:
        return {}, ""
    if len(known) < len(told):
        return {}, (
            f"{where} name a class of the real images for {len(known):,} of {len(told):,} samples, so that they are not taken "
            "for what was asked; say so with --prompts."
        )
    if len(set(known)) == 1:
        return {}, (
            f"{where} name one class only ({known[0]}), and are not taken for what was asked; say so with --prompts."
        )
    number = {name: i for i, name in enumerate(data.class_names)}
    sentence = f"{where} name the class that each sample was asked to show ({len(set(known))} classes)."
    return {"label": torch.tensor([number[one] for one in known])}, sentence


def _labels(classes: Sequence[str], path: Path, data: ImageData) -> torch.Tensor:
    if not data.class_names or not data.labelled:
        raise DataError(
            f"{path}: it tells classes, and the real images have none. Put the real images into one folder per class."
        )
    number = {name: i for i, name in enumerate(data.class_names)}
    unknown = next((one for one in classes if one not in number), None)
    if unknown is not None:
        raise DataError(
            f"{path}: {unknown!r} is no class of the real images. {did_you_mean(unknown, data.class_names)}"
        )
    return torch.tensor([number[one] for one in classes])


def _column(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """The values of the first of these columns that all rows have something in; none where there is no such column."""
    for name in names:
        values = [row.get(name, "").strip() for row in rows]
        if all(values):
            return values
    return []


def _by_last_part(by_path: Mapping[str, Row]) -> dict[str, Row]:
    last = [PurePosixPath(key).name for key in by_path]
    often = Counter(last)
    return {name: row for name, row in zip(last, by_path.values(), strict=True) if often[name] == 1}


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Each row with the line on which it ends."""
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}. Save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path}: the prompts cannot be read ({error.strerror}). {EXAMPLE}") from error
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        yield from _json_rows(path, text)
        return
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise DataError(f"{path}: not a table of prompts. {EXAMPLE}")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        for row in reader:
            # What stands beyond the last heading has None for its name, what is missing None for its value.
            yield reader.line_num, {str(k).strip().lower(): str(v or "") for k, v in row.items() if k is not None}
    except csv.Error as error:
        raise DataError(f"{path}, below line {reader.line_num}: {error}. Save it as comma-separated text.") from error


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    for i, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}, line {i}: not JSON ({error}). {EXAMPLE}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {i}: {type(row).__name__} instead of an object. {EXAMPLE}")
        yield i, {k.lower(): str(v) for k, v in cast(dict[str, Any], row).items() if isinstance(v, str | int)}
