from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maestune.data import decode, decoding
from maestune.data.decode import Read, batch_size, read_batch
from maestune.data.decoding import CRASHED, Decoders, check_readable, reading_note
from maestune.errors import DataError

RNG = np.random.default_rng(5)


@pytest.fixture(params=["threads", "processes"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(decoding, "MANY", 0 if request.param == "processes" else 10**9)
    monkeypatch.setattr(decoding, "_cores", lambda: 2)
    return request.param


def files(folder: Path, n: int) -> list[str | bytes]:
    """Images of several kinds, some of them damaged, some as bytes."""
    sources: list[str | bytes] = []
    for i in range(n):
        shape = (9, 12) if i % 3 else (9, 12, 3)
        buffer = io.BytesIO()
        Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(buffer, "PNG")
        content = buffer.getvalue()[: 50 if i % 7 == 3 else None]
        path = folder / f"{i}.png"
        path.write_bytes(content)
        sources.append(content if i % 5 == 0 else str(path))
    return sources


def test_all_decoders_agree_with_reading_one_by_one(tmp_path: Path, either: str) -> None:
    sources = files(tmp_path, 200)
    alone = [read_batch([source], 8) for source in sources]
    expected = np.concatenate([pixels for _, pixels in alone])
    pixels = np.full((200, 3, 8, 8), 7, np.uint8)
    with Decoders(lambda positions: [sources[i] for i in positions], 200) as decoders:
        peeked = decoders.peek()
        some = decoders.peek([3, 150, 4])
        reads = decoders.decode(pixels, lambda _: None)
    assert reads == [reads[0] for reads, _ in alone]
    assert [bool(read.reason) for read in reads] == [i % 7 == 3 for i in range(200)]
    assert np.array_equal(pixels[: len(expected)], expected)
    assert (pixels[len(expected) :] == 7).all()
    assert [peek.size for peek in peeked if not peek.reason] == [(12, 9)] * sum(not peek.reason for peek in peeked)
    assert some == [peeked[3], peeked[150], peeked[4]]


def test_what_is_under_way_is_bounded(monkeypatch: pytest.MonkeyPatch, either: str) -> None:
    fetched, seen = [0], [0]
    lock = threading.Lock()
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "PNG")

    def fetch(positions) -> list[str | bytes]:
        with lock:
            fetched[0] += len(positions)
            assert fetched[0] - seen[0] <= (2 * 2 + 2) * 4
        return [content.getvalue()] * len(positions)

    monkeypatch.setattr(decoding, "batch_size", lambda side: 4)
    monkeypatch.setattr(decoding, "PROGRESS_EVERY", 4)

    def tell(text: str) -> None:
        seen[0] = int(text.split()[0])

    with Decoders(fetch, 78) as decoders:
        decoders.decode(np.empty((78, 3, 8, 8), np.uint8), tell)
    assert (fetched[0], seen[0]) == (78, 76)


def test_batches_are_small_for_large_images() -> None:
    assert batch_size(None) == batch_size(8) == 64
    assert batch_size(1024) == 2
    assert 3 * 256**2 * batch_size(256) <= 8 * 2**20


def test_a_picture_that_kills_its_process_is_named_and_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The decoding process of this test ends when it is to read a certain file.
    script = tmp_path / "crashing.py"
    script.write_text(
        f"import importlib.util, os\n"
        f"spec = importlib.util.spec_from_file_location('decode', {decode.__file__!r})\n"
        "decode = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(decode)\n"
        "whole = decode._opened\n"
        "decode._opened = lambda source: os._exit(11) if str(source).endswith('2.png') else whole(source)\n"
        "decode.main()\n"
    )
    sources = files(tmp_path, 30)
    deadly = {str(tmp_path / f"{i}.png") for i in (2, 12, 22)}
    alone = [read_batch([source], 8) for source in sources]
    monkeypatch.setattr(decoding, "MANY", 0)
    monkeypatch.setattr(decoding.decode, "__file__", str(script))
    pixels = np.empty((30, 3, 8, 8), np.uint8)
    with Decoders(lambda positions: [sources[i] for i in positions], 30) as decoders:
        reads = decoders.decode(pixels, lambda _: None)
    for source, read, (expected, _) in zip(sources, reads, alone, strict=True):
        assert read == (Read(reason=CRASHED) if source in deadly else expected[0])
    good = [pixels for source, (_, pixels) in zip(sources, alone, strict=True) if source not in deadly]
    assert np.array_equal(pixels[: sum(map(len, good))], np.concatenate(good))


@pytest.mark.parametrize("executable", ["", "/nowhere/python", "false"])
def test_threads_decode_where_no_process_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(decoding, "MANY", 0)
    monkeypatch.setattr(sys, "executable", executable)
    sources = files(tmp_path, 30)
    pixels = np.empty((30, 3, 8, 8), np.uint8)
    with Decoders(lambda positions: [sources[i] for i in positions], 30) as decoders:
        reads = decoders.decode(pixels, lambda _: None)
    assert reads == [read_batch([source], 8)[0][0] for source in sources]


def test_no_process_is_left_when_reading_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil")
    monkeypatch.setattr(decoding, "MANY", 0)
    sources = files(tmp_path, 40)

    def fetch(positions) -> list[str | bytes]:
        if positions[0] >= 12:
            raise KeyboardInterrupt
        return [sources[i] for i in positions]

    monkeypatch.setattr(decoding, "batch_size", lambda side: 4)
    with pytest.raises(KeyboardInterrupt), Decoders(fetch, 40) as decoders:
        decoders.decode(np.empty((40, 3, 8, 8), np.uint8), lambda _: None)
    assert not [child for child in psutil.Process().children() if decode.__file__ in child.cmdline()]


def test_a_decoding_process_ends_with_the_one_who_asks() -> None:
    with subprocess.Popen(
        [sys.executable, "-P", decode.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_limits_of_this_process_hold_in_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, either: str
) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_000)
    with Decoders(lambda positions: [str(tmp_path / "large.png")] * len(positions), 2) as decoders:
        reads = decoders.decode(np.empty((2, 3, 8, 8), np.uint8), lambda _: None)
    assert all("bomb" in read.reason for read in reads)


def test_a_decoding_process_needs_neither_torch_nor_this_package() -> None:
    code = (
        "import runpy, sys\n"
        f"runpy.run_path({decode.__file__!r}, run_name='decode')\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'maestune')])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_more_than_half_unreadable_is_an_error() -> None:
    check_readable("here", ["a: bad"] * 5, 10)
    with pytest.raises(DataError, match=r"here: 6 of 10 image files cannot be read \(a: bad; a: bad; a: bad; …\)"):
        check_readable("here", ["a: bad"] * 6, 10)


def test_note_of_what_was_done() -> None:
    reads = [Read(size=(8, 8)), Read(size=(8, 8), transparent=True), Read(reason="bad")]
    assert reading_note(reads[:1], 8) == ""
    assert reading_note(reads, 8) == "Transparent parts of 1 images show white."
    assert reading_note(reads, 16).startswith("Images of 8×8 were brought to 16×16")
