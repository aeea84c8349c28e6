"""Decoded images that do not fit in memory: kept in a file, read batch by batch, found again by the next campaign.

An entry is a folder of the cache: pixels and hashes as .npy files, the rest as JSON. Its images lie in the order of their
content, which makes each part of the set (see `split`) one piece of the file: nothing is copied when it is divided. An
entry is written whole or not at all, by one process at a time. It can be removed when no campaign runs on it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from maestune.data.collection import Collection, Keys, Part, Pixels
from maestune.data.machine import cache_folder, free_memory_bytes
from maestune.errors import DataError, StoreError

VERSION = 1  # of decoding and of the files: raise it when either changes
# Images may take this share of what is free: there is a second copy of them while they are divided, and a third while
# they are handed to worker processes.
SHARE = 0.25
CHUNK_BYTES = 64 * 2**20
REPAIR = "Set MAESTUNE_CACHE to a folder with more room, or bring the images to a smaller --size."


def fits(n_images: int, side: int, limit_bytes: float | None) -> bool:
    """Whether decoded images may stay in memory: they take no more than the limit, by default a quarter of what is free."""
    limit = SHARE * free_memory_bytes() if limit_bytes is None else limit_bytes
    return n_images * 3 * side * side <= limit


def entry(marks: Iterable[object]) -> Path:
    """Where the images belong that are what the marks say: files with sizes and times, a fingerprint, what was asked for."""
    digest = hashlib.blake2b(repr(VERSION).encode(), digest_size=12)
    for mark in marks:
        digest.update(b"\0" + repr(mark).encode())
    return cache_folder() / "images" / digest.hexdigest()


@contextmanager
def writing(folder: Path, tell: Any) -> Iterator[None]:
    """Around the making of an entry: others who want the same one wait. StoreError where the cache cannot be written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell("Another process is decoding the same images: waiting for it")
            lock.acquire()
    except OSError as error:
        raise _store_error(folder, error) from error
    with lock:
        yield


def scratch(folder: Path, n_images: int, side: int) -> Pixels:
    """Room on disk for pixels (N, 3, side, side) beside an entry; it goes when nobody holds it, also by a kill."""
    shape = (n_images, 3, side, side)
    n_bytes = n_images * 3 * side * side
    try:
        free = shutil.disk_usage(folder.parent).free
        if 2 * n_bytes > free:  # as they come, and in order
            raise StoreError(
                f"{n_images:,} images of {side}×{side} do not fit in memory, and decoding them takes "
                f"{2 * n_bytes / 1e9:.1f} GB in {folder.parent}, where {free / 1e9:.1f} GB are free. {REPAIR}"
            )
        with tempfile.TemporaryFile(dir=folder.parent) as file:
            if hasattr(os, "posix_fallocate"):  # else a full disk would end the process in the midst of an assignment
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            return np.memmap(file, np.uint8, "w+", shape=shape)
    except OSError as error:
        raise _store_error(folder, error) from error


def keep(collection: Collection, folder: Path) -> Collection:
    """Write a collection to an entry, its images in the order of their content, and open it there.

    Images that are also in its test part come last, since `split` leaves them out.
    """
    held_out = collection.held_out
    try:
        with _whole(folder) as unfinished:
            about: dict[str, Any] = {
                "name": collection.name,
                "class_names": collection.class_names,
                "skipped": collection.skipped,
                "note": collection.note,
            }
            keys = None if held_out is None else held_out.content_keys
            if held_out is not None and keys is not None:
                about["held_out"] = _write(unfinished / "held_out", replace(held_out, keys=keys))
            about["images"] = _write(unfinished / "images", collection.images, keys)
            (unfinished / "about.json").write_text(json.dumps(about), encoding="utf-8")
    except OSError as error:
        raise _store_error(folder, error) from error
    kept = load_kept(folder)
    if kept is None:
        raise StoreError(f"{folder}: what was written a moment ago cannot be read. {REPAIR}")
    return kept


def load_kept(folder: Path) -> Collection | None:
    """The collection of an entry; None where there is none or where it is not whole."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        return Collection(
            name=about["name"],
            images=_open(folder / "images", about["images"]),
            held_out=_open(folder / "held_out", about["held_out"]) if "held_out" in about else None,
            class_names=tuple(about["class_names"]),
            skipped=tuple(about["skipped"]),
            note=about["note"],
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError):  # of every damage the repair is the same
        return None


class MappedTensor(Tensor):
    """Images (N, C, H, W) uint8 that lie in a file, read when they are looked at, never to be written.

    What is computed from them is an ordinary tensor. Another process is sent their place, not their content.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    place: tuple[Path, int, int]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return mapped, self.place


def mapped(file: Path, first: int, n_images: int) -> Tensor:
    """The images first … first + n - 1 of a file of pixels; DataError where it is gone."""
    try:
        pixels = np.load(file, mmap_mode="r")[first : first + n_images]
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{file}: decoded images were kept there and cannot be read any more ({error}). Start again: they are made anew."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they cannot be written is meant
        tensor = torch.from_numpy(np.asarray(pixels)).as_subclass(MappedTensor)
    tensor.place = (file, first, n_images)
    return tensor


def _write(name: Path, part: Part, last: Keys | None = None) -> dict[str, Any]:
    # The part's pixels and keys as files beside each other; what is left for the JSON.
    keys = part.content_keys
    behind = np.zeros(len(keys), bool) if last is None else np.isin(keys, last)
    order = np.lexsort((keys, behind))
    with name.with_suffix(".npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": part.pixels.shape}
        np.lib.format.write_array_header_1_0(file, header)
        step = max(1, CHUNK_BYTES // part.pixels[0].size)
        for start in range(0, len(order), step):
            file.write(np.ascontiguousarray(part.pixels[order[start : start + step]]).data)
        _to_disk(file)
    np.save(name.with_suffix(".keys.npy"), keys[order])
    return {
        "labels": None if part.labels is None else part.labels[order].tolist(),
        "captions": None if part.captions is None else [part.captions[i] for i in order],
    }


def _open(name: Path, rest: dict[str, Any]) -> Part:
    file = name.with_suffix(".npy")
    pixels, keys = np.load(file, mmap_mode="r"), np.load(name.with_suffix(".keys.npy"))
    labels = None if rest["labels"] is None else np.array(rest["labels"], np.int64)
    captions = None if rest["captions"] is None else tuple(rest["captions"])
    part = Part(pixels, labels, captions, keys, file)
    if any(len(found) != len(part) for found in (keys, labels, captions) if found is not None):
        raise ValueError("parts of an entry that do not belong together")
    return part


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    # A folder that appears under its name when all is in it. One process writes (see `writing`): what lies under the
    # other name is of one that was killed.
    unfinished = folder.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _to_disk(file: BinaryIO) -> None:
    # Before the entry gets its name: after a power failure it must not hold less than it seems to.
    file.flush()
    os.fsync(file.fileno())


def _store_error(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"Decoded images cannot be kept in {folder.parent}: {error}. {REPAIR}")
