"""Three parts that never share an image: to learn from, to search with, and for the verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from maestune.data.captions import Vocabulary
from maestune.data.collection import Collection, Keys, Part
from maestune.data.collection import content_keys as content_keys
from maestune.data.image_cache import mapped
from maestune.data.image_data import ImageData, Images
from maestune.errors import DataError

SEARCH_SHARE = 0.2
REPORT_SHARE = 0.2
# More images than this make a Fréchet distance hardly more precise, only slower; the rest is better learnt from.
LARGEST_PART = 10_000
# Below this the held-out parts have fewer than a dozen images, and no interval of a score says anything.
FEWEST_IMAGES = 60
FEWEST_HELD_OUT = 12

Index = NDArray[np.intp]


def split(collection: Collection) -> ImageData:
    """Divide a collection by the content of its images.

    Images are put in the order of a hash of their pixels; the first 20 % of the different ones (10,000 at most) are for
    the verdict, the next 20 % (10,000 at most) to search with, the rest to learn from. Identical images therefore always
    fall into the same part, and nothing depends on the names or the order of the files, not even the order within a
    part. Where the source has its own test part, that is for the verdict (its first 10,000 by hash), and images to
    learn from that also occur in it are dropped. Labels and captions go with their images; the vocabulary is made of the
    captions that are learnt from. Raises DataError when too few different images are there.

    Images in memory are copied. Those in a file stay there: each part is a piece of it.
    """
    keys = collection.images.content_keys
    held_out, held_out_keys = collection.held_out, None
    images, note = collection.images, collection.note
    if held_out is not None:
        held_out_keys = held_out.content_keys
        fresh = ~np.isin(keys, held_out_keys)
        if not fresh.all():
            images, keys = _take(images, np.flatnonzero(fresh)), keys[fresh]
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
    order, rank = _ranked(keys, images)
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
        index, rank = _ranked(held_out_keys, held_out)
        index = index[rank < LARGEST_PART]
        parts["report"], part_keys["report"] = _take(held_out, index), held_out_keys[index]
    learnt = parts["train"].captions
    vocabulary = None if learnt is None else Vocabulary.of(learnt)
    return ImageData(
        name=collection.name,
        train=_tensors(parts["train"], vocabulary),
        search=_tensors(parts["search"], vocabulary),
        report=_tensors(parts["report"], vocabulary),
        class_names=collection.class_names,
        fingerprint=_fingerprint(parts, part_keys),
        skipped=collection.skipped,
        note=note,
        vocabulary=vocabulary,
    )


def _ranked(keys: Keys, part: Part) -> tuple[Index, Index]:
    # Positions of the images in the order of their keys, and beside each the rank of its content: equal images, equal
    # rank. Labels and captions decide between equal images, so that the order of the files never does.
    nothing = np.zeros(len(keys))
    labels = nothing if part.labels is None else part.labels
    captions = nothing if part.captions is None else np.array([_hash(caption) for caption in part.captions])
    order = np.lexsort((captions, labels, keys))
    ordered = keys[order]
    rank = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1])))
    return order, rank


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def _part_size(n_different: int, share: float) -> int:
    return min(round(share * n_different), LARGEST_PART)


def _take(part: Part, index: Index) -> Part:
    labels = None if part.labels is None else part.labels[index]
    captions = None if part.captions is None else tuple(part.captions[i] for i in index)
    if part.file is None:
        return Part(part.pixels[index], labels, captions)
    # In the file images are in the order of their content, as here, and those that are dropped come last: what is taken
    # lies in one piece. Only among equal images may the index have another order, which does not matter for their pixels.
    start = int(index.min()) if len(index) else 0
    stop = start + len(index)
    assert not len(index) or stop == index.max() + 1
    return Part(part.pixels[start:stop], labels, captions, file=part.file, first=part.first + start)


def _tensors(part: Part, vocabulary: Vocabulary | None) -> Images:
    if part.file is None:
        images = torch.from_numpy(np.ascontiguousarray(part.pixels))  # `_take` made a copy of its own, which it shares
    else:
        images = mapped(part.file, part.first, len(part))
    return Images(
        images,
        None if part.labels is None else torch.from_numpy(part.labels),
        None if part.captions is None or vocabulary is None else vocabulary.encode_all(part.captions),
    )


def _fingerprint(parts: Mapping[str, Part], keys: Mapping[str, Keys]) -> str:
    # Sixteen hex digits over shape, content, labels, captions and part of every image; the parts are in the order of content.
    digest = hashlib.blake2b(digest_size=8)
    for name, part in parts.items():
        digest.update(f"{name} {part.pixels.shape}".encode())
        digest.update(keys[name].astype(">u8").tobytes())
        digest.update(b"" if part.labels is None else part.labels.astype(">i8").tobytes())
        digest.update(b"" if part.captions is None else "\0".join(("", *part.captions)).encode())
    return digest.hexdigest()
