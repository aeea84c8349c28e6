"""Three parts that never share an image: to learn from, to search with, and for the verdict."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from maestune.data.collection import Collection, Part
from maestune.data.image_data import ImageData, Images
from maestune.errors import DataError

SEARCH_SHARE = 0.2
REPORT_SHARE = 0.2
# More images than this make a Fréchet distance hardly more precise, only slower; the rest is better learnt from.
LARGEST_PART = 10_000
# Below this the held-out parts have fewer than a dozen images, and no interval of a score says anything.
FEWEST_IMAGES = 60
FEWEST_HELD_OUT = 12

Keys = NDArray[np.uint64]


def split(collection: Collection) -> ImageData:
    """Divide a collection by the content of its images.

    Images are put in the order of a hash of their pixels; the first 20 % of the different ones (10,000 at most) are for
    the verdict, the next 20 % (10,000 at most) to search with, the rest to learn from. Identical images therefore always
    fall into the same part, and nothing depends on the names or the order of the files, not even the order within a
    part. Where the source has its own test part, that is for the verdict (its first 10,000 by hash), and images to
    learn from that also occur in it are dropped. Raises DataError when too few different images are there.
    """
    keys = content_keys(collection.images)
    held_out, held_out_keys = collection.held_out, None
    images, note = collection.images, collection.note
    if held_out is not None:
        held_out_keys = content_keys(held_out)
        fresh = ~np.isin(keys, held_out_keys)
        if not fresh.all():
            images, keys = _take(images, fresh), keys[fresh]
            note = f"{note} {int((~fresh).sum()):,} images to learn from are also in the test part and were dropped.".strip()
        if len(np.unique(held_out_keys)) < FEWEST_HELD_OUT:
            raise DataError(
                f"{collection.name}: its test part has {len(np.unique(held_out_keys))} different images; expected at least "
                f"{FEWEST_HELD_OUT}. Give the file to learn from alone: held-out images are then taken from it."
            )
    n_different = len(np.unique(keys))
    if n_different < FEWEST_IMAGES:
        raise DataError(
            f"{collection.name}: {n_different} different images among {len(images)}; expected at least {FEWEST_IMAGES}, "
            "so that enough are held out for a verdict. Add images."
        )
    order, rank = _ranked(keys, images.labels)
    n_report = 0 if held_out is not None else _part_size(n_different, REPORT_SHARE)
    n_search = _part_size(n_different, SEARCH_SHARE)
    indices = {
        "train": order[rank >= n_report + n_search],
        "search": order[(rank >= n_report) & (rank < n_report + n_search)],
        "report": order[rank < n_report],
    }
    parts = {name: _take(images, index) for name, index in indices.items()}
    part_keys = {name: keys[index] for name, index in indices.items()}
    if held_out is not None and held_out_keys is not None:
        index, rank = _ranked(held_out_keys, held_out.labels)
        index = index[rank < LARGEST_PART]
        parts["report"], part_keys["report"] = _take(held_out, index), held_out_keys[index]
    return ImageData(
        name=collection.name,
        train=_tensors(parts["train"]),
        search=_tensors(parts["search"]),
        report=_tensors(parts["report"]),
        class_names=collection.class_names,
        fingerprint=_fingerprint(parts, part_keys),
        skipped=collection.skipped,
        note=note,
    )


def content_keys(part: Part) -> Keys:
    """A 64-bit hash (blake2b) of the pixels of every image, (N,)."""
    n_bytes = part.pixels[0].size  # C·H·W
    stream = np.ascontiguousarray(part.pixels).reshape(-1).data
    starts = range(0, len(part) * n_bytes, n_bytes)
    digests = b"".join([hashlib.blake2b(stream[start : start + n_bytes], digest_size=8).digest() for start in starts])
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def _ranked(keys: Keys, labels: NDArray[np.int64] | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    # Positions of the images in the order of their keys, and beside each the rank of its content: equal images, equal
    # rank. Labels decide between equal images, so that the order of the files never does.
    order = np.lexsort((np.zeros(len(keys)) if labels is None else labels, keys))
    ordered = keys[order]
    rank = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1])))
    return order, rank


def _part_size(n_different: int, share: float) -> int:
    return min(round(share * n_different), LARGEST_PART)


def _take(part: Part, index: NDArray[np.intp] | NDArray[np.bool_]) -> Part:
    return Part(part.pixels[index], None if part.labels is None else part.labels[index])


def _tensors(part: Part) -> Images:
    # `_take` made a copy of its own, which the tensors share.
    labels = None if part.labels is None else torch.from_numpy(part.labels)
    return Images(torch.from_numpy(np.ascontiguousarray(part.pixels)), labels)


def _fingerprint(parts: dict[str, Part], keys: dict[str, Keys]) -> str:
    # Sixteen hex digits over shape, content, labels and part of every image; the parts are in the order of content.
    digest = hashlib.blake2b(digest_size=8)
    for name, part in parts.items():
        digest.update(f"{name} {part.pixels.shape}".encode())
        digest.update(keys[name].astype(">u8").tobytes())
        digest.update(b"" if part.labels is None else part.labels.astype(">i8").tobytes())
    return digest.hexdigest()
