"""The main function of a worker process: receives a setup, then groups of jobs; sends events. Lives as long as the campaign."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maestune.execution.jobs import Job

STOP = "stop"  # sent during jobs: write checkpoints and end them
_in_worker = False


def in_worker() -> bool:
    """Whether this process trains for a campaign; a campaign started here would start itself again and again."""
    return _in_worker


def main(pipe: Connection, threads: int, parent: int) -> None:
    """Serve jobs until the pipe closes. Ctrl-C, SIGTERM and SIGHUP are the campaign's affair; a vanished campaign ends the worker."""
    global _in_worker
    _in_worker = True
    os.dup2(2, 1)  # what a training prints must not get between the campaign's own lines, or its --json, on stdout
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the whole group may get them; the campaign asks workers to end
        if hasattr(signal, name):  # not all on Windows
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):  # not on Windows
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
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
            with _stack_on_request(jobs):
                for event in trainer.run(jobs, lambda: _stop_requested(pipe)):
                    pipe.send(event)
    except (EOFError, BrokenPipeError):
        return
    except MaestuneError as error:
        pipe.send(error)


@contextmanager
def _stack_on_request(jobs: Sequence[Job]) -> Iterator[None]:
    """While jobs are trained, SIGUSR1 writes into the folder of the first where the process is: a training may hang."""
    if not hasattr(faulthandler, "register"):  # Windows
        yield
        return
    from maestune.execution.folder import writing

    path = _stack_path(os.getpid(), jobs)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8")
    with file:
        faulthandler.register(signal.SIGUSR1, file=file, all_threads=False)
        try:
            yield
        finally:
            faulthandler.unregister(signal.SIGUSR1)
            path.unlink(missing_ok=True)


def stack_of(process: int | None, jobs: Sequence[Job]) -> str:
    """What a worker that is gone wrote of where it was; empty where it wrote nothing. The file is removed."""
    path = _stack_path(process or 0, jobs)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        path.unlink()
    except OSError:
        return ""
    return text


def _stack_path(process: int, jobs: Sequence[Job]) -> Path:
    # Named like all that is being written, so that the next start of the campaign removes what a crash has left.
    return jobs[0].folder / f".stack.{process}.part"


def _stop_requested(pipe: Connection) -> bool:
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
