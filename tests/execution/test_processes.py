"""Workers as processes."""

from __future__ import annotations

import os
import signal
import time

import psutil

from maestune.execution import processes as executor_module
from maestune.execution.processes import Processes

LOADING_SECONDS = 2.0


def test_interrupts_of_the_process_group_do_not_reach_workers_that_are_still_loading() -> None:
    before = signal.getsignal(signal.SIGINT)
    processes = Processes(1, 1)
    try:
        (pid,) = processes.pids
        end = time.monotonic() + LOADING_SECONDS
        while time.monotonic() < end:
            os.kill(pid, signal.SIGINT)
            time.sleep(0.01)
        assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    finally:
        processes.close()
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_the_end_by_any_signal_has_a_cause():
    assert executor_module._cause(-9) == "worker killed by SIGKILL; out of memory?"
    assert executor_module._cause(-40) == "worker killed by signal 40"
    assert executor_module._cause(3) == "worker exited with status 3"
