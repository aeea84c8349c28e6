import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from threadpoolctl import threadpool_info

from maestune.quality.scoring.working import one_thread_of_blas, one_thread_of_torch, ordered_map


def tasks(n: int, begun: list[int]) -> Iterator[Callable[[], int]]:
    def task(i: int) -> int:
        begun.append(i)
        return i * i

    for i in range(n):
        yield lambda i=i: task(i)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("ahead", [None, 1, 4])
def test_results_come_in_the_order_of_the_tasks(workers: int, ahead: int | None) -> None:
    begun: list[int] = []
    assert list(ordered_map(tasks(40, begun), workers, ahead)) == [i * i for i in range(40)]
    assert sorted(begun) == list(range(40))


def test_several_are_at_work_at_once() -> None:
    together = threading.Barrier(3, timeout=30)
    assert len(list(ordered_map([together.wait] * 3, 3))) == 3


def test_one_worker_is_the_one_who_asks_and_does_nothing_before() -> None:
    begun: list[int] = []
    results = ordered_map([lambda: begun.append(threading.get_ident())] * 2, 1)
    assert begun == []
    next(results)
    assert begun == [threading.get_ident()]


def test_no_more_are_under_way_than_was_said() -> None:
    asked = 0

    def counted() -> Iterator[Callable[[], int]]:
        nonlocal asked
        for i in range(100):
            asked += 1
            yield lambda i=i: i

    for i in ordered_map(counted(), 2, ahead=3):
        assert asked <= i + 4


def test_what_a_task_raises_is_raised_in_its_place_and_the_rest_is_left() -> None:
    begun: list[int] = []
    held = threading.Event()

    def failing() -> int:
        raise ValueError("the third")

    def waiting() -> int:
        held.wait(30)
        return 0

    several = [*list(tasks(2, begun)), failing, waiting, waiting, *list(tasks(50, begun))]
    results = ordered_map(several, 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    held.set()
    assert len(begun) < 52, "what had not begun never does"


def test_libraries_compute_with_one_thread_inside_and_with_as_many_as_before_outside() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        blas = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
        with one_thread_of_blas(), one_thread_of_torch():
            assert {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"} == {1}
            assert torch.get_num_threads() == 1
        assert [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"] == blas
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
