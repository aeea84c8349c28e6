"""Many pictures to pixels: in order, by several threads or, where there are many, by several processes.

Decoding itself runs in parallel in threads; opening a file and reading its header do not (they are Python), and are most
of the work for small images. What is under way at one time is bounded, however many images there are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import IO

import numpy as np
from numpy.typing import NDArray

from maestune.data import decode
from maestune.data.collection import Pixels
from maestune.data.decode import Read, Source, batch_size, read_batch, strict_pillow

MANY = 4_000  # images; fewer are decoded by threads in the time that processes take to start
MOST_WORKERS = 16
PROGRESS_EVERY = 2_000  # images, or a twentieth of all where that is more
CRASHED = "its decoder crashed"

Fetch = Callable[[range], Sequence[Source]]  # the pictures at these positions
Tell = Callable[[str], None]
Batch = tuple[list[Read], NDArray[np.uint8]]


def look_all(fetch: Fetch, n: int) -> list[Read]:
    """The sizes of n pictures, from their headers."""
    return [read for reads, _ in _batches(fetch, n, None) for read in reads]


def decode_all(fetch: Fetch, pixels: Pixels, tell: Tell) -> list[Read]:
    """Decode N pictures into pixels (N, 3, side, side): those that can be used, in order, without gaps; says what came of each."""
    n, _, side, _ = pixels.shape
    reads: list[Read] = []
    n_good = told = 0
    every = max(PROGRESS_EVERY, n // 20)
    for some, decoded in _batches(fetch, n, side):
        pixels[n_good : n_good + len(decoded)] = decoded
        reads += some
        n_good += len(decoded)
        while len(reads) - told >= every:
            told += every
            tell(f"{told:,} of {n:,} images read")
    return reads


def _batches(fetch: Fetch, n: int, side: int | None) -> Iterator[Batch]:
    # Twice as many batches under way as there are workers: enough that none waits, and a bound on memory.
    workers = min(MOST_WORKERS, _cores())
    size = batch_size(side)
    processes = _Processes() if n >= MANY and sys.executable else None
    read = processes.read if processes else read_batch
    under_way: deque[Future[Batch]] = deque()
    with strict_pillow(), closing(processes or _Nothing()), ThreadPoolExecutor(workers) as pool:
        try:
            for start in range(0, n, size):
                under_way.append(pool.submit(read, fetch(range(start, min(start + size, n))), side))
                if len(under_way) > 2 * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if processes:
                processes.close()


class _Nothing:
    def close(self) -> None:
        pass


class _Processes:
    """A decoding process for each thread that asks for one."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._all: list[subprocess.Popen[bytes]] = []

    def read(self, sources: Sequence[Source], side: int | None) -> Batch:
        """As `read_batch`. A picture that kills the process is named, the others of its batch are read without it."""
        try:
            return self._ask(sources, side)
        except (EOFError, OSError):
            self._mine.process = None
        if len(sources) == 1:
            return [Read(reason=CRASHED)], read_batch((), side)[1]
        singly = [self.read([source], side) for source in sources]
        return [reads[0] for reads, _ in singly], np.concatenate([pixels for _, pixels in singly])

    def close(self) -> None:
        """End all processes."""
        for process in self._all:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what could not be sent any more
                    _whole(pipe).close()
        self._all.clear()

    def _ask(self, sources: Sequence[Source], side: int | None) -> Batch:
        process = getattr(self._mine, "process", None) or self._start()
        decode.ask(_whole(process.stdin), sources, side)
        return decode.answer(_whole(process.stdout))

    def _start(self) -> subprocess.Popen[bytes]:
        # By its path and without the package around it (-P: nor the modules beside it), see `decode`.
        command = [sys.executable, "-P", decode.__file__]
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._mine.process = process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **one_thread}
        )
        self._all.append(process)
        return process


def _whole(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
