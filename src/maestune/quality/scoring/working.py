"""Work shared by threads of this process, which is arithmetic in NumPy and PyTorch that lets other threads run.

Processes would have to start first, with some two seconds of PyTorch each, and every one would need the features of all samples
and the weights of what looks: looking at 4,000 images of 64×64 with own networks takes half a second, their metrics four.
"""

# pyright: reportUnknownMemberType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs]

T = TypeVar("T")


def ordered_map(tasks: Iterable[Callable[[], T]], workers: int, ahead: int | None = None) -> Iterator[T]:
    """The results of tasks in their order, computed by so many threads; one: by this one, when a result is asked for.

    `ahead`: how many tasks are under way beyond that, None for all of them. What a task raises is raised in its place. Whoever
    leaves before the end waits for nothing: tasks that have not begun never will.
    """
    if workers == 1:
        yield from (task() for task in tasks)
        return
    pool = ThreadPoolExecutor(workers)
    under_way: deque[Future[T]] = deque()
    try:
        for task in tasks:
            under_way.append(pool.submit(task))
            if ahead is not None and len(under_way) > ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def one_thread_of_blas() -> Generator[None]:
    """NumPy and SciPy compute with one thread each in here.

    Matrices of some hundred rows gain nothing from more, and the threads of OpenBLAS spin while they wait for each other: beside a
    busy process 4,000 images and their floor were measured in 62 s instead of 7.
    """
    with threadpool_limits(1, user_api="blas"):
        yield


@contextmanager
def one_thread_of_torch() -> Generator[None]:
    """Networks compute with one thread each in here: what they see then does not depend on how many look."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
