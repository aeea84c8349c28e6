"""Many pictures to pixels, in order: by several threads or, where there are many, by several processes.

Threads decode large images in parallel. Of small ones most of the work is Python (opening the file, reading its header),
which threads only take from each other: 20,000 images of 32×32 take two threads longer than one, and two processes half
as long. What is under way at one time is bounded, however many images there are.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from maestune.data import decode
from maestune.data.collection import Pixels
from maestune.data.decode import READY, Read, Source, batch_size, read_batch, strict_pillow
from maestune.data.fit import fit_note
from maestune.errors import DataError

MANY = 2_000  # images; fewer are decoded by threads in the time that processes take to start
MOST_WORKERS = 16
PROGRESS_EVERY = 2_000  # images, or a twentieth of all where that is more
CRASHED = "its decoder crashed"

Fetch = Callable[[Sequence[int]], Sequence[Source]]  # the pictures at these positions
Tell = Callable[[str], None]
Batch = tuple[list[Read], NDArray[np.uint8]]


class Decoders:
    """Those who decode n pictures: to be used in a `with` statement, at whose end they are gone.

    `fetch` gives pictures by their position; it is called in order, by one thread, shortly before they are needed.
    """

    def __init__(self, fetch: Fetch, n: int) -> None:
        self._fetch, self._n = fetch, n
        self._workers = min(MOST_WORKERS, _cores())
        self._processes = _Processes() if n >= MANY and sys.executable else None
        self._exit = ExitStack()

    def __enter__(self) -> Decoders:
        self._exit.enter_context(strict_pillow())
        self._pool = self._exit.enter_context(ThreadPoolExecutor(self._workers))
        if self._processes:
            self._exit.callback(self._processes.close)  # before the pool's end, whose threads may wait for an answer
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._exit.close()

    def peek(self, positions: Sequence[int] | None = None) -> list[Read]:
        """The sizes of all pictures, or of those at some positions, from their headers."""
        wanted = range(self._n) if positions is None else positions
        return [read for reads, _ in self._batches(wanted, None) for read in reads]

    def decode(self, pixels: Pixels, tell: Tell) -> list[Read]:
        """What came of each picture; those that can be used fill pixels (n, 3, side, side) in order, without gaps."""
        reads: list[Read] = []
        n_good = 0
        for some, decoded in self.decoded(pixels.shape[-1], tell):
            pixels[n_good : n_good + len(decoded)] = decoded
            reads += some
            n_good += len(decoded)
        return reads

    def decoded(self, side: int, tell: Tell) -> Iterator[Batch]:
        """The same a few pictures at a time, in order, with the pixels (n, 3, side, side) of those among them that can be used."""
        done = told = 0
        every = max(PROGRESS_EVERY, self._n // 20)
        for some, pixels in self._batches(range(self._n), side):
            yield some, pixels
            done += len(some)
            while done - told >= every:
                told += every
                tell(f"{told:,} of {self._n:,} images read")

    def _batches(self, positions: Sequence[int], side: int | None) -> Iterator[Batch]:
        # Twice as many batches under way as there are workers: enough that none waits, and a bound on memory.
        size = batch_size(side)
        read = self._processes.read if self._processes else read_batch
        under_way: deque[Future[Batch]] = deque()
        for start in range(0, len(positions), size):
            under_way.append(self._pool.submit(read, self._fetch(positions[start : start + size]), side))
            if len(under_way) > 2 * self._workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def check_readable(source: object, unreadable: Sequence[str], n: int) -> None:
    """Raises DataError when more than half of n images cannot be read; `unreadable` names each with the reason."""
    if 2 * len(unreadable) > n:
        raise DataError(
            f"{source}: {len(unreadable):,} of {n:,} image files cannot be read ({'; '.join(unreadable[:3])}"
            f"{'; …' if len(unreadable) > 3 else ''}); expected at least half of them to be whole. Copy or convert them again."
        )


def reading_note(reads: Sequence[Read], side: int) -> str:
    """What was done to the images that could be read, in sentences; empty where nothing was."""
    size_note = fit_note(Counter(read.size for read in reads if not read.reason), side)
    n_transparent = sum(read.transparent for read in reads)
    transparent_note = f"Transparent parts of {n_transparent:,} images show white." if n_transparent else ""
    return " ".join(filter(None, (size_note, transparent_note)))


class _Processes:
    """A decoding process for each thread that asks for one; threads decode themselves where none can be started."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._all: list[subprocess.Popen[bytes]] = []
        self._starting = threading.Lock()
        self._possible, self._closed = True, False

    def read(self, sources: Sequence[Source], side: int | None) -> Batch:
        """As `read_batch`. A picture that kills the process is named, the others of its batch are read without it."""
        process = getattr(self._mine, "process", None) or self._start()
        if process is None:
            return read_batch(sources, side)
        try:
            decode.ask(_open(process.stdin), sources, side)
            return decode.answer(_open(process.stdout))
        except (EOFError, OSError, pickle.UnpicklingError):
            self._mine.process = None
            if self._closed:
                raise  # to nobody: whoever asked has gone
        if len(sources) == 1:
            return [Read(reason=CRASHED)], read_batch((), side)[1]
        singly = [self.read([source], side) for source in sources]
        return [reads[0] for reads, _ in singly], np.concatenate([pixels for _, pixels in singly])

    def close(self) -> None:
        """End all processes."""
        with self._starting:
            self._closed = True
        for process in self._all:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what could not be sent any more
                    _open(pipe).close()

    def _start(self) -> subprocess.Popen[bytes] | None:
        # By its path and without the package around it (-P: nor the modules beside it), see `decode`.
        command = [sys.executable, "-P", decode.__file__]
        pipe, one_thread = subprocess.PIPE, dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        with self._starting:  # one that starts while all are ended would be left behind
            if self._closed or not self._possible:
                return None
            try:
                process = subprocess.Popen(
                    command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env={**os.environ, **one_thread}
                )
            except OSError:
                self._possible = False
                return None
            self._all.append(process)
        if _open(process.stdout).read(len(READY)) != READY:
            self._possible = False
            return None
        self._mine.process = process
        return process


def _open(pipe: object) -> BinaryIO:
    return cast(BinaryIO, pipe)  # of a process that was started with pipes


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
