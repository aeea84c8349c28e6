"""Workers as processes: one group of jobs each, alive as long as the campaign; a dead one costs its own segment only."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from maestune.errors import MaestuneError, SettingsError
from maestune.execution import worker
from maestune.execution.jobs import Ended, Event, Job, Outcome, Setup
from maestune.execution.model import GUARD_NEEDED

GRACE_SECONDS = 5.0
STACK_SECONDS = 0.2  # for a process that has hung to write where it is
JOIN_SECONDS = 0.01  # between two looks at whether a process has ended
KEPT_BYTES = 2**30


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    jobs: dict[int, Job] = field(default_factory=dict[int, Job])  # by trial; those that have not ended
    ready: bool = False
    killed: str | None = None  # why it is being ended


class Processes:
    """An executor of `workers` processes with `threads` threads each.

    They are started at once, so that they load while the campaign prepares its data; `prepare` hands them the setup.
    """

    def __init__(self, workers: int, threads: int) -> None:
        if worker.in_worker():
            raise SettingsError(GUARD_NEEDED)
        self._threads = threads
        self._setup: Setup | None = None
        self._workers = [self._spawn() for _ in range(workers)]
        # Python ends what it has started by SIGTERM, which workers ignore, and waits for that: this comes first.
        atexit.register(self._kill)

    def prepare(self, setup: Setup) -> None:
        """Hand every worker what all jobs share."""
        self._setup = setup
        for each in self._workers:
            self._ready(each)

    @property
    def free(self) -> int:
        """Workers without jobs."""
        return sum(not w.jobs for w in self._workers)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process numbers of the workers."""
        return tuple(w.process.pid for w in self._workers if w.process.pid is not None)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Start a group of jobs on a free worker."""
        each = next(w for w in self._workers if not w.jobs)
        if not each.process.is_alive():  # it died between two jobs
            self._replace(each)
        each.jobs = {job.trial: job for job in jobs}
        with suppress(OSError):  # a broken pipe: the worker is dead, its sentinel says so
            each.pipe.send(tuple(jobs))

    def events(self, timeout_seconds: float, silence_seconds: float | None = None) -> Sequence[Event]:
        """Events since the last call; waits for the first one. Raises the error of a worker that cannot go on."""
        del silence_seconds  # whoever is silent for too long can be killed from here
        busy = [w for w in self._workers if w.jobs]
        handles = [handle for w in busy for handle in (w.pipe, w.process.sentinel)]
        ready = wait(handles, timeout_seconds)
        # A process that the training forked holds both ends open after the worker has died: it is asked for, too.
        return [e for w in busy if w.pipe in ready or not w.process.is_alive() for e in self._drain(w)]

    def end_within(self, seconds: float) -> None:
        """Nothing: jobs that do not end can be killed."""

    def interrupt(self) -> None:
        """Ask every running job to write a checkpoint and end."""
        for each in self._workers:
            if each.jobs:
                with suppress(OSError):  # dead: events() will say so
                    each.pipe.send(worker.STOP)

    def kill(self, trials: Mapping[int, str]) -> None:
        """End the workers that train these trials; their jobs have hung, for the reasons given."""
        for each in self._workers:
            why = next((reason for trial, reason in trials.items() if trial in each.jobs), None)
            if why is not None:
                if each.killed is None and each.ready and hasattr(signal, "SIGUSR1"):
                    with suppress(OSError):  # it has just ended
                        os.kill(each.process.pid or 0, signal.SIGUSR1)
                    _join(each.process, STACK_SECONDS)
                each.killed = why
                each.process.kill()

    def close(self) -> None:
        """End all workers, politely where they are idle."""
        for each in self._workers:
            if not each.jobs and each.ready and each.process.is_alive():
                with suppress(OSError):
                    each.pipe.send(None)
            else:
                each.process.kill()
        for each in self._workers:
            _join(each.process, GRACE_SECONDS)
            if each.process.is_alive():
                each.process.kill()
                each.process.join()
            each.pipe.close()
        atexit.unregister(self._kill)

    def _kill(self) -> None:
        for each in self._workers:
            each.process.kill()

    def _drain(self, each: _Worker) -> list[Event]:
        found: list[Event] = []
        try:
            while each.pipe.poll():
                message = each.pipe.recv()
                if isinstance(message, MaestuneError):
                    raise message
                found.append(message)
                if isinstance(message, Ended):
                    del each.jobs[message.trial]
        except (EOFError, ConnectionResetError):
            pass
        if each.jobs and not each.process.is_alive():
            each.process.join()
            outcome = Outcome.DIED if each.killed is None else Outcome.HUNG
            cause = each.killed or _cause(each.process.exitcode)
            stack = worker.stack_of(each.process.pid, list(each.jobs.values())) if outcome == Outcome.HUNG else ""
            found += [Ended(trial, outcome, 0, 0.0, message=cause, stack=stack) for trial in each.jobs]
            self._replace(each)
        return found

    def _spawn(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=worker.main, args=(theirs, self._threads, os.getpid()), daemon=True)
        with _environment(self._threads), _without_main(), _interrupts_held():
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _ready(self, each: _Worker) -> None:
        with suppress(OSError):
            each.pipe.send(self._setup)
            each.ready = True

    def _replace(self, each: _Worker) -> None:
        each.pipe.close()
        fresh = self._spawn()
        each.process, each.pipe = fresh.process, fresh.pipe
        each.jobs, each.killed, each.ready = {}, None, False
        self._ready(each)


def _join(process: BaseProcess, seconds: float) -> None:
    """Wait for the end of a process; `join` would wait for that of whatever it has forked, too."""
    until = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < until:
        time.sleep(JOIN_SECONDS)


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        known = {number.value: number.name for number in signal.Signals}
        name = known.get(-exitcode, f"signal {-exitcode}")
        hint = "; out of memory?" if name == "SIGKILL" else ""
        return f"worker killed by {name}{hint}"
    return f"worker exited with status {exitcode}"


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    # Thread pools read these when their library is loaded, which is before any code of ours runs in the worker.
    values: dict[str, str] = {}
    values |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    # Of NumPy and SciPy, for scores: matrices of some hundred rows gain nothing, and beside a busy process the threads of
    # OpenBLAS, which spin whatever they are told, made scoring take ten times as long.
    values["OPENBLAS_NUM_THREADS"] = "1"
    # Threads that wait for work spin: beside a busy process that takes its time, and gains nothing for small networks.
    values["OMP_WAIT_POLICY"] = "passive"
    # The tensors of a group come and go at every step; memory that is given back each time is zeroed again each time,
    # which takes as long as the arithmetic (glibc keeps blocks below these sizes for the process).
    values |= dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(KEPT_BYTES))
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_held() -> Iterator[None]:
    # Ctrl-C, and the end of a terminal, reach the whole process group, also a worker that is still loading and has not said that it
    # ignores them. What is blocked here is blocked there from its first moment; here it arrives a little later.
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which unblocks SIGINT when it is first started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_main() -> Iterator[None]:
    # A spawned process imports the parent's main script again. Workers need nothing of it (a user's training is
    # loaded by its path), and a script without a main guard would start its campaign once more.
    module = sys.modules["__main__"]
    file, spec = getattr(module, "__file__", None), getattr(module, "__spec__", None)
    module.__spec__ = None
    if file is not None:
        del module.__file__
    try:
        yield
    finally:
        module.__spec__ = spec
        if file is not None:
            module.__file__ = file
