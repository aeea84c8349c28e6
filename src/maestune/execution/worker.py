"""The main function of a worker process: receives a setup, then groups of jobs; sends events. Lives as long as the campaign."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

STOP = "stop"  # sent during jobs: write checkpoints and end them
_in_worker = False


def in_worker() -> bool:
    """Whether this process trains for a campaign; a campaign started here would start itself again and again."""
    return _in_worker


def main(pipe: Connection, threads: int, parent: int, stack: str) -> None:
    """Serve jobs until the pipe closes. Ctrl-C is the campaign's affair; a vanished campaign ends the worker.

    `stack`: the file to which SIGUSR1 writes where the process is, for a training that hangs.
    """
    global _in_worker
    _in_worker = True
    os.dup2(2, 1)  # what a training prints must not get between the campaign's own lines, or its --json, on stdout
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, file=open(stack, "w"), all_threads=False)  # noqa: SIM115 (open as long as it lives)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()

    import torch  # only now: the environment (threads, device) was set by the campaign before

    from maestune.errors import MaestuneError
    from maestune.execution.group import Trainer
    from maestune.execution.model import family_of, load_training

    torch.set_num_threads(threads)
    try:
        setup = pipe.recv()
        trainer = Trainer(load_training(setup.model), family_of(setup.model), setup)
        while True:
            jobs = pipe.recv()
            if jobs is None:
                return
            if jobs == STOP:
                continue  # it was meant for jobs that had ended in the meantime
            for event in trainer.run(jobs, lambda: _asked_to_stop(pipe)):
                pipe.send(event)
    except (EOFError, BrokenPipeError):
        return
    except MaestuneError as error:
        pipe.send(error)


def _asked_to_stop(pipe: Connection) -> bool:
    # Within a group of jobs the campaign sends only one thing: the request to stop.
    if not pipe.poll():
        return False
    request: Any = pipe.recv()
    return request == STOP


def _die_with(parent: int) -> None:
    # A worker must not outlive a killed campaign: the same command may already have started the next one.
    while os.getppid() == parent:
        time.sleep(0.25)
    os._exit(1)
