"""Ctrl-C, SIGTERM and SIGHUP before there is anything to save: one sentence and the status that shells expect.

A campaign takes these signals over once trainings may have something to save (`campaign.interrupting`). Until then, while modules
are imported, data are read and scoring models are trained, the process ends at once: an exception out of nowhere would end in a
traceback from the middle of somebody's code, and files are replaced whole or not at all, so that nothing can be left half done.
Worker processes end when they see that their parent is gone.

Only the standard library is imported here: it runs first of all.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def stop_at_once() -> None:
    """From now on, end the process on the first signal. SIGHUP stays ignored where it is (nohup)."""
    for name in SIGNALS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
            signal.signal(number, _end)


def status_of(number: int | None) -> int:
    """The exit status of a process that a signal stopped: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (signal.SIGINT if number is None else number)


def _end(number: int, _frame: object) -> None:
    with suppress(Exception):
        sys.stdout.flush()
    with suppress(OSError):  # the terminal may be gone
        os.write(2, b"stopped; nothing is lost: run the same command again to go on\n")
    os._exit(status_of(number))
