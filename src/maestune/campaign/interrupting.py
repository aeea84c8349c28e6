"""Requests to stop while a campaign runs: the first to write checkpoints and end, the second to end at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from maestune.campaign.run import Loop
from maestune.campaign.watchdog import GRACE_SECONDS

STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def on_interrupt(loop: Loop) -> Iterator[None]:
    """First SIGINT, SIGTERM or SIGHUP: interrupt the loop; a second one raises KeyboardInterrupt; a third ends the process.

    A training in this process may swallow the second. What is stored is whole at any moment. SIGHUP stays ignored where it is (nohup).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    received = 0

    def handle(number: int, _frame: object) -> None:
        nonlocal received
        received += 1
        if received > 2:
            os._exit(128 + number)
        if received > 1:
            raise KeyboardInterrupt
        loop.stopped_by = number
        loop.executor.end_within(GRACE_SECONDS)

    numbers = [getattr(signal, name) for name in STOPPING if hasattr(signal, name)]
    heeded = [number for number in numbers if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
