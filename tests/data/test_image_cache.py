from __future__ import annotations

import os
import pickle
import shutil
import threading
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maestune.data import ImageData, load_images
from maestune.data.collection import Collection, Part
from maestune.data.folder import read_folder
from maestune.data.image_cache import MappedTensor, entry, fits, keep, load_kept, mapped, scratch, writing
from maestune.data.split import split
from maestune.errors import DataError, StoreError

RNG = np.random.default_rng(21)
PARTS = ("train", "search", "report")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAESTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_images(folder: Path, n: int = 70, channels: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shape = (8, 8) if channels == 1 else (8, 8, channels)
    for i in range(n):
        Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i:04d}.png")


def same(one: ImageData, two: ImageData) -> bool:
    """Whether two sets are equal in everything that a training or a report sees."""
    for name in PARTS:
        a, b = getattr(one, name), getattr(two, name)
        if not torch.equal(a.images, b.images):
            return False
        for x, y in ((a.labels, b.labels), (a.captions, b.captions)):
            if (x is None) != (y is None) or (x is not None and not torch.equal(x, y)):
                return False
    kept = ("fingerprint", "class_names", "skipped", "note", "name", "vocabulary")
    return all(getattr(one, name) == getattr(two, name) for name in kept)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_set_in_a_file_is_the_set_in_memory(tmp_path: Path, channels: int) -> None:
    for name in ("b", "a"):
        write_images(tmp_path / "set" / name, 60, channels)
    for i in range(5):  # copies, some with another label
        shutil.copy(tmp_path / "set" / "b" / "0003.png", tmp_path / "set" / "a" / f"copy{i}.png")
        shutil.copy(tmp_path / "set" / "b" / "0004.png", tmp_path / "set" / "b" / f"copy{i}.png")
    (tmp_path / "set" / "a" / "bad.png").write_bytes(b"no image")
    in_memory = load_images(tmp_path / "set")
    in_a_file = load_images(tmp_path / "set", limit_bytes=0)
    assert same(in_memory, in_a_file)
    assert type(in_memory.train.images) is torch.Tensor
    assert all(type(getattr(in_a_file, name).images) is MappedTensor for name in PARTS)
    assert in_a_file.skipped == ("a/bad.png: not an image, or damaged at its beginning",)


def test_what_was_decided_is_found_again_and_nothing_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "set")
    first = load_images(tmp_path / "set", limit_bytes=0)

    def never(*_: Any) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("maestune.data.folder.Decoders", never)
    said: list[str] = []
    assert same(first, load_images(tmp_path / "set", limit_bytes=0, progress=said.append))
    assert said[0].startswith("70 images of")
    assert "were decoded before" in said[0]
    (tmp_path / "set").rename(tmp_path / "moved")
    moved = load_images(tmp_path / "moved")
    assert (moved.name, moved.fingerprint) == ("moved", first.fingerprint)
    with pytest.raises(AssertionError, match="decoded again"):
        load_images(tmp_path / "moved", size=16)


def test_changed_files_are_decoded_again(tmp_path: Path, cache: Path) -> None:
    write_images(tmp_path / "set")
    first = load_images(tmp_path / "set", limit_bytes=0)
    one = tmp_path / "set" / "0000.png"
    before = one.stat()
    Image.new("L", (8, 8), 9).save(one)
    assert load_images(tmp_path / "set", limit_bytes=0).fingerprint != first.fingerprint
    write_images(tmp_path / "set", 1)
    os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    one.with_name("more.png").write_bytes(one.read_bytes())
    assert len(list((cache / "images").glob("*/about.json"))) == 2
    load_images(tmp_path / "set", limit_bytes=0)
    assert len(list((cache / "images").glob("*/about.json"))) == 3


@pytest.mark.parametrize("file", ["about.json", "images.npy", "images.keys.npy"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, cache: Path, file: str, damage: str) -> None:
    write_images(tmp_path / "set")
    first = load_images(tmp_path / "set", limit_bytes=0)
    [found] = (cache / "images").glob(f"*/{file}")
    size = found.stat().st_size
    copy = found.with_name("copy")
    shutil.copy(found, copy)
    copy.replace(found)  # another file: what is mapped of the first one stays whole
    if damage == "gone":
        found.unlink()
    else:
        os.truncate(found, size - 3 if damage == "cut" else 0)
    assert same(first, load_images(tmp_path / "set", limit_bytes=0))
    assert found.stat().st_size == size


def test_an_entry_is_written_whole_or_not_at_all(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "set")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("maestune.data.image_cache.os.fsync", full)
        with pytest.raises(StoreError, match=r"cannot be kept in .*No space left on device.*Set MAESTUNE_CACHE"):
            load_images(tmp_path / "set", limit_bytes=0)
    assert {path.suffix for path in (cache / "images").iterdir()} <= {".lock"}
    # What a killed process left is no hindrance.
    [lock] = (cache / "images").iterdir()
    lock.with_suffix(".part").mkdir()
    (lock.with_suffix(".part") / "images.npy").write_bytes(b"half")
    assert same(load_images(tmp_path / "set", limit_bytes=0), load_images(tmp_path / "set", limit_bytes=0))
    assert not list((cache / "images").glob("*.part"))


def test_no_room_and_no_right_to_write_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "set")
    with monkeypatch.context() as patch:
        patch.setattr("maestune.data.image_cache.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
        with pytest.raises(
            StoreError, match=r"70 images of 8×8 do not fit in memory.*GB are free\. Set MAESTUNE_CACHE"
        ):
            load_images(tmp_path / "set", limit_bytes=0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAESTUNE_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="Set MAESTUNE_CACHE"):
        load_images(tmp_path / "set", limit_bytes=0)
    assert len(load_images(tmp_path / "set").train) == 42  # where they fit, the cache is not needed


def test_two_at_once_make_one_entry(tmp_path: Path, cache: Path) -> None:
    write_images(tmp_path / "set")
    said: list[str] = []
    expected = load_images(tmp_path / "set")
    results: list[ImageData] = []
    (cache / "images").mkdir(parents=True)
    threads = [
        threading.Thread(
            target=lambda: results.append(load_images(tmp_path / "set", limit_bytes=0, progress=said.append))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(expected, result) for result in results)
    assert len(results) == 3
    assert sum("are decoded into" in text for text in said) == 1


def test_who_waits_says_so(cache: Path) -> None:
    place = entry(["x"])
    place.parent.mkdir(parents=True)
    said: list[str] = []
    lock = FileLock(place.with_suffix(".lock"), thread_local=False)
    lock.acquire()
    with pytest.raises(KeyError), writing(place, lambda text: (said.append(text), lock.release())):
        raise KeyError
    assert said == ["Another process is decoding the same images: waiting for it"]
    with writing(place, said.append):
        pass
    assert len(said) == 1


def test_scratch_leaves_nothing_behind(cache: Path) -> None:
    place = entry(["x"])
    place.parent.mkdir(parents=True)
    pixels = scratch(place, 10, 8)
    pixels[:] = 7
    assert pixels.shape == (10, 3, 8, 8)
    assert not list(place.parent.iterdir())


def test_another_process_is_sent_the_place_and_not_the_content(tmp_path: Path) -> None:
    write_images(tmp_path / "set", 200)
    data = load_images(tmp_path / "set", limit_bytes=0)
    for part in (data.train, data.search, data.report):
        for dumps in (pickle.dumps, lambda value: bytes(ForkingPickler.dumps(value))):
            sent = dumps(part.images)
            assert len(sent) < 1_000 < part.images.numel()
            again = pickle.loads(sent)
            assert type(again) is MappedTensor
            assert torch.equal(again, part.images)
    assert isinstance(data.train.images, MappedTensor)
    shutil.rmtree(data.train.images.place[0].parent)
    with pytest.raises(DataError, match=r"images\.npy: decoded images were kept there .*Start again"):
        pickle.loads(sent)


def test_what_is_computed_from_them_is_an_ordinary_tensor(tmp_path: Path) -> None:
    write_images(tmp_path / "set")
    images = load_images(tmp_path / "set", limit_bytes=0).train.images
    index = torch.tensor([3, 1, 1])
    assert isinstance(images, MappedTensor)
    for made in (images[:3], images[index], images.index_select(0, index), images.float(), images.split(7)[0]):
        assert type(made) is torch.Tensor
    assert torch.equal(images.index_select(0, index), images[index])
    assert images.dtype == torch.uint8
    assert images.is_contiguous()


def test_images_stay_in_the_file_until_they_are_looked_at(tmp_path: Path) -> None:
    # 256 MB that are all hole on disk: the process must not grow by them.
    psutil = pytest.importorskip("psutil")
    file = tmp_path / "images.npy"
    n = 2**20
    with file.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": (n, 1, 16, 16)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + n * 256)
    before = psutil.Process().memory_info().rss
    images = mapped(file, 5, n - 5)
    assert images[torch.arange(0, n - 5, 100_000)].sum() == 0
    pickle.loads(pickle.dumps(images))
    assert psutil.Process().memory_info().rss - before < 64 * 2**20


@settings(max_examples=25)
@given(
    n=st.integers(60, 90),
    copies=st.lists(st.integers(0, 59), max_size=30),
    shared=st.lists(st.integers(0, 59), max_size=10),
    labelled=st.booleans(),
    captioned=st.booleans(),
    tested=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_law_of_what_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    n: int,
    copies: list[int],
    shared: list[int],
    labelled: bool,
    captioned: bool,
    tested: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)

    def part(pixels: np.ndarray) -> Part:
        labels = rng.integers(0, 3, len(pixels)) if labelled else None
        texts = tuple(f"a {('red', 'blue', 'green')[v]} thing" for v in rng.integers(0, 3, len(pixels)))
        return Part(pixels, labels, texts if captioned else None)

    pixels = rng.integers(0, 256, (n + 20, 1, 3, 3), dtype=np.uint8)
    learn, test = pixels[:n], pixels[n:]
    collection = Collection(
        "set",
        part(np.concatenate([learn, learn[copies]])),
        part(np.concatenate([test, learn[shared[: max(0, n - 60)]]])) if tested else None,
        ("a", "b", "c") if labelled else (),
        ("x.png: bad",),
        "A note.",
    )
    folder = tmp_path_factory.mktemp("kept") / "entry"
    kept = keep(collection, folder)
    assert kept.images.file == folder / "images.npy"
    assert same(split(collection), split(kept))
    again = load_kept(folder)
    assert again is not None
    assert same(split(kept), split(again))


def test_entries_differ_by_every_mark() -> None:
    places = [entry(marks) for marks in ([], ["a"], ["a", "b"], ["ab"], [("a", "b")], ["a", None], [1], ["1"], [1.0])]
    assert len(set(places)) == len(places)
    assert entry(["a", 1]) == entry(["a", 1])


def test_the_limit_is_a_share_of_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fits(10, 8, 10 * 3 * 64)
    assert not fits(10, 8, 10 * 3 * 64 - 1)
    monkeypatch.setattr("maestune.data.image_cache.free_memory_bytes", lambda: 4 * 10 * 3 * 64)
    assert fits(10, 8, None)
    assert not fits(11, 8, None)


def test_labels_and_captions_of_the_good_files_only(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / "set" / name, 40)
    (tmp_path / "set" / "a" / "0005.png").write_bytes(b"")
    for path in (tmp_path / "set").rglob("*.png"):
        path.with_suffix(".txt").write_text(f"number {path.stem} of {path.parent.name}")
    for limit in (None, 0):
        images = read_folder(tmp_path / "set", limit_bytes=limit).images
        assert images.captions is not None
        assert images.labels is not None
        assert "number 0005 of a" not in images.captions
        assert len(images.captions) == len(images) == 79
        for label, caption in zip(images.labels, images.captions, strict=True):
            assert caption.endswith("ab"[label])
